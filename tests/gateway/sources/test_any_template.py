"""Mutated templates: the start never fails otherwise than with its own error, and an unknown value opens no route."""

import copy
import json
import random

import pytest

pytest.importorskip("yaml")

from serverfull_wsgi import ConfigurationError, SamFetcher
from serverfull_wsgi.gateway.domains import Domains
from serverfull_wsgi.gateway.locations import Locations
from serverfull_wsgi.gateway.missing_functions import missing_functions
from serverfull_wsgi.gateway.sources.templates import TemplateSites
from tests.support.battery import SEED, share


def ref(id):
    return {"Ref": id}


ARN = {"Fn::GetAtt": ["Pets", "Arn"]}
URI = {"Fn::Sub": "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/${Pets.Arn}/invocations"}
INTEGRATION = "x-amazon-apigateway-integration"
MOCK = {
    "type": "mock",
    "requestTemplates": {"application/json": "{statusCode: 200}"},
    "responses": {"default": {"statusCode": "204", "responseParameters": {"method.response.header.A": "'1'"}}},
}
TOKEN = {"type": "token", "authorizerUri": URI}
SCHEME = {"type": "apiKey", "name": "X-Token", "in": "header", "x-amazon-apigateway-authorizer": TOKEN}
DOCUMENT = {
    "openapi": "3.0.1",
    "security": [{"token": []}],
    "components": {
        "securitySchemes": {"token": SCHEME},
        "parameters": {"color": {"in": "query", "name": "color", "required": True}},
    },
    "x-amazon-apigateway-request-validators": {"all": {"validateRequestParameters": True}},
    "x-amazon-apigateway-request-validator": "all",
    "x-amazon-apigateway-gateway-responses": {"DEFAULT_4XX": {"statusCode": 400, "responseTemplates": {"a/b": "x"}}},
    "x-amazon-apigateway-cors": {"allowOrigins": ["*"]},
    "paths": {
        "/d/{id}": {
            "parameters": [{"$ref": "#/components/parameters/color"}],
            "get": {"operationId": "get", INTEGRATION: {"type": "aws_proxy", "uri": URI}},
            "options": {INTEGRATION: MOCK},
        }
    },
}
REST_EVENT = {
    "Path": "/a",
    "Method": "get",
    "RestApiId": ref("Shop"),
    "RequestModel": {"Model": "Pet", "ValidateParameters": True},
    "RequestParameters": [{"method.request.header.X": {"Required": True}}],
    "Auth": {"Authorizer": "Mine"},
}
JWT = {"JwtConfiguration": {"issuer": "https://i.example", "audience": ["a"]}}
PROPERTIES = {  # type and properties by logical id
    "Pets": (
        "Serverless::Function",
        {
            "InlineCode": "def handler(*_): return 1",
            "Events": {
                "A": {"Type": "Api", "Properties": REST_EVENT},
                "B": {"Type": "HttpApi", "Properties": {"Path": "/b", "Method": "get", "ApiId": ref("Web")}},
                "C": {"Type": "Api", "Properties": {"Path": "/c", "Method": "any"}},
            },
            "FunctionUrlConfig": {"AuthType": "AWS_IAM", "Cors": {"AllowOrigins": ["*"]}},
        },
    ),
    "Shop": (
        "Serverless::Api",
        {
            "StageName": "dev",
            "Cors": {"AllowOrigin": "'*'"},
            "EndpointConfiguration": {"Type": "REGIONAL"},
            "DisableExecuteApiEndpoint": True,
            "Domain": {"DomainName": {"Fn::If": ["Yes", "s.example", "t.example"]}, "BasePath": ["v1", "v2"]},
            "Auth": {
                "DefaultAuthorizer": "Mine",
                "AddDefaultAuthorizerToCorsPreflight": False,
                "Authorizers": {"Mine": {"FunctionArn": ARN, "Identity": {"Header": "X", "ReauthorizeEvery": 5}}},
            },
            "GatewayResponses": {"DEFAULT_4XX": {"ResponseParameters": {"Headers": {"A": "'1'"}}}},
            "DefinitionBody": DOCUMENT,
        },
    ),
    "Web": ("Serverless::HttpApi", {"Auth": {"DefaultAuthorizer": "J", "Authorizers": {"J": JWT}}}),
    "Rest": ("ApiGateway::RestApi", {"EndpointConfiguration": {"Types": ["EDGE"]}, "BinaryMediaTypes": ["a~1b"]}),
    "Resource": (
        "ApiGateway::Resource",
        {"RestApiId": ref("Rest"), "ParentId": {"Fn::GetAtt": ["Rest", "RootResourceId"]}, "PathPart": "r"},
    ),
    "Method": (
        "ApiGateway::Method",
        {
            "RestApiId": ref("Rest"),
            "ResourceId": ref("Resource"),
            "HttpMethod": "GET",
            "AuthorizationType": "CUSTOM",
            "AuthorizerId": ref("Authorizer"),
            "RequestValidatorId": ref("Validator"),
            "RequestParameters": {"method.request.header.X": True},
            "Integration": {"Type": "AWS_PROXY", "Uri": URI},
        },
    ),
    "Validator": ("ApiGateway::RequestValidator", {"RestApiId": ref("Rest"), "ValidateRequestParameters": True}),
    "Authorizer": (
        "ApiGateway::Authorizer",
        {"RestApiId": ref("Rest"), "Type": "TOKEN", "AuthorizerUri": URI, "IdentitySource": "method.request.header.X"},
    ),
    "Response": ("ApiGateway::GatewayResponse", {"RestApiId": ref("Rest"), "ResponseType": "DEFAULT_5XX"}),
    "Stage": ("ApiGateway::Stage", {"RestApiId": ref("Rest"), "StageName": "prod", "Variables": {"a": "b"}}),
    "Name": ("ApiGateway::DomainName", {"DomainName": "d.example"}),
    "Base": (
        "ApiGateway::BasePathMapping",
        {"DomainName": ref("Name"), "BasePath": "b", "RestApiId": ref("Rest"), "Stage": ref("Stage")},
    ),
    "Api": ("ApiGatewayV2::Api", {"ProtocolType": "HTTP", "CorsConfiguration": {"AllowOrigins": ["*"]}}),
    "Integration": (
        "ApiGatewayV2::Integration",
        {"ApiId": ref("Api"), "IntegrationType": "AWS_PROXY", "IntegrationUri": ARN, "PayloadFormatVersion": "2.0"},
    ),
    "Route": (
        "ApiGatewayV2::Route",
        {
            "ApiId": ref("Api"),
            "RouteKey": "GET /h",
            "Target": {"Fn::Sub": "integrations/${Integration}"},
            "AuthorizationType": "AWS_IAM",
        },
    ),
    "Map": ("ApiGatewayV2::ApiMapping", {"DomainName": ref("Known"), "ApiId": ref("Api"), "Stage": "$default"}),
    "Group": ("ElasticLoadBalancingV2::TargetGroup", {"TargetType": "lambda", "Targets": [{"Id": ARN}]}),
}
TEMPLATE = {
    "Parameters": {"Unknown": {"Type": "String"}, "Known": {"Type": "String", "Default": "k.example"}},
    "Conditions": {"Yes": {"Fn::Equals": ["a", "a"]}, "Huh": {"Fn::Equals": [ref("Unknown"), "a"]}},
    "Globals": {
        "Function": {"Handler": "app.handler", "Runtime": "python3.12"},
        "Api": {"Auth": {"ApiKeyRequired": True}},
    },
    "Resources": {id: {"Type": f"AWS::{type}", "Properties": members} for id, (type, members) in PROPERTIES.items()},
}
UNKNOWN = [
    ref("Unknown"),
    ref("Nowhere"),
    {"Fn::If": ["Huh", "p", "q"]},
    {"Fn::GetAtt": ["Shop", "X"]},
    {"Fn::Transform": {"Name": "AWS::Include", "Parameters": {"Location": "x.yaml"}}},
    {"Fn::Join": 5},
]
ODD = [
    *UNKNOWN,
    *(None, True, False, 0, -1, 1.5, 10**30, "", "x", "é ", "a\nb", "\ud800", "$default", "/", "*" * 300, "{proxy+}"),
    *([], [[]], [[["a"]]], {}, {"a": {"b": [1]}}, ["x", ref("Unknown")], ref(["x"]), ref({}), {"Fn::GetAtt": 5}),
    *(ref("Known"), ref("AWS::NoValue"), {"Fn::If": ["Yes", ref("AWS::NoValue"), "q"]}, {"Fn::Sub": "${Shop}-x"}),
]  # fmt: skip


