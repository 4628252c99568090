"""Custom domains: which API a Host and a base path address, the events there, and the domains of templates."""

import json

import pytest
from werkzeug.test import Client

from serverfull_wsgi import Application, ConfigurationError, SamFetcher, Settings, StaticFetcher, create_app
from serverfull_wsgi.gateway.domains import ApiMapping, Domains, parse_domain
from serverfull_wsgi.gateway.formats import Route, Stage, http_v1, http_v2, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.locations import Locations
from serverfull_wsgi.gateway.sites import Endpoint, http_api, rest_api
from serverfull_wsgi.gateway.sources.templates import TemplateSites

pytest.importorskip("yaml")
pytestmark = pytest.mark.quick


def rest(name="shop", stage="dev", **more):
    endpoint = Endpoint(Route("ANY /{proxy+}", "echo", Stage(stage, name)), rest_v1)
    return rest_api((name,), {"ANY /{proxy+}": endpoint}, stage, **more)


def http(name="web", stage="dev", format=http_v2):
    return http_api((name,), {"$default": Endpoint(Route("$default", "echo", Stage(stage, name)), format)}, stage)


# Hosts and base paths

LEVELS = {base: rest(base or "root") for base in ("", "orders", "orders/v1/items", "orders/v2/items")}
FOUND = [  # path, base path of the API, path for the API
    ("/orders", "orders", "/"),
    ("/orders/", "orders", "/"),
    ("/orders/v1/items", "orders/v1/items", "/"),
    ("/orders/v1/items/123", "orders/v1/items", "/123"),
    ("/orders/v2/items//x/", "orders/v2/items", "//x/"),
    ("/orders/v1", "orders", "/v1"),
    ("/%6Frders/7", "orders", "/7"),
    ("/orders%2Fv1%2Fitems/7", "", "/orders%2Fv1%2Fitems/7"),
    ("/ordersx", "", "/ordersx"),
    ("/Orders/7", "", "/Orders/7"),
    ("/", "", "/"),
]


@pytest.mark.parametrize(("path", "base_path", "rest_of_path"), FOUND)
def test_the_longest_base_path_of_whole_segments_counts(path, base_path, rest_of_path):
    domains = Domains(ApiMapping("api.example", base, site) for base, site in LEVELS.items())
    site, found = domains.find("api.example", path)
    assert (site.names, found) == (LEVELS[base_path].names, rest_of_path)


HOSTS = ["api.example", "API.Example", "api.example:8080", "api.example.", "api.example.:80"]
NOT_VALID = [
    "api.example..",
    "api.example:x",
    "api.example:80:80",
    "api.example,other",
    " api.example\t",
    "api.example/x",
]


@pytest.mark.parametrize("host", HOSTS + NOT_VALID)
def test_case_port_and_a_dot_at_the_end_of_a_host_do_not_count(host):
    assert Domains([ApiMapping("api.example", "", rest())]).find(host, "/")[0] is not None


@pytest.mark.parametrize(
    ("host", "name"),
    [("a.example", "wild"), ("api.example", "exact"), ("a.b.example", None), ("example", None), ("", None)],
)
def test_a_wildcard_stands_for_one_label_and_an_exact_domain_has_precedence(host, name):
    mappings = [ApiMapping("*.example", "", rest("wild")), ApiMapping("api.example", "", rest("exact"))]
    found = Domains(mappings).find(host, "/")
    assert (found and found[0].names[0]) == name


def test_a_base_path_that_no_api_has_is_found_without_an_api():
    assert Domains([ApiMapping("api.example", "v1", rest())]).find("api.example", "/v2/x") == (None, "/v2/x")
    assert Domains(names=["api.example"]).find("api.example", "/") == (None, "/")


def test_two_apis_with_one_base_path_are_refused_with_both_names():
    with pytest.raises(
        ConfigurationError, match=r"'one' and HTTP API 'two' both have the custom domain 'api.example/v1'"
    ):
        Domains([ApiMapping("api.example", "v1", rest("one")), ApiMapping("api.example", "/v1/", http("two"))])


@pytest.mark.parametrize("text", ["", "a b", "a/b", "a..b", "http://a", "a" * 64, "a.*.b", "-a.example", "\ud800"])
def test_a_text_that_no_host_can_be_is_no_domain(text):
    assert parse_domain(text) == ""


# Requests and events


