"""The rules of answers by kind, as a table for each kind of result."""

import base64

import pytest

from serverfull_wsgi import Outcome
from tests.gateway.formats.kinds import CONTEXT, KINDS, answer, request

pytestmark = pytest.mark.quick

FAILED = {"REST": 502, "H1": 500, "H2": 500, "URL": 502, "ALB": 502, "ALB+": 502}
APIS = ["REST", "H1", "H2", "URL"]


def assert_failed(kind, result, code):
    given = answer(kind, result)
    assert (given.status, given.reason and given.reason.code) == (FAILED[kind], code), given


def values(given, name):
    return [value for key, value in given.headers if key.lower() == name.lower()]


# Results that are not objects

NOT_OBJECTS = [b'"hello"', b'["hello", 3, true]', b"3", b"3.1", b"true", b"null"]


@pytest.mark.parametrize("payload", NOT_OBJECTS)
@pytest.mark.parametrize("kind", ["REST", "H1", "ALB", "ALB+"])
def test_a_result_that_is_not_an_object_is_a_failure(kind, payload):
    assert_failed(kind, payload, "not_an_object")


BODIES = [  # payload, body of H2, body of a function URL
    (b'"hello"', b"hello", b"hello"),
    (b'["hello", 3, true]', b'["hello", 3, true]', b'["hello",3,true]'),
    (b"3", b"3", b"3"),
    (b"3.1", b"3.1", b"3.1"),
    (b"true", b"true", b"true"),
    (b"null", b"null", b"null"),
    (b'{"hello": "world"}', b'{"hello": "world"}', b'{"hello":"world"}'),
    ('{"a": "ƛ"}'.encode(), '{"a": "ƛ"}'.encode(), '{"a":"ƛ"}'.encode()),
    (
        b'{"body": "x", "headers": {"A": "b"}}',
        b'{"body": "x", "headers": {"A": "b"}}',
        b'{"body":"x","headers":{"A":"b"}}',
    ),
]


@pytest.mark.parametrize(("payload", "http_api", "url"), BODIES)
def test_a_result_without_status_is_the_body_of_payload_2_0(payload, http_api, url):
    for kind, body in (("H2", http_api), ("URL", url)):
        given = answer(kind, payload)
        assert (given.status, given.body, values(given, "content-type")) == (200, body, ["application/json"])
        assert values(given, "content-length") == [str(len(body))]


NOT_JSON = [b"{", b'{"name": "John Doe", "age":', b"", b"\xff", b"NaN", b"[" * 100_000, b"[" * 50_000 + b"]" * 50_000]


@pytest.mark.parametrize("payload", NOT_JSON, ids=range(len(NOT_JSON)))
def test_a_function_url_sends_a_payload_that_is_not_json_as_it_is(payload):
    given = answer("URL", payload)
    assert (given.status, given.body, given.reason) == (200, payload, None)


@pytest.mark.parametrize("payload", NOT_JSON, ids=range(len(NOT_JSON)))
@pytest.mark.parametrize("kind", ["REST", "H1", "H2", "ALB", "ALB+"])
def test_a_payload_that_is_not_json_is_a_failure_of_the_other_kinds(kind, payload):
    assert_failed(kind, payload, "not_json")


def test_an_http_api_sends_the_content_of_a_json_string():
    given = answer("H2", '{"name": "John Doe", "age":')
    assert (given.status, given.body, given.reason) == (200, b'{"name": "John Doe", "age":', None)


@pytest.mark.parametrize("payload", [b'{"a": 1e999}', b'{"statusCode": 200, "body": [1e999]}'])
def test_a_number_that_json_cannot_write_is_a_failure_of_a_function_url(payload):
    assert_failed("URL", payload, "bad_body")


# Objects without status, unknown keys


def test_all_members_of_a_rest_result_are_optional():
    given = answer("REST", {"statusCode": None, "headers": None, "multiValueHeaders": None, "body": None})
    assert (given.status, given.body) == (200, b"")
    assert answer("REST", {}).status == 200


@pytest.mark.parametrize("result", [{}, {"body": "x"}, {"statusCode": None}])
@pytest.mark.parametrize("kind", ["H1", "ALB"])
def test_a_result_without_status_is_a_failure(kind, result):
    assert_failed(kind, result, "no_status")


@pytest.mark.parametrize("key", ["cookies", "message", "statuscode"])
def test_a_rest_api_refuses_unknown_keys(key):
    assert_failed("REST", {"statusCode": 200, key: []}, "unknown_key")


