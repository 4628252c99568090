"""Errors on the wire: the code in a header, a body whose key has the case of its error, and a status."""

from tests.rows.row import (
    AS_EVENT,
    HELLO,
    MANAGEMENT,
    Answer,
    Ask,
    Like,
    Row,
    invalid,
    refusal,
    unknown_operation,
    violation,
)

ENUM = "satisfy enum value set: "
TYPES = violation("event", "invocationType", rf"{ENUM}\[Event, RequestResponse, DryRun\]")
LOGS = violation("Head", "logType", rf"{ENUM}\[None, Tail\]")
NO_JSON = refusal(
    400,
    "InvalidRequestContentException",
    Like("Could not parse request body into json: Could not parse payload into json: .+"),
)


def no_json(what, payload):
    return Row(f"no JSON, so refused before any function runs: {what}", Ask("nothing", payload), NO_JSON)


def unknown(method, path, what=""):
    what = what or f"{method} {path}"
    return Row(f"an unknown path or method is a 404: {what}", Ask(method=method, path=path), unknown_operation())


ROWS = [
    Row(
        "not found: a capital Message",
        Ask("absent"),
        refusal(404, "ResourceNotFoundException", Like("Function not found: arn:.*"), "Message"),
    ),
    Row(
        "invalid parameter value: a small message",
        Ask("hello:1", query="Qualifier=2"),
        refusal(400, "InvalidParameterValueException", Like("The derived qualifier .*")),
    ),
    Row("invalid request content: a small message", Ask("echo", b"{not json"), NO_JSON),
    Row(
        "a request that breaks off is invalid content",
        test="api/test_bad_input.py::test_a_body_that_ends_early_is_refused",
    ),
    Row(
        "validation: a small message, without a Type",
        Ask("hello", headers={"X-Amz-Invocation-Type": "event"}),
        invalid(TYPES),
    ),
    Row(
        "access denied: a capital Message, without a Type",
        Ask("arn:aws:lambda:us-east-1:999999999999:function:hello"),
        refusal(
            403,
            "AccessDeniedException",
            Like("User: anonymous is not authorized to perform: lambda:InvokeFunction on resource: .*:hello .*"),
            "Message",
            type="",
        ),
    ),
    Row(
        "resource conflict: 409 and a small message, for a function that cannot run yet",
        Ask("pending"),
        refusal(409, "ResourceConflictException", "The function is pending"),
    ),
    Row(
        "too many requests: 429 with a Reason, and when to come again",
        Ask("reserved"),
        refusal(429, "TooManyRequestsException", "Rate Exceeded.", Retry_After="1")._replace(
            body={
                "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                "Type": "User",
                "message": "Rate Exceeded.",
            }
        ),
    ),
    Row(
        "too many requests: more at once than there is room for",
        test="executors/isolated/test_pools.py::test_beyond_the_limit_invocations_are_refused_and_idle_environments_are_evicted",
    ),
    Row("too many requests: other limits on rate and concurrency", reason="Reserved concurrency does not exist"),
    Row(
        "service exception: 500 and a capital Message",
        Ask("faulty"),
        refusal(500, "ServiceException", "The service failed; its log has the reason.", "Message"),
    ),
    Row(
        "invalid runtime: 502 and a capital Message",
        Ask("outdated"),
        refusal(502, "InvalidRuntimeException", "No such runtime", "Message"),
    ),
    Row(
        "precondition failed, unsupported media type and AWS's own infrastructure",
        reason="Creating, updating and listing functions",
    ),
    Row("some bodies of an invalid parameter value have no Type", reason=MANAGEMENT),
    Row("lists, maps and what is missing have a form of their own in a validation error", reason=MANAGEMENT),
    Row("ranges and nested members have constraints of their own", reason=MANAGEMENT),
    Row(
        "an unknown log type is refused with the known ones",
        Ask("hello", headers={"X-Amz-Log-Type": "Head"}),
        invalid(LOGS),
    ),
    Row(
        "several broken constraints are told together",
        Ask("hello", headers={"X-Amz-Invocation-Type": "event", "X-Amz-Log-Type": "Head"}),
        invalid(TYPES, LOGS),
    ),
    Row(
        "the invocation type of mock mode is refused without it",
        Ask("hello", headers={"X-Amz-Invocation-Type": "Error", "X-Error-Type": "ValueError"}),
        refusal(400, "InvalidParameterValueException", Like(".*SERVERFULL_MOCK=true")),
    ),
    no_json("a byte that begins no UTF-8", b"\x87"),
    no_json("a control character", b"\x99"),
    no_json("NaN", b'{"a": NaN}'),
    no_json("Infinity", b"Infinity"),
    no_json("single quotes", b"{'a': 1}"),
    no_json("very deep", b"[" * 100_000),
    no_json("a text that is no UTF-8", b'"\xff"'),
    no_json("very many digits", b"1" * 5000),
    no_json("two values", b"{} {}"),
    Row("an event that is no JSON is refused before its 202", Ask("nothing", b"{", headers=AS_EVENT), NO_JSON),
    unknown("GET", "/2015-03-31/functions/hello/invocations"),
    unknown("PUT", "/2015-03-31/functions/hello/invocations"),
    unknown("POST", "/2015-03-31/functions/hello/invocations/"),
    unknown("POST", "/2015-03-31/functions//invocations"),
    unknown("POST", "/2015-03-31/functions/hello/extra/invocations"),
    Row(
        "an unknown path or method is a 404: a slash of the path that is encoded",
        Ask(path="/2015-03-31%2Ffunctions/hello/invocations"),
        unknown_operation(),
        where={"no-raw-path": Answer(200, {}, HELLO)},
    ),
    unknown("GET", "/2014-11-13/functions/hello/invoke-async"),
    unknown("GET", "/"),
    unknown("POST", "/healthcheck"),
    unknown("OPTIONS", "/2015-03-31/functions"),
    unknown("GET", "/%00/%ff/..%2f..%2fetc", "bytes that are no text"),
]
