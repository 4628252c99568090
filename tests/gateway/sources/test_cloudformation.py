"""CloudFormation's own resources, as CDK writes them: sites, and which routes refuse their requests."""

import json

import pytest

pytest.importorskip("yaml")

from serverfull_wsgi import ConfigurationError, SamFetcher
from serverfull_wsgi.gateway.access import Access, JwtAuthorizer, LambdaAuthorizer
from serverfull_wsgi.gateway.formats import http_v2
from serverfull_wsgi.gateway.gateway_responses import GatewayResponse
from serverfull_wsgi.gateway.locations import Locations
from serverfull_wsgi.gateway.sources.templates import TemplateSites

pytestmark = pytest.mark.quick

PETS = {
    "Type": "AWS::Lambda::Function",
    "Properties": {
        "Handler": "index.handler",
        "Runtime": "python3.12",
        "Code": {"ZipFile": "def handler(*_): return 1"},
    },
}


@pytest.fixture
def sites_of(tmp_path):
    def read(strict=False, **resources):
        template = tmp_path / "template.json"
        template.write_text(json.dumps({"Resources": {"Pets": PETS, **resources}}))
        return TemplateSites(SamFetcher(str(template), strict=strict))

    return read


def resource(type, **properties):
    return {"Type": f"AWS::{type}", "Properties": properties}


def ref(id):
    return {"Ref": id}


def arn(id):
    return {"Fn::GetAtt": [id, "Arn"]}


def uri(id):
    parts = ["arn:", ref("AWS::Partition"), ":apigateway:", ref("AWS::Region"), ":lambda:path/2015-03-31/functions/"]
    return {"Fn::Join": ["", [*parts, arn(id), "/invocations"]]}


# HTTP APIs

API = resource("ApiGatewayV2::Api", ProtocolType="HTTP", Name="shop", CorsConfiguration={"AllowOrigins": ["*"]})
INTEGRATION = resource(
    "ApiGatewayV2::Integration",
    ApiId=ref("Api"),
    IntegrationType="AWS_PROXY",
    IntegrationUri=arn("Pets"),
    PayloadFormatVersion="2.0",
)


def route(key="GET /pets", **more):
    target = {"Fn::Join": ["", ["integrations/", ref("Integration")]]}
    return resource("ApiGatewayV2::Route", ApiId=ref("Api"), RouteKey=key, Target=target, **more)


def http_api(**more):
    return {"Api": API, "Integration": INTEGRATION, "Route": route(), **more}


def test_an_http_api_has_the_routes_that_refer_to_it(sites_of):
    found = sites_of(**http_api(Other=route("$default")))
    (site,) = found.sites
    assert (site.kind, site.names, site.cors.origins, site.stage) == ("HTTP API", ("Api", "shop"), ("*",), "")
    assert {key: endpoint.route.function for key, endpoint in site.endpoints.items()} == {
        "GET /pets": "Pets",
        "$default": "Pets",
    }
    assert found.warnings == []


def test_a_stage_gives_its_name_and_variables(sites_of):
    stage = resource("ApiGatewayV2::Stage", ApiId=ref("Api"), StageName="dev", StageVariables={"a": "b"})
    (site,) = sites_of(**http_api(Stage=stage)).sites
    assert (site.stage, dict(site.endpoints["GET /pets"].route.stage.variables)) == ("dev", {"a": "b"})


def test_a_reference_between_resources_needs_no_value_of_aws(sites_of):
    resources = {**http_api(Auth=AUTHORIZER), **rest_api(), "Group": GROUP, "Url": url()}
    resources["Route"] = route(AuthorizationType="CUSTOM", AuthorizerId=ref("Auth"))
    found, strict = sites_of(**resources), sites_of(strict=True, **resources)
    assert strict.warnings == found.warnings
    assert [(site.names, site.endpoints) for site in strict.sites] == [
        (site.names, site.endpoints) for site in found.sites
    ]