@pytest.fixture(scope="module")
def client():
    application = Application(
        StaticFetcher({"echo": lambda event, context: {"statusCode": 200, "body": json.dumps(event)}})
    )
    mappings = [
        ApiMapping("rest.example", "shop/v1", rest()),
        ApiMapping("staged.example", "shop", rest(), stage_in_path=True),
        ApiMapping("one.example", "shop", http(format=http_v1)),
        ApiMapping("two.example", "shop", http()),
        ApiMapping("two.example", "default", http("plain", "$default")),
    ]
    sites = [rest(), rest("hidden", has_endpoint=False), http()]
    locations = Locations(sites, domains=Domains(mappings))
    yield Client(SiteServer(Gateway(application.dispatcher), application.start, locations=locations))
    application.close()


def event(client, host, path):
    response = client.get(path, headers={"Host": host})
    assert response.status_code == 200, response.text
    return json.loads(response.text)


def test_paths_of_a_rest_api_have_the_base_path_and_no_stage(client):
    members = event(client, "rest.example", "/shop/v1/pets/7")
    context = members["requestContext"]
    assert (members["path"], context["path"], members["pathParameters"]) == (
        "/shop/v1/pets/7",
        "/shop/v1/pets/7",
        {"proxy": "pets/7"},
    )
    assert (context["domainName"], context["domainPrefix"]) == ("rest.example", "rest")
    assert (context["stage"], context["apiId"], context["resourcePath"]) == ("dev", "shop", "/{proxy+}")


def test_a_mapping_without_a_stage_has_the_stage_after_the_base_path(client):
    members = event(client, "staged.example", "/shop/dev/pets/7")
    assert (members["path"], members["requestContext"]["path"]) == ("/shop/dev/pets/7",) * 2
    assert client.get("/shop/pets/7", headers={"Host": "staged.example"}).status_code == 403


def test_paths_of_payload_1_have_the_base_path(client):
    members = event(client, "one.example", "/shop/pets/7")
    assert (members["path"], members["requestContext"]["path"]) == ("/shop/pets/7", "/shop/pets/7")


def test_paths_of_payload_2_have_the_stage_and_no_base_path(client):
    members = event(client, "two.example", "/shop/pets/7")
    assert (members["rawPath"], members["requestContext"]["http"]["path"]) == ("/dev/pets/7", "/dev/pets/7")
    assert event(client, "two.example", "/default/pets/7")["rawPath"] == "/pets/7"


@pytest.mark.parametrize("path", ["/", "/other/x", "/2015-03-31/functions/echo/invocations", "/healthcheck"])
def test_a_path_that_no_api_of_the_domain_has_is_forbidden(client, path, caplog):
    caplog.set_level("INFO", "serverfull_wsgi")
    response = client.post(path, headers={"Host": "rest.example"})
    assert (response.status_code, response.json) == (403, {"message": "Forbidden"})
    assert "refused: no API of the domain 'rest.example' has the base path" in caplog.text


@pytest.mark.parametrize(
    ("host", "path"),
    [("hidden.execute-api.localhost", "/dev/pets"), ("localhost", "/_aws/execute-api/hidden/dev/pets")],
)
def test_a_disabled_endpoint_is_forbidden(client, host, path, caplog):
    caplog.set_level("INFO", "serverfull_wsgi")
    response = client.get(path, headers={"Host": host})
    assert (response.status_code, response.json) == (403, {"message": "Forbidden"})
    assert "refused: REST API 'hidden' is served under its custom domains only" in caplog.text


def test_the_urls_of_hosts_paths_and_domains_are_listed(client):
    lines = client.application.urls("http://127.0.0.1:8080")
    assert lines == [
        "ANY http://shop.execute-api.localhost:8080/dev/{proxy+}",
        "ANY http://127.0.0.1:8080/_aws/execute-api/shop/dev/{proxy+}",
        "ANY http://web.execute-api.localhost:8080/dev/{proxy+}",
        "ANY http://127.0.0.1:8080/_aws/execute-api/web/dev/{proxy+}",
        "ANY http://rest.example:8080/shop/v1/{proxy+}",
        "ANY http://staged.example:8080/shop/dev/{proxy+}",
        "ANY http://one.example:8080/shop/{proxy+}",
        "ANY http://two.example:8080/shop/{proxy+}",
        "ANY http://two.example:8080/default/{proxy+}",
    ]


# Templates

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters: {{Unknown: {{Type: String}}, Name: {{Type: String, Default: api.example}}}}
Conditions: {{IsNamed: !Equals [!Ref Name, api.example], IsUnknown: !Equals [!Ref Unknown, x]}}
Globals:
  Function: {{Handler: app.handler, Runtime: python3.12, InlineCode: "def handler(event, context): return event"}}
