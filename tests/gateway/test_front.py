"""HTTP requests to the routes of an API in a WSGI client, from the request to the function and back."""

import json
import threading

import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from serverfull_wsgi import Application, ConfigurationError, Function, Outcome, StaticFetcher
from serverfull_wsgi.front import Front, Route
from serverfull_wsgi.gateway import sites
from serverfull_wsgi.gateway.formats import Stage, TargetGroup, function_url, http_v1, http_v2, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.sites import Endpoint
from tests.support.gateway_site import FRONT, FUNCTIONS, ROUTES


@pytest.fixture
def client(gateway_host):
    return gateway_host.client(FRONT)


def test_a_request_runs_the_function_of_its_route(client):
    response = client.get("/pets/7%20%C6%9B?color=red&color=blue", headers={"Cookie": "a=1; b=2", "X-Flag": "on"})
    event = response.json["event"]
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert (event["routeKey"], event["rawPath"], event["pathParameters"]) == (
        "GET /pets/{id}",
        "/pets/7 ƛ",
        {"id": "7 ƛ"},
    )
    assert event["queryStringParameters"] == {"color": "red,blue"}
    assert (event["cookies"], event["headers"]["x-flag"]) == (["a=1", "b=2"], "on")
    assert event["requestContext"]["stage"] == "$default"


def test_the_invocation_has_an_id_of_its_own(client):
    response = client.get("/pets/7")
    assert response.headers["Apigw-Requestid"] == response.json["event"]["requestContext"]["requestId"]
    assert len(response.json["id"]) == 36


def test_the_request_of_a_function_url_has_the_id_of_its_invocation():
    def ids(event, context):
        return [event["requestContext"]["requestId"], context.aws_request_id]

    application = Application(StaticFetcher({"ids": ids}))
    url = sites.function_url(("ids",), Endpoint(Route(function="ids"), function_url))
    response = Client(SiteServer(Gateway(application.dispatcher), application.start, root=url)).get("/")
    assert response.json == [response.headers["x-amzn-RequestId"]] * 2
    application.close()


class Traces:
    """An executor that keeps the trace of each invocation."""

    def __init__(self):
        self.found = []

    def execute(self, function, invocation):
        self.found.append((invocation.trace_id, invocation.event["headers"]["x-amzn-trace-id"]))
        return Outcome(b"{}")


@pytest.mark.parametrize("sent", [{}, {"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"}])
def test_the_invocation_has_the_trace_of_the_request(sent):
    executor = Traces()
    application = Application(StaticFetcher({"echo": lambda event, context: 1}), executor=executor)
    Client(Front(application, [Route("GET /", "echo")])).get("/", headers=sent)
    ((of_call, of_event),) = executor.found
    assert of_call.startswith(sent.get("X-Amzn-Trace-Id", of_event))
    application.close()


AT_ROOT = [(sites.rest_api, rest_v1), (sites.http_api, http_v1), (sites.http_api, http_v2)]


@pytest.mark.parametrize(("make", "format"), AT_ROOT, ids=["REST", "H1", "H2"])
def test_the_paths_of_an_api_at_the_root_have_no_stage(make, format):
    def show(event, context):
        facts = event["requestContext"]
        paths = [event.get("path", event.get("rawPath")), facts.get("http", facts)["path"], facts["stage"]]
        return {"statusCode": 200, "body": json.dumps(paths)}

    application = Application(StaticFetcher({"show": show}))
    site = make(("a",), {"GET /x": Endpoint(Route("GET /x", "show", Stage("dev", "a")), format)}, "dev")
    client = Client(SiteServer(Gateway(application.dispatcher), application.start, root=site))
    assert json.loads(client.get("/x").data) == ["/x", "/x", "dev"]
    application.close()


THROTTLED = [
    (sites.http_api(("a",), {"$default": Endpoint(Route(function="busy"), http_v2)}), 503),
    (sites.rest_api(("a",), {"GET /": Endpoint(Route("GET /", "busy"), rest_v1)}), 500),
    (sites.function_url(("a",), Endpoint(Route(function="busy"), function_url)), 429),
    (sites.load_balancer("a", TargetGroup(function="busy")), 502),
]


