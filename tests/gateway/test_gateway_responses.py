"""Gateway responses and required parameters of a REST API, in a WSGI client."""

import json

import pytest
from werkzeug.test import Client

from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.gateway.access import Access
from serverfull_wsgi.gateway.authorizers import Authorizers
from serverfull_wsgi.gateway.formats import Answer, HttpRequest, RequestContext, Route, Stage, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.gateway_responses import GatewayResponse, changed, unknown_variables
from serverfull_wsgi.gateway.sites import Endpoint, rest_api

pytestmark = pytest.mark.quick

ORIGIN = ("Access-Control-Allow-Origin", "*")
RESPONSES = {
    "DEFAULT_4XX": GatewayResponse(headers=(ORIGIN,), request_headers=(("X-Echo", "X-Sent"),)),
    "DEFAULT_5XX": GatewayResponse(headers=(ORIGIN, ("x-amzn-errortype", "Mine"))),
    "INVALID_API_KEY": GatewayResponse(401, template='{"no": $context.error.messageString}'),
    "BAD_REQUEST_PARAMETERS": GatewayResponse(
        422,
        template="$context.error.message of ${context.resourcePath} ($context.error.responseType)",
        content_type="a/b",
    ),
}  # fmt: skip


def endpoint(key, function, **access):
    return key, Endpoint(Route(key, function, Stage("dev")), rest_v1, access=Access(**access))


ENDPOINTS = [
    endpoint("ANY /ok", "ok"),
    endpoint("GET /fail", "fail"),
    endpoint("GET /keyed", "ok", needs_api_key=True),
    endpoint("GET /refused", "ok", unsupported="something"),
    endpoint("GET /checked/{id}", "ok", required=(("querystring", "color"), ("header", "X-Flag"))),
]


def handler(event, context):
    return {"statusCode": 403, "headers": {"X": "1"}, "body": "mine"}


@pytest.fixture(scope="module")
def client():
    application = Application(StaticFetcher({"ok": handler, "fail": lambda event, context: {"wrong": 1}}))
    gateway = Gateway(application.dispatcher, Authorizers(application.dispatcher, ["key"]))
    yield Client(SiteServer(gateway, application.start, root=rest_api(("shop",), dict(ENDPOINTS), responses=RESPONSES)))
    application.close()


def test_a_refusal_has_the_headers_of_the_default_response(client):
    response = client.get("/nothing", headers={"X-Sent": "a"})
    assert (response.status_code, response.json) == (403, {"message": "Missing Authentication Token"})
    assert (response.headers[ORIGIN[0]], response.headers["X-Echo"]) == ("*", "a")
    assert "x-amzn-RequestId" in response.headers
    assert "X-Echo" not in client.get("/nothing").headers


@pytest.mark.parametrize("path", ["/fail", "/refused"])
def test_an_error_of_the_server_or_the_function_has_its_headers_too(client, path):
    response = client.get(path)
    assert response.status_code in (500, 502)
    assert (response.headers[ORIGIN[0]], response.headers.getlist("x-amzn-ErrorType")) == ("*", ["Mine"])


def test_a_type_of_its_own_has_status_and_body(client):
    response = client.get("/keyed")
    assert (response.status_code, response.json) == (401, {"no": "Forbidden"})
    assert ORIGIN[0] not in response.headers


def test_the_answer_of_a_function_stays_as_it_is(client):
    response = client.get("/ok")
    assert (response.status_code, response.text) == (403, "mine")
    assert ORIGIN[0] not in response.headers


def test_head_has_no_body_and_the_length_of_the_answer_to_get(client):
    response = client.head("/nothing")
    assert (response.data, response.headers["Content-Length"]) == (b"", "42")
    assert response.headers.getlist("Content-Length") == ["42"]


MISSING = [  # query, flag, names
    ("", "", "color, X-Flag"),
    ("color=", " ", "color, X-Flag"),
    ("color=red", "", "X-Flag"),
    ("colour=red", "on", "color"),
    ("color=&color=red", "on", None),
]


@pytest.mark.parametrize(("query", "flag", "names"), MISSING)
def test_a_request_without_required_parameters_is_a_bad_request(client, query, flag, names):
    response = client.get(f"/checked/7?{query}", headers={"X-Flag": flag} if flag else {})
    if names is None:
        assert response.text == "mine"
    else:
        assert (response.status_code, response.headers["Content-Type"]) == (422, "a/b")
        assert response.text == (
            f"Missing required request parameters: [{names}] of /checked/{{id}} (BAD_REQUEST_PARAMETERS)"
        )


def test_a_bad_request_has_aws_answer_without_gateway_responses():
    answer = rest_v1.refuse_missing(["a", "b"], HttpRequest(), RequestContext())
    assert (answer.status, json.loads(answer.body)) == (400, {"message": "Missing required request parameters: [a, b]"})
    assert ("x-amzn-ErrorType", "BadRequestException") in answer.headers


@pytest.mark.parametrize("value", ["a\r\nB: 1", "\x00", ""])
def test_a_header_of_the_request_that_no_answer_can_have_is_left_out(value):
    responses = {"DEFAULT_4XX": GatewayResponse(request_headers=(("A", "X"),))}
    answer = changed(responses, "", Answer(400, [], b"{}"), HttpRequest(headers=[("X", value)]), RequestContext())
    assert "A" not in dict(answer.headers)


@pytest.mark.parametrize(
    ("template", "unknown"),
    [
        ("costs 5 $", []),
        ("${context.requestId} $context.stage.", []),
        ("$util.escapeJavaScript($context.path)", ["$util.escapeJavaScript"]),
        ("$context.authorizer.claims.sub", ["$context.authorizer.claims.sub"]),
        ("#set($a = 1)", ["#set", "$a"]),
    ],
)
def test_variables_that_are_not_known_are_found(template, unknown):
    assert unknown_variables(template) == unknown