Resources:
  Pets:
    Type: AWS::Serverless::Function
    Properties:
      Events:
        A: {{Type: Api, Properties: {{Path: /a, Method: GET, RestApiId: !Ref Shop}}}}
        B: {{Type: HttpApi, Properties: {{Path: /b, Method: GET, ApiId: !Ref Web}}}}
        C: {{Type: Api, Properties: {{Path: /c, Method: GET}}}}
  Shop: {{Type: AWS::Serverless::Api, Properties: {{StageName: dev{shop}}}}}
  Web: {{Type: AWS::Serverless::HttpApi, Properties: {{{web}}}}}
{resources}
"""


@pytest.fixture
def found(tmp_path):
    def read(shop="", web="", resources=""):
        path = tmp_path / "template.yaml"
        path.write_text(TEMPLATE.format(shop=f", {shop}" if shop else "", web=web, resources=resources))
        return TemplateSites(SamFetcher(str(path)))

    return read


def mapped(found):
    return [
        (one.domain, one.base_path.strip("/"), one.site.names[0], one.stage_in_path) for one in found.domains.mappings
    ]


DOMAIN = "Domain: {{DomainName: {}, CertificateArn: arn, EndpointConfiguration: EDGE, Route53: {{}}{}}}"
SAM_DOMAINS = [  # domain, base path, mappings
    ("api.example", "", [("api.example", "")]),
    ("API.Example", ", BasePath: /", [("api.example", "")]),
    ("api.example", ", BasePath: /v1", [("api.example", "v1")]),
    ("api.example", ", BasePath: [/v1, v2/x]", [("api.example", "v1"), ("api.example", "v2/x")]),
    ("!Ref Name", ", BasePath: !If [IsNamed, [v1], [v2]]", [("api.example", "v1")]),
    ("!If [IsNamed, '*.example', x]", "", [("*.example", "")]),
    ("bücher.example", "", [("xn--bcher-kva.example", "")]),
]


@pytest.mark.parametrize(("domain", "base_path", "expected"), SAM_DOMAINS)
def test_the_domain_of_a_serverless_api_has_its_base_paths(domain, base_path, expected, found):
    text = DOMAIN.format(domain, base_path)
    of_rest, of_http = found(shop=text), found(web=text)
    assert mapped(of_rest) == [(name, base, "Shop", False) for name, base in expected]
    assert mapped(of_http) == [(name, base, "Web", False) for name, base in expected]
    assert of_rest.warnings == of_http.warnings == []


NOT_SERVED = [
    ("!Ref Unknown", ""),
    ("a b", ""),
    ("!If [IsUnknown, a, b]", ""),
    ("api.example", ", BasePath: [!Ref Unknown]"),
    ("api.example", ", BasePath: !Ref Unknown"),
]


@pytest.mark.parametrize(("domain", "base_path"), NOT_SERVED)
def test_a_domain_that_is_not_known_is_not_served_and_has_a_warning(domain, base_path, found):
    read = found(shop=DOMAIN.format(domain, base_path))
    assert mapped(read) == []
    assert "so the custom domain is not served" in "\n".join(read.warnings)


RESOURCES = """
  Name1: {{Type: AWS::ApiGateway::DomainName, Properties: {{DomainName: one.example}}}}
  Name2: {{Type: AWS::ApiGatewayV2::DomainName, Properties: {{DomainName: !Ref Name}}}}
  Stage: {{Type: AWS::ApiGatewayV2::Stage, Properties: {{ApiId: !Ref Web, StageName: other}}}}
  Mapping: {{Type: AWS::{}, Properties: {{{}}}}}
