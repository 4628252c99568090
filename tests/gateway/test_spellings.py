"""Paths with other spellings that have a stricter route: a request never gets around the conditions of that route."""

from urllib.parse import unquote

import pytest
from werkzeug.test import Client, TestResponse, create_environ, run_wsgi_app

from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.gateway.access import Access
from serverfull_wsgi.gateway.authorizers import Authorizers
from serverfull_wsgi.gateway.formats import Route, Stage, http_v1, http_v2, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.sites import Endpoint, http_api, rest_api

pytestmark = pytest.mark.quick

KEYED = Access("", None, needs_signature=True)
ROUTES = {
    "GET /admin/{id}": KEYED,
    "GET /admin": KEYED,
    "GET /closed/": Access("something"),
    "GET /open/{id}": Access(),
    "ANY /{proxy+}": Access(),
    "ANY /": Access(),
}
FORMATS = {"REST": rest_v1, "payload 1.0": http_v1, "payload 2.0": http_v2}


@pytest.fixture(scope="module", params=FORMATS)
def client(request):
    format = FORMATS[request.param]
    application = Application(StaticFetcher({"web": lambda event, context: {"statusCode": 200, "body": "reached"}}))
    stage = Stage("dev" if format is rest_v1 else "$default")
    endpoints = {key: Endpoint(Route(key, "web", stage), format, access=access) for key, access in ROUTES.items()}
    if format is rest_v1:
        site = rest_api(("shop",), endpoints, "dev")
    else:
        site = http_api(("shop",), {**endpoints, "$default": endpoints["ANY /{proxy+}"]})
    yield Client(SiteServer(Gateway(application.dispatcher), application.start, root=site))
    application.close()


def get(client, path, method="GET", **more):
    """Send a request with a raw path, which the client would change."""
    environ = create_environ("/", method=method, **more)
    environ |= {"RAW_URI": path, "REQUEST_URI": path, "PATH_INFO": unquote(path, "latin-1")}
    return TestResponse(*run_wsgi_app(client.application, environ), request=None)


CLOSED = [
    "/admin/7",
    "/admin%2F7",
    "/admin%2f7",
    "/%61dmin%2F7",
    "/admin%252F7",
    "/admin%2F7/",
    "/admin//7",
    "//admin//7",
    "/x/../admin/7",
    "/x/%2e%2e/admin/7",
    "/x%2F..%2Fadmin%2F7",
    "/./admin/7",
    "/admin/./7",
    "/admin/",
    "/admin%2F",
    "//admin",
    "/closed",
    "/closed%2F",
    "/admin%23",
    "/admin%3Fx",
    "/admin%20",
    "/ad%09min",
    "/ad%0Amin%0D",
    "/admin%00",
    "/admin\\7",
    "/admin%5C7",
    "/x\\..\\admin\\7",
    "/x/.%09./admin/7%23/y",
    "/admin//..",
    "/admin/7//x/../..",
    "/x\\..\\admin\\%3F",
]


@pytest.mark.parametrize("path", CLOSED)
def test_no_spelling_of_a_path_gets_around_the_conditions_of_its_route(client, path):
    response = get(client, path)
    assert response.status_code in (403, 500), response.text
    assert "reached" not in response.text


OPEN = [
    "/",
    "/cats",
    "/cats/",
    "/cats%2F7",
    "/cats//7",
    "/open%2F7",
    "/open/a%2Fb",
    "/%2e%2e/cats",
    "/Admin/7",
    "/admins",
    "/cats%23",
    "/cats%5C7",
    "/a%09dmins",
]


@pytest.mark.parametrize("path", OPEN)
def test_a_path_without_a_stricter_spelling_is_answered_as_on_aws(client, path):
    assert get(client, path).text == "reached"


def test_another_method_is_another_route(client):
    assert get(client, "/admin%2F7", "POST").text == "reached"


def test_the_log_names_the_stricter_route(client, caplog):
    get(client, "/admin%2F7")
    assert "another spelling of the path has the route 'GET /admin/{id}', with more conditions" in caplog.text


def test_a_route_with_the_same_condition_and_more_is_not_looser():
    application = Application(StaticFetcher({"web": lambda event, context: {"statusCode": 200, "body": "reached"}}))
    routes = {"GET /admin/{id}": (), "ANY /{proxy+}": (("querystring", "q"),)}
    endpoints = {
        key: Endpoint(Route(key, "web"), rest_v1, access=Access(needs_api_key=True, required=required))
        for key, required in routes.items()
    }
    gateway = Gateway(application.dispatcher, Authorizers(application.dispatcher, ["key"]))
    client = Client(SiteServer(gateway, application.start, root=rest_api(("shop",), endpoints, "dev")))
    assert get(client, "/admin%2F7", headers={"X-Api-Key": "key"}, query_string="q=1").text == "reached"
    application.close()


@pytest.mark.parametrize(("mount", "path"), [("/", "admin/7"), ("/x", "admin/7"), ("/x", "admin"), ("//", "admin")])
@pytest.mark.parametrize("format", [http_v1, http_v2])
def test_a_path_without_a_slash_at_its_start_gets_around_no_condition(format, mount, path):
    """A trusted peer of gunicorn can cause such a path, by the header ``SCRIPT_NAME``."""
    application = Application(StaticFetcher({"web": lambda event, context: {"statusCode": 200, "body": "reached"}}))
    access = {"ANY /admin": KEYED, "GET /admin/{id}": KEYED, "$default": Access()}
    site = http_api(("shop",), {key: Endpoint(Route(key, "web"), format, access=access[key]) for key in access})
    environ = create_environ("/") | {"SCRIPT_NAME": mount, "PATH_INFO": path, "RAW_URI": mount + path}
    server = SiteServer(Gateway(application.dispatcher), application.start, root=site)
    response = TestResponse(*run_wsgi_app(server, environ), request=None)
    assert response.status_code == 403, response.text
    application.close()
