"""Sites beside the Lambda API in one application, and one API at the root, as settings configure them."""

import pytest
from werkzeug.test import Client

from serverfull_wsgi import ConfigurationError, Settings, create_app
from serverfull_wsgi.gateway.locations import Locations
from serverfull_wsgi.gateway.sites import http_api, rest_api

yaml = pytest.importorskip("yaml")

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Globals: {Function: {Handler: app.handler, Runtime: python3.12, InlineCode: "def handler(event, context): return 1"}}
Resources:
  Pets:
    Type: AWS::Serverless::Function
    Properties:
      Events:
        List: {Type: Api, Properties: {Path: /pets, Method: get}}
        Get: {Type: HttpApi, Properties: {Path: '/pets/{id}', Method: get}}
        Keyed: {Type: Api, Properties: {Path: /keyed, Method: get, Auth: {ApiKeyRequired: true}}}
        Locked: {Type: HttpApi, Properties: {Path: /locked, Method: get, Auth: {Authorizer: Mine}}}
      FunctionUrlConfig: {AuthType: NONE, Cors: {AllowOrigins: ['https://a.example']}}
  Private: {Type: AWS::Serverless::Function, Properties: {FunctionUrlConfig: {AuthType: AWS_IAM}}}
  Plain: {Type: AWS::Serverless::Function}
