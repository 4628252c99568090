"""The conditions of a SAM template for the callers of a route: ``Auth`` of an API and of its events.

A condition that cannot be resolved, or is not supported, becomes `Access.unsupported`. The route then refuses each
request.
"""

from __future__ import annotations

from typing import Any

from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.gateway.access import Access, JwtAuthorizer, LambdaAuthorizer, is_known_source
from serverfull_wsgi.gateway.sources.openapi import identity_source, jwt_authorizer
from serverfull_wsgi.gateway.values import function_in, has_transform, is_pattern, is_true, texts

IAM = "AWS_IAM"
_OPEN = ("", "NONE")  # values of Authorizer that let each caller in
_FALSE: tuple[Any, ...] = (False, "false")
_PREFLIGHT = {  # members of Auth that a preflight has only if the other member is true, which it is without a value
    "DefaultAuthorizer": "AddDefaultAuthorizerToCorsPreflight",
    "ApiKeyRequired": "AddApiKeyRequiredToCorsPreflight",
}
_PLACES = {  # members of Identity, in AWS's order
    "Headers": "header",
    "QueryStrings": "querystring",
    "StageVariables": "stageVariables",
    "Context": "context",
}


def access_of(
    api: Properties, event: Properties | None = None, path: str = "", *, is_rest: bool, method: str = ""
) -> Access:
    """Return the conditions of a route.

    Args:
        api: the properties of the API.
        event: the properties of the function whose event the route is; None without an event.
        path: the path of the event's properties in ``event``.
        is_rest: True for a REST API.
        method: the method of the route. OPTIONS has the defaults of the API too, unless
            ``AddDefaultAuthorizerToCorsPreflight`` or ``AddApiKeyRequiredToCorsPreflight`` is false.
    """
    of_api, own = api.mapping("Auth"), {} if event is None else event.mapping(f"{path}.Auth")
    if (
        api.has_problem("Properties")
        or api.has_problem("Auth")
        or (event is not None and event.has_problem(f"{path}.Auth"))
    ):
        return Access("an Auth that cannot be resolved")
    if has_transform(of_api) or has_transform(own) or api.value("Fn::Transform"):
        return Access("a macro that may add conditions")
    if "ResourcePolicy" in of_api or "ResourcePolicy" in own:
        return Access("ResourcePolicy")
    if "MutualTlsAuthentication" in api.mapping("Domain") or api.has_problem("Domain"):
        return Access("mutual TLS")
    if method == "OPTIONS":
        of_api = {name: value for name, value in of_api.items() if of_api.get(_PREFLIGHT.get(name, "")) not in _FALSE}
    needs_api_key = own.get("ApiKeyRequired", of_api.get("ApiKeyRequired", False)) not in _FALSE
    if needs_api_key and not is_rest:
        return Access("ApiKeyRequired of an HTTP API")
    name = own.get("Authorizer", of_api.get("DefaultAuthorizer", ""))
    if name in _OPEN:
        return Access("", None, needs_api_key)
    if not isinstance(name, str):
        return Access("an Authorizer that is not a name")
    if name == IAM:
        return Access("", None, needs_api_key, needs_signature=True)
    if not is_rest and "JwtConfiguration" in api.mapping(f"Auth.Authorizers.{name}"):
        token = _token(api, name, own)
        return Access("" if token else f"authorizer {name!r}", token=token)
    authorizer = _authorizer(api, name, is_rest)
    return Access("" if authorizer else f"authorizer {name!r}", authorizer, needs_api_key)


def _token(api: Properties, name: str, own: dict[str, Any]) -> JwtAuthorizer | None:
    """Return the JWT authorizer of this name, or None if it cannot be used."""
    path = f"Auth.Authorizers.{name}"
    issuer = api.text(f"{path}.JwtConfiguration.issuer")
    audience = texts(api.value(f"{path}.JwtConfiguration.audience"))
    source = identity_source(api.text(f"{path}.IdentitySource") or "$request.header.Authorization")
    scopes = texts(own.get("AuthorizationScopes", api.value(f"{path}.AuthorizationScopes")))
    if "." in name or api.has_problem(path):
        return None
    return jwt_authorizer(issuer, audience, source, scopes)


def _authorizer(api: Properties, name: str, is_rest: bool) -> LambdaAuthorizer | None:
    """Return the Lambda authorizer of this name, or None for an authorizer of another kind or without a form."""
    path = f"Auth.Authorizers.{name}"
    if name not in api.mapping("Auth.Authorizers") or "." in name:
        return None
    function = function_in(api.text(f"{path}.FunctionArn"))
    type = (api.text(f"{path}.FunctionPayloadType") or "TOKEN").upper() if is_rest else "REQUEST"
    payload = api.text(f"{path}.AuthorizerPayloadFormatVersion") or "1.0"
    validation = api.text(f"{path}.Identity.ValidationExpression")
    ttl = api.number(f"{path}.Identity.ReauthorizeEvery", least=0, most=3600)
    is_simple = not is_rest and is_true(api.value(f"{path}.EnableSimpleResponses"))
    sources = tuple(
        (place, each) for member, place in _PLACES.items() for each in texts(api.value(f"{path}.Identity.{member}"))
    )
    if type == "TOKEN":
        sources = (("header", api.text(f"{path}.Identity.Header") or "Authorization"),)
    is_known = type in ("TOKEN", "REQUEST") and payload in ("1.0", "2.0") and is_pattern(validation)
    if not function or not is_known or api.has_problem(path) or not all(is_known_source(*each) for each in sources):
        return None
    seconds = (300 if is_rest else 0) if ttl is None else ttl
    return LambdaAuthorizer(function, is_rest, type, payload, is_simple, sources, validation, seconds)
