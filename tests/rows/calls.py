"""Invocation types, headers of responses, payloads and their limits."""

from tests.rows.row import (
    AS_EVENT,
    DRY,
    NO_RESULT,
    STREAMING,
    TAIL,
    UUID,
    Having,
    Like,
    Request,
    Response,
    Row,
    accepted,
    answered,
    encoded,
    failed,
    refusal,
)

TOO_LARGE = "RequestEntityTooLargeException"
SYNC_TOO_LARGE = "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
EVENT_TOO_LARGE = "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
ROOT = "1-64f7ba59-40378aa81e4eecc34002f96a"


def json_text(size):
    """Return a JSON string of ``size`` bytes."""
    return b'"' + b"x" * (size - 2) + b'"'


def any_type(case, payload, body=None):
    return answered(f"a payload is any JSON: {case}", Request("echo", payload), body or payload)


ROWS = [
    answered("a synchronous call returns 200 with the runtime's bytes", Request("echo", b'{"a":   1}'), b'{"a": 1}'),
    answered(
        "a synchronous call may name its invocation type",
        Request("echo", b"1", headers={"X-Amz-Invocation-Type": "RequestResponse", "X-Amz-Log-Type": "None"}),
        b"1",
    ),
    answered("a payload is JSON with any content type", Request("echo", b"[]", headers={"Content-Type": "a/b"}), b"[]"),
    failed("a function error is a 200", Request("broken"), Having(errorType="ValueError")),
    accepted("an event returns 202 with an empty body and no log", Request("hello", headers={**AS_EVENT, **TAIL})),
    accepted(
        "an event runs with the request id of its 202",
        Request("record", b'{"file": "FILE"}', headers=AS_EVENT),
        file="ID\n",
    ),
    Row(
        "a dry run returns 204 and runs nothing",
        Request("record", b'{"file": "FILE"}', headers=DRY),
        Response(
            204, {"Content-Type": None, "x-amzn-ErrorType": None, "x-amzn-RequestId": UUID, **NO_RESULT}, b"", file=""
        ),
    ),
    Row(
        "a dry run of a missing function is a 404",
        Request("absent", headers=DRY),
        refusal(404, "ResourceNotFoundException", Like(".*:absent:.LATEST"), "Message"),
    ),
    answered(
        "the response, the context and the log have the same request id",
        Request("describe", headers=TAIL),
        Having(aws_request_id="ID"),
        log=Like("START RequestId: ID .*\nEND RequestId: ID\nREPORT RequestId: ID\t.*"),
    ),
    Row(
        "an event's retries have the same request id",
        test="queues/sqlite/test_durable_events.py::test_a_failing_function_is_tried_three_times_with_one_request_id",
    ),
    Row("a function URL's response and log have the same request id", reason="function URLs"),
    answered(
        "a client's trace is continued",
        Request("nothing", headers={"X-Amzn-Trace-Id": f"Root={ROOT};Parent=40378aa81e4eecc3;Sampled=1"}),
        b"null",
        X_Amzn_Trace_Id=Like(rf"root={ROOT};parent=40378aa81e4eecc3;sampled=1;lineage=[0-9a-f]{{8}}:0"),
    ),
    answered(
        "an invalid trace header is not passed on",
        Request("nothing", headers={"X-Amzn-Trace-Id": "Root=<script>;Sampled=maybe"}),
        b"null",
    ),
    Row("the context has the tenant id", reason="Tenant ids and durable executions are not supported"),
    Row("a durable execution has a name", reason="`X-Amz-Durable-Execution-Name` are ignored"),
    answered("no payload is an empty object", Request("echo"), b"{}"),
    answered("a function that returns nothing returns null", Request("nothing"), b"null"),
    any_type("a number", b"1"),
    any_type("a text", b'"text"'),
    any_type("an array", b"[1, 2]"),
    any_type("null", b"null"),
    any_type("true", b"true"),
    any_type("an object with surrounding blanks", b' {"a": {}} \n', b'{"a": {}}'),
    # Limits
    answered("a payload of 6 MiB is accepted", Request("nothing", json_text(6_291_456)), b"null"),
    Row(
        "a larger payload is refused",
        Request("nothing", json_text(6_291_457)),
        refusal(413, TOO_LARGE, SYNC_TOO_LARGE, type=""),
    ),
    Row(
        "a larger payload is refused by its Content-Length, unread",
        test="api/test_bad_input.py::test_a_body_over_its_limit_is_refused_by_its_length_alone",
    ),
    accepted("an event's payload of 1 MiB is accepted", Request("nothing", json_text(1_048_576), headers=AS_EVENT)),
    Row(
        "an event's larger payload is refused",
        Request("nothing", json_text(1_048_577), headers=AS_EVENT),
        refusal(413, TOO_LARGE, EVENT_TOO_LARGE, type=""),
    ),
    answered("a result of 6 MiB of text is returned", Request("large", b"6291458"), 6_291_458),
    answered("a result of 6 MiB and 100 bytes is returned", Request("large", b"6291556"), 6_291_556),
    failed(
        "a larger result is a function error with two members",
        Request("large", b"6291557"),
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).",'
        b'"errorType":"Function.ResponseSizeTooLarge"}',
    ),
    answered("the call after a too large result works", Request("large", b"10"), b'"xxxxxxxx"'),
    Row(
        "a client context of more than 3,583 bytes of base64 is refused",
        Request("hello", headers=encoded(f'{{"custom": "{"v" * 2700}"}}')),
        refusal(400, "InvalidRequestContentException", Like("Client context must be at most 3583 bytes of Base64, .*")),
    ),
    answered(
        "a slightly smaller client context is accepted",
        Request("nothing", headers=encoded(f'{{"custom": "{"v" * 2670}"}}')),
        b"null",
    ),
    Row("a streamed response may have up to 200 MB", reason=STREAMING),
    Row(
        "a function's package is limited in size, packed and unpacked",
        test="registry/test_functions.py::test_an_archive_over_the_limit_is_refused",
    ),
    Row(
        "a function's environment variables may have up to 4 KB",
        test="api/management/test_functions.py::test_a_function_that_aws_refuses_is_refused_in_its_words",
    ),
    Row(
        "a function may have up to 50 tags",
        test="api/management/test_functions.py::test_tags_are_merged_listed_and_removed",
    ),
    # Not AWS's
    Row(
        "the health check returns a dot",
        Request(method="GET", path="/healthcheck"),
        Response(200, {"Content-Type": "text/plain"}, b"."),
    ),
    Row(
        "the health check accepts HEAD",
        Request(method="HEAD", path="/healthcheck"),
        Response(200, {"Content-Type": "text/plain", "Content-Length": "1"}, b""),
    ),
]
