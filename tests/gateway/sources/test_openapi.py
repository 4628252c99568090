"""OpenAPI documents of a template: routes, and which of them refuse their requests."""

import json

import pytest

pytest.importorskip("yaml")

from serverfull_wsgi import SamFetcher
from serverfull_wsgi.gateway.access import Access, JwtAuthorizer, LambdaAuthorizer
from serverfull_wsgi.gateway.sources.openapi import routes
from serverfull_wsgi.gateway.sources.templates import TemplateSites

pytestmark = pytest.mark.quick

ARN = "arn:aws:lambda:us-east-1:123456789012:function:pets"
URI = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{ARN}"
PROXY = {"type": "aws_proxy", "uri": f"{URI}/invocations"}


def read(operation, *, is_rest=True, path="/pets", method="get", **document):
    document = {"paths": {path: {method: operation}}, **document}
    (route,) = routes(document, is_rest=is_rest)
    return route


def proxy(**more):
    return {"x-amazon-apigateway-integration": PROXY, **more}


@pytest.mark.parametrize(
    ("path", "method", "is_rest", "key"),
    [
        ("/pets", "get", True, "GET /pets"),
        ("/pets/{id}", "POST", True, "POST /pets/{id}"),
        ("/{proxy+}", "x-amazon-apigateway-any-method", True, "ANY /{proxy+}"),
        ("$default", "x-amazon-apigateway-any-method", False, "$default"),
        ("/$default", "x-amazon-apigateway-any-method", False, "$default"),
    ],
)
def test_each_method_of_a_path_is_a_route(path, method, is_rest, key):
    route = read(proxy(operationId="listPets"), path=path, method=method, is_rest=is_rest)
    assert (route.key, route.function, route.operation_name) == (key, "pets", "listPets")


def test_other_members_of_a_path_are_no_routes():
    assert list(routes({"paths": {"/a": {"parameters": [], "summary": "x", "x-other": {}}}}, is_rest=True)) == []


@pytest.mark.parametrize("end", [":live/invocations", "/response-streaming-invocations", "/invocations"])
def test_an_integration_names_its_function(end):
    route = read({"x-amazon-apigateway-integration": {"type": "AWS_PROXY", "uri": URI + end, "timeoutInMillis": 5000}})
    assert (route.function, route.timeout) == ("pets:live" if end.startswith(":live") else "pets", 5.0)


@pytest.mark.parametrize(("more", "payload"), [({}, "1.0"), ({"payloadFormatVersion": "2.0"}, "2.0")])
def test_an_integration_of_an_http_api_has_the_payload_1_0_by_default(more, payload):
    assert read({"x-amazon-apigateway-integration": {**PROXY, **more}}, is_rest=False).payload == payload


def test_a_mock_is_a_fixed_answer_with_the_conditions_of_its_operation():
    mock = {"type": "mock", "responses": {"default": {"statusCode": "204"}}}
    route = read({"x-amazon-apigateway-integration": mock}, method="options")
    assert (route.key, route.fixed.status, route.access) == ("OPTIONS /pets", 204, Access())
    keyed = read({"x-amazon-apigateway-integration": mock, "security": [{"key": []}]}, securityDefinitions={"key": KEY})
    assert keyed.access == Access(needs_api_key=True)


def test_a_mock_of_an_http_api_or_with_a_signature_refuses():
    mock = {"x-amazon-apigateway-integration": {"type": "mock", "responses": {"default": {}}}}
    assert read(mock, is_rest=False).access.unsupported
    assert read({**mock, "x-amazon-apigateway-auth": {"type": "AWS_IAM"}}).access.unsupported


KEY = {"type": "apiKey", "name": "x-api-key", "in": "header"}
TOKEN = {"type": "token", "authorizerUri": f"{URI}/invocations"}
AUTHORIZER = {"type": "apiKey", "name": "X-Token", "in": "header", "x-amazon-apigateway-authorizer": TOKEN}
EXPECTED = LambdaAuthorizer("pets", True, "TOKEN", sources=(("header", "X-Token"),), ttl=300)
SECURED = [  # security of the operation, security of the document, conditions
    (None, None, Access()),
    ([], [{"key": []}], Access()),
    ([{"NONE": []}], None, Access()),
    ([{"key": []}], None, Access(needs_api_key=True)),
    (None, [{"key": []}], Access(needs_api_key=True)),
    ([{"token": []}], None, Access("", EXPECTED)),
    ([{"iam": []}], None, Access(needs_signature=True)),
    ([{"token": [], "key": []}], None, Access("", EXPECTED, True)),
    ([{"token": []}, {"key": []}], None, Access("", EXPECTED, True)),
]