def test_the_first_stage_is_served_and_each_other_one_has_a_warning(sites_of):
    dev, live = (resource("ApiGatewayV2::Stage", ApiId=ref("Api"), StageName=name) for name in ("dev", "$default"))
    found = sites_of(**http_api(Dev=dev, Live=live))
    assert [site.stage for site in found.sites] == ["dev"]
    assert [line.rpartition(": ")[2] for line in found.warnings] == ["only the stage 'dev' of Api is served"]
    found = sites_of(**rest_api(Other=resource("ApiGateway::Stage", RestApiId=ref("Rest"), StageName="live")))
    assert [site.stage for site in found.sites] == ["dev"]
    assert [line.rpartition(": ")[2] for line in found.warnings] == ["only the stage 'dev' of Rest is served"]


OF_STAGE = "arn:aws:lambda:us-east-1:123456789012:function:${stageVariables.name}:${stageVariables.none}"


def test_a_stage_variable_may_be_a_part_of_a_functions_name(sites_of):
    integration = {"Type": "AWS_PROXY", "Uri": f"arn:aws:apigateway:us-east-1:lambda:path/x/functions/{OF_STAGE}/y"}
    operation = {"x-amazon-apigateway-integration": {"type": "aws_proxy", "uri": integration["Uri"]}}
    document = {"paths": {"/d": {"get": operation}}}
    variables = {"name": "Pets"}
    sites = sites_of(
        **http_api(
            Integration={**INTEGRATION, "Properties": {**INTEGRATION["Properties"], "IntegrationUri": OF_STAGE}},
            Live=resource("ApiGatewayV2::Stage", ApiId=ref("Api"), StageName="live", StageVariables=variables),
        ),
        **rest_api(
            Rest=resource("ApiGateway::RestApi", Body=document),
            Method=method(Integration=integration),
            Stage=resource("ApiGateway::Stage", RestApiId=ref("Rest"), StageName="live", Variables=variables),
        ),
    ).sites
    functions = {key: each.route.function for site in sites for key, each in site.endpoints.items()}
    assert functions == dict.fromkeys(["GET /pets", "GET /pets/{id}", "GET /d"], "Pets:${stageVariables.none}")


def test_a_deployment_may_have_the_stage_of_a_rest_api(sites_of):
    described = {"StageName": "live", "StageDescription": {"Variables": {"a": "b"}}}
    (site,) = sites_of(**rest_api(Stage=resource("ApiGateway::Deployment", RestApiId=ref("Rest"), **described))).sites
    assert (site.stage, dict(site.endpoints["GET /pets/{id}"].route.stage.variables)) == ("live", {"a": "b"})


@pytest.mark.parametrize(("key", "route_key"), [(None, "$default"), ("GET /pets", "GET /pets")])
def test_an_api_may_be_created_with_its_function(key, route_key, sites_of):
    (site,) = sites_of(Api=resource("ApiGatewayV2::Api", ProtocolType="HTTP", Target=arn("Pets"), RouteKey=key)).sites
    endpoint = site.endpoints[route_key]
    assert (endpoint.route.function, endpoint.access, endpoint.format, endpoint.timeout) == (
        "Pets",
        Access(),
        http_v2,
        30,
    )


@pytest.mark.parametrize(
    ("more", "resources"),
    [
        ({"Target": "https://a.example"}, {}),
        ({"RouteKey": ref("Nothing")}, {}),
        ({}, {"Changed": resource("ApiGatewayV2::ApiGatewayManagedOverrides", ApiId=ref("Api"), Route={})}),
    ],
)
def test_the_route_of_such_an_api_refuses_if_it_is_not_certain(more, resources, sites_of):
    api = resource("ApiGatewayV2::Api", **{"ProtocolType": "HTTP", "Target": arn("Pets"), **more})
    found = sites_of(Api=api, **resources)
    assert found.sites[0].endpoints["$default"].access.unsupported
    assert "each request is refused" in "\n".join(found.warnings)


def test_payload_and_timeout_are_those_of_the_integration(sites_of):
    properties = {**INTEGRATION["Properties"], "PayloadFormatVersion": "1.0", "TimeoutInMillis": 5000}
    (site,) = sites_of(**http_api(Integration={**INTEGRATION, "Properties": properties})).sites
    endpoint = site.endpoints["GET /pets"]
    assert (endpoint.format.__name__.rpartition(".")[2], endpoint.timeout) == ("http_v1", 5.0)


