"""Error responses: the code in a header, the status, and a body with the key ``message`` or ``Message``."""

from tests.rows.row import (
    AS_EVENT,
    HELLO,
    Like,
    Request,
    Response,
    Row,
    invalid,
    refusal,
    unknown_operation,
    violation,
)

ENUM = "satisfy enum value set: "
TYPES = violation("event", "invocationType", rf"{ENUM}\[Event, RequestResponse, DryRun\]")
LOGS = violation("Head", "logType", rf"{ENUM}\[None, Tail\]")
INVALID_JSON = refusal(
    400,
    "InvalidRequestContentException",
    Like("Could not parse request body into json: Could not parse payload into json: .+"),
)


def invalid_json(case, payload):
    return Row(f"invalid JSON is refused before a function runs: {case}", Request("nothing", payload), INVALID_JSON)


def unknown(method, path, case=""):
    case = case or f"{method} {path}"
    return Row(f"an unknown path or method is a 404: {case}", Request(method=method, path=path), unknown_operation())


ROWS = [
    Row(
        "a missing function is a 404 with Message",
        Request("absent"),
        refusal(404, "ResourceNotFoundException", Like("Function not found: arn:.*"), "Message"),
    ),
    Row(
        "an invalid parameter value is a 400 with message",
        Request("hello:1", query="Qualifier=2"),
        refusal(400, "InvalidParameterValueException", Like("The derived qualifier .*")),
    ),
    Row("invalid request content is a 400 with message", Request("echo", b"{not json"), INVALID_JSON),
    Row(
        "a request that breaks off is invalid request content",
        test="api/test_bad_input.py::test_a_body_that_ends_early_is_refused",
    ),
    Row(
        "a validation error is a 400 with message and without Type",
        Request("hello", headers={"X-Amz-Invocation-Type": "event"}),
        invalid(TYPES),
    ),
    Row(
        "a denied access is a 403 with Message and without Type",
        Request("arn:aws:lambda:us-east-1:999999999999:function:hello"),
        refusal(
            403,
            "AccessDeniedException",
            Like("User: anonymous is not authorized to perform: lambda:InvokeFunction on resource: .*:hello .*"),
            "Message",
            type="",
        ),
    ),
    Row(
        "a function that cannot run yet is a 409 with message",
        Request("pending"),
        refusal(409, "ResourceConflictException", "The function is pending"),
    ),
    Row(
        "a function whose reserved concurrency is 0 is a 429 with a Reason and Retry-After",
        Request("reserved"),
        refusal(429, "TooManyRequestsException", "Rate Exceeded.", Retry_After="1")._replace(
            body={
                "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                "Type": "User",
                "message": "Rate Exceeded.",
            }
        ),
    ),
    Row(
        "too many concurrent requests are a 429",
        test="executors/isolated/test_pools.py::test_beyond_the_limit_invocations_are_refused_and_idle_environments_are_evicted",
    ),
    Row(
        "more concurrent requests than the reserved concurrency are a 429",
        test="api/test_reserved_concurrency.py::test_beyond_the_reserved_concurrency_a_call_is_a_429",
    ),
    Row("other limits on rate and concurrency are a 429", reason="Reserved concurrency is a limit"),
    Row(
        "a failure of the service is a 500 with Message",
        Request("faulty"),
        refusal(500, "ServiceException", "The service failed; its log has the reason.", "Message"),
    ),
    Row(
        "an invalid runtime is a 502 with Message",
        Request("outdated"),
        refusal(502, "InvalidRuntimeException", "No such runtime", "Message"),
    ),
    Row(
        "a failed precondition is a 412 with message",
        test="api/management/test_functions.py::test_a_redundant_update_and_a_dry_run_have_a_new_revision_and_none",
    ),
    Row("other errors are of media types and of AWS's own infrastructure", reason="errors of AWS's infrastructure"),
    Row(
        "some invalid parameter values have no Type",
        test="api/management/test_functions.py::test_an_alias_that_aws_refuses_is_refused_in_its_words",
    ),
    Row(
        "a validation error shows lists, maps and missing members in their own forms",
        test="api/management/test_functions.py::test_a_function_that_aws_refuses_is_refused_in_its_words",
    ),
    Row(
        "a validation error has constraints of ranges and nested members",
        test="api/management/test_functions.py::test_a_function_that_aws_refuses_is_refused_in_its_words",
    ),
    Row(
        "an unknown log type is refused, and the message lists the known ones",
        Request("hello", headers={"X-Amz-Log-Type": "Head"}),
        invalid(LOGS),
    ),
    Row(
        "one message lists all broken constraints",
        Request("hello", headers={"X-Amz-Invocation-Type": "event", "X-Amz-Log-Type": "Head"}),
        invalid(TYPES, LOGS),
    ),
    Row(
        "the invocation type of mock mode is refused without it",
        Request("hello", headers={"X-Amz-Invocation-Type": "Error", "X-Error-Type": "ValueError"}),
        refusal(400, "InvalidParameterValueException", Like(".*SERVERFULL_MOCK=true")),
    ),
    invalid_json("a byte that starts no UTF-8 character", b"\x87"),
    invalid_json("a control character", b"\x99"),
    invalid_json("NaN", b'{"a": NaN}'),
    invalid_json("Infinity", b"Infinity"),
    invalid_json("single quotes", b"{'a': 1}"),
    invalid_json("100,000 nested lists", b"[" * 100_000),
    invalid_json("a text that is not UTF-8", b'"\xff"'),
    invalid_json("5,000 digits", b"1" * 5000),
    invalid_json("two values", b"{} {}"),
    Row(
        "an event with invalid JSON is refused in the place of a 202",
        Request("nothing", b"{", headers=AS_EVENT),
        INVALID_JSON,
    ),
    unknown("GET", "/2015-03-31/functions/hello/invocations"),
    unknown("PUT", "/2015-03-31/functions/hello/invocations"),
    unknown("POST", "/2015-03-31/functions/hello/invocations/"),
    unknown("POST", "/2015-03-31/functions//invocations"),
    unknown("POST", "/2015-03-31/functions/hello/extra/invocations"),
    Row(
        "an unknown path or method is a 404: an encoded slash of the path",
        Request(path="/2015-03-31%2Ffunctions/hello/invocations"),
        unknown_operation(),
        where=dict.fromkeys(("no-raw-path", "granian"), Response(200, {}, HELLO)),
    ),
    unknown("GET", "/2014-11-13/functions/hello/invoke-async"),
    unknown("GET", "/"),
    unknown("POST", "/healthcheck"),
    unknown("OPTIONS", "/2015-03-31/functions"),
    unknown("GET", "/%00/%ff/..%2f..%2fetc", "bytes that are not text"),
]
