"""Function errors, exits of a handler, and the JSON of its results."""

import json

from tests.rows.row import RAW_TEXT, Having, Like, Request, Row, answered, encoded, failed

NOT_STOPPED = "**Timeouts are advisory**"
NOT_REPLACED = "**The process is not replaced.**"
FRAME = r'  File ".*handlers\.py", line \d+, in '


def exception(case, name, error_type, message, stack_trace, payload=b"", request_id="ID"):
    """Return a row for a function error with four members, in AWS's order."""
    body = {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": stack_trace}
    return failed(f"a function error has AWS's form: {case}", Request(name, payload), body)


def unloadable(case, name, error_type, message, stack_trace=()):
    return exception(case, name, f"Runtime.{error_type}", message, list(stack_trace), request_id="")


def ended(case, how, reason):
    body = {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: ID Error: {reason}"}
    return failed(f"an exit is a function error: {case}", Request("leave", json.dumps({"how": how}).encode()), body)


def marshalled(case, value, body, **headers):
    return answered(f"a result is marshalled: {case}", Request("marshal", json.dumps(value).encode()), body, **headers)


ROWS = [
    exception(
        "four members in order, and a stack trace that starts in the user's code",
        "broken",
        "ValueError",
        "nope",
        [Like(FRAME + r"broken\n    raise ValueError\(.*\n")],
        b'{"message": "nope"}',
    ),
    failed(
        "a function error has the separators of Python's json",
        Request("broken"),
        Like(
            r'\{"errorMessage": "boom", "errorType": "ValueError", "requestId": "ID", "stackTrace": \["  File .*"\]\}'
        ),
    ),
    exception(
        "an empty message", "nameless", "NamelessError", "", [Like(FRAME + r"nameless\n    raise NamelessError\n")]
    ),
    exception(
        "the quotes of a KeyError",
        "missing_key",
        "KeyError",
        "'absent'",
        [Like(FRAME + r'missing_key\n    return \{\}\["absent"\]\n')],
    ),
    exception(
        "an exception without its cause",
        "caused",
        "RuntimeError",
        "outer",
        [Like(FRAME + r'caused\n    raise RuntimeError\("outer"\) from error\n')],
    ),
    Row(
        "a function error does not end its environment",
        test="executors/isolated/test_environments.py::test_an_error_of_the_handler_keeps_the_environment",
    ),
    exception(
        "a result that JSON cannot represent",
        "unserialisable",
        "Runtime.MarshalError",
        "Unable to marshal response: Object of type set is not JSON serializable",
        [],
    ),
    unloadable(
        "a missing module",
        "no-module",
        "ImportModuleError",
        "Unable to import module 'no_such_module': No module named 'no_such_module'",
    ),
    unloadable(
        "a module without the handler",
        "no-handler",
        "HandlerNotFound",
        "Handler 'no_such_handler' missing on module 'tests.support.handlers'",
    ),
    unloadable(
        "a syntax error, with its line",
        "syntax",
        "UserCodeSyntaxError",
        Like(r"Syntax error in module 'tests\.support\.broken_syntax': .+ \(broken_syntax\.py, line 1\)"),
        [Like(r'  File ".*broken_syntax\.py" Line 1\n    def handler\(event, context:\n')],
    ),
    unloadable(
        "a handler without a dot",
        "no-dot",
        "MalformedHandlerName",
        "Bad handler 'handler': not enough values to unpack (expected 2, got 1)",
    ),
    unloadable(
        "a built-in module",
        "builtin",
        "BuiltInModuleConflict",
        "Cannot use built-in module sys as a handler module",
    ),
    *(
        failed(
            f"an exception during the import has no request id, and has importlib's frames, {time}",
            Request("raises-at-import"),
            Like(
                r'\{"errorMessage": "no database", "errorType": "RuntimeError", "requestId": "", '
                r'"stackTrace": \["  File .*importlib.*broken_import.*"\]\}'
            ),
        )
        for time in ("the first time", "and every later time")
    ),
    answered("a handler may be named with slashes", Request("slashes"), b"null"),
    failed(
        "a client context with a client that is not an object is a function error",
        Request("nothing", headers=encoded('{"client": 5}')),
        Having(errorType="AttributeError", errorMessage="'int' object has no attribute 'get'", requestId="ID"),
    ),
    # Exits
    ended("status 0", 0, "Runtime exited without providing a reason"),
    ended("no status", "none", "Runtime exited without providing a reason"),
    ended("a status", 127, "Runtime exited with error: exit status 127"),
    ended("a status of more than a byte", 256 + 3, "Runtime exited with error: exit status 3"),
    ended("a message", "a message", "Runtime exited with error: exit status 1"),
    ended("an exception that is not an Exception", "generator", "Runtime exited with error: exit status 1"),
    ended("an interrupt", "interrupt", "Runtime exited with error: signal: interrupt"),
    Row(
        "os._exit and fatal signals are function errors",
        test="executors/isolated/test_environment_ends.py::test_the_exit_of_a_process_is_reported_in_the_words_of_aws",
        reason=NOT_REPLACED,
    ),
    Row(
        "a timeout is a Sandbox.Timedout, and the next call gets a new process",
        test="executors/isolated/test_environment_ends.py::test_a_timeout_is_reported_as_on_aws_and_the_next_invocation_gets_a_new_process",
        reason=NOT_STOPPED,
    ),
    Row(
        "after an exit the next call gets a new process",
        test="executors/isolated/test_environment_ends.py::test_after_an_exit_the_next_invocation_gets_a_new_process",
        reason=NOT_REPLACED,
    ),
    Row(
        "temporary files remain when a process is replaced",
        test="executors/isolated/test_environments.py::test_temporary_files_belong_to_one_function_and_outlive_its_process",
        reason="**One process, many invocations at once.** They share",
    ),
    Row(
        "a process over its memory limit is stopped",
        test="executors/isolated/test_isolation.py::test_a_function_that_exceeds_its_memory_size_is_killed",
        reason="**Memory is not limited**",
    ),
    Row(
        "an environment's start may take ten seconds",
        test="executors/isolated/test_failed_starts.py::test_a_start_may_take_the_init_timeout_and_then_the_function_timeout",
        reason="**No cold starts**",
    ),
    Row(
        "the stack trace of a handler without arguments has a line of the runtime",
        reason="A handler that cannot take two arguments",
    ),
    # Node.js
    Row(
        "a Node.js function has the answers, errors, ends and log lines of AWS's client",
        test="executors/test_aws_node_client.py::test_a_handler_has_the_answers_ends_and_log_lines_of_awss_client",
    ),
    Row(
        "a Node.js module loads or fails as under AWS's client",
        test="executors/test_aws_node_client.py::test_a_module_loads_or_fails_as_under_awss_client",
    ),
    Row(
        "a Node.js promise that is never settled is a Runtime.NodeJsExit",
        test="executors/isolated/test_node.py::test_a_promise_that_is_never_settled_is_a_nodejsexit_and_ends_the_process",
    ),
    Row(
        "Node.js runtimes from nodejs24.x on have no callbacks",
        test="executors/isolated/test_node.py::test_runtimes_from_nodejs24_on_return_the_handlers_value_and_refuse_callbacks",
    ),
    Row(
        "ES modules import packages from layers",
        test="executors/isolated/test_node.py::test_packages_of_a_layer_are_found",
    ),
    # Results
    marshalled("a Decimal keeps its digits", "decimal", b'{"n": 1.10}'),
    marshalled("a tuple becomes an array", "tuple", b"[1, 2]"),
    marshalled("a namedtuple becomes an object", "namedtuple", b'{"x": 1, "y": 2}'),
    marshalled(
        "nested bytes become text", "nested bytes", '{"b": "café"}'.encode() if RAW_TEXT else rb'{"b": "caf\u00e9"}'
    ),
    marshalled("keys become text", "keys", b'{"1": "a", "null": "b", "false": "c", "1.5": "d"}'),
    marshalled("an IntEnum becomes a number", "intenum", b"1"),
    marshalled("NaN", "nan", b"NaN"),
    marshalled("a Decimal's NaN", "decimal nan", b"NaN"),
    marshalled(
        "bytes are sent unchanged, with an unknown content type",
        "bytes",
        b"\x00raw\xff",
        Content_Type="application/unknown",
    ),
    marshalled("an empty object", "empty", b"{}"),
    marshalled(
        "text outside ASCII, as AWS's runtime writes it for this Python",
        "non-ascii",
        '"ƛ é 漢"'.encode() if RAW_TEXT else rb'"\u019b \u00e9 \u6f22"',
    ),
    Row(
        "results are marshalled as AWS's own runtime does",
        test="executors/test_aws_runtime_client.py::test_a_result_is_marshalled_as_on_aws",
    ),
    Row(
        "text outside ASCII is marshalled as for the function's Python",
        reason="**Non-ASCII results** are written as AWS does",
    ),
]
