"""Request validators of REST APIs: the parameters that a request must have.

A validator checks required parameters, the body, or both. Parameters are checked here. The body is checked against the
JSON schema of a model on AWS; such a check is not supported, so a route with one refuses its requests. A parameter that
is required without a validator is documentation only, as on AWS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.gateway.access import OPEN, Access
from serverfull_wsgi.gateway.sources.resources import Resources
from serverfull_wsgi.gateway.validation import REQUIRED
from serverfull_wsgi.gateway.values import is_true, listed, mapping

_BODY = Access("the validation of a body by its model")
_UNKNOWN = Access("a request validator that is not known")
_START = "method.request."
_PLACES = {"query": "querystring", "header": "header", "path": "path"}  # OpenAPI's words
_MEMBER, _MEMBERS = "x-amazon-apigateway-request-validator", "x-amazon-apigateway-request-validators"


class _Unknown(Exception):
    """A member of a validator that is not known."""


def of_method(resources: Resources, id: str, method: Properties) -> Access:
    """Return the condition of the validator of an ``AWS::ApiGateway::Method``."""
    if method.value("RequestValidatorId") is None and not method.has_problem("RequestValidatorId"):
        return OPEN
    target = resources.target(id, "RequestValidatorId")
    found = dict(resources.of_type("AWS::ApiGateway::RequestValidator")).get(target)
    parameters = method.value("RequestParameters")
    has_model = bool(method.value("RequestModels")) or method.has_problem("RequestModels")  # a Ref to a model is one
    if found is None or method.has_problem("RequestParameters"):
        return _UNKNOWN
    members = {name: found.value(name) for name in ("ValidateRequestBody", "ValidateRequestParameters")}
    if found.problems or not isinstance(parameters, (dict, type(None))):
        return _UNKNOWN
    return _of(members["ValidateRequestBody"], has_model, members["ValidateRequestParameters"], mapping(parameters))


def of_event(event: Properties, path: str) -> Access:
    """Return the condition of RequestModel and RequestParameters of an event ``Api``; ``path`` is its properties'."""
    model, parameters = event.mapping(f"{path}.RequestModel"), event.value(f"{path}.RequestParameters")
    if event.has_problem(f"{path}.RequestModel") or "Fn::Transform" in model:
        return _UNKNOWN
    if model.get("ValidateParameters") and event.has_problem(f"{path}.RequestParameters"):
        return _UNKNOWN
    members = [pair for each in listed(parameters) if isinstance(each, dict) for pair in each.items()]
    required = {name: mapping(value).get("Required") for name, value in members}
    return _of(model.get("ValidateBody"), True, model.get("ValidateParameters"), required)


def of_operation(document: Mapping[str, Any], path: Mapping[str, Any], operation: Mapping[str, Any]) -> Access:
    """Return the condition of the validator of an operation, or else of its document.

    Args:
        document: the OpenAPI document.
        path: the members of the operation's path.
        operation: the members of the operation.
    """
    name = operation.get(_MEMBER, document.get(_MEMBER))
    if name is None:
        return OPEN
    validator = mapping(document.get(_MEMBERS)).get(name) if isinstance(name, str) else None
    declared = [members.get("parameters", []) for members in (path, operation)]
    parameters = [_referred(document, each) for several in declared for each in listed(several)]
    if not isinstance(validator, dict) or None in parameters or not all(isinstance(each, list) for each in declared):
        return _UNKNOWN
    members = [mapping(each) for each in parameters]
    has_body = "requestBody" in operation or any(each.get("in") == "body" for each in members)
    required = {
        f"{_START}{_PLACES.get(str(each.get('in')))}.{each.get('name')}": each.get("required") for each in members
    }
    return _of(validator.get("validateRequestBody"), has_body, validator.get("validateRequestParameters"), required)


def _referred(document: Mapping[str, Any], parameter: Any) -> dict[str, Any] | None:
    """Return a parameter, or the one that its ``$ref`` names; None if that does not exist."""
    if not isinstance(parameter, dict) or "$ref" not in parameter:
        return parameter if isinstance(parameter, dict) else None
    found: Any = document
    for name in str(parameter["$ref"]).removeprefix("#/").split("/"):
        found = mapping(found).get(name)
    return found if isinstance(found, dict) else None


def _of(checks_body: Any, has_model: bool, checks_parameters: Any, parameters: Mapping[str, Any]) -> Access:
    """Return the condition of a validator.

    Args:
        checks_body, checks_parameters: the members of the validator.
        has_model: True if the route has a model for its body.
        parameters: whether each parameter, such as ``method.request.header.X-A``, is required.
    """
    try:
        if _is_on(checks_body) and has_model:
            return _BODY
        if not _is_on(checks_parameters):
            return OPEN
        return _required([name for name, is_required in parameters.items() if _is_on(is_required)])
    except _Unknown:
        return _UNKNOWN


def _is_on(value: Any) -> bool:
    """Return whether a member is true; an absent one is false. Raises `_Unknown` for any other value."""
    if value in (None, False, "false"):
        return False
    if not is_true(value):
        raise _Unknown
    return True


def _required(names: Iterable[str]) -> Access:
    """Return the condition of required parameters. Raises `_Unknown` for a name of another form."""
    pairs = [name.removeprefix(_START).partition(".") for name in names]
    if not all(name and place in _PLACES.values() for place, _, name in pairs):
        raise _Unknown
    return Access(required=tuple((place, name) for place, _, name in pairs if place in REQUIRED))
