"""Invocation types, the headers of an answer, payloads, and their limits."""

from tests.rows.row import (
    AS_EVENT,
    DRY,
    MANAGEMENT,
    NO_RESULT,
    TAIL,
    UUID,
    Answer,
    Ask,
    Having,
    Like,
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
    """A JSON string of that many bytes."""
    return b'"' + b"x" * (size - 2) + b'"'


def any_type(what, payload, body=None):
    return answered(f"a payload is any JSON: {what}", Ask("echo", payload), body or payload)


ROWS = [
    answered("a call answers 200 with the runtime's bytes", Ask("echo", b'{"a":   1}'), b'{"a": 1}'),
    answered(
        "a call may name its type",
        Ask("echo", b"1", headers={"X-Amz-Invocation-Type": "RequestResponse", "X-Amz-Log-Type": "None"}),
        b"1",
    ),
    answered("a payload is JSON whatever its content type", Ask("echo", b"[]", headers={"Content-Type": "a/b"}), b"[]"),
    failed("a failing function is a 200 as well", Ask("broken"), Having(errorType="ValueError")),
    accepted("an event answers 202 with nothing in it, and no log", Ask("hello", headers={**AS_EVENT, **TAIL})),
    accepted(
        "an event runs, under the request id of its 202",
        Ask("record", b'{"file": "FILE"}', headers=AS_EVENT),
        file="ID\n",
    ),
    Row(
        "a dry run answers 204 and runs nothing",
        Ask("record", b'{"file": "FILE"}', headers=DRY),
        Answer(
            204, {"Content-Type": None, "x-amzn-ErrorType": None, "x-amzn-RequestId": UUID, **NO_RESULT}, b"", file=""
        ),
    ),
    Row(
        "a dry run looks for the function",
        Ask("absent", headers=DRY),
        refusal(404, "ResourceNotFoundException", Like(".*:absent:.LATEST"), "Message"),
    ),
    answered(
        "the request id is the context's and the log's",
        Ask("describe", headers=TAIL),
        Having(aws_request_id="ID"),
        log=Like("START RequestId: ID .*\nEND RequestId: ID\nREPORT RequestId: ID\t.*"),
    ),
    Row(
        "the request id stays over an event's retries",
        test="queues/sqlite/test_durable_events.py::test_a_failing_function_is_tried_three_times_with_one_request_id",
    ),
    Row("the request id of a function URL is the log's", reason="function URLs"),
    answered(
        "a trace that the client began goes on",
        Ask("nothing", headers={"X-Amzn-Trace-Id": f"Root={ROOT};Parent=40378aa81e4eecc3;Sampled=1"}),
        b"null",
        X_Amzn_Trace_Id=Like(rf"root={ROOT};parent=40378aa81e4eecc3;sampled=1;lineage=[0-9a-f]{{8}}:0"),
    ),
    answered(
        "a trace header that is none is not passed on",
        Ask("nothing", headers={"X-Amzn-Trace-Id": "Root=<script>;Sampled=maybe"}),
        b"null",
    ),
    Row("a tenant id reaches the context", reason="Tenant ids and durable executions are not supported"),
    Row("a durable execution has a name", reason="`X-Amz-Durable-Execution-Name` are ignored"),
    answered("no payload is an empty object", Ask("echo"), b"{}"),
    answered("a function that returns nothing answers null", Ask("nothing"), b"null"),
    any_type("a number", b"1"),
    any_type("a text", b'"text"'),
    any_type("an array", b"[1, 2]"),
    any_type("null", b"null"),
    any_type("true", b"true"),
    any_type("an object with blanks around", b' {"a": {}} \n', b'{"a": {}}'),
    # Limits
    answered("a payload of 6 MiB passes", Ask("nothing", json_text(6_291_456)), b"null"),
    Row(
        "a larger payload is refused",
        Ask("nothing", json_text(6_291_457)),
        refusal(413, TOO_LARGE, SYNC_TOO_LARGE, type=""),
    ),
    Row(
        "a larger payload is refused by its length, unread",
        test="api/test_bad_input.py::test_a_body_over_its_limit_is_refused_by_its_length_alone",
    ),
    accepted("an event's payload of 1 MiB passes", Ask("nothing", json_text(1_048_576), headers=AS_EVENT)),
    Row(
        "an event's larger payload is refused",
        Ask("nothing", json_text(1_048_577), headers=AS_EVENT),
        refusal(413, TOO_LARGE, EVENT_TOO_LARGE, type=""),
    ),
    answered("a response of a text of 6 MiB passes", Ask("large", b"6291458"), 6_291_458),
    answered("a response of 6 MiB and 100 bytes passes", Ask("large", b"6291556"), 6_291_556),
    failed(
        "a larger response is a failure in two members",
        Ask("large", b"6291557"),
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).",'
        b'"errorType":"Function.ResponseSizeTooLarge"}',
    ),
    answered("after a response that was too large the next call works", Ask("large", b"10"), b'"xxxxxxxx"'),
    Row(
        "a client context of more than 3,583 bytes of base64 is refused",
        Ask("hello", headers=encoded(f'{{"custom": "{"v" * 2700}"}}')),
        refusal(400, "InvalidRequestContentException", Like("Client context must be at most 3583 bytes of Base64, .*")),
    ),
    answered(
        "a client context of just less passes",
        Ask("nothing", headers=encoded(f'{{"custom": "{"v" * 2670}"}}')),
        b"null",
    ),
    Row("a streamed response may have 200 MB", reason=MANAGEMENT),
    Row("a function's package has its limits, packed and unpacked", reason=MANAGEMENT),
    Row("a function's variables may have 4 KB", reason=MANAGEMENT),
    Row("a function may have 50 tags", reason=MANAGEMENT),
    # Beside AWS
    Row(
        "the health check answers a dot",
        Ask(method="GET", path="/healthcheck"),
        Answer(200, {"Content-Type": "text/plain"}, b"."),
    ),
    Row(
        "the health check answers HEAD",
        Ask(method="HEAD", path="/healthcheck"),
        Answer(200, {"Content-Type": "text/plain", "Content-Length": "1"}, b""),
    ),
]
