"""From a function's resource in a template to a `Function`, with a line for each property that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from serverfull_wsgi.domain import CONCURRENCY_LIMIT, TIMEOUT_LIMIT, Function
from serverfull_wsgi.env_vars import RESERVED_VARIABLES, is_valid_value
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.fetchers.sam.code import CodeLocator
from serverfull_wsgi.fetchers.sam.intrinsics import Resolver
from serverfull_wsgi.fetchers.sam.notes import Notes
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable, as_text
from serverfull_wsgi.fetchers.sam.properties import UNRESOLVED, Properties
from serverfull_wsgi.fetchers.sam.stand_ins import StandIn, may_name_secret
from serverfull_wsgi.fetchers.sam.template import SERVERLESS_FUNCTION, Template
from serverfull_wsgi.fetchers.static import ALIAS, NAME
from serverfull_wsgi.logging_config import LoggingConfig

_RUNTIMES = re.compile(r"python3\.\d+|nodejs\d+\.x|provided(\.al2|\.al2023)?|go1\.x", re.ASCII)
_SUPPORTED = "python3.x, nodejs*.x, provided.al2023, provided.al2, provided or go1.x"
# https://docs.aws.amazon.com/lambda/latest/api/API_Environment.html
_MOUNT = re.compile(r"/mnt/[a-zA-Z0-9_.-]+", re.ASCII)
_VARIABLE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]+", re.ASCII)


class DeclaredFunction(NamedTuple):
    """A function as a template declares it."""

    function: Function
    declared_name: str  # the name in the template; differs from the function's if it is not a valid name
    alias: str  # of AutoPublishAlias, or empty
    problems: list[str]  # the reasons why the function cannot run
    unknown_name: Sequence[str] = ()  # the reasons why its name is not known, so that it has its logical id


def read_function(
    template: Template, resolver: Resolver, code: CodeLocator, event_resources: EventResources, notes: Notes, id: str
) -> DeclaredFunction:
    """Return the function of a logical id, and add warnings about its stand-ins to ``notes`` if it can run."""
    resource = template.resources[id]
    properties = Properties(template.location(id), resource.get("Properties"), resolver)
    text, missing = properties.text_or_missing("FunctionName")
    for value in missing:
        properties.add_note("FunctionName", value, f"the function's name is {id!r} here")
    declared_name = text or id
    name = id if missing else declared_name
    if not NAME.fullmatch(name):
        properties.add_problem(
            "FunctionName", f"{name!r} must be 1 to 64 letters, digits, '-', '_' and '.'; choose another name"
        )
        name = id
    if properties.text("PackageType") == "Image":
        properties.add_problem("PackageType", "'Image' is not supported; set it to Zip, with Runtime, Handler and code")
        return DeclaredFunction(Function("", name), declared_name, "", properties.problems)
    runtime = _runtime(properties)
    event_id, event_resource = event_resources.of(name)
    function = Function(
        properties.required("Handler", "name the function to call, such as app.handler"),
        name,
        timeout=properties.number("Timeout", most=TIMEOUT_LIMIT) or 3,
        memory_size=properties.number("MemorySize") or 128,
        description=_description(properties),
        code=code.of_function(id, properties, runtime),
        runtime=runtime,
        environment=_environment(properties),
        layers=code.of_layers(properties),
        event_config=_event_config(properties, event_resource),
        logging_config=_logging_config(properties),
        ephemeral_storage=properties.number("EphemeralStorage.Size") or 512,
        mounts=_mounts(properties),
        network=_network(properties, resource),
        reserved=properties.number("ReservedConcurrentExecutions", least=0, most=CONCURRENCY_LIMIT),
        snap_start=_snap_start(properties),
    )
    is_serverless = resource["Type"] == SERVERLESS_FUNCTION
    alias = _alias(properties) if is_serverless else ""
    if is_serverless:
        function = _with_provisioned(function, properties, alias)
    for source_id, source in ((id, properties), (event_id, event_resource)):
        for path, note in source.notes if source and not properties.problems else ():
            notes.add(source_id, path, note)
    unknown_name = [f"{template.location(id)}.FunctionName: {value}" for value in missing]
    return DeclaredFunction(function, declared_name, alias, properties.problems, unknown_name)


def _runtime(properties: Properties) -> str:
    runtime = properties.required("Runtime", f"use {_SUPPORTED}")
    if runtime and not _RUNTIMES.fullmatch(runtime):
        properties.add_problem("Runtime", f"{runtime!r} is not supported; use {_SUPPORTED}")
    return runtime


def _description(properties: Properties) -> str:
    text, missing = properties.text_or_missing("Description")
    for value in missing:
        properties.add_note("Description", value, f"the text has {value.stand_in!r} instead")
    return text


def _alias(properties: Properties) -> str:
    alias = properties.text("AutoPublishAlias")
    if alias and not ALIAS.fullmatch(alias):
        properties.add_problem(
            "AutoPublishAlias", f"{alias!r} must be letters, digits, '-' and '_', and not a number; choose another name"
        )
    return alias


def _with_provisioned(function: Function, properties: Properties, alias: str) -> Function:
    """Return the function with the provisioned concurrency of its ProvisionedConcurrencyConfig."""
    path = "ProvisionedConcurrencyConfig.ProvisionedConcurrentExecutions"
    number = properties.number(path, most=CONCURRENCY_LIMIT)
    if number is None:
        return function
    if not alias:
        properties.add_problem(path, "SAM needs an alias to provision concurrency for; add AutoPublishAlias")
    elif function.reserved is not None and number > function.reserved:
        properties.add_problem(path, f"{number} must be at most ReservedConcurrentExecutions, {function.reserved}")
    elif function.snap_start:
        properties.add_problem(path, "AWS provisions no concurrency for a function with SnapStart; remove one of them")
    else:
        return replace(function, provisioned=number)
    return function


def _environment(properties: Properties) -> dict[str, str]:
    variables = {}
    for name, value in properties.mapping("Environment.Variables").items():
        path = f"Environment.Variables.{name}"
        if name in RESERVED_VARIABLES:
            properties.add_problem(path, "Lambda reserves this name; choose another name")
        elif not _VARIABLE.fullmatch(str(name)):
            properties.add_problem(
                path, "a name must be a letter and at least one more letter, digit or '_'; choose another name"
            )
        elif value is not UNRESOLVED and (text := _variable(properties, name, value)) is not None:
            variables[name] = text
    return variables


def _variable(properties: Properties, name: str, value: Any) -> str | None:
    """Return the text of an environment variable, or None if the variable cannot have this value."""
    path = f"Environment.Variables.{name}"
    value, missing = value if isinstance(value, StandIn) else (value, ())
    if secrets := [each for each in missing if may_name_secret(name) and not each.is_of_aws]:
        for each in secrets:
            properties.add_problem(path, each)
        return None
    for each in missing:
        properties.add_note(path, each, f"{each.stand_in!r} stands for the value")
    try:
        text = as_text(value)
    except Unresolvable as reason:
        properties.add_problem(path, reason)
        return None
    if not is_valid_value(text):
        properties.add_problem(path, "a value must not contain NUL or half a surrogate pair; remove it")
        return None
    return text


def _network(properties: Properties, resource: Mapping[str, Any]) -> str:
    """Return the network that the resource's Metadata names, or an empty text."""
    metadata = resource.get("Metadata")
    network = metadata.get("ServerfullNetwork", "") if isinstance(metadata, dict) else ""
    if network not in ("", "host", "none"):
        properties.add_problem("Metadata.ServerfullNetwork", f"{network!r} must be host or none; correct it")
        return ""
    return str(network)