@pytest.mark.parametrize(("site", "status"), THROTTLED, ids=lambda value: getattr(value, "kind", value))
def test_a_function_that_may_not_run_now_has_the_answer_of_its_kind(site, status):
    application = Application(StaticFetcher({"busy": Function(lambda event, context: 1, reserved=0)}))
    client = Client(SiteServer(Gateway(application.dispatcher), application.start, root=site))
    assert client.get("/").status_code == status
    application.close()


def test_a_body_reaches_the_function(client):
    event = client.post("/echo/x", data=b"\xff\x00", headers={"Content-Type": "image/png"}).json["event"]
    assert (event["body"], event["isBase64Encoded"]) == ("/wA=", True)
    event = client.post("/echo/x", json={"a": 1}).json["event"]
    assert (json.loads(event["body"]), event["isBase64Encoded"]) == ({"a": 1}, False)


def test_status_headers_cookies_and_bytes_reach_the_client(client):
    response = client.post("/pets")
    assert (response.status, response.data) == ("201 Created", b"\x00\xff")
    assert response.headers.getlist("Set-Cookie") == ["a=1", "b=2"]
    assert response.headers["X-Color"] == "red"
    assert response.headers.get("Connection") != "of the function"  # gunicorn sends a header of its own


REFUSED = [  # method, path, status, message
    ("GET", "/", 404, "Not Found"),
    ("PUT", "/pets", 404, "Not Found"),
    ("GET", "/pets/1/2", 404, "Not Found"),
    ("GET", "/pets/%25zz", 400, "Bad Request"),
    ("GET", "/fail", 500, "Internal Server Error"),
    ("GET", "/wrong", 500, "Internal Server Error"),
    ("GET", "/missing", 500, "Internal Server Error"),
    ("GET", "/version", 500, "Internal Server Error"),
]


@pytest.mark.parametrize(("method", "path", "status", "message"), REFUSED)
def test_a_request_without_a_result_has_the_answer_of_an_http_api(client, method, path, status, message):
    response = client.open(path, method=method)
    assert (response.status_code, response.json) == (status, {"message": message})
    assert len(response.headers["Apigw-Requestid"]) == 16


def test_the_log_has_the_reason_why_a_result_was_not_sent(caplog, sites_in):
    client = sites_in("bare").client(FRONT)
    client.get("/wrong")
    assert "bad_status: statusCode is 700" in caplog.text
    client.post("/pets", data=b"x" * 10_485_761)
    assert "its body has 10485761 bytes; 10485760 are allowed" in caplog.text
    client.post("/echo/x", data=b"x" * 5_000_000)
    assert "bytes; 6291456 are allowed" in caplog.text


def test_header_values_of_a_result_are_sent_as_utf_8(client):
    lines = {name.lower(): value.encode("latin-1").decode() for name, value in client.get("/named").headers}
    assert lines["content-disposition"] == "attachment; filename=日本.pdf"
    assert (lines["x-name"], lines["set-cookie"]) == ("José", "a=→")


def test_the_lambda_api_is_not_served_beside_the_routes(client):
    response = client.post("/2015-03-31/functions/echo/invocations", data=b"{}")
    assert (response.status_code, response.json) == (404, {"message": "Not Found"})


def test_a_body_over_the_limit_is_refused(client):
    response = client.post("/pets", data=b"x" * (10 * 1024 * 1024 + 1))
    assert (response.status_code, response.json) == (413, {"message": "Request Entity Too Large"})


def test_an_event_over_the_limit_is_refused(client):
    response = client.post("/pets", data=b"x" * (7 * 1024 * 1024), headers={"Content-Type": "text/plain"})
    assert response.status_code == 413


