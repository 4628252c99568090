"""The conditions of CloudFormation's own resources for the callers of a route."""

from __future__ import annotations

from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.gateway.access import Access, JwtAuthorizer, LambdaAuthorizer
from serverfull_wsgi.gateway.sources import openapi
from serverfull_wsgi.gateway.sources.documents import Document
from serverfull_wsgi.gateway.sources.known_properties import unknown_property
from serverfull_wsgi.gateway.sources.resources import Resources
from serverfull_wsgi.gateway.sources.restrictions import restriction_of
from serverfull_wsgi.gateway.values import has_transform, texts


def condition_of_api(resources: Resources, id: str, properties: Properties, stage: str, document: Document) -> str:
    """Return a condition for all routes of an API that is not supported; an empty text without one."""
    declared = resources.declared(id)
    if properties.value("Policy") not in (None, "") or properties.has_problem(
        "Policy"
    ):  # some tools write an empty one
        return "the Policy of the API"
    if has_transform(declared):
        return "a macro that may add conditions"
    if properties.has_problem("Properties"):
        return "Properties that cannot be resolved"
    if document.problem:
        return document.problem
    if restriction := restriction_of(resources, id, resources.type(id), properties, stage):
        return restriction
    return openapi.unsupported_member(document.members)


def access_of(resources: Resources, id: str, route: Properties, *, is_rest: bool) -> Access:
    """Return the conditions of a method or route."""
    kind = route.text("AuthorizationType").upper() or "NONE"
    declared = resources.declared(id)
    if has_transform(declared):
        return Access("a macro that may add conditions")
    if unknown := unknown_property(resources.type(id), route):
        return Access(f"the property {unknown}")
    needs_api_key = declared.get("ApiKeyRequired", False) not in (False, "false")
    if route.has_problem("AuthorizationType") or (needs_api_key and not is_rest):
        return Access("AuthorizationType" if not needs_api_key else "ApiKeyRequired of an HTTP API")
    if route.value("AuthorizationScopes") and kind != "JWT":
        return Access("AuthorizationScopes without a JWT authorizer")
    if "AuthorizerId" in declared and not route.text("AuthorizationType"):
        return Access("AuthorizerId without AuthorizationType")
    if kind == "NONE":
        return Access(needs_api_key=needs_api_key)
    if kind in ("AWS_IAM", "IAM"):
        return Access(needs_api_key=needs_api_key, needs_signature=True)
    authorizer_id = resources.target(id, "AuthorizerId")
    if kind == "JWT" and not is_rest:
        token = _token(resources, authorizer_id, texts(route.value("AuthorizationScopes")))
        return Access("" if token else "AuthorizationType JWT", token=token)
    authorizer = _authorizer(resources, authorizer_id, is_rest) if kind == "CUSTOM" else None
    return Access("" if authorizer else f"AuthorizationType {kind}", authorizer, needs_api_key)


def _token(resources: Resources, id: str, scopes: tuple[str, ...]) -> JwtAuthorizer | None:
    """Return the JWT authorizer of a logical id, or None."""
    found = dict(resources.of_type("AWS::ApiGatewayV2::Authorizer")).get(id)
    if found is None or found.text("AuthorizerType") != "JWT":
        return None
    if unknown_property("AWS::ApiGatewayV2::Authorizer", found):
        return None
    issuer, audience = found.text("JwtConfiguration.Issuer"), texts(found.value("JwtConfiguration.Audience"))
    sources = texts(found.value("IdentitySource"))
    if found.problems or len(sources) != 1:
        return None
    return openapi.jwt_authorizer(issuer, audience, openapi.identity_source(sources[0]), scopes)


def _authorizer(resources: Resources, id: str, is_rest: bool) -> LambdaAuthorizer | None:
    """Return the Lambda authorizer of a logical id, or None."""
    type = "AWS::ApiGateway::Authorizer" if is_rest else "AWS::ApiGatewayV2::Authorizer"
    found = dict(resources.of_type(type)).get(id)
    if found is None or unknown_property(type, found):
        return None
    members = {
        "type": found.text("Type") if is_rest else found.text("AuthorizerType"),
        "authorizerPayloadFormatVersion": found.text("AuthorizerPayloadFormatVersion") or "1.0",
        "enableSimpleResponses": found.value("EnableSimpleResponses"),
        "identitySource": found.value("IdentitySource") or [],
        "identityValidationExpression": found.text("IdentityValidationExpression"),
        "authorizerResultTtlInSeconds": found.number("AuthorizerResultTtlInSeconds", least=0, most=3600),
    }
    if found.problems:
        return None
    function = resources.function(id, "AuthorizerUri")
    members = {name: value for name, value in members.items() if value is not None}
    return openapi.lambda_authorizer(members, function, is_rest=is_rest)