AUTHORIZER = resource(
    "ApiGatewayV2::Authorizer",
    ApiId=ref("Api"),
    AuthorizerType="REQUEST",
    AuthorizerUri=uri("Pets"),
    AuthorizerPayloadFormatVersion="2.0",
    EnableSimpleResponses=True,
    IdentitySource=["$request.header.Authorization"],
)


def test_conditions_of_a_route(sites_of):
    (site,) = sites_of(**http_api(Route=route(AuthorizationType="AWS_IAM"))).sites
    assert site.endpoints["GET /pets"].access == Access(needs_signature=True)
    custom = route(AuthorizationType="CUSTOM", AuthorizerId=ref("Auth"))
    (site,) = sites_of(**http_api(Route=custom, Auth=AUTHORIZER)).sites
    sources = (("header", "Authorization"),)
    assert site.endpoints["GET /pets"].access == Access(
        "", LambdaAuthorizer("Pets", False, "REQUEST", "2.0", True, sources)
    )


def test_a_jwt_authorizer_of_an_http_api(sites_of):
    authorizer = resource(
        "ApiGatewayV2::Authorizer",
        ApiId=ref("Api"),
        AuthorizerType="JWT",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": "https://issuer.example", "Audience": ["shop"]},
    )
    signed = route(AuthorizationType="JWT", AuthorizerId=ref("Auth"), AuthorizationScopes=["read"])
    (site,) = sites_of(**http_api(Route=signed, Auth=authorizer)).sites
    expected = JwtAuthorizer("https://issuer.example", ("shop",), scopes=("read",))
    assert site.endpoints["GET /pets"].access == Access(token=expected)


REFUSED = [
    {"Route": route(AuthorizationType="JWT", AuthorizerId=ref("Auth"))},
    {"Route": route(AuthorizationType="CUSTOM")},
    {"Route": route(AuthorizationType="CUSTOM", AuthorizerId=ref("Nothing"))},
    {"Route": route(AuthorizationType=ref("Nothing"))},
    {"Route": route(ApiKeyRequired=True)},
    {"Route": route(AuthorizerId=ref("Auth"))},
    {"Route": route(AuthorizationScopes=["read"])},
    {"Route": route(AuthorisationType="AWS_IAM")},
    {"Api": resource("ApiGatewayV2::Api", ProtocolType="HTTP", BodyS3Location={"Bucket": "b", "Key": "k"})},
    {"Integration": resource("ApiGatewayV2::Integration", ApiId=ref("Api"), IntegrationType="HTTP_PROXY")},
    {"Integration": resource("ApiGatewayV2::Integration", ApiId=ref("Api"), IntegrationType="AWS_PROXY")},
    {"Integration": {**INTEGRATION, "Properties": {**INTEGRATION["Properties"], "IntegrationType": "HTTP_PROXY"}}},
]


@pytest.mark.parametrize("resources", REFUSED)
def test_a_route_of_an_http_api_that_is_not_supported_refuses(resources, sites_of):
    found = sites_of(**http_api(**resources))
    assert found.sites[0].endpoints["GET /pets"].access.unsupported
    assert "each request is refused" in "\n".join(found.warnings)


def test_a_websocket_api_is_not_served(sites_of):
    found = sites_of(**http_api(Api=resource("ApiGatewayV2::Api", ProtocolType="WEBSOCKET")))
    assert found.sites == []
    assert [line.rpartition(": ")[2] for line in found.warnings] == ["WebSocket APIs are not served"]


# REST APIs

REST = resource("ApiGateway::RestApi", Name="shop", BinaryMediaTypes=["image/*"])
ROOT = {"Fn::GetAtt": ["Rest", "RootResourceId"]}
RESOURCE = resource("ApiGateway::Resource", RestApiId=ref("Rest"), ParentId=ROOT, PathPart="pets")
CHILD = resource("ApiGateway::Resource", RestApiId=ref("Rest"), ParentId=ref("Resource"), PathPart="{id}")


def method(resource_id="Child", http="GET", **more):
    integration = {"Type": "AWS_PROXY", "IntegrationHttpMethod": "POST", "Uri": uri("Pets")}
    properties = {"RestApiId": ref("Rest"), "HttpMethod": http, "Integration": integration, "AuthorizationType": "NONE"}
    place = ROOT if resource_id == "Root" else ref(resource_id)
    return resource("ApiGateway::Method", **{**properties, "ResourceId": place, **more})


