"""Sites of CloudFormation's own resources, as CDK writes them into its templates.

    ===============================================  =============
    resources                                        site
    ===============================================  =============
    ``AWS::ApiGateway::RestApi``, …Resource, …Method  REST API
    ``AWS::ApiGatewayV2::Api``, …Route, …Integration  HTTP API
    ``AWS::Lambda::Url``                             function URL
    ``…ElasticLoadBalancingV2::TargetGroup``         load balancer
    ===============================================  =============

The resources name each other by ``Ref`` and ``Fn::GetAtt``. `Resources.target` returns the logical id behind such a
reference. What restricts the callers of a route and is not supported makes the route refuse each request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable
from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.gateway import openapi, sites
from serverfull_wsgi.gateway.access import Access, JwtAuthorizer, LambdaAuthorizer
from serverfull_wsgi.gateway.cors import parse_cors
from serverfull_wsgi.gateway.formats import Route, Stage, TargetGroup, http_v1, http_v2, rest_v1
from serverfull_wsgi.gateway.formats import function_url as url_format
from serverfull_wsgi.gateway.sites import Endpoint, Format, Site
from serverfull_wsgi.gateway.values import function_in, has_transform, is_true, listed, mapping, texts, whole_number
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID

_condition = re.compile(r'"(authenticate-\w+|jwt-validation|source-ip|http-header|query-string)"')  # who may call
_stand_in = re.compile(r"unresolved:([A-Za-z0-9]+)")


class CloudFormationSites:
    """The sites of the functions of a template that CloudFormation's own resources describe.

    Args:
        fetcher: has the template, and the functions by their names.
        account_id: the account in events.

    Attributes:
        sites: the sites.
        warnings: one line for each route that refuses its requests, or is not read.
    """

    def __init__(self, fetcher: SamFetcher, *, account_id: str = DEFAULT_ACCOUNT_ID) -> None:
        self._template, self._resolver = fetcher.template, fetcher.resolver
        self._names = {id: name for name, id in fetcher.logical_ids().items()}
        self._account_id = account_id
        self.warnings: list[str] = []
        self.sites: list[Site] = [
            *self._function_urls(),
            *self._http_apis(),
            *self._rest_apis(),
            *self._load_balancers(),
        ]

    # Resources

    def _of_type(self, type: str) -> Iterator[tuple[str, Properties]]:
        for id, resource in self._template.of_type(type).items():
            try:
                if self._resolver.is_created(id):
                    yield id, Properties(self._template.location(id), resource.get("Properties"), self._resolver)
            except Unresolvable as reason:
                self.warnings.append(f"{self._template.location(id)}.Condition: {reason}; it is not served")

    def _target(self, id: str, property: str) -> str:
        """Return the logical id to which a property refers, or an empty text."""
        value = mapping(self._template.resources[id].get("Properties")).get(property)
        return self._target_of(value)

    def _target_of(self, value: Any) -> str:
        if isinstance(value, dict) and len(value) == 1:
            (name, argument), *_ = value.items()
            if name == "Ref":
                return str(argument)
            if name == "Fn::GetAtt":
                return str(argument[0] if isinstance(argument, list) and argument else argument).partition(".")[0]
        try:
            text, _ = self._resolver.resolve_with_stand_ins(value)
        except Unresolvable:
            return ""
        found = _stand_in.search(str(text))
        return found[1] if found else str(text)

    def _function(self, id: str, property: str) -> str:
        """Return the function that a property names: by its ARN, its name or a URI with its ARN; else an empty text."""
        value = mapping(self._template.resources[id].get("Properties")).get(property)
        try:
            text, _ = self._resolver.resolve_with_stand_ins(value)
        except Unresolvable:
            text = ""
        return function_in(text) or self._names.get(self._target_of(value), "")

    def _warn(self, id: str, text: str) -> None:
        self.warnings.append(f"{self._template.location(id)}: {text}")

    def _warn_refused(self, id: str, feature: str) -> None:
        self._warn(
            id, f"{feature} is not supported here, so each request is refused with 500; remove it to open the route"
        )

    # Function URLs and load balancers

    def _function_urls(self) -> Iterator[Site]:
        for id, properties in self._of_type("AWS::Lambda::Url"):
            name = self._function(id, "TargetFunctionArn") or properties.text("TargetFunctionArn")
            qualifier, auth = properties.text("Qualifier"), properties.text("AuthType")
            if not name:
                self._warn(id, "names no function of this template, so it is not served")
                continue
            access = Access("" if auth in ("NONE", "AWS_IAM") else f"AuthType {auth or 'without a value'}")
            access = access._replace(needs_signature=auth == "AWS_IAM")
            if has_transform(self._declared(id)):
                access = Access("a macro that may add conditions")
            if access.unsupported:
                self._warn_refused(id, access.unsupported)
            function = f"{name}:{qualifier}" if qualifier and ":" not in name else name
            route = Route(function=function, stage=Stage("$default", name.lower(), self._account_id))
            cors = parse_cors(properties.value("Cors"))
            own = (name.partition(":")[0], *(key for key, value in self._names.items() if value == name), id)
            yield sites.function_url(tuple(dict.fromkeys(own)), Endpoint(route, url_format, access=access), cors=cors)

    def _load_balancers(self) -> Iterator[Site]:
        for id, properties in self._of_type("AWS::ElasticLoadBalancingV2::TargetGroup"):
            if properties.text("TargetType") != "lambda":
                continue
            declared = mapping(self._template.resources[id].get("Properties")).get("Targets")
            targets = [mapping(each).get("Id") for each in declared] if isinstance(declared, list) else []
            functions = [self._named(target) for target in targets]
            if len(functions) != 1 or not functions[0]:
                self._warn(id, "has no single function of this template as its target, so it is not served")
                continue
            attributes = {
                str(mapping(each).get("Key")): mapping(each).get("Value")
                for each in listed(properties.value("TargetGroupAttributes"))
            }
            is_multi = is_true(attributes.get("lambda.multi_value_headers.enabled"))
            access = Access(self._condition_of_listeners(id))
            if access.unsupported:
                self._warn_refused(id, access.unsupported)
            group = TargetGroup(has_multi_value_headers=is_multi, function=functions[0])
            yield sites.load_balancer(id, group, access)

    def _condition_of_listeners(self, group: str) -> str:
        """Return a condition of a listener or a rule that forwards to a target group; an empty text without one.

        The text of the resource is searched, so a condition inside of an intrinsic function counts too.
        """
        reference = re.compile(rf'"{group}"|\$\{{{group}\}}')
        rules = {id: text for id, text in self._texts("ListenerRule") if reference.search(text)}
        of_rules = {self._target(id, "ListenerArn") for id in rules}
        for id, text in self._texts("Listener"):
            if reference.search(text):
                rules[id] = text
            if (id in rules or id in of_rules) and "MutualAuthentication" in self._declared(id):
                return f"MutualAuthentication of {id}"
        found = ((id, _condition.search(text)) for id, text in rules.items())
        return next((f"{match[1]} of {id}" for id, match in found if match), "")

    def _texts(self, type: str) -> Iterator[tuple[str, str]]:
        for id, _ in self._of_type(f"AWS::ElasticLoadBalancingV2::{type}"):
            yield id, json.dumps(self._declared(id))

    def _named(self, value: Any) -> str:
        try:
            text, _ = self._resolver.resolve_with_stand_ins(value)
        except Unresolvable:
            text = ""
        return function_in(text) or self._names.get(self._target_of(value), "")

    # HTTP APIs

    def _http_apis(self) -> Iterator[Site]:
        integrations = dict(self._of_type("AWS::ApiGatewayV2::Integration"))
        for id, properties in self._of_type("AWS::ApiGatewayV2::Api"):
            if properties.text("ProtocolType") == "WEBSOCKET":
                self._warn(id, "WebSocket APIs are not served")
                continue
            stage = self._http_stage(id)
            endpoints: dict[str, Endpoint] = {}
            for route_id, route in self._of_type("AWS::ApiGatewayV2::Route"):
                if self._target(route_id, "ApiId") == id:
                    key = route.text("RouteKey")
                    if not key:
                        self._warn(route_id, "its RouteKey is not known, so it is not served")
                        continue
                    condition = self._condition_of_api(id, properties)
                    endpoints[key] = self._http_endpoint(route_id, route, key, stage, integrations, condition)
            self._add_document(id, properties, stage, endpoints, is_rest=False)
            if endpoints:
                names = tuple(dict.fromkeys(filter(None, (id, properties.text("Name")))))
                cors = parse_cors(properties.value("CorsConfiguration"))
                yield sites.http_api(names, endpoints, stage.name, cors=cors)

    def _http_stage(self, api: str) -> Stage:
        for id, properties in self._of_type("AWS::ApiGatewayV2::Stage"):
            if self._target(id, "ApiId") == api:
                variables = mapping(properties.value("StageVariables"))
                named = {str(name): str(value) for name, value in variables.items()}
                return Stage(properties.text("StageName") or "$default", api.lower(), self._account_id, variables=named)
        return Stage("$default", api.lower(), self._account_id)

    def _http_endpoint(
        self, id: str, route: Properties, key: str, stage: Stage, integrations: dict[str, Properties], condition: str
    ) -> Endpoint:
        target = self._target(id, "Target").rpartition("/")[2]
        integration = integrations.get(target)
        function = self._function(target, "IntegrationUri") if integration else ""
        payload = integration.text("PayloadFormatVersion") if integration else ""
        format: Format = http_v1 if payload == "1.0" else http_v2
        milliseconds = whole_number(integration.value("TimeoutInMillis")) if integration else None
        access = self._access(id, route, is_rest=False)
        if condition:
            access = Access(condition)
        if not function or (integration and integration.text("IntegrationType") != "AWS_PROXY"):
            access = Access("an integration without a function of this template")
        if access.unsupported:
            self._warn_refused(id, access.unsupported)
        timeout = milliseconds / 1000 if milliseconds else format.TIMEOUT
        return Endpoint(Route(key, function, stage), format, timeout, access)

    # REST APIs

    def _rest_apis(self) -> Iterator[Site]:
        for id, properties in self._of_type("AWS::ApiGateway::RestApi"):
            binary = [item.replace("~1", "/") for item in texts(properties.value("BinaryMediaTypes"))]
            name, variables = self._rest_stage(id)
            stage = Stage(name, id.lower(), self._account_id, variables=variables, binary_media_types=binary)
            endpoints: dict[str, Endpoint] = {}
            for method_id, method in self._of_type("AWS::ApiGateway::Method"):
                if self._target(method_id, "RestApiId") == id:
                    endpoint = self._rest_endpoint(method_id, method, stage, self._condition_of_api(id, properties))
                    if endpoint is not None:
                        endpoints[endpoint.route.key] = endpoint
            self._add_document(id, properties, stage, endpoints, is_rest=True)
            if endpoints:
                names = tuple(dict.fromkeys(filter(None, (id, properties.text("Name")))))
                yield sites.rest_api(names, endpoints, stage.name)

    def _declared(self, id: str) -> dict[str, Any]:
        return mapping(self._template.resources[id].get("Properties"))

    def _rest_stage(self, api: str) -> tuple[str, dict[str, str]]:
        for type in ("AWS::ApiGateway::Stage", "AWS::ApiGateway::Deployment"):
            for id, properties in self._of_type(type):
                if self._target(id, "RestApiId") == api and (name := properties.text("StageName")):
                    variables = mapping(properties.value("Variables"))
                    return name, {str(key): str(value) for key, value in variables.items()}
        return "prod", {}  # CDK's name

    def _rest_endpoint(self, id: str, method: Properties, stage: Stage, condition: str) -> Endpoint | None:
        path = self._path(self._target(id, "ResourceId"))
        if path is None:
            self._warn(id, "its ResourceId is no resource of this template, so it is not served")
            return None
        name = method.text("HttpMethod").upper()
        if not name:
            self._warn(id, "its HttpMethod is not known, so it is not served")
            return None
        key = f"{name} {path}"
        integration = mapping(method.value("Integration"))
        if str(integration.get("Type")).upper() == "MOCK":
            lines = openapi.mock_headers(_as_openapi(integration))
            return Endpoint(Route(key, stage=stage), rest_v1, fixed=lines)
        uri = mapping(self._declared(id).get("Integration")).get("Uri")
        function = self._named(uri)
        access = self._access(id, method, is_rest=True)
        if condition:
            access = Access(condition)
        if "RequestValidatorId" in self._declared(id):
            access = Access("RequestValidatorId")
        if not function or str(integration.get("Type")).upper() != "AWS_PROXY":
            access = Access("an integration without a function of this template")
        if access.unsupported:
            self._warn_refused(id, access.unsupported)
        milliseconds = whole_number(integration.get("TimeoutInMillis"))
        timeout = milliseconds / 1000 if milliseconds else rest_v1.TIMEOUT
        operation = method.text("OperationName") or None
        return Endpoint(Route(key, function, stage, operation_name=operation), rest_v1, timeout, access)

    def _path(self, resource: str) -> str | None:
        """Return the path of a resource of a REST API, or None if it is not in the template."""
        parts: list[str] = []
        while True:
            type = mapping(self._template.resources.get(resource)).get("Type")
            if type == "AWS::ApiGateway::RestApi":  # Fn::GetAtt RestApi.RootResourceId
                return "/" + "/".join(reversed(parts))
            if type != "AWS::ApiGateway::Resource" or len(parts) > len(self._template.resources):
                return None
            part = self._declared(resource).get("PathPart")
            if not isinstance(part, str):
                return None
            parts.append(part)
            resource = self._target(resource, "ParentId")

    # Both

    def _condition_of_api(self, id: str, properties: Properties) -> str:
        """Return a condition for all routes of an API that is not supported; an empty text without one."""
        declared = self._declared(id)
        if "Policy" in declared:
            return "the Policy of the API"
        if has_transform(declared):
            return "a macro that may add conditions"
        if "BodyS3Location" in declared:
            return "a document in BodyS3Location"
        if properties.value("Body") is None and properties.has_problem("Body"):
            return "a Body that cannot be resolved"
        if self._has_mutual_tls(id):
            return "mutual TLS"
        return openapi.unsupported_member(mapping(properties.value("Body")))

    def _has_mutual_tls(self, api: str) -> bool:
        """Return whether a custom domain with mutual TLS is mapped to an API."""
        domains = set()
        for type in ("AWS::ApiGateway::DomainName", "AWS::ApiGatewayV2::DomainName"):
            for id, properties in self._of_type(type):
                if "MutualTlsAuthentication" in self._declared(id):
                    domains |= {id, properties.text("DomainName")}
        mappings = (("AWS::ApiGateway::BasePathMapping", "RestApiId"), ("AWS::ApiGatewayV2::ApiMapping", "ApiId"))
        return any(
            self._target(id, reference) == api and self._target(id, "DomainName") in domains
            for type, reference in mappings
            for id, _ in self._of_type(type)
        )

    def _add_document(
        self, id: str, properties: Properties, stage: Stage, endpoints: dict[str, Endpoint], *, is_rest: bool
    ) -> None:
        """Add the routes of the OpenAPI document of an API."""
        if "BodyS3Location" in self._declared(id):
            self._warn(id, "BodyS3Location is not read; write the document as Body")
        for found in openapi.routes(mapping(properties.value("Body")), is_rest=is_rest):
            format: Format = rest_v1 if is_rest else http_v1 if found.payload == "1.0" else http_v2
            condition = self._condition_of_api(id, properties)
            access = Access(condition) if condition else found.access
            if found.fixed is None and access.unsupported:
                self._warn_refused(id, f"{found.key}: {access.unsupported}")
            route = Route(found.key, found.function, stage, operation_name=found.operation_name)
            endpoints[found.key] = Endpoint(route, format, found.timeout or format.TIMEOUT, access, found.fixed)

    def _access(self, id: str, route: Properties, *, is_rest: bool) -> Access:
        """Return the conditions of a method or route."""
        kind = route.text("AuthorizationType").upper() or "NONE"
        declared = self._declared(id)
        if has_transform(declared):
            return Access("a macro that may add conditions")
        needs_api_key = declared.get("ApiKeyRequired", False) not in (False, "false")
        if route.has_problem("AuthorizationType") or (needs_api_key and not is_rest):
            return Access("AuthorizationType" if not needs_api_key else "ApiKeyRequired of an HTTP API")
        if "AuthorizerId" in declared and not route.text("AuthorizationType"):
            return Access("AuthorizerId without AuthorizationType")
        if kind == "NONE":
            return Access(needs_api_key=needs_api_key)
        if kind in ("AWS_IAM", "IAM"):
            return Access(needs_api_key=needs_api_key, needs_signature=True)
        if kind == "JWT" and not is_rest:
            token = self._token(self._target(id, "AuthorizerId"), texts(route.value("AuthorizationScopes")))
            return Access("" if token else "AuthorizationType JWT", token=token)
        authorizer = self._authorizer(self._target(id, "AuthorizerId"), is_rest) if kind == "CUSTOM" else None
        return Access("" if authorizer else f"AuthorizationType {kind}", authorizer, needs_api_key)

    def _token(self, id: str, scopes: tuple[str, ...]) -> JwtAuthorizer | None:
        """Return the JWT authorizer of a logical id, or None."""
        found = dict(self._of_type("AWS::ApiGatewayV2::Authorizer")).get(id)
        if found is None or found.text("AuthorizerType") != "JWT":
            return None
        issuer, audience = found.text("JwtConfiguration.Issuer"), texts(found.value("JwtConfiguration.Audience"))
        sources = texts(found.value("IdentitySource"))
        if found.problems or len(sources) != 1:
            return None
        return openapi.jwt_authorizer(issuer, audience, openapi.identity_source(sources[0]), scopes)

    def _authorizer(self, id: str, is_rest: bool) -> LambdaAuthorizer | None:
        """Return the Lambda authorizer of a logical id, or None."""
        type = "AWS::ApiGateway::Authorizer" if is_rest else "AWS::ApiGatewayV2::Authorizer"
        found = dict(self._of_type(type)).get(id)
        if found is None:
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
        function = self._function(id, "AuthorizerUri")
        members = {name: value for name, value in members.items() if value is not None}
        return openapi.lambda_authorizer(members, function, is_rest=is_rest)


def _as_openapi(integration: dict[str, Any]) -> dict[str, Any]:
    """Return a mock integration in the form of OpenAPI."""
    answers = integration.get("IntegrationResponses")
    first = mapping(answers[0]) if isinstance(answers, list) and answers else {}
    return {"responses": {"default": {"responseParameters": first.get("ResponseParameters")}}}
