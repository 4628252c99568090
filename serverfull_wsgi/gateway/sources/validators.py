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


def required_of(names: Iterable[str]) -> Access:
    """Return the condition of required parameters, such as ``method.request.header.X-A``."""
    pairs = [name.removeprefix(_START).partition(".") for name in names if name.startswith(_START)]
    return Access(required=tuple((place, name) for place, _, name in pairs if place in REQUIRED))


def of_method(resources: Resources, id: str, method: Properties) -> Access:
    """Return the condition of the validator of an ``AWS::ApiGateway::Method``."""
    if "RequestValidatorId" not in resources.declared(id):
        return OPEN
    target = resources.target(id, "RequestValidatorId")
    found = dict(resources.of_type("AWS::ApiGateway::RequestValidator")).get(target)
    if found is None:
        return _UNKNOWN
    parameters, models = method.value("RequestParameters"), method.value("RequestModels")
    checks = [found.value(name) for name in ("ValidateRequestBody", "ValidateRequestParameters")]
    if found.problems or method.has_problem("RequestParameters") or method.has_problem("RequestModels"):
        return _UNKNOWN
    if is_true(checks[0]) and models:
        return _BODY
    names = (name for name, is_required in mapping(parameters).items() if is_true(is_required))
    return required_of(names) if is_true(checks[1]) else OPEN


def of_event(event: Properties, path: str) -> Access:
    """Return the condition of RequestModel and RequestParameters of an event ``Api``; ``path`` is its properties'."""
    model, parameters = event.mapping(f"{path}.RequestModel"), event.value(f"{path}.RequestParameters")
    if event.has_problem(f"{path}.RequestModel") or "Fn::Transform" in model:
        return _UNKNOWN
    if model.get("ValidateBody", False) not in (False, "false"):
        return _BODY
    if model.get("ValidateParameters", False) in (False, "false"):
        return OPEN
    if event.has_problem(f"{path}.RequestParameters"):
        return _UNKNOWN
    members = [pair for each in listed(parameters) if isinstance(each, dict) for pair in each.items()]
    return required_of(name for name, value in members if is_true(mapping(value).get("Required")))


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
    parameters = [
        _referred(document, each) for members in (path, operation) for each in listed(members.get("parameters"))
    ]
    if not isinstance(validator, dict) or None in parameters:
        return _UNKNOWN
    has_body = "requestBody" in operation or any(mapping(each).get("in") == "body" for each in parameters)
    if is_true(validator.get("validateRequestBody")) and has_body:
        return _BODY
    if not is_true(validator.get("validateRequestParameters")):
        return OPEN
    required = [mapping(each) for each in parameters if is_true(mapping(each).get("required"))]
    return required_of(f"{_START}{_PLACES.get(str(each.get('in')), '')}.{each.get('name')}" for each in required)


def _referred(document: Mapping[str, Any], parameter: Any) -> dict[str, Any] | None:
    """Return a parameter, or the one that its ``$ref`` names; None if that does not exist."""
    if not isinstance(parameter, dict) or "$ref" not in parameter:
        return parameter if isinstance(parameter, dict) else None
    found: Any = document
    for name in str(parameter["$ref"]).removeprefix("#/").split("/"):
        found = mapping(found).get(name)
    return found if isinstance(found, dict) else None