def test_the_clients_trace_reaches_the_function():
    application = Application(StaticFetcher({"echo": lambda event, context: context.client_context}))
    seen = []
    application.dispatcher.fetcher = StaticFetcher({"echo": lambda event, context: seen.append(event["headers"])})
    trace = "Root=1-6a5145a8-536f3e792f6be9b44c1f46fa"
    Client(Front(application, [Route("$default", "echo")])).get("/", headers={"X-Amzn-Trace-Id": trace})
    assert seen[0]["x-amzn-trace-id"] == trace
    application.close()


def test_a_handler_in_the_servers_process_is_waited_for_beyond_the_gateways_timeout(monkeypatch):
    monkeypatch.setattr("serverfull_wsgi.gateway.formats.http_v2.TIMEOUT", 0.01)
    threads = []

    def slow(event, context):
        threads.append(threading.current_thread())
        threading.Event().wait(0.05)
        return "done"

    application = Application(StaticFetcher({"slow": Function(slow, timeout=60)}))
    assert Client(Front(application, [Route("$default", "slow")])).get("/").data == b"done"
    assert threads == [threading.current_thread()]
    application.close()


SENT = "192.0.2.1, 192.0.2.7, 10.0.0.2"
CLIENTS = [  # peer, X-Forwarded-For, address of the client, X-Forwarded-For of the event
    ("10.0.0.1", SENT, "192.0.2.7", "192.0.2.1, 192.0.2.7"),
    ("::ffff:10.0.0.1", SENT, "192.0.2.7", "192.0.2.1, 192.0.2.7"),
    ("198.51.100.1", SENT, "198.51.100.1", f"{SENT}, 198.51.100.1"),
    ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3", "10.0.0.3"),
    ("10.0.0.1", "2001:db8::1", "2001:db8::1", "2001:db8::1"),
    ("10.0.0.1", "192.0.2.1, unknown", "10.0.0.1", "192.0.2.1, unknown, 10.0.0.1"),
    ("10.0.0.1", "", "10.0.0.1", "10.0.0.1"),
]


@pytest.mark.parametrize(("peer", "sent", "address", "forwarded"), CLIENTS)
def test_the_last_address_that_is_no_trusted_proxy_is_the_client(peer, sent, address, forwarded):
    application = Application(StaticFetcher({"echo": lambda event, context: event}))
    front = Client(Front(application, [Route("$default", "echo")], trusted_proxies=["10.0.0.0/8"]))
    headers = {"X-Forwarded-For": sent, "X-Forwarded-Proto": "https"}
    event = front.get("/", headers=headers, environ_base={"REMOTE_ADDR": peer}).json
    assert (event["requestContext"]["http"]["sourceIp"], event["headers"]["x-forwarded-for"]) == (address, forwarded)
    is_trusted = peer != "198.51.100.1"
    assert event["headers"]["x-forwarded-proto"] == ("https" if is_trusted else "http")
    assert event["headers"]["x-forwarded-port"] == ("443" if is_trusted else "80")
    application.close()


BAD_ROUTES = [
    ([Route("GET /a")], "has no function"),
    ([Route("GET /a", "echo"), Route("GET /a", "fail")], "two routes 'GET /a'"),
    ([Route("GET a", "echo")], "must begin with '/'"),
]


@pytest.mark.parametrize(("routes", "message"), BAD_ROUTES)
def test_routes_that_cannot_be_served_are_refused(routes, message):
    with pytest.raises(ConfigurationError, match=message):
        Front(Application(StaticFetcher(FUNCTIONS)), routes)


def test_a_bad_proxy_is_refused():
    with pytest.raises(ConfigurationError, match="'ten' is not an address or network"):
        Front(Application(StaticFetcher(FUNCTIONS)), ROUTES, trusted_proxies=["ten"])


def test_a_mounted_front_serves_the_paths_below_its_mount():
    application = Application(StaticFetcher({"echo": lambda event, context: event["rawPath"]}))
    mounted = DispatcherMiddleware(lambda *_: [], {"/shop": Front(application, [Route("$default", "echo")])})
    assert Client(mounted).get("/shop/pets/a%20b").text == "/pets/a b"
    application.close()