"""


def echo(event, context):
    return {"statusCode": 200, "headers": {"X-Path": event.get("rawPath", event.get("path"))}}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A function of settings: a client of the application that they describe. The template's functions are mocked."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "template.yaml").write_text(TEMPLATE)
    applications = []

    def serve(adapt=lambda settings: settings, **values):
        settings = Settings.from_mapping(
            {
                "SERVERFULL_TEMPLATE": str(folder / "template.yaml"),
                "SERVERFULL_FUNCTIONS": f"echo={__name__}.echo",
                "SERVERFULL_DATA_DIR": str(folder),
                "SERVERFULL_EVENTS": "memory",
                "SERVERFULL_MOCK": "true",
                **values,
            }
        )
        applications.append(create_app(adapt(settings)))
        return Client(applications[-1])

    yield serve
    for application in applications:
        application.close()


@pytest.fixture(scope="module")
def client(served):
    return served(
        SERVERFULL_FRONT="hosts, paths",
        SERVERFULL_ROUTES="GET /r=echo, ANY /x/{proxy+}=echo",
        SERVERFULL_ALB="web=echo",
        SERVERFULL_CREDENTIALS_FILE="",
    )


LOCATIONS = [  # host, path, status
    ("localhost", "/_aws/execute-api/ServerlessRestApi/Prod/pets", 502),  # a mock's result is no answer of a REST API
    ("localhost", "/_aws/execute-api/serverlessrestapi/Prod/pets", 502),
    ("serverlessrestapi.execute-api.localhost:8080", "/Prod/pets", 502),
    ("serverlessrestapi.execute-api.localhost", "/Other/pets", 403),
    ("serverlessrestapi.execute-api.localhost", "/pets", 403),
    ("serverlessrestapi.execute-api.localhost", "/Prod/cats", 403),
    ("serverlesshttpapi.execute-api.localhost", "/pets/7", 200),
    ("serverlesshttpapi.execute-api.localhost", "/locked", 500),
    ("localhost", "/_aws/execute-api/ServerlessHttpApi/$default/pets/7", 200),
    ("localhost", "/_aws/execute-api/ServerlessHttpApi/pets/7", 404),
    ("nobody.execute-api.localhost", "/", 404),
    ("localhost", "/_aws/execute-api/nobody/Prod/pets", 404),
    ("pets.lambda-url.localhost", "/any/path", 200),
    ("localhost", "/_aws/lambda-url/Pets/any/path", 200),
    ("localhost", "/_aws/lambda-url/Pets", 200),
    ("localhost", "/_aws/lambda-url/Plain/", 403),
    ("localhost", "/_aws/lambda-url/Private/", 403),
    ("localhost", "/_aws/lambda-url/nobody/", 403),
    ("localhost", "/_aws/execute-api/routes/$default/r", 200),
    ("localhost", "/_aws/elb/web/any", 502),
    ("localhost", "/_aws/elb/nobody/any", 503),
]


@pytest.mark.parametrize(("host", "path", "status"), LOCATIONS)
def test_a_request_is_answered_by_the_site_that_its_host_or_path_names(client, host, path, status):
    assert client.get(path, headers={"Host": host}).status_code == status


def test_the_lambda_api_is_served_beside_the_sites(client):
    assert client.post("/2015-03-31/functions/Pets/invocations", data=b"{}").status_code == 200
    assert client.get("/healthcheck").text == "."


def test_the_path_of_the_health_check_belongs_to_the_site_on_its_host(client):
    response = client.get("/healthcheck", headers={"Host": "pets.lambda-url.localhost"})
    assert "x-amzn-RequestId" in response.headers
    assert response.text != "."


@pytest.mark.parametrize("host", ["serverlesshttpapi.execute-api.localhost", "pets.lambda-url.x", "no.execute-api.x"])
def test_an_invoke_path_is_never_served_on_the_host_of_a_site(client, host):
    response = client.post("/2015-03-31/functions/Plain/invocations", data=b"{}", headers={"Host": host})
    assert "x-amz-executed-version" not in response.headers


def test_a_public_route_needs_no_signature_and_every_other_path_needs_one(served, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n")
    keys.chmod(0o600)
    client = served(SERVERFULL_FRONT="paths", SERVERFULL_CREDENTIALS_FILE=str(keys))
    assert client.get("/_aws/lambda-url/Pets/").status_code == 200
    for path in ("/2015-03-31/functions/Pets/invocations", "/_aws/lambda-urls/Pets/", "/_aws/other/Pets/", "/x"):
        assert client.post(path, data=b"{}").status_code == 403
    assert client.get("/", headers={"Host": "pets.lambda-url.localhost"}).status_code == 403


def test_keys_of_both_settings_open_the_routes_that_need_one(served, tmp_path, capsys):
    path, keys = "/_aws/execute-api/ServerlessRestApi/Prod/keyed", tmp_path / "keys"
    keys.write_text("second\n\n third \n")
    keys.chmod(0o600)
    client = served(SERVERFULL_FRONT="paths", SERVERFULL_API_KEYS="first, 1st", SERVERFULL_API_KEYS_FILE=str(keys))
    status = {
        key: client.get(path, headers={"X-Api-Key": key}).status_code for key in ("first", "third", "second ", "x")
    }
    assert status == {"first": 502, "third": 502, "second ": 502, "x": 403}  # a mock's result is no answer
    assert "refuse each request: set SERVERFULL_API_KEYS" not in capsys.readouterr().out
    assert served(SERVERFULL_FRONT="paths").get(path, headers={"X-Api-Key": "first"}).status_code == 403
    assert "refuse each request: set SERVERFULL_API_KEYS" in capsys.readouterr().out


def test_pages_of_other_sites_may_call_public_routes(client):
    headers = {"Origin": "https://a.example", "Sec-Fetch-Site": "cross-site"}
    response = client.get("/_aws/lambda-url/Pets/", headers=headers)
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (200, "https://a.example")
    assert client.post("/2015-03-31/functions/Pets/invocations", data=b"{}", headers=headers).status_code == 403


def test_a_preflight_is_answered_without_a_function(client):
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}
    response = client.options("/_aws/lambda-url/Pets/", headers=headers)
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (200, "https://a.example")
    refused = client.options("/_aws/lambda-url/Pets/", headers={**headers, "Origin": "https://b.example"})
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert len({answer.headers["x-amzn-RequestId"] for answer in (response, refused)}) == 2


def test_no_site_is_served_without_the_setting(served):
    client = served()
    assert client.get("/_aws/lambda-url/Pets/").status_code == 404
    assert client.get("/", headers={"Host": "pets.lambda-url.localhost"}).status_code in (403, 404)


def test_one_api_is_served_at_the_root_without_its_stage_and_without_the_lambda_api(served):
    client = served(lambda settings: settings.at_root("serverlessrestapi"))
    assert client.get("/pets").status_code == 502
    assert client.get("/Prod/pets").status_code == 403
    assert client.post("/2015-03-31/functions/Pets/invocations", data=b"{}").status_code == 403
    assert client.get("/healthcheck").text == "."
    assert client.post("/healthcheck").headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"


def test_several_apis_and_no_choice_refuse_the_start_with_their_names(served):
    with pytest.raises(ConfigurationError, match=r"there are 2 APIs.*ServerlessRestApi \(REST API\)"):
        served(Settings.at_root)
    with pytest.raises(ConfigurationError, match="there is no API 'shop'"):
        served(lambda settings: settings.at_root("shop"))


def test_the_setting_names_the_api_at_the_root(served):
    assert served(Settings.at_root, SERVERFULL_FRONT_API="ServerlessHttpApi").get("/pets/7").status_code == 200


def test_each_route_has_a_line_with_its_url(served):
    application = served(SERVERFULL_FRONT="paths", SERVERFULL_ROUTES="GET /r=echo").application
    lines = application.sites.urls("http://127.0.0.1:8080")
    assert "GET http://127.0.0.1:8080/_aws/execute-api/ServerlessRestApi/Prod/pets" in lines
    assert "GET http://127.0.0.1:8080/_aws/execute-api/routes/$default/r" in lines
    assert "ANY http://127.0.0.1:8080/_aws/lambda-url/Pets/{proxy+}" in lines


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/_aws/lambda-url/nobody/", "there is no function URL 'nobody'"),
        ("/_aws/elb/none/", "there is no load balancer 'none'"),
        ("/_aws/execute-api/none/Prod/pets", "there is no API 'none'"),
        (
            "/_aws/execute-api/ServerlessRestApi/Other/pets",
            "a path of REST API 'ServerlessRestApi' must begin with its stage, /Prod",
        ),
        (
            "/_aws/execute-api/ServerlessHttpApi/pets/7",
            "a path of HTTP API 'ServerlessHttpApi' must begin with its stage, /$default",
        ),
        ("/_aws/execute-api/ServerlessRestApi/Prod/cats", "no route of REST API 'ServerlessRestApi' has its path and"),
    ],
)
def test_a_request_without_a_route_has_a_line_in_the_log(path, line, served, capsys):
    served(SERVERFULL_FRONT="paths").get(path)
    assert f"HTTP request refused: {line}" in capsys.readouterr().out


def test_the_line_of_a_route_names_the_conditions_for_its_callers(served):
    lines = served(SERVERFULL_FRONT="paths").application.sites.urls("")
    assert "GET /_aws/execute-api/ServerlessRestApi/Prod/keyed (API key)" in lines
    assert "ANY /_aws/lambda-url/Private/{proxy+} (IAM)" in lines
    assert "GET /_aws/execute-api/ServerlessHttpApi/$default/locked (refused)" in lines
    assert "ANY /_aws/lambda-url/Pets/{proxy+}" in lines


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080"])
def test_the_url_of_a_host_can_be_resolved(origin, served):
    application = served(SERVERFULL_FRONT="hosts", SERVERFULL_ROUTES="GET /r=echo").application
    assert "GET http://routes.execute-api.localhost:8080/r" in application.sites.urls(origin)


def test_routes_without_the_setting_for_sites_are_warned_about(served, capsys):
    served(SERVERFULL_ROUTES="GET /r=echo", SERVERFULL_ALB="web=echo")
    output = capsys.readouterr().out
    assert "SERVERFULL_ROUTES has no effect" in output
    assert "SERVERFULL_ALB has no effect" in output
    assert "function URLs are served by" in output


def test_a_route_of_the_settings_to_a_function_that_does_not_exist_is_warned_about(served, capsys):
    routes = "GET /r=echo, GET /a=lost, GET /b=lost, ANY /{proxy+}=echo:prod"
    served(SERVERFULL_FRONT="paths", SERVERFULL_ROUTES=routes, SERVERFULL_ALB="web=gone, ok=echo:multi")
    lines = [line.partition("] ")[2] for line in capsys.readouterr().out.splitlines() if "there is no function" in line]
    assert [line.partition(" are answered")[0] for line in lines] == [
        "there is no function 'lost', so requests to GET /a of HTTP API 'routes', GET /b of HTTP API 'routes'",
        "there is no function 'echo:prod', so requests to ANY /{proxy+} of HTTP API 'routes'",
        "there is no function 'gone', so requests to load balancer 'web'",
    ]


def test_a_function_of_a_route_that_can_be_deployed_later_is_not_warned_about(served, tmp_path, capsys):
    served(SERVERFULL_FRONT="paths", SERVERFULL_ROUTES="GET /a=lost", SERVERFULL_REGISTRY=str(tmp_path / "registry"))
    assert "there is no function" not in capsys.readouterr().out


def test_served_routes_of_a_template_have_no_warning_and_refusing_routes_have_one(served, capsys):
    served(SERVERFULL_FRONT="paths")
    output = capsys.readouterr().out
    assert "are served by" not in output
    assert "Pets.Events.Locked: authorizer 'Mine' is not supported here" in output


def test_slashes_before_the_stage_of_a_rest_api_count_as_one():
    site = rest_api(("shop",), {}, "Prod")
    assert Locations([site]).find("shop.execute-api.localhost", "//Prod/pets")[:2] == (site, "/pets")


def test_two_names_that_differ_in_case_only_are_refused():
    with pytest.raises(ConfigurationError, match="REST API 'shop' and HTTP API 'Shop' would both be served as 'shop'"):
        Locations([rest_api(("shop",), {}), http_api(("Shop",), {})])


BAD = [
    ({"SERVERFULL_FRONT": "host"}, "not 'host'"),
    ({"SERVERFULL_FRONT": "paths", "SERVERFULL_ROUTES": "GET /r"}, "must be METHOD /path=function"),
    ({"SERVERFULL_FRONT": "paths", "SERVERFULL_ROUTES": "GET /r=a b"}, "must be METHOD /path=function"),
    ({"SERVERFULL_FRONT": "paths", "SERVERFULL_ROUTES": "/r=echo"}, "SERVERFULL_ROUTES: route '/r' has no method"),
    ({"SERVERFULL_FRONT": "paths", "SERVERFULL_ROUTES": "GET /r=a, GET  /r=b"}, "two routes 'GET /r'"),
    ({"SERVERFULL_FRONT": "paths", "SERVERFULL_ROUTES": "get /r=a"}, "SERVERFULL_ROUTES: route 'get /r' has no method"),
    ({"SERVERFULL_FRONT": "paths", "SERVERFULL_ALB": "web"}, "must be name=function"),
    ({"SERVERFULL_FRONT": "paths", "SERVERFULL_ALB": "web=a, WEB=b"}, "two load balancers 'WEB'"),
    ({"SERVERFULL_TRUSTED_PROXIES": "ten"}, "addresses and networks"),
    ({"SERVERFULL_FRONT": "paths", "SERVERFULL_API_KEYS_FILE": "/nowhere/keys"}, "name a file with a key in each line"),
    ({"SERVERFULL_FRONT_TIMEOUT": "-1"}, "0 or more"),
]


@pytest.mark.parametrize(("values", "message"), BAD)
def test_bad_settings_are_refused_with_the_cure(values, message, served):
    with pytest.raises(ConfigurationError, match=message):
        served(**values)
