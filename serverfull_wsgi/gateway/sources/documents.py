"""The OpenAPI document of an API: in the template, or in a file that the template names.

    ==============================================================  ==================================================
    in the template                                                 document
    ==============================================================  ==================================================
    ``DefinitionBody``, ``Body``                                    the value
    the same with ``Fn::Transform: {Name: AWS::Include, …}``        the value and the file of ``Location``
    ``DefinitionUri``, ``BodyS3Location``                           the file
    ==============================================================  ==================================================

Only files of this machine are read: an object in S3 has no local copy. A relative path starts at the folder of the
template, as for `sam local`. Intrinsic functions in a file are resolved as in the template.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable
from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.gateway.sources.resources import Resources
from serverfull_wsgi.gateway.values import has_transform, mapping

_TRANSFORM = "Fn::Transform"
_AT_AWS = "is at AWS; name a file of this machine, such as ./openapi.yaml"


class Document(NamedTuple):
    """The OpenAPI document of an API.

    Args:
        members: the document without intrinsic functions; empty if the API has none, or none that can be read.
        place: the property or the file that has it, for messages.
        problem: the condition for the routes of the API if the document is not known; empty if it is.
    """

    members: dict[str, Any]
    place: str
    problem: str = ""


def read_document(resources: Resources, id: str, properties: Properties, body: str, location: str) -> Document:
    """Return the document of an API, and add a warning for each part that cannot be read.

    Args:
        resources: the resources of the template.
        id: the logical id of the API.
        properties: the properties of the API.
        body: the property with the document: ``DefinitionBody`` or ``Body``.
        location: the property with the file: ``DefinitionUri`` or ``BodyS3Location``.
    """
    declared = properties.declared(body)
    try:
        if properties.declared(location) is not None:
            return _resolved(
                resources, id, resources.template.read_document(_path(properties.value(location))), location
            )
        if has_transform(declared):
            return _resolved(resources, id, _included(resources, declared), body)
    except (ConfigurationError, Unresolvable) as reason:
        resources.warn(id, str(reason), location if properties.declared(location) is not None else body)
        return Document({}, resources.place(id, body), "a document that cannot be read")
    return _of(resources, id, properties, body)


def _resolved(resources: Resources, id: str, members: dict[str, Any], name: str) -> Document:
    properties = Properties(resources.template.location(id), {name: members}, resources.resolver)
    return _of(resources, id, properties, name)


def _of(resources: Resources, id: str, properties: Properties, name: str) -> Document:
    value, place, problem = properties.value(name), resources.place(id, name), ""
    members = mapping(value)
    if not members and (value is not None or properties.has_problem(name)):
        resources.warnings += [line for line in properties.problems if line.startswith(place)]
        problem = f"a {name} that cannot be resolved"
    return Document(members, place, problem)


def _included(resources: Resources, declared: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a document and of the file that it includes. Raises `Unresolvable`."""
    transform = mapping(declared[_TRANSFORM])
    if transform.get("Name") != "AWS::Include":
        raise Unresolvable(f"the macro {transform.get('Name')!r} is not run; write its result into the document")
    location = resources.resolver.resolve(mapping(transform.get("Parameters")).get("Location"))
    included = resources.template.read_document(_path(location))
    own = {name: value for name, value in declared.items() if name != _TRANSFORM}
    if both := own.keys() & included.keys():
        raise Unresolvable(f"the document and the file that it includes both have {min(both)!r}; remove one")
    return {**included, **own}


def _path(location: Any) -> str:
    """Return the path of a local file. Raises `Unresolvable` for an object in S3, and for any other value."""
    if isinstance(location, str) and location and not location.startswith(("s3://", "http://", "https://")):
        return location
    shown = repr(location) if isinstance(location, str) else "the location"
    raise Unresolvable(f"{shown} {_AT_AWS}")