"""
V1, V2 = "ApiGateway::BasePathMapping", "ApiGatewayV2::ApiMapping"
SHOP = "!Ref Shop, Stage: !Ref Shop.Stage"
MAPPED = [  # type, domain, other properties, mapping
    (V1, "!Ref Name1", "RestApiId: !Ref Shop, Stage: dev", ("one.example", "", "Shop", False)),
    (V1, "!Ref Name1", "RestApiId: !Ref Shop", ("one.example", "", "Shop", True)),
    (
        V1,
        "one.example",
        "BasePath: v1, RestApiId: !Ref Shop, Stage: !Ref Shop.Stage",
        ("one.example", "v1", "Shop", False),
    ),
    (
        V1,
        "!Ref Name",
        "BasePath: (none), RestApiId: !Ref ServerlessRestApi, Stage: Prod",
        ("api.example", "", "ServerlessRestApi", False),
    ),
    (V2, "!Ref Name2", "ApiMappingKey: v1/x, ApiId: !Ref Web, Stage: $default", ("api.example", "v1/x", "Web", False)),
    (
        V2,
        "!If [IsNamed, !Ref Name2, x]",
        "ApiId: !Ref Shop, Stage: !Ref Shop.Stage",
        ("api.example", "", "Shop", False),
    ),
]


@pytest.mark.parametrize(("type", "domain", "properties", "expected"), MAPPED)
def test_a_mapping_of_cloudformation_may_name_an_api_of_either_kind(type, domain, properties, expected, found):
    read = found(resources=RESOURCES.format(type, f"DomainName: {domain}, {properties}"))
    assert mapped(read) == [expected]
    assert read.domains.names == ["one.example", "api.example"]


@pytest.mark.parametrize(
    ("type", "properties"),
    [
        (V1, "DomainName: !Ref Name1, RestApiId: elsewhere, Stage: dev"),
        (V1, "DomainName: !Ref Name1, RestApiId: !Ref Shop, Stage: other"),
        (V1, "DomainName: !Ref Name1, RestApiId: !Ref Shop, Stage: dev, BasePath: !Ref Unknown"),
        (V2, "DomainName: !Ref Name2, ApiId: !Ref Web, Stage: !Ref Stage"),
        (V2, "DomainName: !Ref Unknown, ApiId: !Ref Web, Stage: $default"),
    ],
)
def test_a_mapping_that_is_not_known_is_not_served_and_its_domain_refuses(type, properties, found):
    read = found(resources=RESOURCES.format(type, properties))
    assert mapped(read) == []
    assert "so the custom domain is not served" in "\n".join(read.warnings)
    assert Domains(read.domains.mappings, read.domains.names).find("one.example", "/") == (None, "/")


@pytest.mark.parametrize(
    ("mode", "count"), [("API_MAPPING_ONLY", 1), ("ROUTING_RULE_THEN_API_MAPPING", 1), ("ROUTING_RULE_ONLY", 0)]
)
def test_routing_rules_are_not_read(mode, count, found):
    mapping = "{DomainName: !Ref D, ApiId: !Ref Web, Stage: $default}"
    read = found(
        resources="  D: {Type: AWS::ApiGatewayV2::DomainName, "
        f"Properties: {{DomainName: one.example, RoutingMode: {mode}}}}}\n"
        f"  M: {{Type: AWS::ApiGatewayV2::ApiMapping, Properties: {mapping}}}\n"
    )
    assert (len(mapped(read)), read.domains.names) == (count, ["one.example"])
    assert len(read.warnings) == (mode != "API_MAPPING_ONLY")


DISABLED = [  # properties, whether there is an endpoint
    ("DisableExecuteApiEndpoint: true", False),
    ("DisableExecuteApiEndpoint: 'true'", False),
    ("DisableExecuteApiEndpoint: false", True),
    ("DisableExecuteApiEndpoint: !If [IsNamed, true, false]", False),
    ("DisableExecuteApiEndpoint: !If [IsUnknown, true, false]", False),
    ("DefinitionBody: {x-amazon-apigateway-endpoint-configuration: {disableExecuteApiEndpoint: true}}", False),
]


@pytest.mark.parametrize(("properties", "has_endpoint"), DISABLED)
def test_an_api_whose_endpoint_is_or_may_be_disabled_has_none(properties, has_endpoint, found):
    read = found(shop=properties, web=properties)
    assert {site.has_endpoint for site in read.sites if site.names[0] in ("Shop", "Web")} == {has_endpoint}
    assert ("it has no address" in "\n".join(read.warnings)) is not has_endpoint


def test_an_application_serves_the_domains_of_its_template(found, tmp_path):
    found(shop=DOMAIN.format("api.example", ", BasePath: shop"))
    settings = {
        "SERVERFULL_TEMPLATE": str(tmp_path / "template.yaml"),
        "SERVERFULL_DATA_DIR": str(tmp_path),
        "SERVERFULL_EVENTS": "memory",
        "SERVERFULL_MOCK": "true",
        "SERVERFULL_FRONT": "hosts",
    }
    application = create_app(Settings.from_mapping(settings))
    client = Client(application)
    assert client.get("/shop/a", headers={"Host": "api.example"}).status_code == 502  # a mock's result is no answer
    invoke = client.post("/2015-03-31/functions/Pets/invocations", data=b"{}", headers={"Host": "api.example"})
    assert (invoke.status_code, invoke.json) == (403, {"message": "Forbidden"})
    application.close()