def rest_api(**more):
    stage = resource("ApiGateway::Stage", RestApiId=ref("Rest"), StageName="dev")
    return {"Rest": REST, "Resource": RESOURCE, "Child": CHILD, "Stage": stage, "Method": method(), **more}


def test_a_rest_api_has_the_methods_of_its_resources(sites_of):
    found = sites_of(**rest_api(AtRoot=method("Root", "ANY")))
    (site,) = found.sites
    assert (site.kind, site.names, site.stage) == ("REST API", ("Rest", "shop"), "dev")
    assert {key: endpoint.route.function for key, endpoint in site.endpoints.items()} == {
        "GET /pets/{id}": "Pets",
        "ANY /": "Pets",
    }
    assert list(site.endpoints["ANY /"].route.stage.binary_media_types) == ["image/*"]
    assert found.warnings == []


@pytest.mark.parametrize(
    ("more", "timeout"), [({}, 29), ({"TimeoutInMillis": 5000}, 5), ({"TimeoutInMillis": "500"}, 0.5)]
)
def test_the_timeout_is_that_of_the_integration_of_a_method(more, timeout, sites_of):
    integration = {"Type": "AWS_PROXY", "Uri": uri("Pets"), **more}
    (site,) = sites_of(**rest_api(Method=method(Integration=integration))).sites
    assert site.endpoints["GET /pets/{id}"].timeout == timeout


def test_binary_media_types_are_those_of_the_api_and_of_its_document_too(sites_of):
    body = {"x-amazon-apigateway-binary-media-types": ["a/b"]}
    rest = resource("ApiGateway::RestApi", BinaryMediaTypes=["image~1*"], Body=body)
    (site,) = sites_of(**rest_api(Rest=rest)).sites
    assert list(site.endpoints["GET /pets/{id}"].route.stage.binary_media_types) == ["image/*", "a/b"]


def test_a_mock_answers_preflights(sites_of):
    parameters = {"method.response.header.Access-Control-Allow-Origin": "'*'"}
    mock = {"Type": "MOCK", "IntegrationResponses": [{"StatusCode": "204", "ResponseParameters": parameters}]}
    (site,) = sites_of(**rest_api(Options=method("Child", "OPTIONS", Integration=mock))).sites
    fixed = site.endpoints["OPTIONS /pets/{id}"].fixed
    assert (fixed.status, fixed.headers, fixed.body) == (204, (("Access-Control-Allow-Origin", "*"),), b"")


def test_a_mock_has_the_conditions_of_its_method(sites_of):
    mock = {"Type": "MOCK", "IntegrationResponses": [{"StatusCode": "200"}]}
    (site,) = sites_of(**rest_api(Method=method(Integration=mock, ApiKeyRequired=True))).sites
    assert site.endpoints["GET /pets/{id}"].access == Access(needs_api_key=True)
    signed = sites_of(**rest_api(Method=method(Integration=mock, AuthorizationType="AWS_IAM")))
    assert signed.sites[0].endpoints["GET /pets/{id}"].access.unsupported


def test_conditions_of_a_method(sites_of):
    (site,) = sites_of(**rest_api(Method=method(ApiKeyRequired=True))).sites
    assert site.endpoints["GET /pets/{id}"].access == Access(needs_api_key=True)
    authorizer = resource(
        "ApiGateway::Authorizer",
        RestApiId=ref("Rest"),
        Type="TOKEN",
        AuthorizerUri=uri("Pets"),
        IdentitySource="method.request.header.X-Token",
        AuthorizerResultTtlInSeconds=0,
    )
    custom = method(AuthorizationType="CUSTOM", AuthorizerId=ref("Auth"))
    (site,) = sites_of(**rest_api(Method=custom, Auth=authorizer)).sites
    expected = LambdaAuthorizer("Pets", True, "TOKEN", sources=(("header", "X-Token"),), ttl=0)
    assert site.endpoints["GET /pets/{id}"].access == Access("", expected)


