"""From a function's resource in a template to a `Function`, with a line for each property that cannot be used."""

from __future__ import annotations

import re
from typing import NamedTuple

from serverfull_wsgi.domain import TIMEOUT_LIMIT, Function
from serverfull_wsgi.env_vars import RESERVED_VARIABLES, is_valid_value
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.fetchers.sam.code import CodeLocator
from serverfull_wsgi.fetchers.sam.intrinsics import Resolver
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable, as_text
from serverfull_wsgi.fetchers.sam.properties import UNRESOLVED, Properties
from serverfull_wsgi.fetchers.sam.template import SERVERLESS_FUNCTION, Template
from serverfull_wsgi.fetchers.static import ALIAS, NAME

_RUNTIMES = re.compile(r"python3\.\d+|nodejs\d+\.x|provided(\.al2|\.al2023)?|go1\.x", re.ASCII)
_SUPPORTED = "python3.x, nodejs*.x, provided.al2023, provided.al2, provided or go1.x"
# https://docs.aws.amazon.com/lambda/latest/api/API_Environment.html
_VARIABLE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]+", re.ASCII)


class DeclaredFunction(NamedTuple):
    """A function as a template declares it."""

    function: Function
    declared_name: str  # the name in the template; differs from the function's if it is not a valid name
    alias: str  # of AutoPublishAlias, or empty
    problems: list[str]  # the reasons why the function cannot run


def read_function(template: Template, resolver: Resolver, code: CodeLocator, id: str) -> DeclaredFunction:
    """Return the function of a logical id."""
    resource = template.resources[id]
    properties = Properties(template.location(id), resource.get("Properties"), resolver)
    name = declared_name = properties.text("FunctionName") or id
    if not NAME.fullmatch(name):
        properties.add_problem(
            "FunctionName", f"{name!r} must be 1 to 64 letters, digits, '-', '_' and '.'; choose another name"
        )
        name = id
    if properties.text("PackageType") == "Image":
        properties.add_problem("PackageType", "'Image' is not supported; set it to Zip, with Runtime, Handler and code")
        return DeclaredFunction(Function("", name), declared_name, "", properties.problems)
    runtime = _runtime(properties)
    is_serverless = resource["Type"] == SERVERLESS_FUNCTION
    find_code = code.of_serverless_function if is_serverless else code.of_lambda_function
    function = Function(
        properties.required("Handler", "name the function to call, such as app.handler"),
        name,
        timeout=properties.number("Timeout", most=TIMEOUT_LIMIT) or 3,
        memory_size=properties.number("MemorySize") or 128,
        description=properties.text("Description"),
        code=find_code(properties, runtime),
        runtime=runtime,
        environment=_environment(properties),
        layers=code.of_layers(properties),
        event_config=_event_config(properties, _event_resource(template, resolver, name)),
    )
    alias = _alias(properties) if is_serverless else ""
    return DeclaredFunction(function, declared_name, alias, properties.problems)


def _runtime(properties: Properties) -> str:
    runtime = properties.required("Runtime", f"use {_SUPPORTED}")
    if runtime and not _RUNTIMES.fullmatch(runtime):
        properties.add_problem("Runtime", f"{runtime!r} is not supported; use {_SUPPORTED}")
    return runtime


def _alias(properties: Properties) -> str:
    alias = properties.text("AutoPublishAlias")
    if alias and not ALIAS.fullmatch(alias):
        properties.add_problem(
            "AutoPublishAlias", f"{alias!r} must be letters, digits, '-' and '_', and not a number; choose another name"
        )
    return alias


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
        elif value is not UNRESOLVED:
            try:
                text = as_text(value)
            except Unresolvable as reason:
                properties.add_problem(path, reason)
                continue
            if is_valid_value(text):
                variables[name] = text
            else:
                properties.add_problem(path, "a value must not contain NUL or half a surrogate pair; remove it")
    return variables


def _event_config(properties: Properties, resource: Properties | None) -> EventConfig | None:
    """Return how failed events are handled: by the function's EventInvokeConfig, or by a resource of its own."""
    source, prefix = (resource, "") if resource else (properties, "EventInvokeConfig.")

    def target(end: str) -> str | None:
        path = f"{prefix}DestinationConfig.{end}"
        if (destination := source.mapping(path)) and "Destination" not in destination:
            source.add_problem(path, "SAM would create the target; give its ARN as Destination")
        return source.text(f"{path}.Destination") or None

    try:
        config = EventConfig(
            source.number(f"{prefix}MaximumRetryAttempts", least=0),
            source.number(f"{prefix}MaximumEventAgeInSeconds"),
            target("OnSuccess"),
            target("OnFailure"),
            properties.text("DeadLetterQueue.TargetArn") or properties.text("DeadLetterConfig.TargetArn") or None,
        )
    except ConfigurationError as error:
        source.add_problem(prefix.rstrip(".") or "Properties", f"{error}; correct it")
        config = EventConfig()
    properties.problems += resource.problems if resource else []
    return None if config == EventConfig() else config


def _event_resource(template: Template, resolver: Resolver, name: str) -> Properties | None:
    """Return a function's AWS::Lambda::EventInvokeConfig: plain CloudFormation's form of EventInvokeConfig."""
    for id, resource in template.of_type("AWS::Lambda::EventInvokeConfig").items():
        properties = Properties(template.location(id), resource.get("Properties"), resolver)
        if properties.text("FunctionName").rpartition(":")[2] != name:
            continue
        try:
            if resolver.is_created(id):
                return properties
        except Unresolvable as reason:
            properties.add_problem("Condition", reason)
            return properties
    return None
