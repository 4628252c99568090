"""What every executor promises, over both: in the server's process, and in processes of the functions' own."""

import importlib.util
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi import Function, InProcessExecutor, ProcessExecutor
from tests.apart import executing, invocation, run

APART = pytest.mark.skipif(
    sys.platform != "linux" or not importlib.util.find_spec("awslambdaric"),
    reason="awslambdaric has wheels for Linux on x86-64 only",
)
KINDS = [InProcessExecutor, pytest.param(ProcessExecutor, marks=APART)]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def executor(request):
    if request.param is InProcessExecutor:
        yield InProcessExecutor()
    else:
        with executing() as executor:
            yield executor


def function(name, **more):
    handler = name if "." in name else f"tests.handlers.{name}"
    return Function(handler, **{"name": handler.replace(".", "-").replace("/", "-"), "timeout": 60, **more})


def test_a_result_is_the_runtimes_bytes(executor):
    outcome = executor.execute(function("echo"), invocation({"a": [1, None]}, name="tests-handlers-echo"))
    assert (outcome.payload, outcome.content_type) == (b'{"a": [1, null]}', "application/json")
    assert (outcome.function_error, outcome.executed_version) == (None, "$LATEST")
    assert 0 < outcome.duration < 60


def test_no_payload_is_an_empty_event(executor):
    assert run(executor, function("echo"))[1] == {}


def test_an_event_and_a_result_of_6_mib_pass(executor):
    event = "é" * 100_000 + "x" * 4_000_000  # of the é, Python before 3.12 makes six bytes each
    assert run(executor, function("echo"), event)[1] == event


def test_an_exception_is_a_function_error_in_four_members(executor):
    outcome, error = run(executor, function("broken"), {"message": "nope"})
    assert outcome.function_error == "Unhandled"
    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (error["errorMessage"], error["errorType"]) == ("nope", "ValueError")
    assert re.fullmatch(
        r'  File ".*handlers\.py", line \d+, in broken\n    raise ValueError\(.*\n', error["stackTrace"][0]
    )


def test_an_error_leaves_the_executor_as_it_was(executor):
    run(executor, function("broken"))
    assert run(executor, function("hello"))[1] == "Hello ƛ!"


@pytest.mark.parametrize(
    ("handler", "error_type"),
    [
        ("no_such_module.handler", "Runtime.ImportModuleError"),
        ("tests.handlers.no_such_handler", "Runtime.HandlerNotFound"),
        ("tests.broken_syntax.handler", "Runtime.UserCodeSyntaxError"),
        ("tests.broken_import.handler", "RuntimeError"),
        ("sys.exit", "Runtime.BuiltInModuleConflict"),
    ],
)
def test_what_cannot_be_loaded_is_an_error_on_every_call(executor, handler, error_type):
    for _ in range(2):
        outcome, error = run(executor, function(handler))
        assert (outcome.function_error, error["errorType"]) == ("Unhandled", error_type)
        assert error["requestId"] == ""
        assert f"[ERROR] {error_type}" in outcome.log.decode()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (0, "Runtime exited without providing a reason"),
        (127, "Runtime exited with error: exit status 127"),
        ("a message", "Runtime exited with error: exit status 1"),
        ("generator", "Runtime exited with error: exit status 1"),
        ("interrupt", "Runtime exited with error: signal: interrupt"),
    ],
)
def test_a_handler_that_leaves_is_awss_exit_error(executor, how, reason):
    call = invocation({"how": how}, name="tests-handlers-leave")
    outcome = executor.execute(function("leave"), call)
    message = f"RequestId: {call.request_id} Error: {reason}"
    assert json.loads(outcome.payload) == {"errorType": "Runtime.ExitError", "errorMessage": message}
    assert f"{message}\nRuntime.ExitError\nEND RequestId: {call.request_id}\n" in outcome.log.decode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("decimal", b'{"n": 1.10}'),
        ("namedtuple", b'{"x": 1, "y": 2}'),
        ("keys", b'{"1": "a", "null": "b", "false": "c", "1.5": "d"}'),
        ("nan", b"NaN"),
        ("bytes", b"\x00raw\xff"),
    ],
)
def test_results_are_marshalled_as_by_awss_runtime(executor, value, expected):
    assert executor.execute(function("marshal"), invocation(value, name="tests-handlers-marshal")).payload == expected