PARAMETERS = {
    "method.request.querystring.color": True,
    "method.request.header.X-Flag": "true",
    "method.request.header.X-Other": False,
    "method.request.path.id": True,
}
MODELS = {"application/json": ref("Pet")}
REQUIRED = (("querystring", "color"), ("header", "X-Flag"))


@pytest.mark.parametrize(
    ("checks", "models", "access"),
    [
        ({"ValidateRequestParameters": True}, MODELS, (("querystring", "color"), ("header", "X-Flag"))),
        (
            {"ValidateRequestParameters": True, "ValidateRequestBody": True},
            {},
            (("querystring", "color"), ("header", "X-Flag")),
        ),
        ({"ValidateRequestBody": False}, MODELS, ()),
        ({"ValidateRequestBody": True}, MODELS, None),
        ({"ValidateRequestParameters": ref("Nothing")}, {}, None),
        ({"ValidateRequestParameters": "maybe"}, {}, None),
    ],
)
def test_a_validator_checks_the_required_parameters(checks, models, access, sites_of):
    validator = resource("ApiGateway::RequestValidator", RestApiId=ref("Rest"), **checks)
    checked = method(RequestValidatorId=ref("V"), RequestParameters=PARAMETERS, RequestModels=models)
    (site,) = sites_of(**rest_api(Method=checked, V=validator)).sites
    found = site.endpoints["GET /pets/{id}"].access
    assert found.unsupported if access is None else found == Access(required=access)


def test_gateway_responses_of_resources_and_of_the_document_change_refusals(sites_of):
    response = resource(
        "ApiGateway::GatewayResponse",
        RestApiId=ref("Rest"),
        ResponseType="DEFAULT_4XX",
        StatusCode="499",
        ResponseParameters={"gatewayresponse.header.A": "'1'", "gatewayresponse.header.B": "context.x"},
        ResponseTemplates={"application/json": "{}"},
    )
    body = {"x-amazon-apigateway-gateway-responses": {"DEFAULT_5XX": {"statusCode": 599}}}
    found = sites_of(**rest_api(Response=response, Rest=resource("ApiGateway::RestApi", Body=body)))
    assert found.sites[0].responses == {
        "DEFAULT_4XX": GatewayResponse(499, (("A", "1"),), template="{}"),
        "DEFAULT_5XX": GatewayResponse(599),
    }
    assert "the header 'B' of DEFAULT_4XX is left out" in "\n".join(found.warnings)


MAPPED = resource(
    "ApiGatewayV2::Integration",
    ApiId=ref("Api"),
    IntegrationType="AWS_PROXY",
    IntegrationUri=arn("Pets"),
    RequestParameters={"overwrite:header.x-user": "$context.authorizer.user"},
)


REMOVED = {"200": {"ResponseParameters": [{"Destination": "remove:header.x-secret", "Source": "''"}]}}


@pytest.mark.parametrize(
    "integration",
    [MAPPED, {**INTEGRATION, "Properties": {**INTEGRATION["Properties"], "ResponseParameters": REMOVED}}],
)
def test_parameters_of_an_integration_of_an_http_api_refuse(integration, sites_of):
    assert sites_of(**http_api(Integration=integration)).sites[0].endpoints["GET /pets"].access.unsupported


