"""OpenAPI documents with API Gateway's extensions, as a template's ``DefinitionBody`` and ``Body`` have them.

The functions take a document without CloudFormation's intrinsic functions, and raise nothing: a route that cannot be
read has an `Access` that is not supported.

Source: the reference of the ``x-amazon-apigateway`` extensions in the developer's guide of API Gateway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from serverfull_wsgi.gateway.access import OPEN, Access, JwtAuthorizer, LambdaAuthorizer, is_known_source
from serverfull_wsgi.gateway.route_table import METHODS
from serverfull_wsgi.gateway.sites import FixedAnswer
from serverfull_wsgi.gateway.sources import validators
from serverfull_wsgi.gateway.sources.known_properties import unknown_member, unsupported_extension
from serverfull_wsgi.gateway.sources.mocks import NotStatic, access_of_mock, mock_answer
from serverfull_wsgi.gateway.values import (
    function_in,
    has_transform,
    is_pattern,
    is_true,
    mapping,
    texts,
    whole_number,
)

ANY_METHOD = "x-amazon-apigateway-any-method"
_INTEGRATION = "x-amazon-apigateway-integration"
_AUTHORIZER = "x-amazon-apigateway-authorizer"
_AUTH = "x-amazon-apigateway-auth"


class OpenApiRoute(NamedTuple):
    """One method of a path.

    Args:
        key: the route key.
        function: the function, as ``name`` or ``name:qualifier``; empty without one.
        payload: the version of the event at an HTTP API.
        timeout: seconds; 0 for the default.
        operation_name: the ``operationId``.
        fixed: the answer of a mock integration; None for a function.
        access: the conditions under which a caller may use the route.
    """

    key: str
    function: str = ""
    payload: str = "1.0"
    timeout: float = 0.0
    operation_name: str | None = None
    fixed: FixedAnswer | None = None
    access: Access = OPEN


def routes(document: Mapping[str, Any], *, is_rest: bool) -> Iterator[OpenApiRoute]:
    """Yield the routes of a document.

    >>> uri = "…:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:123456789012:function:pets/invocations"
    >>> operation = {"x-amazon-apigateway-integration": {"type": "aws_proxy", "uri": uri}}
    >>> [route.key for route in routes({"paths": {"/pets": {"get": operation}}}, is_rest=True)]
    ['GET /pets']
    """
    paths = mapping(document.get("paths"))
    of_document = Access(unsupported_member(document, paths))
    for path, methods in paths.items():
        of_path = of_document.both(Access(unsupported_member(mapping(methods))))
        for method, operation in mapping(methods).items():
            name = "ANY" if method.lower() == ANY_METHOD else method.upper()
            if name not in METHODS:
                continue
            key = "$default" if path in ("$default", "/$default") and not is_rest else f"{name} {path}"
            route = _route(document, key, operation, is_rest)
            if is_rest:
                access = route.access.both(validators.of_operation(document, mapping(methods), mapping(operation)))
                route = route._replace(access=access)
            yield route._replace(access=route.access.both(of_path)) if of_path.unsupported else route


def common_access(document: Mapping[str, Any], *, is_rest: bool) -> Access:
    """Return the conditions that a document sets for a route that it does not have itself."""
    paths = mapping(document.get("paths"))
    unsupported = unsupported_member(document, paths)
    if not all(isinstance(each, dict) for each in (document.get("paths", {}), *paths.values())):
        unsupported = unsupported or "a path that cannot be resolved"
    return Access(unsupported) if unsupported else _access(document, {}, is_rest)


def binary_media_types(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the media types whose bodies are base64 in events.

    >>> binary_media_types({"x-amazon-apigateway-binary-media-types": ["image/*"]})
    ('image/*',)
    """
    return texts(document.get("x-amazon-apigateway-binary-media-types"))


def unsupported_member(*mappings: Mapping[str, Any]) -> str:
    """Return a member that is or may be an unsupported condition for callers; an empty text without one."""
    if any(map(has_transform, mappings)):
        return "Fn::Transform"
    return next(filter(None, map(unsupported_extension, mappings)), "")


def _route(document: Mapping[str, Any], key: str, operation: Any, is_rest: bool) -> OpenApiRoute:
    if not isinstance(operation, dict):
        return OpenApiRoute(key, access=Access("an operation that is not a mapping"))
    integration = operation.get(_INTEGRATION)
    if not isinstance(integration, dict):
        return OpenApiRoute(key, access=Access(f"an operation without {_INTEGRATION}"))
    kind = str(integration.get("type")).lower()
    if kind == "mock" and is_rest:
        access = _access(document, operation, is_rest).both(Access(unsupported_member(operation, integration)))
        return _mock(key, integration, access)
    function = function_in(integration.get("uri"))
    if kind != "aws_proxy" or not function:
        return OpenApiRoute(key, access=Access(f"an integration of type {kind!r} without a Lambda function"))
    if unsupported := unsupported_member(operation, integration):
        return OpenApiRoute(key, function, access=Access(unsupported))
    if "requestParameters" in integration and not is_rest:  # the function may trust the headers that they set
        return OpenApiRoute(key, function, access=Access("requestParameters of the integration"))
    if unknown := unknown_member(integration):
        return OpenApiRoute(key, function, access=Access(f"{unknown} of the integration"))
    route = OpenApiRoute(
        key,
        function,
        str(integration.get("payloadFormatVersion", "1.0")),
        (whole_number(integration.get("timeoutInMillis")) or 0) / 1000,
        str(operation["operationId"]) if "operationId" in operation else None,
    )
    return route._replace(access=_access(document, operation, is_rest))