@pytest.mark.parametrize(("own", "common", "access"), SECURED)
@pytest.mark.parametrize("place", ["securityDefinitions", "components"])
def test_every_scheme_of_the_security_is_a_condition(own, common, access, place):
    schemes = {"key": KEY, "token": AUTHORIZER, "iam": {**KEY, "x-amazon-apigateway-authtype": "awsSigv4"}}
    document = {place: schemes if place == "securityDefinitions" else {"securitySchemes": schemes}}
    if common is not None:
        document["security"] = common
    assert read(proxy() if own is None else proxy(security=own), **document).access == access


def authorizer(**members):
    return {"x": {**AUTHORIZER, "x-amazon-apigateway-authorizer": {**TOKEN, **members}}}


VALIDATORS = {
    "x-amazon-apigateway-request-validators": {
        "all": {"validateRequestBody": True, "validateRequestParameters": True},
        "body": {"validateRequestBody": True, "validateRequestParameters": False},
    }
}
PARAMETERS = [
    {"in": "query", "name": "color", "required": True},
    {"in": "header", "name": "X-Flag", "required": True},
    {"in": "header", "name": "X-Other"},
    {"in": "path", "name": "id", "required": True},
    {"$ref": "#/components/parameters/size"},
]
COMPONENTS = {"components": {"parameters": {"size": {"in": "query", "name": "size", "required": True}}}}
REQUIRED = (("querystring", "color"), ("header", "X-Flag"), ("querystring", "size"))


@pytest.mark.parametrize(("name", "required"), [("all", REQUIRED), ("body", ()), (None, ())])
def test_a_validator_checks_the_required_parameters(name, required):
    own = {} if name is None else {"x-amazon-apigateway-request-validator": name}
    for of_operation, of_document in ((own, {}), ({}, own)):
        route = read(proxy(parameters=PARAMETERS, **of_operation), **VALIDATORS, **COMPONENTS, **of_document)
        assert route.access == Access(required=required)


@pytest.mark.parametrize(
    ("parameters", "is_open_at_rest"),
    [
        ({"requestParameters": {"overwrite:header.x-user": "$context.authorizer.user"}}, True),
        ({"responseParameters": {"200": {"remove:header.x-secret": "''"}}}, False),
        ({"integrationSubtype": "SQS-SendMessage"}, False),
    ],
)
def test_parameters_of_an_integration_of_an_http_api_refuse(parameters, is_open_at_rest):
    operation = {"x-amazon-apigateway-integration": {**PROXY, **parameters}}
    assert read(operation, is_rest=False).access.unsupported
    assert (read(operation, is_rest=True).access == Access()) is is_open_at_rest


REFUSED = [  # operation, document
    ("nothing", {}),
    ({}, {}),
    ({"x-amazon-apigateway-integration": "x"}, {}),
    ({"x-amazon-apigateway-integration": {"type": "http_proxy", "uri": "http://127.0.0.1/"}}, {}),
    ({"x-amazon-apigateway-integration": {"type": "aws", "uri": f"{URI}/invocations"}}, {}),
    ({"x-amazon-apigateway-integration": {"type": "aws_proxy"}}, {}),
    (proxy(security=[{"unknown": []}]), {}),
    (proxy(security="x"), {}),
    (proxy(security=["x"]), {}),
    (proxy(security=[{"x": []}]), {"securityDefinitions": {"x": {"type": "oauth2"}}}),
    (proxy(security=[{"x": []}]), {"securityDefinitions": {"x": {**KEY, "name": "Other"}}}),
    (proxy(security=[{"x": []}]), {"securityDefinitions": authorizer(type="cognito_user_pools")}),
    (proxy(security=[{"x": []}]), {"securityDefinitions": authorizer(type="jwt")}),
    (proxy(security=[{"x": []}]), {"securityDefinitions": authorizer(authorizerUri="x")}),
    (proxy(security=[{"x": []}]), {"securityDefinitions": authorizer(identityValidationExpression="(")}),
    (proxy(security=[{"x": []}]), {"securityDefinitions": authorizer(identitySource="method.request.body.a")}),
    (proxy(security=[{"x": []}]), {"securityDefinitions": authorizer(authorizerResultTtlInSeconds="soon")}),
    (proxy(security=[{"x": []}, {"y": []}]), {"securityDefinitions": {**authorizer(), "y": {}}}),
    (proxy(), {"x-amazon-apigateway-policy": {}}),
    (proxy(), {"x-amazon-apigateway-request-validator": "all"}),
    (proxy(**{"x-amazon-apigateway-request-validator": "all"}), {}),
    (proxy(**{"x-amazon-apigateway-request-validator": "all", "requestBody": {}}), VALIDATORS),
    (proxy(**{"x-amazon-apigateway-request-validator": "all", "parameters": [{"in": "body"}]}), VALIDATORS),
    (proxy(**{"x-amazon-apigateway-request-validator": "all", "parameters": [{"$ref": "#/parameters/x"}]}), VALIDATORS),
    (proxy(**{"x-amazon-apigateway-request-validator": "all", "parameters": ["x"]}), VALIDATORS),
]


