"""CORS of HTTP APIs and function URLs: the headers of each answer. `test_browser` has the same in a browser."""

import pytest
from werkzeug.test import Client

from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.gateway import sites
from serverfull_wsgi.gateway.access import Access
from serverfull_wsgi.gateway.cors import Cors
from serverfull_wsgi.gateway.formats import Route, function_url, http_v2
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.sites import Endpoint

pytestmark = pytest.mark.quick

SHOP = "https://shop.example"
LISTS = {"methods": ("GET", "PUT"), "headers": ("x-a", "x-b"), "exposed_headers": ("x-c", "x-d")}
OWN = {"Access-Control-Allow-Origin": "own", "Access-Control-Max-Age": "1"}  # of the function


def show(event, context):
    return {"statusCode": 200, "headers": {**OWN, "X-Ran": "yes"}}


@pytest.fixture
def answer():
    application = Application(StaticFetcher({"show": show}))

    def send(kind, configuration, method="GET", path="/", **headers):
        if kind == "URL":
            site = sites.function_url(("a",), Endpoint(Route(function="show"), function_url), cors=configuration)
        else:
            locked = Endpoint(Route("ANY /locked", "show"), http_v2, access=Access("something"))
            endpoints = {"GET /": Endpoint(Route("GET /", "show"), http_v2), "ANY /locked": locked}
            site = sites.http_api(("a",), endpoints, cors=configuration)
        client = Client(SiteServer(Gateway(application.dispatcher), application.start, root=site))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.open(path, method=method, headers=named)

    yield send
    application.close()


def of_cors(response):
    return {name: value for name, value in response.headers if name.lower().startswith("access-control-")}


def allowed(origin, **more):
    return {"Access-Control-Allow-Origin": origin, **{f"Access-Control-{name}": more[name] for name in more}}


ORIGINS = [  # configuration, origin, the origin that is allowed
    (Cors(("*",)), SHOP, "*"),
    (Cors((SHOP,)), SHOP, SHOP),
    (Cors((SHOP,)), "HTTPS://SHOP.EXAMPLE", "HTTPS://SHOP.EXAMPLE"),
    (Cors((SHOP,)), "https://other.example", None),
    (Cors(("https://*",)), SHOP, SHOP),
    (Cors(("https://*",)), "http://shop.example", None),
    (Cors(("http://*",)), SHOP, None),
    (Cors(("*",), is_credentialed=True), SHOP, SHOP),
    (Cors(), SHOP, None),
]


@pytest.mark.parametrize(("configuration", "origin", "expected"), ORIGINS)
@pytest.mark.parametrize("kind", ["HTTP", "URL"])
def test_an_origin_is_allowed_by_the_configuration_and_not_by_the_function(
    kind, configuration, origin, expected, answer
):
    response = answer(kind, configuration, Origin=origin)
    more = {"Allow-Credentials": "true"} if configuration.is_credentialed else {}
    assert of_cors(response) == ({} if expected is None else allowed(expected, **more))
    assert response.headers["X-Ran"] == "yes"
    assert ("Origin" in response.headers.get("Vary", "")) is (expected not in (None, "*"))


@pytest.mark.parametrize(("kind", "status"), [("HTTP", 204), ("URL", 200)])
@pytest.mark.parametrize("path", ["/", "/locked", "/nothing"])
def test_a_preflight_is_answered_for_each_path_without_the_function(kind, status, path, answer):
    sent = {"Origin": SHOP, "Access_Control_Request_Method": "DELETE"}
    response = answer(kind, Cors((SHOP,), max_age=60, **LISTS), "OPTIONS", path, **sent)
    lists = {"Allow-Methods": "GET,PUT", "Allow-Headers": "x-a,x-b", "Max-Age": "60"}
    assert (response.status_code, of_cors(response), response.data) == (status, allowed(SHOP, **lists), b"")
    assert "X-Ran" not in response.headers
    refused = answer(kind, Cors(("https://other.example",), **LISTS), "OPTIONS", path, **sent)
    assert (refused.status_code, of_cors(refused)) == (status, {})


@pytest.mark.parametrize(
    "sent", [{}, {"Origin": SHOP}, {"Access_Control_Request_Method": "GET"}, {"Access_Control_Request_Headers": "x"}]
)
def test_options_without_the_headers_of_a_preflight_is_an_ordinary_request(sent, answer):
    assert answer("HTTP", Cors(("*",)), "OPTIONS", **sent).status_code == 404
    assert answer("URL", Cors(("*",)), "OPTIONS", **sent).headers["X-Ran"] == "yes"


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/locked", 500), ("/nothing", 404)])
def test_answers_and_refusals_expose_the_configured_headers(path, status, answer):
    response = answer("HTTP", Cors(("*",), **LISTS), path=path, Origin=SHOP)
    assert (response.status_code, of_cors(response)) == (status, allowed("*", **{"Expose-Headers": "x-c,x-d"}))


@pytest.mark.parametrize("kind", ["HTTP", "URL"])
def test_headers_of_the_function_stay_without_a_configuration(kind, answer):
    assert of_cors(answer(kind, None, Origin=SHOP)) == OWN