def places(value, path=()):
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield (*path, name)
        yield from places(member, (*path, name))


PLACES = [path for path in places(TEMPLATE) if path[0] in ("Globals", "Resources")]


@pytest.fixture
def accesses(tmp_path):
    def read(template):
        (tmp_path / "template.json").write_text(json.dumps(template))
        fetcher = SamFetcher(str(tmp_path / "template.json"))
        found = TemplateSites(fetcher)
        list(missing_functions(found.sites, fetcher))
        Locations(found.sites, domains=Domains(found.domains.mappings, found.domains.names)).urls("http://a:1")
        return {(site.names[0], key): each.access for site in found.sites for key, each in site.endpoints.items()}

    return read


def test_a_mutated_template_is_served_or_refused_and_an_unknown_value_opens_no_route(accesses):
    chance, before = random.Random(SEED), accesses(TEMPLATE)
    assert {site for site, _ in before} == {"Pets", "Shop", "Web", "ServerlessRestApi", "Rest", "Api", "Group"}
    for _ in range(share(3_000, 100)):
        template, (*path, last), value = copy.deepcopy(TEMPLATE), chance.choice(PLACES), chance.choice(ODD)
        parent = template
        for name in path:
            parent = parent[name]
        parent[last] = value
        try:
            after = accesses(template)
        except ConfigurationError:
            continue
        if value in UNKNOWN and last != "name":  # the name of a header or parameter is no condition by itself
            looser = [key for key in after.keys() & before if not after[key].includes(before[key])]
            assert not looser, (path, last, value)
