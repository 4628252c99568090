"""Parts of a template that are not served: features that have no effect, and names that AWS does not have.

Each is a warning, since the functions run without it.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator
from functools import cache
from typing import Any

from serverfull_wsgi.fetchers.sam.intrinsics import NO_VALUE, Resolver
from serverfull_wsgi.fetchers.sam.notes import Notes
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable
from serverfull_wsgi.fetchers.sam.property_names import (
    ATTRIBUTES,
    EVENT_TYPES,
    GLOBALS,
    PROPERTIES,
    SECTIONS,
    TYPES,
    similar_name,
    unknown_names,
)
from serverfull_wsgi.fetchers.sam.template import FUNCTION_TYPES, SERVERLESS_FUNCTION, Template

_MACHINES = {"arm64": ("aarch64", "arm64"), "x86_64": ("x86_64", "amd64")}  # by AWS's word, as `platform` has them
_TMP_SIZE = "512"  # MiB of /tmp without EphemeralStorage
_TYPE_LIKENESS = 0.9  # of a misspelt function type: other services have types that are less similar
_UNKNOWN: Any = object()  # a value that cannot be resolved; the feature may be on
_INSTEAD = "invoke the function instead"
_WITH_FRONT = "are served by 'serverfull serve --api', or with SERVERFULL_FRONT; without them, invoke the function"
_HTTP_EVENTS = ("Api", "HttpApi")


def _is_any(value: Any) -> bool:
    return value not in (None, NO_VALUE, {}, [])


def _unless(*defaults: str) -> Callable[[Any], bool]:
    """Return a test that is true for a property, or its only member, with a value other than these."""

    def test(value: Any) -> bool:
        inner = next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else value
        return _is_any(value) and str(inner) not in defaults

    return test


def _is_for_another_machine(value: Any) -> bool:
    names = [str(each) for each in value] if isinstance(value, list) else []
    return bool(names) and not any(platform.machine().lower() in _MACHINES.get(name, ()) for name in names)


# By property: a test of its value, and the warning.
_FEATURES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "Architectures": (
        _is_for_another_machine,
        f"this machine is {platform.machine()}, so native code for another architecture cannot be loaded; build it for "
        "this machine",
    ),
    "CapacityProviderConfig": (_is_any, "capacity providers do not exist here; this machine runs the function"),
    "CodeSigningConfigArn": (_is_any, "signatures of code are not checked; check them before you deploy the code"),
    "DurableConfig": (_is_any, "durable executions are not supported; the function runs as an ordinary function"),
    "EphemeralStorage": (
        _unless(_TMP_SIZE),
        "the size of /tmp is limited only where the function has a root directory of its own; see SERVERFULL_SANDBOX",
    ),
    "FunctionScalingConfig": (_is_any, "scaling is not configured here; SERVERFULL_MAX_CONCURRENCY is the limit"),
    "FunctionUrlConfig": (_is_any, f"function URLs {_WITH_FRONT}"),
    "RecursiveLoop": (
        _unless("Terminate"),
        "loops of events are always stopped, as with Terminate; Allow has no effect",
    ),
    "TenancyConfig": (_is_any, "tenants share environments, although AWS separates them; separate them by functions"),
    "Tracing": (_unless("PassThrough", "Disabled"), "no traces are sent to X-Ray; send them from the function"),
    "VpcConfig": (_is_any, "the function uses the network of this machine; restrict the network there"),
}
_FEATURES["TracingConfig"] = _FEATURES["Tracing"]

# By type of a resource that is about functions. AWS::Lambda::Permission is a separate case.
_RESOURCES = {
    "AWS::CloudFormation::Stack": "the functions of nested applications are not served",
    "AWS::Lambda::EventSourceMapping": f"event source mappings are not served; {_INSTEAD}",
    "AWS::Lambda::Url": f"function URLs {_WITH_FRONT}",
    "AWS::Lambda::WebFunction": "this type of function is not served; declare an AWS::Lambda::Function",
    "AWS::Serverless::Application": "the functions of nested applications are not served",
    "AWS::Serverless::StateMachine": f"state machines are not run; {_INSTEAD}",
    "AWS::Serverless::WebFunction": "this type of function is not served; declare an AWS::Serverless::Function",
}


def add_unserved(template: Template, resolver: Resolver, notes: Notes, *, has_front: bool) -> None:
    """Add a warning for each feature that the template uses and that is not served here.

    With a front, APIs and function URLs are served, and the front has warnings of its own about them.
    """
    for id, resource in template.resources.items():
        if not isinstance(resource, dict) or not _may_be_created(resolver, id):
            continue
        type, properties = str(resource.get("Type")), resource.get("Properties")
        values = properties if isinstance(properties, dict) else {}
        if type in FUNCTION_TYPES:
            for path, text in _features(values, resolver):
                if not has_front or not text.endswith(_WITH_FRONT):
                    notes.add(id, path, text)
        elif type in _RESOURCES:
            if not has_front or not _RESOURCES[type].endswith(_WITH_FRONT):
                notes.add(id, "", _RESOURCES[type])
        elif type == "AWS::Lambda::Permission" and str(values.get("Principal")).endswith(".amazonaws.com"):
            notes.add(id, "Principal", f"events of {values['Principal']} are not served; {_INSTEAD}")


def _features(properties: dict[str, Any], resolver: Resolver) -> Iterator[tuple[str, str]]:
    """Yield the path of each property that has no effect, with the warning."""
    for name in filter(_FEATURES.__contains__, properties):
        is_used, text = _FEATURES[name]
        value = _resolved(resolver, properties[name])
        if value is _UNKNOWN or is_used(value):
            yield name, text
    events = properties.get("Events")
    for name, event in events.items() if isinstance(events, dict) else ():
        type = event.get("Type") if isinstance(event, dict) else None
        if isinstance(type, str) and type in EVENT_TYPES:
            effect = _WITH_FRONT if type in _HTTP_EVENTS else f"are not served; {_INSTEAD}"
            yield f"Events.{name}", f"events of type {type} {effect}"


def _resolved(resolver: Resolver, value: Any) -> Any:
    try:
        return resolver.resolve(value)
    except Unresolvable:
        return _UNKNOWN


def _may_be_created(resolver: Resolver, id: str) -> bool:
    try:
        return resolver.is_created(id)
    except Unresolvable:
        return True


def add_unknown_names(template: Template, notes: Notes) -> None:
    """Add a warning for each name in the template that AWS does not have, with a similar name if there is one."""
    for name in template.sections:
        if name not in SECTIONS:
            notes.add(name, "", _unknown("is not a section of a template", similar_name(name, SECTIONS)))
    for name in template.globals:
        if name not in GLOBALS:
            notes.add("Globals", name, _unknown("is not a section of Globals", similar_name(name, GLOBALS)))
    _add_unknown_properties("Globals", "Function.", template.globals.get("Function"), SERVERLESS_FUNCTION, notes)
    for id, resource in template.declared.items():
        type = resource.get("Type") if isinstance(resource, dict) else None
        if isinstance(type, str) and type in PROPERTIES:
            _add_unknown_attributes(id, resource, PROPERTIES[type], notes)
            _add_unknown_properties(id, "", resource.get("Properties"), type, notes)
            _add_unknown_events(id, resource.get("Properties"), notes)
        elif isinstance(type, str) and type not in TYPES and (similar := _similar_type(type)) is not None:
            notes.add(id, "Type", _unknown(f"{type!r} is not a type of AWS", similar))


def _add_unknown_attributes(id: str, resource: dict[str, Any], properties: Collection[str], notes: Notes) -> None:
    for name in resource:
        if name in properties:
            notes.add(id, name, "has no effect beside Properties; write it below Properties")
        elif name not in ATTRIBUTES:
            notes.add(id, name, _unknown("is not an attribute of a resource", similar_name(name, ATTRIBUTES)))


def _add_unknown_properties(id: str, prefix: str, properties: Any, type: str, notes: Notes) -> None:
    for path, similar in unknown_names(properties, PROPERTIES[type]):
        notes.add(id, f"{prefix}{path}", _unknown(f"is not a property of {type}", similar))


def _add_unknown_events(id: str, properties: Any, notes: Notes) -> None:
    events = properties.get("Events") if isinstance(properties, dict) else None
    for name, event in events.items() if isinstance(events, dict) else ():
        type = event.get("Type") if isinstance(event, dict) else None
        if not isinstance(type, str):
            notes.add(id, f"Events.{name}", "has no effect without a Type; add the type of event")
        elif type not in EVENT_TYPES:
            text = _unknown(f"{type!r} is not a type of event", similar_name(type, EVENT_TYPES))
            notes.add(id, f"Events.{name}.Type", text)


@cache
def _similar_type(type: str) -> str | None:
    """Return a similar type of a function or layer, an empty text for no such type, None for another service's type."""
    if type.startswith(("AWS::Serverless::", "AWS::Lambda::")):
        return similar_name(type, TYPES)
    return similar_name(type, PROPERTIES, _TYPE_LIKENESS) or None


def _unknown(text: str, similar: str) -> str:
    return f"{text}, so it has no effect; {f'did you mean {similar!r}?' if similar else 'remove it'}"