REFUSED_METHODS = [
    {"Method": method(Integration={"Type": "MOCK"})},
    {"Method": method(AuthorizationType="COGNITO_USER_POOLS", AuthorizerId=ref("Auth"))},
    {"Method": method(RequestValidatorId=ref("V"))},
    {"Method": method(AuthorizationScopes=["read"])},
    {"Method": method(AuthorisationType="AWS_IAM")},
    {"Method": method(AuthorizationType=None, AuthorizerId=ref("Auth"))},
    {"Method": method(Integration={"Type": "HTTP_PROXY", "Uri": "http://127.0.0.1/"})},
    {"Method": method(Integration={"Type": "AWS_PROXY", "Uri": ref("Nothing")})},
    {"Rest": resource("ApiGateway::RestApi", Policy={})},
    {"Rest": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Fn::If": ["C", {"Policy": {}}, {}]}}},
    {"Method": method(RequestValidatorId={"Ref": ["x"]})},
    {"Rest": resource("ApiGateway::RestApi", BodyS3Location={"Bucket": "b", "Key": "k"})},
    {"Rest": resource("ApiGateway::RestApi", Body={"Fn::Transform": {"Name": "AWS::Include"}})},
    {"Rest": resource("ApiGateway::RestApi", Body={"x-amazon-apigateway-policy": {}})},
    {"Rest": resource("ApiGateway::RestApi", **{"Fn::Transform": {"Name": "AWS::Include"}})},
    {"Method": method(**{"Fn::Transform": {"Name": "AWS::Include"}})},
]


@pytest.mark.parametrize("resources", REFUSED_METHODS)
def test_a_method_that_is_not_supported_refuses(resources, sites_of):
    found = sites_of(**rest_api(**resources))
    assert found.sites[0].endpoints["GET /pets/{id}"].access.unsupported
    assert "each request is refused" in "\n".join(found.warnings)


@pytest.mark.parametrize("is_disabled", [True, False])
def test_a_document_may_disable_the_endpoint_of_its_api(is_disabled, sites_of):
    body = {"x-amazon-apigateway-endpoint-configuration": {"disableExecuteApiEndpoint": is_disabled}}
    (site,) = sites_of(**rest_api(Rest=resource("ApiGateway::RestApi", Body=body))).sites
    assert site.has_endpoint is not is_disabled


@pytest.mark.parametrize(("more", "base_path"), [({"BasePath": "(none)"}, ""), ({}, ""), ({"BasePath": "v1"}, "v1")])
def test_the_base_path_of_a_mapping(more, base_path, sites_of):
    domain = resource("ApiGateway::DomainName", DomainName="api.example")
    base = resource("ApiGateway::BasePathMapping", DomainName=ref("Domain"), RestApiId=ref("Rest"), Stage="dev", **more)
    (mapping,) = sites_of(**rest_api(Domain=domain, Base=base)).domains.mappings
    assert (mapping.domain, mapping.base_path) == ("api.example", base_path)


@pytest.mark.parametrize("parent", ["Child", "Nothing", "Pets"])
def test_a_resource_without_a_way_to_the_root_is_not_served(parent, sites_of):
    found = sites_of(
        **rest_api(Resource={**RESOURCE, "Properties": {**RESOURCE["Properties"], "ParentId": ref(parent)}})
    )
    assert found.sites == []
    assert "is not served" in "\n".join(found.warnings)


@pytest.mark.parametrize("name", [ref("Domain"), "api.example"])
@pytest.mark.parametrize("is_mutual", [True, False])
def test_a_domain_with_mutual_tls_refuses_the_routes_of_its_apis(name, is_mutual, sites_of):
    tls = {"MutualTlsAuthentication": {"TruststoreUri": "s3://bucket/store"}} if is_mutual else {}
    domain = resource("ApiGatewayV2::DomainName", DomainName="api.example", **tls)
    of_http = resource("ApiGatewayV2::ApiMapping", ApiId=ref("Api"), DomainName=name, Stage="$default")
    of_rest = resource("ApiGateway::BasePathMapping", RestApiId=ref("Rest"), DomainName=name)
    found = sites_of(Domain=domain, OfHttp=of_http, OfRest=of_rest, **http_api(), **rest_api())
    refused = [endpoint.access.unsupported for site in found.sites for endpoint in site.endpoints.values()]
    assert refused == ["mutual TLS" if is_mutual else ""] * 2


@pytest.mark.parametrize(
    "resources",
    [http_api(Route=route(ref("Nothing"))), rest_api(Method=method(http=ref("Nothing")))],
    ids=["HTTP API", "REST API"],
)
def test_a_route_whose_key_is_not_known_is_not_served(resources, sites_of):
    found = sites_of(**resources)
    assert found.sites == []
    assert "is not known" in "\n".join(found.warnings)


@pytest.mark.parametrize(
    "resources",
    [http_api(Second=route("GET /pets")), rest_api(Second=method())],
    ids=["HTTP API", "REST API"],
)
def test_two_routes_for_the_same_requests_are_refused_with_both_names(resources, sites_of):
    with pytest.raises(ConfigurationError) as error:
        sites_of(**resources)
    assert "Second" in str(error.value)
    assert ": Route" in str(error.value) or ": Method" in str(error.value)


def test_a_route_of_the_document_and_one_of_a_resource_are_refused(sites_of):
    document = {"paths": {"/pets": {"get": {"x-amazon-apigateway-integration": {"type": "aws_proxy"}}}}}
    with pytest.raises(ConfigurationError, match=r"Api\.Body"):
        sites_of(**http_api(Api=resource("ApiGatewayV2::Api", ProtocolType="HTTP", Body=document)))


# Function URLs and load balancers


def test_a_function_url_has_the_names_of_function_and_resource(sites_of):
    url = resource("Lambda::Url", TargetFunctionArn=arn("Pets"), AuthType="NONE", Cors={"AllowOrigins": ["*"]})
    (site,) = sites_of(Url=url).sites
    assert (site.kind, site.names) == ("function URL", ("Pets", "Url"))
    assert (site.find("GET", "/").access, site.cors.origins) == (Access(), ("*",))


def url(**more):
    return resource("Lambda::Url", **{"TargetFunctionArn": arn("Pets"), "AuthType": "NONE", **more})


URLS = [  # the qualifiers of the URLs of one function, and the names of each URL
    ([None], [("Pets", "Url0")]),
    (["live"], [("Pets", "Pets:live", "Url0")]),
    ([None, "live"], [("Pets", "Url0"), ("Pets:live", "Url1")]),
    (["live", None], [("Pets:live", "Url0"), ("Pets", "Url1")]),
    (["live", "next"], [("Pets:live", "Url0"), ("Pets:next", "Url1")]),
]


@pytest.mark.parametrize(("qualifiers", "names"), URLS)
def test_a_function_and_each_of_its_aliases_may_have_a_url(qualifiers, names, sites_of):
    urls = {f"Url{number}": url(Qualifier=qualifier) for number, qualifier in enumerate(qualifiers)}
    sites = sites_of(**urls).sites
    assert [site.names for site in sites] == names
    found = [Locations(sites).find("", f"/_aws/lambda-url/{own[0].lower()}/x").site for own in names]
    assert found == sites
    assert [Locations(sites).find(f"{own[-1]}.lambda-url.x", "/").site for own in names] == sites


def test_the_url_of_an_alias_is_listed_under_a_host_that_can_exist(sites_of):
    lines = Locations(sites_of(A=url(), B=url(Qualifier="live")).sites).urls("http://localhost:1")
    assert [line.split("//")[1].partition("/{")[0] for line in lines] == [
        "Pets.lambda-url.localhost:1",
        "localhost:1/_aws/lambda-url/Pets",
        "B.lambda-url.localhost:1",
        "localhost:1/_aws/lambda-url/Pets:live",
    ]


def test_apis_with_one_name_have_their_logical_ids(sites_of):
    resources = {**http_api(), **rest_api(), "shop": resource("ApiGatewayV2::Api", Target=arn("Pets"))}
    found = sites_of(**resources)
    assert [site.names for site in found.sites] == [("Api",), ("shop",), ("Rest",)]
    assert [line.partition(": ")[2] for line in found.warnings] == [
        f"{id}: another API has the name 'shop' too; use the logical id instead" for id in ("Api", "Rest")
    ]
    assert Locations(found.sites).find("shop.execute-api.x", "/").site == found.sites[1]


def test_two_urls_of_one_alias_are_refused(sites_of):
    with pytest.raises(ConfigurationError, match="would both be served as 'pets:live'"):
        Locations(sites_of(A=url(Qualifier="live"), B=url(Qualifier="live")).sites)


def test_a_url_of_an_alias_that_is_not_known_refuses(sites_of):
    (site,) = sites_of(A=url(Qualifier=ref("Nothing"))).sites
    assert site.find("GET", "/").access.unsupported


@pytest.mark.parametrize(
    ("auth", "access"),
    [
        ("AWS_IAM", Access(needs_signature=True)),
        ("OTHER", Access("AuthType OTHER")),
        ("", Access("AuthType without a value")),
    ],
)
def test_the_auth_type_of_a_function_url(auth, access, sites_of):
    (site,) = sites_of(Url=resource("Lambda::Url", TargetFunctionArn=arn("Pets"), AuthType=auth)).sites
    assert site.find("GET", "/").access == access


def test_a_target_group_with_a_function_is_a_load_balancer(sites_of):
    attributes = [{"Key": "lambda.multi_value_headers.enabled", "Value": "true"}]
    group = {"TargetType": "lambda", "Targets": [{"Id": arn("Pets")}], "TargetGroupAttributes": attributes}
    found = sites_of(
        Group=resource("ElasticLoadBalancingV2::TargetGroup", **group),
        Others=resource("ElasticLoadBalancingV2::TargetGroup", TargetType="instance"),
        Empty=resource("ElasticLoadBalancingV2::TargetGroup", TargetType="lambda"),
    )
    (site,) = found.sites
    assert (site.names, site.find("GET", "/").route.function) == (("Group",), "Pets")
    assert site.find("GET", "/").route.has_multi_value_headers
    assert len(found.warnings) == 1


GROUP = resource("ElasticLoadBalancingV2::TargetGroup", TargetType="lambda", Targets=[{"Id": arn("Pets")}])


def acl(target):
    return resource("WAFv2::WebACLAssociation", ResourceArn=target, WebACLArn="arn")


def forward(*first, group="Group"):
    return [*({"Type": type} for type in first), {"Type": "forward", "TargetGroupArn": ref(group)}]


def listener(*first, group="Group", **more):
    return resource("ElasticLoadBalancingV2::Listener", DefaultActions=forward(*first, group=group), **more)


def balancer(scheme):
    return resource("ElasticLoadBalancingV2::LoadBalancer", Scheme=scheme)


def rule(*fields, actions=None, **more):
    conditions = [{"Field": field} for field in fields]
    return resource("ElasticLoadBalancingV2::ListenerRule", Conditions=conditions, Actions=actions or forward(), **more)


@pytest.mark.parametrize(
    "resources",
    [
        {"Listener": listener("authenticate-oidc")},
        {"Rule": rule("path-pattern", actions=forward("authenticate-cognito"))},
        {"Rule": rule("path-pattern", "source-ip")},
        {"Rule": rule("http-header")},
        {"Listener": listener(LoadBalancerArn=ref("Balancer")), "Acl": acl(ref("Balancer"))},
        {"Listener": listener(MutualAuthentication={"Mode": "verify"})},
        {"Listener": listener(LoadBalancerArn=ref("Balancer")), "Balancer": balancer("internal")},
        {"Listener": listener(LoadBalancerArn=ref("Balancer")), "Balancer": balancer(ref("Nothing"))},
        {"Rule": rule("path-pattern", Transforms=[{"Type": "url-rewrite"}])},
        {"Listener": listener(group="Other", MutualAuthentication={}), "Rule": rule(ListenerArn=ref("Listener"))},
        {
            "Listener": resource(
                "ElasticLoadBalancingV2::Listener", DefaultActions={"Fn::If": ["C", forward("jwt-validation"), []]}
            )
        },
    ],
)
def test_a_target_group_behind_a_condition_of_a_listener_refuses(resources, sites_of):
    found = sites_of(Group=GROUP, **resources)
    assert found.sites[0].find("GET", "/").access.unsupported
    assert "each request is refused with 502" in "\n".join(found.warnings)


@pytest.mark.parametrize(
    "resources",
    [
        {"Listener": listener()},
        {"Listener": listener(LoadBalancerArn=ref("Balancer")), "Balancer": balancer("internet-facing")},
        {"Balancer": balancer("internal")},
        {"Rule": rule("path-pattern", "host-header")},
        {"Listener": listener("authenticate-oidc", group="Other"), "Rule": rule("path-pattern")},
    ],
)
def test_a_target_group_without_conditions_is_open(resources, sites_of):
    assert sites_of(Group=GROUP, **resources).sites[0].find("GET", "/").access == Access()


def test_attributes_of_a_wrong_type_do_not_stop_the_server(sites_of):
    group = {**GROUP["Properties"], "TargetGroupAttributes": 5}
    assert sites_of(Group=resource("ElasticLoadBalancingV2::TargetGroup", **group)).sites
