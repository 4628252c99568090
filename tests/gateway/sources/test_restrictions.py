"""Restrictions of whole APIs, their validators, and properties without an effect, in templates of both kinds."""

import pytest

pytest.importorskip("yaml")

from serverfull_wsgi import SamFetcher
from serverfull_wsgi.gateway.access import Access
from serverfull_wsgi.gateway.gateway_responses import GatewayResponse
from serverfull_wsgi.gateway.sources.templates import TemplateSites

pytestmark = pytest.mark.quick

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters: {{Unknown: {{Type: String}}}}
{globals}
Resources:
  Pets:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.handler
      Runtime: python3.12
      InlineCode: "def handler(event, context): return event"
      Events:
        Rest: {{Type: Api, Properties: {{Path: /a, Method: GET, RestApiId: !Ref Shop{event}}}}}
        Http: {{Type: HttpApi, Properties: {{Path: /b, Method: GET, ApiId: !Ref Web{http_event}}}}}
  Shop: {{Type: AWS::Serverless::Api, Properties: {{StageName: dev, Cors: "'*'"{shop}}}}}
  Web: {{Type: AWS::Serverless::HttpApi, Properties: {{{web}}}}}
  Rest:
    Type: AWS::ApiGateway::RestApi
    Properties: {{{rest}}}
  Stage: {{Type: AWS::ApiGateway::Stage, Properties: {{RestApiId: !Ref Rest, StageName: prod{stage}}}}}
  Method:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref Rest
      ResourceId: !GetAtt Rest.RootResourceId
      HttpMethod: GET
      Integration:
        Type: AWS_PROXY
        Uri: !Sub "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/${{Pets.Arn}}/invocations"
{resources}
"""


@pytest.fixture
def found(tmp_path):
    def read(resources="", globals="", **parts):
        names = ("event", "http_event", "shop", "web", "rest", "stage")
        values = {name: parts.get(name, "") for name in names}
        for name in ("event", "http_event", "shop", "stage"):
            values[name] = f", {values[name]}" if values[name] else ""
        path = tmp_path / "template.yaml"
        path.write_text(TEMPLATE.format(resources=resources, globals=globals, **values))
        return TemplateSites(SamFetcher(str(path)))

    return read


def refused(found):
    """The APIs that refuse each of their requests."""
    conditions = {site.names[0]: [each.access.unsupported for each in site.endpoints.values()] for site in found.sites}
    assert all(all(each) or not any(each) for each in conditions.values()), conditions
    return {name for name, each in conditions.items() if all(each)}


def association(arn, type="WAFv2"):
    return f"  Acl: {{Type: AWS::{type}::WebACLAssociation, Properties: {{ResourceArn: {arn}, WebACLArn: x}}}}\n"


START = "arn:aws:apigateway:us-east-1::/restapis/"
RESTRICTED = [  # parts of the template, the APIs that refuse
    ({}, set()),
    ({"shop": "EndpointConfiguration: PRIVATE"}, {"Shop"}),
    ({"shop": "EndpointConfiguration: {Type: PRIVATE, VPCEndpointIds: [x]}"}, {"Shop"}),
    ({"shop": "EndpointConfiguration: {Type: REGIONAL}"}, set()),
    ({"shop": "EndpointConfiguration: !Ref Unknown"}, {"Shop"}),
    ({"globals": "Globals: {Api: {EndpointConfiguration: {Type: PRIVATE}}}"}, {"Shop"}),
    ({"rest": "EndpointConfiguration: {Types: [PRIVATE]}"}, {"Rest"}),
    ({"rest": "EndpointConfiguration: {Types: [EDGE]}"}, set()),
    ({"resources": association(f"!Sub '{START}${{Shop}}/stages/${{Shop.Stage}}'")}, {"Shop"}),
    ({"resources": association(f"!Sub '{START}${{Shop}}/stages/dev'", "WAFRegional")}, {"Shop"}),
    ({"resources": association("!Join ['/', [x, !Ref Rest, stages, prod]]")}, {"Rest"}),
    ({"resources": association(f"!Sub ['{START}${{api}}', {{api: !Ref Stage}}]")}, {"Rest"}),
    ({"resources": association("!Ref ShopdevStage")}, {"Shop"}),
    ({"resources": association("!GetAtt Web.Arn")}, {"Web"}),
    ({"resources": association("!Ref Shopping")}, set()),
    ({"shop": "Auth: {ResourcePolicy: {IpRangeWhitelist: [x]}}"}, {"Shop"}),
    ({"rest": "Policy: {}"}, {"Rest"}),
    ({"rest": "Policy: ''"}, set()),
    ({"rest": "Policy: !Ref AWS::NoValue"}, set()),
    ({"rest": "Policy: !Ref Unknown"}, {"Rest"}),
    ({"shop": "Policy: !Ref AWS::NoValue"}, set()),
    ({"shop": "Policy: {Statement: []}"}, {"Shop"}),
    ({"shop": "ApiKeySourceType: AUTHORIZER"}, {"Shop"}),
    ({"rest": "ApiKeySourceType: !Ref Unknown"}, {"Rest"}),
    ({"shop": "ApiKeySourceType: HEADER"}, set()),
    ({"rest": "Parameters: {endpointConfigurationTypes: PRIVATE}"}, {"Rest"}),
    ({"rest": "Parameters: {basepath: prepend}"}, {"Rest"}),
    ({"rest": "Parameters: {endpointConfigurationTypes: REGIONAL}"}, set()),
    ({"rest": "CloneFrom: x"}, {"Rest"}),
    ({"shop": "Auth: {DefaultAuthoriser: Mine}"}, {"Shop"}),
    ({"globals": "Globals: {HttpApi: {Auht: {DefaultAuthorizer: Mine}}}"}, {"Web"}),
    ({"shop": "Domain: {DomainName: a.example, AccessAssociation: {VpcEndpointId: x}}"}, {"Shop"}),
    ({"rest": "Body: {x-amazon-apigateway-api-key-source: AUTHORIZER}"}, {"Rest"}),
    ({"rest": "Body: {x-amazon-apigateway-endpoint-configuration: {vpcEndpointIds: [x]}}"}, {"Rest"}),
    ({"rest": "Body: {x-amazon-apigateway-new: x}"}, {"Rest"}),
    (
        {
            "rest": "Body: {x-amazon-apigateway-api-key-source: HEADER, x-amazon-apigateway-binary-media-types: [a/b], "
            "x-amazon-apigateway-endpoint-configuration: {disableExecuteApiEndpoint: false}, x-other: 1}"
        },
        set(),
    ),
    ({"shop": "Domain: {DomainName: a.example, MutualTlsAuthentication: {}}"}, {"Shop"}),
    (
        {
            "resources": "  D: {Type: AWS::ApiGatewayV2::DomainName, Properties: {DomainName: a.example, "
            "MutualTlsAuthentication: {TruststoreUri: x}}}\n"
            "  M: {Type: AWS::ApiGatewayV2::ApiMapping, "
            "Properties: {DomainName: !Ref D, ApiId: !Ref Web, Stage: $default}}"
        },
        {"Web"},
    ),
]


@pytest.mark.parametrize(("parts", "apis"), RESTRICTED)
def test_a_restricted_api_refuses_with_its_preflights_and_has_a_warning(parts, apis, found):
    read = found(**parts)
    assert refused(read) == apis
    lines = [line for line in read.warnings if "each request is refused with 500" in line]
    assert len(lines) == len(apis)


REQUIRED = (("header", "X-Flag"), ("querystring", "color"))
PARAMETERS = (
    "RequestParameters: [method.request.header.X-Other, {method.request.header.X-Flag: {Required: true}}, "
    "{method.request.querystring.color: {Required: true, Caching: false}}, method.request.querystring.size: {}]"
)


@pytest.mark.parametrize(
    ("model", "access"),
    [
        ("", Access()),
        ("RequestModel: {Model: Pet, Required: true}", Access()),
        ("RequestModel: {Model: Pet, ValidateParameters: true}", Access(required=REQUIRED)),
        ("RequestModel: {Model: Pet, ValidateParameters: true, ValidateBody: false}", Access(required=REQUIRED)),
    ],
)
def test_the_required_parameters_of_an_event_are_checked_if_the_model_says_so(model, access, found):
    read = found(event=f"{PARAMETERS}{', ' if model else ''}{model}")
    (site,) = [site for site in read.sites if site.names[0] == "Shop"]
    assert site.endpoints["GET /a"].access == access


@pytest.mark.parametrize(
    "model",
    [
        "RequestModel: {Model: Pet, ValidateBody: true}",
        "RequestModel: {Model: Pet, ValidateBody: !Ref Unknown}",
        "RequestModel: !Ref Unknown",
        "RequestModel: {Fn::Transform: {Name: AWS::Include}}",
        "RequestParameters: !Ref Unknown, RequestModel: {Model: Pet, ValidateParameters: true}",
    ],
)
def test_a_validation_that_is_not_supported_or_not_known_refuses(model, found):
    (site,) = [site for site in found(event=model).sites if site.names[0] == "Shop"]
    assert site.endpoints["GET /a"].access.unsupported


URL = """  Url:
    Type: AWS::Lambda::Url
    Properties: {{TargetFunctionArn: !GetAtt Pets.Arn, AuthType: NONE, InvokeMode: {0}}}