@pytest.mark.parametrize(("operation", "document"), REFUSED)
def test_what_is_not_supported_refuses_every_request(operation, document):
    assert read(operation, **document).access.unsupported


def test_an_http_api_has_no_token_authorizers_and_no_keys():
    for scheme in (KEY, AUTHORIZER):
        operation = proxy(security=[{"x": []}])
        assert read(operation, is_rest=False, securityDefinitions={"x": scheme}).access.unsupported


def test_a_jwt_scheme_of_an_http_api():
    token = {"type": "jwt", "jwtConfiguration": {"issuer": "https://issuer.example", "audience": ["shop"]}}
    schemes = {"x": {"type": "oauth2", "x-amazon-apigateway-authorizer": token}}
    operation = proxy(security=[{"x": ["read"]}])
    access = read(operation, is_rest=False, components={"securitySchemes": schemes}).access
    assert access == Access(token=JwtAuthorizer("https://issuer.example", ("shop",), scopes=("read",)))
    assert read(operation, is_rest=True, components={"securitySchemes": schemes}).access.unsupported


def test_a_template_with_a_document_has_its_routes(tmp_path):
    arn = {"Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Pets.Arn}/invocations"}
    operation = {"x-amazon-apigateway-integration": {"type": "aws_proxy", "uri": arn, "payloadFormatVersion": "2.0"}}
    document = {
        "openapi": "3.0.1",
        "paths": {
            "/pets": {"get": operation},
            "/lost": {"get": {"x-amazon-apigateway-integration": {"type": "aws_proxy", "uri": {"Ref": "Nothing"}}}},
        },
        "x-amazon-apigateway-cors": {"allowOrigins": ["https://a.example"]},
    }
    event = {"Type": "HttpApi", "Properties": {"Path": "/pets", "Method": "get", "ApiId": {"Ref": "Shop"}}}
    code = {"Handler": "app.handler", "Runtime": "python3.12", "InlineCode": "def handler(event, context): return 1"}
    template = tmp_path / "template.json"
    template.write_text(
        json.dumps(
            {
                "Resources": {
                    "Shop": {"Type": "AWS::Serverless::HttpApi", "Properties": {"DefinitionBody": document}},
                    "Pets": {"Type": "AWS::Serverless::Function", "Properties": {**code, "Events": {"A": event}}},
                }
            }
        )
    )
    found = TemplateSites(SamFetcher(str(template)))
    (site,) = found.sites
    assert {key: endpoint.route.function for key, endpoint in site.endpoints.items()} == {
        "GET /pets": "Pets",
        "GET /lost": "",
    }
    assert site.endpoints["GET /pets"].access == Access()
    assert site.endpoints["GET /lost"].access.unsupported
    assert site.cors.origins == ("https://a.example",)
    assert len(found.warnings) == 1


@pytest.mark.parametrize(("type", "needs_signature"), [("AWS_IAM", True), ("aws_iam", True), ("NONE", False)])
def test_an_operation_may_name_its_type_of_authentication(type, needs_signature):
    route = read(proxy(**{"x-amazon-apigateway-auth": {"type": type}}))
    assert route.access == Access(needs_signature=needs_signature)


@pytest.mark.parametrize("value", [{"type": "CUSTOM"}, {}, None, "AWS_IAM"])
def test_another_type_of_authentication_refuses(value):
    assert read(proxy(**{"x-amazon-apigateway-auth": value})).access.unsupported


def test_a_macro_may_add_conditions():
    transform = {"Fn::Transform": {"Name": "AWS::Include"}}
    assert read(proxy(), **transform).access.unsupported
    assert read(proxy(**transform)).access.unsupported
    (route,) = routes({"paths": {"/pets": {"get": proxy(), **transform}}}, is_rest=True)
    assert route.access.unsupported


def test_a_timeout_with_too_many_digits_is_left_out():
    integration = {**PROXY, "timeoutInMillis": "9" * 5000}
    assert read({"x-amazon-apigateway-integration": integration}).timeout == 0