@pytest.mark.parametrize("kind", ["H1", "H2", "URL", "ALB", "ALB+"])
def test_other_kinds_ignore_unknown_keys(kind):
    given = answer(kind, {"statusCode": 200, "message": [], "body": "x"})
    assert (given.status, given.body) == (200, b"x")


# Status

STATUSES = [(201, 201), ("201", 201), (200.0, 200), (599, 599), ("418", 418)]


@pytest.mark.parametrize(("sent", "status"), STATUSES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_status(kind, sent, status):
    assert answer(kind, {"statusCode": sent}).status == status


BAD_STATUSES = [0, "x", 200.5, -200, 100, 101, 199, 600, 1000, True, [], {}, "", " 200", "0200", "20０", 1e300, 10**400]


@pytest.mark.parametrize("status", BAD_STATUSES, ids=lambda status: repr(status)[:8])
@pytest.mark.parametrize("kind", KINDS)
def test_a_status_that_is_not_one_is_a_failure(kind, status):
    assert_failed(kind, {"statusCode": status}, "bad_status")


@pytest.mark.parametrize("kind", ["H2", "URL"])
def test_a_null_status_is_a_failure_of_payload_2_0(kind):
    assert_failed(kind, {"statusCode": None}, "bad_status")


# Content types

DEFAULT_TYPES = {
    "REST": "application/json",
    "H1": "text/plain; charset=utf-8",
    "H2": "text/plain; charset=utf-8",
    "URL": "application/json",
    "ALB": "application/octet-stream",
    "ALB+": "application/octet-stream",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_content_type_if_the_function_gives_none(kind):
    assert values(answer(kind, {"statusCode": 200, "body": "x"}), "content-type") == [DEFAULT_TYPES[kind]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
def test_the_content_type_of_the_function(kind, name):
    result = {"statusCode": 200, "headers": {name: "text/csv"}, "multiValueHeaders": {name: ["text/csv"]}}
    if kind in ("REST", "H1"):
        del result["multiValueHeaders"]
    assert values(answer(kind, result), "content-type") == ["text/csv"]


# Headers


@pytest.mark.parametrize(
    ("kind", "name"),
    [("REST", "mY-Header"), ("H1", "My-Header"), ("H2", "My-Header"), ("URL", "mY-Header"), ("ALB", "mY-Header")],
)
def test_the_name_of_a_header(kind, name):
    assert (name, "x") in answer(kind, {"statusCode": 200, "headers": {"mY-Header": "x"}}).headers


SCALARS = [(True, "true"), (False, "false"), (3, "3"), (0.5, "0.5")]
STRINGS = [("", ""), (" x\t", "x"), ("ƛ", "ƛ")]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        *((kind, *pair) for pair in SCALARS + STRINGS for kind in APIS),
        *(("ALB", *pair) for pair in STRINGS),
    ],
)
def test_the_value_of_a_header_is_text(kind, value, text):
    assert values(answer(kind, {"statusCode": 200, "headers": {"X-A": value, "X-B": None}}), "x-a") == [text]


@pytest.mark.parametrize("value", [True, False, 3, 0.5])
def test_a_load_balancer_refuses_headers_that_are_not_strings(value):
    assert_failed("ALB", {"statusCode": 200, "headers": {"X-A": value}}, "bad_header_value")
    assert_failed("ALB+", {"statusCode": 200, "multiValueHeaders": {"X-A": [value]}}, "bad_header_value")


def combined(kind):
    result = {
        "statusCode": 200,
        "headers": {"Combined": "single", "only": "1"},
        "multiValueHeaders": {"combineD": ["multi1", "multi2"], "Several": ["a", "b"]},
    }
    names = ("combined", "only", "several")
    return [(name, value) for name, value in answer(kind, result).headers if name.lower() in names]


SEVERAL = [("Several", "a"), ("Several", "b")]
MULTI = [("combineD", "multi1"), ("combineD", "multi2")]
TITLED = [("Combined", "multi1"), ("Combined", "multi2")]
COMBINED = {
    "REST": [*MULTI, ("combineD", "single"), *SEVERAL, ("only", "1")],
    "H1": [("Combined", "single"), ("Only", "1"), *TITLED, *SEVERAL],
    "H2": [("Combined", "single"), ("Only", "1")],
    "URL": [("Combined", "single"), ("only", "1")],
    "ALB": [("Combined", "single"), ("only", "1")],
    "ALB+": [*MULTI, *SEVERAL],
}


@pytest.mark.parametrize("kind", KINDS)
def test_single_and_multiple_headers(kind):
    assert combined(kind) == COMBINED[kind]


def test_a_rest_api_sends_a_pair_of_both_members_once():
    result = {"headers": {"A": "1"}, "multiValueHeaders": {"a": ["1", "2"]}}
    assert values(answer("REST", result), "a") == ["1", "2"]


@pytest.mark.parametrize("kind", ["REST", "H1", "ALB+"])
@pytest.mark.parametrize("value", ["x", 3, {}, True])
def test_a_multiple_value_that_is_not_a_list_is_a_failure(kind, value):
    assert_failed(kind, {"statusCode": 200, "multiValueHeaders": {"A": value}}, "bad_header_value")


@pytest.mark.parametrize("kind", ["H2", "URL", "ALB"])
@pytest.mark.parametrize("value", ["x", {"A": "b"}])
def test_multiple_headers_are_ignored_where_they_have_no_meaning(kind, value):
    assert answer(kind, {"statusCode": 200, "multiValueHeaders": value}).status == 200


@pytest.mark.parametrize("headers", ["x", [], 3, True])
@pytest.mark.parametrize("kind", [*APIS, "ALB"])
def test_headers_that_are_not_an_object_are_a_failure(kind, headers):
    assert_failed(kind, {"statusCode": 200, "headers": headers}, "bad_headers")


@pytest.mark.parametrize("headers", ["x", [], 3, True])
@pytest.mark.parametrize("kind", ["REST", "H1", "ALB+"])
def test_multiple_headers_that_are_not_an_object_are_a_failure(kind, headers):
    assert_failed(kind, {"statusCode": 200, "multiValueHeaders": headers}, "bad_headers")


@pytest.mark.parametrize("kind", ["REST", "H1", "ALB+"])
def test_null_among_multiple_headers_is_left_out(kind):
    given = answer(kind, {"statusCode": 200, "multiValueHeaders": {"A": None, "B": ["1", None, "2"]}})
    assert (values(given, "a"), values(given, "b")) == ([], ["1", "2"])


INJECTIONS = [
    ({"X-A": "a\r\nSet-Cookie: evil=1"}, "bad_header_value"),
    ({"X-A": "a\nb"}, "bad_header_value"),
    ({"X-A": "a\x00b"}, "bad_header_value"),
    ({"X-A": "a\x7fb"}, "bad_header_value"),
    ({"X-A": "a\ud800"}, "bad_header_value"),
    ({"X-A": ["a"]}, "bad_header_value"),
    ({"X-A": {"a": 1}}, "bad_header_value"),
    ({"X-A\r\nSet-Cookie: evil=1\r\nX-B": "a"}, "bad_header_name"),
    ({"X A": "a"}, "bad_header_name"),
    ({"X-A:": "a"}, "bad_header_name"),
    ({"": "a"}, "bad_header_name"),
    ({"Ü": "a"}, "bad_header_name"),
]


@pytest.mark.parametrize(("headers", "code"), INJECTIONS)
@pytest.mark.parametrize("kind", [*APIS, "ALB"])
def test_a_header_that_http_does_not_allow_is_a_failure(kind, headers, code):
    assert_failed(kind, {"statusCode": 200, "headers": headers}, code)
    if kind in ("REST", "H1"):
        several = {name: [value] for name, value in headers.items()}
        assert_failed(kind, {"statusCode": 200, "multiValueHeaders": several}, code)


CONNECTION = "Transfer-Encoding connection Content-Length Keep-Alive TE Trailer Trailers Upgrade".split()
CONNECTION += ["Proxy-Authenticate", "proxy-x"]


@pytest.mark.parametrize("name", CONNECTION)
@pytest.mark.parametrize("kind", [*APIS, "ALB"])
def test_a_header_of_the_connection_is_dropped(kind, name):
    given = answer(kind, {"statusCode": 200, "headers": {name: "7"}, "body": "x"})
    assert values(given, name) == (["1"] if name == "Content-Length" else [])


@pytest.mark.parametrize("kind", [*APIS, "ALB"])
def test_other_headers_are_not_renamed(kind):
    headers = {"Www-Authenticate": "Basic", "Authorization": "x", "Date": "today", "Server": "mine"}
    assert set(answer(kind, {"statusCode": 401, "headers": headers}).headers) >= set(headers.items())


TRACE = f"{CONTEXT.trace_id};Parent=2f6be9b44c1f46fa;Sampled=0;Lineage=1:536f3e79:0"
OWN = {
    "REST": [
        ("x-amzn-RequestId", CONTEXT.request_id),
        ("x-amz-apigw-id", CONTEXT.extended_request_id),
        ("X-Amzn-Trace-Id", TRACE),
    ],
    "H1": [("Apigw-Requestid", CONTEXT.extended_request_id)],
    "H2": [("Apigw-Requestid", CONTEXT.extended_request_id)],
    "URL": [("x-amzn-RequestId", CONTEXT.request_id), ("X-Amzn-Trace-Id", TRACE)],
    "ALB": [],
}


@pytest.mark.parametrize("kind", OWN)
def test_the_headers_that_aws_adds_replace_those_of_the_function(kind):
    headers = {name.lower(): "mine" for name, _ in OWN[kind]}
    given = answer(kind, {"statusCode": 204, "headers": headers})
    assert given.headers == [("Content-Type", DEFAULT_TYPES[kind]), *OWN[kind]]


@pytest.mark.parametrize("kind", ["REST", "URL"])
@pytest.mark.parametrize("name", ["X-Amzn-Trace-Id", "x-amzn-trace-id"])
def test_the_trace_of_the_answer_has_the_root_of_the_request(kind, name):
    sent = request(headers={name: "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"})
    (trace,) = values(answer(kind, {"statusCode": 200}, sent), "x-amzn-trace-id")
    assert trace.startswith("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=")


@pytest.mark.parametrize("kind", ["REST", "URL"])
def test_a_trace_that_is_not_one_does_not_come_back(kind):
    sent = request(headers={"x-amzn-trace-id": "Root=1-x\r\nSet-Cookie: a=b"})
    assert values(answer(kind, {"statusCode": 200}, sent), "x-amzn-trace-id") == [TRACE]


def test_a_trace_id_of_another_form_is_sent_as_it_is():
    given = KINDS["URL"].answer(Outcome(b"{}"), request(), context=CONTEXT._replace(trace_id="none"))
    assert values(given, "x-amzn-trace-id") == ["none"]


# Cookies


@pytest.mark.parametrize("kind", ["H2", "URL"])
def test_each_cookie_is_a_header_beside_the_others(kind):
    result = {"statusCode": 200, "headers": {"set-cookie": "a=1"}, "cookies": ["b=2; Secure", "c=3"]}
    assert values(answer(kind, result), "set-cookie") == ["a=1", "b=2; Secure", "c=3"]


@pytest.mark.parametrize("cookies", ["a=1", {"a": "1"}, [1], [None], 3])
@pytest.mark.parametrize("kind", ["H2", "URL"])
def test_cookies_that_are_not_a_list_of_strings_are_a_failure(kind, cookies):
    assert_failed(kind, {"statusCode": 200, "cookies": cookies}, "bad_cookies")


@pytest.mark.parametrize("kind", ["H2", "URL"])
def test_a_cookie_cannot_add_a_header(kind):
    assert_failed(kind, {"statusCode": 200, "cookies": ["a=1\r\nX: y"]}, "bad_header_value")


@pytest.mark.parametrize("kind", ["H1", "ALB"])
def test_cookies_are_ignored_where_they_have_no_meaning(kind):
    assert values(answer(kind, {"statusCode": 200, "cookies": ["a=1"]}), "set-cookie") == []


# Bodies


@pytest.mark.parametrize("body", [{"a": 1}, ["a"]])
@pytest.mark.parametrize("kind", ["REST", "H1", "ALB"])
def test_a_body_that_is_an_object_is_a_failure(kind, body):
    assert_failed(kind, {"statusCode": 200, "body": body}, "bad_body")


@pytest.mark.parametrize(("body", "text"), [({"a": [1, "ƛ"]}, '{"a":[1,"ƛ"]}'), (["a"], '["a"]')])
@pytest.mark.parametrize("kind", ["H2", "URL"])
def test_a_body_that_is_an_object_is_serialised_in_payload_2_0(kind, body, text):
    assert answer(kind, {"statusCode": 200, "body": body}).body == text.encode()


@pytest.mark.parametrize(
    ("body", "text"), [(None, ""), ("", ""), ("ƛ", "ƛ"), (3, "3"), (True, "true"), ("\ud800", "?")]
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_body_is_text(kind, body, text):
    given = answer(kind, {"statusCode": 200, "body": body})
    assert given.body == text.encode()
    assert values(given, "content-length") == [str(len(text.encode()))]


PNG = b"\x89PNG\r\n\x1a\n\xff"
ENCODED = base64.b64encode(PNG).decode()


@pytest.mark.parametrize("kind", ["H1", "H2", "URL", "ALB", "ALB+"])
def test_a_body_in_base64_is_decoded(kind):
    assert answer(kind, {"statusCode": 200, "body": ENCODED, "isBase64Encoded": True}).body == PNG


ACCEPTS = [  # Accept of the request, binary media types, whether the body is decoded
    ("image/png", ["image/png"], True),
    ("image/png", [], False),
    ("image/png, text/html", ["image/png"], True),
    ("text/html, image/png", ["image/png"], False),
    ("image/png;q=0.9", ["image/*"], True),
    ("text/html", ["*/*"], True),
    ("*/*", ["image/png"], False),
    (None, ["*/*"], True),
]


@pytest.mark.parametrize(("accept", "types", "is_decoded"), ACCEPTS)
@pytest.mark.parametrize("flag", ["isBase64Encoded", "base64Encoded"])
def test_a_rest_api_decodes_base64_if_the_client_accepts_a_binary_type_first(flag, accept, types, is_decoded):
    sent = request(headers={"Accept": accept} if accept else {})
    given = answer("REST", {"body": ENCODED, flag: True}, sent, binary_media_types=types)
    assert given.body == (PNG if is_decoded else ENCODED.encode())


@pytest.mark.parametrize("body", ["!", "a", "YWJj!", "ƛ", "YW=Jj", "a-_b", "{}"])
@pytest.mark.parametrize("kind", ["H1", "H2", "URL", "ALB"])
def test_a_body_that_is_not_base64_is_a_failure(kind, body):
    assert_failed(kind, {"statusCode": 200, "body": body, "isBase64Encoded": True}, "bad_base64")


def test_a_rest_api_refuses_bad_base64_if_it_decodes():
    given = answer("REST", {"body": "!", "isBase64Encoded": True}, binary_media_types=["*/*"])
    assert (given.status, given.reason.code) == (502, "bad_base64")
    assert answer("REST", {"body": "!", "isBase64Encoded": True}).body == b"!"


@pytest.mark.parametrize("body", ["YWJj\nZGVm\n", "YWJjZGVm", "YWJj ZGVm"])
def test_base64_may_have_line_breaks(body):
    assert answer("H2", {"statusCode": 200, "body": body, "isBase64Encoded": True}).body == b"abcdef"


def test_base64_may_lack_its_padding():
    assert answer("H2", {"statusCode": 200, "body": "YWJjZA", "isBase64Encoded": True}).body == b"abcd"


@pytest.mark.parametrize("body", ["", None])
def test_an_empty_body_in_base64_is_empty(body):
    assert answer("H2", {"statusCode": 200, "body": body, "isBase64Encoded": True}).body == b""


@pytest.mark.parametrize(("flag", "body"), [("true", b"abc"), ("false", b"YWJj"), (False, b"YWJj"), (None, b"YWJj")])
@pytest.mark.parametrize("kind", ["H1", "H2", "URL", "ALB"])
def test_the_flag_of_base64(kind, flag, body):
    assert answer(kind, {"statusCode": 200, "body": "YWJj", "isBase64Encoded": flag}).body == body


@pytest.mark.parametrize("flag", [1, "yes", [], {}])
@pytest.mark.parametrize("kind", KINDS)
def test_a_flag_that_is_not_a_boolean_is_a_failure(kind, flag):
    assert_failed(kind, {"statusCode": 200, "body": "YWJj", "isBase64Encoded": flag}, "bad_flag")


@pytest.mark.parametrize("kind", KINDS)
def test_head_is_answered_without_the_body(kind):
    given = answer(kind, {"statusCode": 200, "body": "hello"}, request("HEAD"))
    assert (given.body, values(given, "content-length")) == (b"", ["5"])


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("kind", KINDS)
def test_a_status_without_body_has_none(kind, status):
    given = answer(kind, {"statusCode": status, "body": "hello"})
    assert (given.status, given.body, values(given, "content-length")) == (status, b"", [])


def test_a_load_balancer_refuses_a_result_over_its_limit():
    assert answer("ALB", {"statusCode": 200, "body": "x" * 1_000_000}).status == 200
    assert_failed("ALB", {"statusCode": 200, "body": "x" * 1_100_000}, "too_large")


def test_a_reason_shows_no_value_of_a_header():
    reason = answer("H2", {"statusCode": 200, "headers": {"Authorization": "secret\n"}}).reason
    assert "secret" not in reason.detail
    assert "Authorization" in reason.detail
