"""The answers without a function's result, byte for byte."""

import pytest

from serverfull_wsgi import Outcome
from serverfull_wsgi.gateway.formats import HttpRequest, Refusal, function_url
from tests.gateway.formats.kinds import CONTEXT, KINDS, answer

pytestmark = pytest.mark.quick

REFUSALS = [  # kind, refusal, status, body, x-amzn-ErrorType
    (
        "REST",
        Refusal.NO_ROUTE,
        403,
        b'{"message":"Missing Authentication Token"}',
        "MissingAuthenticationTokenException",
    ),
    ("H1", Refusal.NO_ROUTE, 404, b'{"message":"Not Found"}', None),
    ("H2", Refusal.NO_ROUTE, 404, b'{"message":"Not Found"}', None),
    ("REST", Refusal.UNKNOWN_API, 403, b'{"message":"Forbidden"}', "ForbiddenException"),
    ("H2", Refusal.UNKNOWN_API, 404, b'{"message":"Not Found"}', None),
    ("URL", Refusal.UNKNOWN_API, 403, b'{"Message":null}', "AccessDeniedException"),
    ("H2", Refusal.BAD_REQUEST, 400, b'{"message":"Bad Request"}', None),
    ("REST", Refusal.FUNCTION_ERROR, 502, b'{"message": "Internal server error"}', "InternalServerErrorException"),
    ("H1", Refusal.FUNCTION_ERROR, 500, b'{"message":"Internal Server Error"}', None),
    ("H2", Refusal.FUNCTION_ERROR, 500, b'{"message":"Internal Server Error"}', None),
    ("URL", Refusal.FUNCTION_ERROR, 502, b"Internal Server Error", None),
    ("REST", Refusal.TIMEOUT, 504, b'{"message": "Endpoint request timed out"}', "InternalServerErrorException"),
    ("H1", Refusal.TIMEOUT, 503, b'{"message":"Service Unavailable"}', None),
    ("H2", Refusal.TIMEOUT, 503, b'{"message":"Service Unavailable"}', None),
    ("REST", Refusal.TOO_LARGE, 413, b'{"message":"Request Too Long"}', "RequestTooLargeException"),
    ("H1", Refusal.TOO_LARGE, 413, b'{"message":"Request Entity Too Large"}', None),
    ("H2", Refusal.TOO_LARGE, 413, b'{"message":"Request Entity Too Large"}', None),
    (
        "URL",
        Refusal.TOO_LARGE,
        413,
        b'{"Message":"Request Entity Too Large"}',
        "RequestEntityTooLargeException",
    ),
]


@pytest.mark.parametrize(("kind", "refusal", "status", "body", "error"), REFUSALS)
def test_a_refusal(kind, refusal, status, body, error):
    refused = KINDS[kind].refuse(refusal, HttpRequest(), CONTEXT)
    headers = dict(refused.headers)
    assert (refused.status, refused.body, headers.get("x-amzn-ErrorType")) == (status, body, error)
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Length"] == str(len(body))


def test_the_error_of_a_rest_api_has_36_bytes():
    assert len(KINDS["REST"].refuse(Refusal.FUNCTION_ERROR).body) == 36


IDS = {
    "REST": {"x-amzn-RequestId": CONTEXT.request_id, "x-amz-apigw-id": CONTEXT.extended_request_id},
    "H1": {"Apigw-Requestid": CONTEXT.extended_request_id},
    "H2": {"Apigw-Requestid": CONTEXT.extended_request_id},
    "URL": {"x-amzn-RequestId": CONTEXT.request_id},
}


@pytest.mark.parametrize("kind", IDS)
def test_a_refusal_has_the_request_id(kind):
    refused = KINDS[kind].refuse(Refusal.FUNCTION_ERROR, HttpRequest(), CONTEXT)
    assert dict(refused.headers).items() >= IDS[kind].items()


def test_the_refusal_of_a_rest_api_has_no_trace():
    refused = KINDS["REST"].refuse(Refusal.FUNCTION_ERROR, HttpRequest(), CONTEXT)
    assert "X-Amzn-Trace-Id" not in dict(refused.headers)


@pytest.mark.parametrize(("refusal", "status"), [(Refusal.FUNCTION_ERROR, 502), (Refusal.TOO_LARGE, 413)])
def test_a_load_balancer_refuses_with_a_page(refusal, status):
    refused = KINDS["ALB"].refuse(refusal)
    headers = dict(refused.headers)
    assert (refused.status, headers["Server"], headers["Content-Type"]) == (status, "awselb/2.0", "text/html")
    assert refused.body.startswith(f"<html>\r\n<head><title>{status} ".encode())


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_function_gives_the_answer_to_its_error_with_a_reason(kind):
    outcome = Outcome(b'{"errorMessage": "boom"}', function_error="Unhandled")
    refused = KINDS[kind].refuse(Refusal.FUNCTION_ERROR)
    assert KINDS[kind].answer(outcome) == refused._replace(reason=("function_error", "Unhandled"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_head_request_has_no_body(kind):
    refused = KINDS[kind].refuse(Refusal.FUNCTION_ERROR, HttpRequest("HEAD"))
    assert refused.body == b""
    assert int(dict(refused.headers)["Content-Length"]) > 0


def test_a_refusal_that_a_kind_never_gives_is_an_error():
    with pytest.raises(ValueError, match="not a refusal of this kind"):
        function_url.refuse(Refusal.TIMEOUT)


def test_an_answer_without_a_fault_has_no_reason():
    assert [answer(kind, {"statusCode": 200}).reason for kind in KINDS] == [None] * 6


@pytest.mark.parametrize(("kind", "megabytes"), [("REST", 10), ("H1", 10), ("H2", 10), ("URL", 6), ("ALB", 1)])
def test_the_limit_of_a_body(kind, megabytes):
    limit = KINDS[kind].BODY_LIMIT
    assert limit == megabytes * 1024 * 1024


@pytest.mark.parametrize(("kind", "seconds"), [("REST", 29), ("H1", 30), ("H2", 30), ("URL", None), ("ALB", None)])
def test_the_timeout_of_the_gateway(kind, seconds):
    timeout = KINDS[kind].TIMEOUT
    assert timeout == seconds
