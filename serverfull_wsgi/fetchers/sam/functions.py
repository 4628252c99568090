"""From a function's resource in a template to a `Function`, telling of every property what stands in its way."""

from __future__ import annotations

import re
from typing import NamedTuple

from serverfull_wsgi.domain import TIMEOUT_LIMIT, Function
from serverfull_wsgi.env_vars import RESERVED_VARIABLES, is_valid_value
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.fetchers.sam.code import Sources
from serverfull_wsgi.fetchers.sam.intrinsics import Resolver
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable, as_text
from serverfull_wsgi.fetchers.sam.properties import UNRESOLVED, Properties
from serverfull_wsgi.fetchers.sam.template import SERVERLESS_FUNCTION, Template
from serverfull_wsgi.fetchers.static import ALIAS, NAME

_RUNTIMES = re.compile(r"python3\.\d+|nodejs\d+\.x|provided(\.al2|\.al2023)?|go1\.x", re.ASCII)
_KNOWN = "python3.x, nodejs*.x, provided.al2023, provided.al2, provided or go1.x"
_VARIABLE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]+", re.ASCII)  # AWS's pattern


class Declared(NamedTuple):
    """A function as a template declares it; ``problems`` are the lines that say why it cannot run, if any do.

    ``written`` is the name that the template gives it, which the function has unless it is none.
    """

    function: Function
    written: str
    alias: str
    problems: list[str]


def declared(template: Template, resolver: Resolver, sources: Sources, id: str) -> Declared:
    """The function of this logical id."""
    resource = template.resources[id]
    its = Properties(template.where(id), resource.get("Properties"), resolver)
    name = written = its.text("FunctionName") or id
    if not NAME.fullmatch(name):
        its.refuse("FunctionName", f"{name!r} is no name, 1 to 64 letters, digits, '-', '_' and '.'; choose another")
        name = id
    if its.text("PackageType") == "Image":
        its.refuse("PackageType", "images are not run here; set it to Zip, and name Runtime, Handler and the code")
        return Declared(Function("", name), written, "", its.problems)
    runtime = _runtime(its)
    serverless = resource["Type"] == SERVERLESS_FUNCTION
    function = Function(
        its.required("Handler", "name what is to be called"),
        name,
        timeout=its.number("Timeout", most=TIMEOUT_LIMIT) or 3,
        memory_size=its.number("MemorySize") or 128,
        description=its.text("Description"),
        code=sources.serverless(its, runtime) if serverless else sources.plain(its, runtime),
        runtime=runtime,
        environment=_environment(its),
        layers=sources.layers(its),
        event_config=_event_config(its, _event_resource(template, resolver, name)),
    )
    return Declared(function, written, _alias(its) if serverless else "", its.problems)


def _runtime(its: Properties) -> str:
    runtime = its.required("Runtime", f"name {_KNOWN}")
    if runtime and not _RUNTIMES.fullmatch(runtime):
        its.refuse("Runtime", f"{runtime!r} is not run here; use {_KNOWN}")
    return runtime


def _alias(its: Properties) -> str:
    alias = its.text("AutoPublishAlias")
    if alias and not ALIAS.fullmatch(alias):
        its.refuse("AutoPublishAlias", f"{alias!r} must be letters, digits, '-', '_', and no number; choose another")
    return alias


def _environment(its: Properties) -> dict[str, str]:
    variables = {}
    for name, value in its.mapping("Environment.Variables").items():
        path = f"Environment.Variables.{name}"
        if name in RESERVED_VARIABLES:
            its.refuse(path, "Lambda reserves this name; choose another")
        elif not _VARIABLE.fullmatch(str(name)):
            its.refuse(path, "a name is a letter and then at least one letter, digit or '_'; choose another")
        elif value is not UNRESOLVED:
            try:
                text = as_text(value)
            except Unresolvable as reason:
                its.refuse(path, reason)
                continue
            if is_valid_value(text):
                variables[name] = text
            else:
                its.refuse(path, "no variable can have a NUL or half a surrogate pair in its value; remove it")
    return variables


def _event_config(its: Properties, resource: Properties | None) -> EventConfig | None:
    """What becomes of failed events: said in the function, or in a ``resource`` of its own."""
    source, inside = (resource, "") if resource else (its, "EventInvokeConfig.")

    def target(end: str) -> str | None:
        path = f"{inside}DestinationConfig.{end}"
        if (found := source.mapping(path)) and "Destination" not in found:
            source.refuse(path, "AWS would make its target; name it as Destination")
        return source.text(f"{path}.Destination") or None

    try:
        config = EventConfig(
            source.number(f"{inside}MaximumRetryAttempts", least=0),
            source.number(f"{inside}MaximumEventAgeInSeconds"),
            target("OnSuccess"),
            target("OnFailure"),
            its.text("DeadLetterQueue.TargetArn") or its.text("DeadLetterConfig.TargetArn") or None,
        )
    except ConfigurationError as error:
        source.refuse(inside.rstrip(".") or "Properties", f"{error}; correct it")
        config = EventConfig()
    its.problems += resource.problems if resource else []
    return None if config == EventConfig() else config


def _event_resource(template: Template, resolver: Resolver, name: str) -> Properties | None:
    """The AWS::Lambda::EventInvokeConfig of a function: plain CloudFormation's EventInvokeConfig property."""
    for id, resource in template.of_type("AWS::Lambda::EventInvokeConfig").items():
        its = Properties(template.where(id), resource.get("Properties"), resolver)
        if its.text("FunctionName").rpartition(":")[2] != name:
            continue
        try:
            if resolver.is_made(id):
                return its
        except Unresolvable as reason:
            its.refuse("Condition", reason)
            return its
    return None