def test_bytes_are_of_unknown_type(executor):
    call = invocation("bytes", name="tests-handlers-marshal")
    assert executor.execute(function("marshal"), call).content_type == "application/unknown"


@pytest.mark.parametrize("value", ["set", "cycle", "deep", "bad bytes"])
def test_what_is_no_json_is_a_marshal_error(executor, value):
    assert run(executor, function("marshal"), value)[1]["errorType"] == "Runtime.MarshalError"


def test_the_largest_response_passes_and_a_larger_one_is_an_error_after_which_all_is_well(executor):
    large = function("large")
    assert len(run(executor, large, 6_291_556)[0].payload) == 6_291_556
    outcome, error = run(executor, large, 6_291_557)
    assert (outcome.function_error, error["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")
    assert len(run(executor, large, 10)[0].payload) == 10


def test_the_context_is_the_functions(executor):
    described = function("describe", memory_size=512, version="7")
    context = {"custom": {"k": "ƛ"}, "client": {"app_title": "t"}}
    call = invocation(name="tests-handlers-describe", client_context=context)
    seen = json.loads(executor.execute(described, call).payload)
    assert seen["aws_request_id"] == call.request_id
    assert (seen["function_name"], seen["function_version"]) == ("tests-handlers-describe", "7")
    assert seen["invoked_function_arn"] == call.function_name.arn
    assert (seen["memory_limit_in_mb"], seen["identity"]) == ("512", [None, None])
    assert seen["log_group_name"] == "/aws/lambda/tests-handlers-describe"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[7\][0-9a-f]{32}", seen["log_stream_name"])
    assert 0 < seen["remaining"] <= 60_000
    assert seen["client_context"] == {"custom": {"k": "ƛ"}, "env": None, "client": [None, "t", None, None, None]}


def test_the_log_is_complete_and_in_order(executor):
    run(executor, function("noisy"))  # the next one is no cold start
    call = invocation(name="tests-handlers-noisy")
    log = executor.execute(function("noisy"), call).log.decode()
    assert re.fullmatch(
        rf"START RequestId: {call.request_id} Version: \$LATEST\n"
        r"printed\nto stderr\nas bytes\n"
        rf"\[WARNING\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{call.request_id}\twarned 1\n"
        r"through the context\n"
        rf"END RequestId: {call.request_id}\n"
        rf"REPORT RequestId: {call.request_id}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\t"
        r"Memory Size: 128 MB\tMax Memory Used: \d+ MB\t\n",
        log,
    )


def test_a_failure_is_logged_as_by_awss_runtime(executor):
    log = run(executor, function("broken"))[0].log.decode()
    assert "[ERROR] ValueError: boom\nTraceback (most recent call last):\n\u00a0\u00a0File " in log


def test_the_tail_is_the_last_4096_bytes(executor):
    log = run(executor, function("chatty"))[0].log
    assert len(log) == 4096
    assert b"line 0999\nEND RequestId" in log


def test_no_log_is_kept_unasked(executor):
    assert run(executor, function("noisy"), tail=False)[0].log == b""


def test_the_remaining_time_is_the_functions(executor):
    assert 55_000 < run(executor, function("slow"), 0)[1] <= 60_000


def test_calls_at_once_get_each_its_own_answer_and_log(executor):
    def call(number):
        outcome, value = run(executor, function("echo"), number)
        return value, re.findall(r"START RequestId", outcome.log.decode())

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call, range(40)))
    assert answers == [(number, ["START RequestId"]) for number in range(40)]