"""
IGNORED = [  # parts of the template, the warning
    ({"shop": "MethodSettings: [{Limit: 1}], TracingEnabled: true"}, "Shop: MethodSettings, TracingEnabled"),
    ({"shop": "CanarySetting: {PercentTraffic: 5}, FailOnWarnings: true"}, "Shop: CanarySetting: a stage limits"),
    ({"shop": "TracingEnabled: false"}, None),
    ({"shop": "Auth: {UsagePlan: {CreateUsagePlan: PER_API}}"}, "Shop.Auth.UsagePlan: requests of a usage plan"),
    ({"web": "DefaultRouteSettings: {ThrottlingBurstLimit: 1}"}, "Web: DefaultRouteSettings"),
    ({"globals": "Globals: {HttpApi: {AccessLogSettings: {Format: x}}}"}, "Web: AccessLogSettings"),
    ({"stage": "CacheClusterEnabled: true"}, "Stage: CacheClusterEnabled"),
    ({"resources": "  Plan: {Type: AWS::ApiGateway::UsagePlan}\n"}, "Plan: requests of a usage plan"),
    ({"event": "ResponseTransferMode: RESPONSE_STREAM"}, "Properties.ResponseTransferMode: answers are not streamed"),
    ({"event": "ResponseTransferMode: BUFFERED"}, None),
    ({"http_event": "RouteSettings: {ThrottlingBurstLimit: 1}"}, "Pets.Events.Http: RouteSettings: a stage limits"),
    ({"resources": "  Chat: {Type: AWS::Serverless::WebSocketApi}\n"}, "Chat: WebSocket APIs are not served"),
    ({"resources": URL.format("BUFFERED")}, None),
    ({"resources": URL.format("RESPONSE_STREAM")}, "Url.InvokeMode: answers are not streamed"),
    ({}, None),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "warning"), IGNORED)
def test_a_property_that_restricts_nobody_has_one_warning(parts, warning, found):
    read = found(**parts)
    assert refused(read) == set()
    assert len(read.warnings) == (warning is not None)
    assert warning is None or warning in read.warnings[0]


def test_gateway_responses_of_a_serverless_api(found):
    headers = "{Headers: {Access-Control-Allow-Origin: \"'*'\", Vary: method.request.header.Origin, X: context.x}}"
    template = "{application/json: '{\"error\": $context.error.messageString}'}"
    read = found(
        shop="GatewayResponses: {DEFAULT_4XX: {ResponseParameters: "
        f"{headers}}}, UNAUTHORIZED: {{StatusCode: 403, ResponseTemplates: {template}}}, "
        "DEFAULT_5XX: {StatusCode: often, ResponseTemplates: {application/json: $input.body}}}"
    )
    (site,) = [site for site in read.sites if site.names[0] == "Shop"]
    assert site.responses == {
        "DEFAULT_4XX": GatewayResponse(
            headers=(("Access-Control-Allow-Origin", "*"),), request_headers=(("Vary", "Origin"),)
        ),
        "UNAUTHORIZED": GatewayResponse(403, template='{"error": $context.error.messageString}'),
        "DEFAULT_5XX": GatewayResponse(),
    }
    assert ["is left out" in line for line in read.warnings] == [True, False]
    assert "Shop.GatewayResponses: the body of DEFAULT_5XX stays as it is on AWS" in read.warnings[1]


@pytest.mark.parametrize("origins", ["['*']", "'*'", "['https://a.example', '*']"])
def test_credentials_are_not_allowed_for_each_origin_of_an_http_api(origins, found):
    sites = found(web=f"CorsConfiguration: {{AllowOrigins: {origins}, AllowCredentials: true}}")
    (cors,) = [site.cors for site in sites.sites if site.cors]
    assert "*" in cors.origins
    assert not cors.is_credentialed
    assert any("AWS refuses AllowCredentials for the origin '*'" in line for line in sites.warnings)