def _mock(key: str, integration: Mapping[str, Any], access: Access) -> OpenApiRoute:
    try:
        return OpenApiRoute(key, fixed=mock_answer(integration), access=access_of_mock(access))
    except NotStatic as reason:
        return OpenApiRoute(key, access=Access(str(reason)))


def _access(document: Mapping[str, Any], operation: Mapping[str, Any], is_rest: bool) -> Access:
    """Return the conditions of the security requirements. Every scheme that is named must be met."""
    access = _of_type(mapping(operation[_AUTH]).get("type")) if _AUTH in operation else OPEN
    requirements = operation.get("security", document.get("security", []))
    if not isinstance(requirements, list) or not all(isinstance(each, dict) for each in requirements):
        return Access("security that is not a list of requirements")
    components = mapping(document.get("components"))
    schemes = mapping(document.get("securityDefinitions")) | mapping(components.get("securitySchemes"))
    for name in [name for each in requirements for name in each if name != "NONE"]:
        scopes = texts(next(each[name] for each in requirements if name in each))
        access = access.both(_of_scheme(name, mapping(schemes.get(name)), scopes, is_rest))
    return access


def _of_type(type: Any) -> Access:
    """Return the conditions of ``x-amazon-apigateway-auth``."""
    if type == "NONE":
        return OPEN
    return Access(needs_signature=True) if str(type).upper() == "AWS_IAM" else Access(_AUTH)


def _of_scheme(name: str, scheme: Mapping[str, Any], scopes: tuple[str, ...], is_rest: bool) -> Access:
    if _AUTHORIZER in scheme:
        members = mapping(scheme[_AUTHORIZER])
        if str(members.get("type")).lower() == "jwt" and not is_rest:
            configuration = mapping(members.get("jwtConfiguration"))
            source = identity_source((texts(members.get("identitySource")) or ("$request.header.Authorization",))[0])
            audience = texts(configuration.get("audience"))
            token = jwt_authorizer(str(configuration.get("issuer") or ""), audience, source, scopes)
            return Access("" if token else f"security scheme {name!r}", token=token)
        header = str(scheme.get("name") or "Authorization")
        function = function_in(members.get("authorizerUri"))
        authorizer = lambda_authorizer(members, function, is_rest=is_rest, header=header)
        return Access("" if authorizer else f"security scheme {name!r}", authorizer)
    if str(scheme.get("x-amazon-apigateway-authtype")).lower() == "awssigv4":
        return Access(needs_signature=True)
    is_api_key = is_rest and scheme.get("type") == "apiKey" and str(scheme.get("name")).lower() == "x-api-key"
    is_other = "x-amazon-apigateway-authtype" in scheme
    return Access(needs_api_key=True) if is_api_key and not is_other else Access(f"security scheme {name!r}")


def jwt_authorizer(
    issuer: str, audience: tuple[str, ...], source: tuple[str, str], scopes: tuple[str, ...]
) -> JwtAuthorizer | None:
    """Return a JWT authorizer, or None for one that accepts no token, or whose tokens come from another place."""
    if not issuer.startswith(("https://", "http://")) or not audience or source[0] not in ("header", "querystring"):
        return None
    return JwtAuthorizer(issuer, audience, source, scopes)


def lambda_authorizer(
    members: Mapping[str, Any], function: str, *, is_rest: bool, header: str = "Authorization"
) -> LambdaAuthorizer | None:
    """Return a Lambda authorizer with the members of the OpenAPI extension, or None for another kind of authorizer.

    Args:
        members: ``type``, ``identitySource`` and others.
        function: the function, as ``name`` or ``name:qualifier``; empty without one.
        is_rest: True for a REST API.
        header: the header with the token of a TOKEN authorizer without an identity source.
    """
    kind = str(members.get("type")).upper()
    payload = str(members.get("authorizerPayloadFormatVersion", "1.0"))
    validation = str(members.get("identityValidationExpression") or "")
    if kind not in (("TOKEN", "REQUEST") if is_rest else ("REQUEST",)) or not function or not is_pattern(validation):
        return None
    named = members.get("identitySource", [])
    named = named.split(",") if isinstance(named, str) else named
    sources = tuple(identity_source(str(text).strip()) for text in named) if isinstance(named, list) else (("", ""),)
    if kind == "TOKEN":
        sources = sources[:1] or (("header", header),)
    default_ttl = 300 if is_rest else 0
    ttl = whole_number(members.get("authorizerResultTtlInSeconds", default_ttl))
    if payload not in ("1.0", "2.0") or ttl is None or not all(is_known_source(*each) for each in sources):
        return None
    is_simple = is_true(members.get("enableSimpleResponses")) and not is_rest
    return LambdaAuthorizer(function, is_rest, kind, payload, is_simple, sources, validation, ttl)


def identity_source(text: str) -> tuple[str, str]:
    """Return place and name of an identity source.

    >>> identity_source("method.request.header.Authorization"), identity_source("$context.routeKey")
    (('header', 'Authorization'), ('context', 'routeKey'))
    """
    text = text.removeprefix("$").removeprefix("method.").removeprefix("request.")
    place, _, name = text.partition(".")
    return place, name