def _mounts(properties: Properties) -> tuple[str, ...]:
    """Return the paths at which the function has file systems, without those that are known at AWS only."""
    configs = properties.value("FileSystemConfigs")
    paths = [config.get("LocalMountPath") for config in configs or () if isinstance(config, dict)]
    return tuple(path for path in paths if isinstance(path, str) and _MOUNT.fullmatch(path))


def _event_config(properties: Properties, resource: Properties | None) -> EventConfig | None:
    """Return how failed events are handled: by the function's EventInvokeConfig, or by a resource of its own."""
    source, prefix = (resource, "") if resource else (properties, "EventInvokeConfig.")

    def target(end: str) -> str | None:
        path = f"{prefix}DestinationConfig.{end}"
        if (destination := source.mapping(path)) and "Destination" not in destination:
            source.add_generated(
                path, "SAM would create the target", "no records are sent to it", "give its ARN as Destination"
            )
        return _target(source, f"{path}.Destination")

    try:
        config = EventConfig(
            source.number(f"{prefix}MaximumRetryAttempts", least=0),
            source.number(f"{prefix}MaximumEventAgeInSeconds"),
            target("OnSuccess"),
            target("OnFailure"),
            _target(properties, "DeadLetterQueue.TargetArn") or _target(properties, "DeadLetterConfig.TargetArn"),
        )
    except ConfigurationError as error:
        source.add_problem(prefix.rstrip(".") or "Properties", f"{error}; correct it")
        config = EventConfig()
    properties.problems += resource.problems if resource else []
    return None if config == EventConfig() else config


def _logging_config(properties: Properties) -> LoggingConfig | None:
    texts = [
        properties.text(f"LoggingConfig.{name}")
        for name in ("LogFormat", "ApplicationLogLevel", "SystemLogLevel", "LogGroup")
    ]
    try:
        return LoggingConfig(texts[0] or "Text", *texts[1:]) if any(texts) else None
    except ConfigurationError as error:
        properties.add_problem("LoggingConfig", f"{error}; correct it")
        return None


def _snap_start(properties: Properties) -> bool:
    apply_on = properties.text("SnapStart.ApplyOn")
    if apply_on not in (None, "", "None", "PublishedVersions"):
        properties.add_problem("SnapStart.ApplyOn", f"{apply_on!r} must be PublishedVersions or None; correct it")
    return apply_on == "PublishedVersions"


def _target(properties: Properties, path: str) -> str | None:
    """Return the target of records; None if it is absent, or has a stand-in, which must not be sent to AWS."""
    text, missing = properties.text_or_missing(path)
    for value in missing:
        properties.add_note(path, value, "no records are sent to this target")
    return None if missing else text or None


class EventResources:
    """The resources of type AWS::Lambda::EventInvokeConfig: plain CloudFormation's form of EventInvokeConfig."""

    def __init__(self, template: Template, resolver: Resolver) -> None:
        self._by_function: dict[str, tuple[str, Properties]] = {}
        for id, resource in template.of_type("AWS::Lambda::EventInvokeConfig").items():
            properties = Properties(template.location(id), resource.get("Properties"), resolver)
            name = properties.text("FunctionName").rpartition(":")[2]
            if name in self._by_function:
                continue
            try:
                if not resolver.is_created(id):
                    continue
            except Unresolvable as reason:
                properties.add_problem("Condition", reason)
            self._by_function[name] = id, properties

    def of(self, name: str) -> tuple[str, Properties | None]:
        """Return the logical id and the properties of a function's resource; an empty text and None without one."""
        return self._by_function.get(name, ("", None))
