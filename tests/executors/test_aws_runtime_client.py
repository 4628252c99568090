"""All executors compared with AWS's own Python runtime client, on the same handlers and events."""

import contextlib
import functools
import importlib.util
import inspect
import json
import logging
import os
import re
import signal
import sys
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from serverfull_wsgi.domain import Function, Invocation
from serverfull_wsgi.errors import RuntimeFault
from serverfull_wsgi.executors.inprocess import InProcessExecutor
from serverfull_wsgi.executors.isolated.runtimes.fallback_client.awslambdaric.lambda_runtime_marshaller import (
    LambdaMarshaller,
)
from serverfull_wsgi.executors.marshalling import marshal
from tests.support import handlers
from tests.support.aws_runtime_client import Mixed, Number, Pair, Reference, ReferenceRuntime, Text
from tests.support.battery import SEED, share
from tests.support.names import function_name
from tests.support.servers import ROOT

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("awslambdaric"), reason="awslambdaric has wheels for Linux on x86-64 and aarch64 only"
)

ID = "8f507cfc-2a0a-4f19-9a8f-1d0f0c5a9e3b"
NAME = function_name("compared")
MEMORY = 512  # MiB
HANDLER = "tests.support.aws_runtime_client.handler"
START = f"START RequestId: {ID} Version: $LATEST\n"
RAW_TEXT = sys.version_info >= (3, 12)  # AWS's runtime does not escape text from this version on


@pytest.fixture
def in_process(executor):
    """Return whether functions run in this process."""
    return isinstance(executor, InProcessExecutor)


@pytest.fixture
def shows_client(request):
    """Return whether stack traces have frames of AWS's client."""
    return request.node.callspec.params["executor"] in ("ProcessExecutor", "ProcessExecutor-http")


@pytest.fixture
def execute(executor):
    def execute(handler, payload, client_context=None):
        function = Function(handler, name=NAME.name, memory_size=MEMORY, timeout=60)
        context = None if client_context is None else json.loads(client_context)
        with no_other_log_handlers():
            return executor.execute(function, Invocation(NAME, payload.encode(), ID, client_context=context, tail=True))

    return execute


@contextlib.contextmanager
def no_other_log_handlers():
    """Remove pytest's handlers from the root logger, which has none in a server."""
    handlers = logging.root.handlers[:]
    logging.root.handlers[:] = []
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers


@pytest.fixture(scope="session")
def modules(tmp_path_factory):
    """Return a folder of modules that fail in different ways."""
    folder = tmp_path_factory.mktemp("modules")
    for name, code in {
        "faulty_exit": "raise SystemExit(7)",
        "faulty_missing": "import no_such_module_at_all",
        "faulty_name": "from json import no_such_name",
        "faulty_indent": "def handler(event, context):\nreturn 1\n",
        "faulty_coding": "# coding: no-such-coding\n",
        "faulty_nested": "def load():\n    raise LookupError('deep')\n\nload()\n",
        "faulty_lazy": "def __getattr__(name):\n    raise AttributeError(name)\n",
    }.items():
        (folder / f"{name}.py").write_text(code)
    return folder


@pytest.fixture(scope="session")
def runtime(tmp_path_factory, modules):
    runtime = ReferenceRuntime(
        tmp_path_factory.mktemp("runtime"),
        {
            "AWS_LAMBDA_FUNCTION_NAME": NAME.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(MEMORY),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{NAME.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"2026/11/24/[$LATEST]{'0' * 32}",
            "AWS_REGION": "us-east-1",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{modules}",
        },
    )
    yield runtime
    runtime.close()


@pytest.fixture(scope="session")
def reference(runtime):
    """Return a function that runs a handler in AWS's runtime, once for equal arguments."""

    @functools.cache
    def reference(handler, payload, client_context=None):
        run = runtime.run(handler, payload, ID, client_context=client_context)
        return run._replace(payload=without_stream(run.payload), log=shortened(timeless(run.log)))

    return reference


@pytest.fixture
def compare(execute, reference):
    """Return a function that runs one invocation in the executor and in AWS's runtime, and returns both results."""

    def compare(name, event=None, *, handler=HANDLER, client_context=None):
        payload = json.dumps({"handler": name, "event": event} if handler == HANDLER else event)
        outcome = execute(handler, payload, client_context)
        ours = Reference(
            without_stream(outcome.payload), outcome.content_type, bool(outcome.function_error), log_of(outcome.log)
        )
        return ours, reference(handler, payload, client_context)

    return compare


def without_stream(payload):
    """Replace the name of the log stream, which is random."""
    return re.sub(rb"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", b"STREAM", payload)


def log_of(tail):
    """Return the lines between START and END: those of the function and of its runtime."""
    text = tail.decode("utf-8", "replace")
    return shortened(timeless(text.replace(START, "", 1).rpartition("END RequestId:")[0]))


def timeless(text):
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", text)


def shortened(log):
    """Remove the advice on runtime versions that AWS's runtime logs before an error at its start."""
    return re.sub(r"\[WARNING\]\tTIME\t\tLAMBDA_WARNING: .*\n", "", log)


def agree(ours, expected):
    assert expected.ended is None
    assert ours.payload == expected.payload
    assert ours.failed == expected.failed
    assert ours.failed or ours.content_type == expected.content_type
    assert ours.log == expected.log


# Results

VALUES = re.findall(r'^ {8}"(.+)": lambda', inspect.getsource(handlers.marshal), re.MULTILINE)


@pytest.mark.parametrize("value", [value for value in VALUES if value != "surrogate" or not RAW_TEXT])
def test_a_result_is_marshalled_as_on_aws(compare, value):
    agree(*compare("marshal", value))


@pytest.mark.parametrize(
    "expression",
    [
        "None",
        "True",
        "''",
        "0",
        "-0.0",
        "1e22",
        "1e-7",
        "0.1 + 0.2",
        "10 ** 5000",
        "()",
        "'\"\\\\/\\b\\f\\n\\r\\t'",
        "'\\x00\\x1f\\x7f\\x80\\u2028\\u2029\\uffff'",
        "'\\U0001f600'",
        "b''",
        "b'caf\\xc3\\xa9'",
        "bytearray(b'ab')",
        "memoryview(b'ab')",
        "[b'ab']",
        "[b'\\xff']",
        "{b'key': 1}",
        "{b'\\xff': 1}",
        "Decimal('1E+5')",
        "Decimal('0.000000001')",
        "[Decimal('Infinity'), Decimal('-Infinity')]",
        "Decimal('-NaN')",
        "Decimal('sNaN')",
        "{Decimal('1.0'): 1}",
        "{1: 'a', '1': 'b'}",
        "{float('nan'): 1, float('inf'): 2, 1e22: 3}",
        "{(1, 2): 3}",
        "{None: 1, True: 2, False: 3}",
        "{Plain.ONE: 1}",
        "Plain.ONE",
        "Mixed.ONE",
        "{Mixed.ONE: Mixed.ONE}",
        "handlers.Colour.RED",
        "{handlers.Colour.RED: 1}",
        "Text('text')",
        "Number(7)",
        "{Number(7): 1}",
        "Pair(1, Pair(b'b', Decimal('2.50')))",
        "collections.OrderedDict(b=1, a=2)",
        "collections.UserDict(a=1)",
        "collections.deque([1])",
        "range(3)",
        "iter([1])",
        "{1}.union({2})",
        "{'a': 1}.keys()",
        "Record()",
        "ForJson()",
        "AsDict()",
        "AsDict",
        "datetime.datetime(2026, 11, 24)",
        "datetime.timedelta(1)",
        "uuid.UUID(int=1)",
        "1j",
        "len",
        "...",
        "NotImplemented",
        "ValueError('no')",
        "[[[[]]], {}, [{}]]",
    ],
)
def test_a_value_is_marshalled_as_on_aws(compare, expression):
    agree(*compare("evaluate", expression))


TEXTS = st.text(st.characters(exclude_categories=["Cs"] if RAW_TEXT else []))
LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.binary(), TEXTS),
    st.builds(Text, TEXTS),
    st.builds(Number, st.integers()),
    st.sampled_from([Mixed.ONE, handlers.Colour.RED, "\u2028", ..., 1j, frozenset({1})]),
)


def is_hashable(value):
    return not (isinstance(value, Decimal) and value.is_snan())


RESULTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.builds(Pair, inner, inner),
        st.dictionaries(LEAVES.filter(is_hashable), inner),
    ),
)


@pytest.mark.parametrize("client", ["in process", "fallback"])
def test_any_result_is_marshalled_as_by_the_marshaller_of_aws(client, monkeypatch):
    monkeypatch.setenv("AWS_EXECUTION_ENV", f"AWS_Lambda_python3.{sys.version_info.minor}")
    expected = importlib.import_module("awslambdaric.lambda_runtime_marshaller").LambdaMarshaller()
    marshal_result = marshal if client == "in process" else LambdaMarshaller().marshal_response

    @seed(SEED)
    @settings(max_examples=share(10_000, 300), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(RESULTS)
    def agrees(result):
        assert marshalled(marshal_result, result) == marshalled(expected.marshal_response, result)

    agrees()


def marshalled(marshal, result):
    """Return the payload and content type, or the type and text of the error."""
    try:
        payload, content_type = marshal(result)
    except RuntimeFault as error:
        return error.type, str(error)
    except Exception as error:
        return error.exception_type, error.msg
    return payload if isinstance(payload, bytes) else payload.encode(), content_type


@pytest.mark.parametrize(
    "event",
    [
        "0",
        "-0",
        "-0.0",
        "1.0",
        "1e5",
        "1E400",
        "-1E400",
        "0.1e-6",
        "123456789012345678901234567890",
        "1.10000000000000000000000000001",
        '"caf\\u00e9 é \\ud83d\\ude00 😀"',
        '"\\u0000 \\u007f \\u2028 \u2028"',
        '{"b": 1, "a": {"d": [], "c": {}}}',
        '{"a": 1, "b": 2, "a": 3}',
        "[true, false, null]",
        " [ 1 , 2 ]\n\t\r",
        '{"": ""}',
    ],
)
def test_an_event_is_parsed_and_written_as_on_aws(execute, reference, event):
    ours, expected = execute("tests.support.handlers.echo", event), reference("tests.support.handlers.echo", event)
    assert ours.payload == expected.payload


# Function errors


@pytest.mark.parametrize(
    "name",
    [
        "broken",
        "nameless",
        "missing_key",
        "caused",
        "suppressed",
        "unserialisable",
        "multi_line",
        "indirectly",
        "an_object",
        "a_method",
        pytest.param("group", marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="new in Python 3.11")),
        pytest.param("noted", marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="new in Python 3.11")),
    ],
)
def test_a_function_error_is_reported_and_logged_as_on_aws(compare, name):
    ours, expected = compare(name)
    assert expected.failed
    agree(ours, expected)


@pytest.mark.parametrize(
    "message", ["", " ", "\n", "first\nsecond\n", "ƛ é 漢 😀", "\x00\x1b[0m\r", '"quoted"', "{}%s"]
)
def test_the_text_of_an_error_is_reported_and_logged_as_on_aws(compare, message):
    agree(*compare("broken", {"message": message}))


@pytest.mark.parametrize(
    "expression",
    [
        "1 / 0",
        "missing",
        "[][1]",
        "int('x')",
        "b'\\xff'.decode()",
        "open('/nonexistent')",
        "next(iter([]))",
        "(_ for _ in ()).throw(StopIteration(5))",
        "exec('def broken(:')",
        'exec(\'raise OSError(2, "two", "file")\')',
        "exec('assert False')",
        "exec('raise Exception(1, 2)')",
        'exec(\'raise type("Näme", (Exception,), {})("own")\')',
        "exec('import no_such_module')",
        "exec('raise TimeoutError')",
    ],
)
def test_an_error_of_python_itself_is_reported_and_logged_as_on_aws(compare, expression):
    ours, expected = compare("evaluate", expression)
    assert expected.failed
    agree(ours, expected)


def test_endless_recursion_is_reported_and_logged_as_on_aws(compare):
    """The depth is not compared: the stack is not equally deep where the handler is called."""
    ours, expected = compare("endless")
    assert json.loads(expected.payload)["errorType"] == "RecursionError"
    assert depthless(ours.payload.decode()) == depthless(expected.payload.decode())
    assert depthless(ours.log) == depthless(expected.log)


def depthless(text):
    return re.sub(r"Previous line repeated \d+ more times", "Previous line repeated", text)


@pytest.mark.parametrize(
    "handler", ["tests.support.aws_runtime_client.no_parameters", "tests.support.aws_runtime_client.not_callable"]
)
def test_a_handler_that_cannot_be_called_is_reported_as_on_aws(compare, shows_client, handler):
    """The trace has no frame of the user. AWS's runtime shows a frame of its own; without that runtime it is empty."""
    ours, expected = (json.loads(side.payload) for side in compare("", handler=handler))
    (frame,) = expected["stackTrace"]
    assert "awslambdaric/bootstrap.py" in frame
    assert ours == (expected if shows_client else {**expected, "stackTrace": []})


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_an_async_handler_is_refused_as_on_aws(compare):
    ours, expected = compare("asynchronous")
    warned = re.compile(r".*RuntimeWarning: coroutine .* was never awaited\n(  .*\n)?.*")
    plain = re.sub(r"\n+", "\n", warned.sub("", ours.log))  # the warning comes by a way of its own
    agree(ours._replace(log=plain), expected._replace(log=re.sub(r"\n+", "\n", expected.log)))


# Ends


def ending(status):
    """Return AWS's text for the end of a process with this status of `subprocess`."""
    if status == 0:
        return "Runtime exited without providing a reason"
    how = "signal: interrupt" if status == -signal.SIGINT else f"exit status {status}"
    return f"Runtime exited with error: {how}"


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("leave", {"how": "none"}),
        ("leave", {"how": 0}),
        ("leave", {"how": 3}),
        ("leave", {"how": -1}),
        ("leave", {"how": 256}),
        ("leave", {"how": 2**70}),
        ("leave", {"how": True}),
        ("leave", {"how": 2.5}),
        ("leave", {"how": "a last word"}),
        ("leave", {"how": "interrupt"}),
        ("leave", {"how": "generator"}),
        ("evaluate", "sys.exit(Unprintable())"),
        ("evaluate", "exec('raise asyncio.CancelledError')"),
        ("uncaught", None),
        ("textless", None),
        ("broken", {"message": "\ud800"}),
        pytest.param("marshal", "surrogate", marks=pytest.mark.skipif(not RAW_TEXT, reason="escaped before 3.12")),
    ],
)
def test_an_exit_that_ends_the_runtime_of_aws_is_reported_as_an_exit(compare, name, event):
    ours, expected = compare(name, event)
    assert expected.ended is not None
    message = f"RequestId: {ID} Error: {ending(expected.ended)}"
    assert json.loads(ours.payload) == {"errorType": "Runtime.ExitError", "errorMessage": message}
    assert ours.failed


def test_the_text_of_an_exit_is_in_the_log_as_on_aws(compare):
    ours, expected = compare("leave", {"how": "a last word"})
    assert expected.log == "a last word\n"
    assert ours.log.startswith(expected.log)


# Logs


@pytest.mark.parametrize("name", ["noisy", "hello", "nothing"])
def test_a_log_is_as_on_aws(compare, name):
    agree(*compare(name))


def test_the_tail_of_a_long_log_is_the_end_of_the_log_on_aws(compare):
    ours, expected = compare("chatty")
    assert len(ours.log) > 3900
    assert expected.log.endswith(ours.log)


@pytest.mark.parametrize(
    "statement",
    [
        "print('no line end', end='')",
        "print('ƛ é 漢 😀', 1, None, sep='-')",
        "print('flushed', flush=True)",
        "print('aside', file=sys.stderr)",
        "sys.stdout.writelines(['a\\n', 'b\\n'])",
        "sys.stdout.buffer.write(b'bytes\\n')",
        "sys.stderr.buffer.write(b'bytes\\n')",
        "print('before'); log.error('after')",
        "logging.debug('quiet')",
        "logging.warning('warned')",
        "logging.warning('%s and %d', 'text', 2)",
        "logging.warning('%s', {'a': 1})",
        "logging.error('two\\nlines\\n')",
        "logging.critical('ƛ é 漢 😀')",
        "logging.warning('')",
        "logging.warning(None)",
        "logging.log(35, 'a level of its own')",
        "log.warning('of a named logger')",
        "log.info('quiet')",
        "log.warning('extra', extra={'field': 1})",
        "log.warning('stack', exc_info=(ValueError, ValueError('x'), None))",
        "exec('try: 1 / 0\\nexcept ZeroDivisionError: log.exception(\"caught\")')",
        "exec('try: 1 / 0\\nexcept ZeroDivisionError: logging.exception(\"caught\")')",
        "logging.getLogger().warning('of the root')",
        "logging.basicConfig(level='DEBUG'); logging.debug('still quiet')",
        "context.log('through the context')",
        "context.log({'not': 'text'})",
        "context.log('one\\n'); context.log('two\\n')",
        "print('printed'); raise ValueError('failed')",
        "log.warning('warned'); raise ValueError('failed')",
    ],
)
def test_a_statement_logs_the_same_text_as_on_aws(compare, statement):
    agree(*compare("execute", statement))


@pytest.mark.parametrize(
    "statement", ["sys.stdout.write(1)", "sys.stderr.write(None)", "print('\\ud800')", "log.warning('%d', 'no number')"]
)
def test_an_error_in_logging_is_raised_in_the_users_code_as_on_aws(compare, statement):
    """The frames below the user's are not compared: they are those of different streams and log handlers."""
    ours, expected = (json.loads(side.payload) for side in compare("execute", statement))
    ours["stackTrace"], expected["stackTrace"] = ours["stackTrace"][:3], expected["stackTrace"][:3]
    assert ours == expected


# The context


@pytest.mark.parametrize(
    "expression",
    [
        "repr(context)",
        "type(context).__name__",
        "[name for name in vars(context) if name[0] != '_']",
        "[name for name in dir(context) if name[0] != '_']",
        "[value for name, value in vars(context).items() if name[0] != '_' and not hasattr(value, '__slots__')]",
        "context.client_context",
        "context.w3c()",
        "context.tenant_id",
        "repr(context.identity)",
        "type(context.identity).__name__",
        "[context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id]",
        "hasattr(context.identity, '__dict__')",
        "setattr(context, 'own', 1)",
        "setattr(context.identity, 'own', 1)",
        "type(context.get_remaining_time_in_millis()).__name__",
        "0 < context.get_remaining_time_in_millis() <= 60000",
        "context.absent",
        "context['aws_request_id']",
        "context",
    ],
)
def test_the_context_is_as_on_aws(compare, expression):
    ours, expected = compare("evaluate", expression)
    assert ours.payload == expected.payload


def test_the_private_attributes_of_the_context_have_the_names_and_order_of_aws(compare, in_process):
    """Except the deadline: AWS's is a time of the wall clock, in process it is one of the monotonic clock."""
    ours, expected = (json.loads(side.payload) for side in compare("evaluate", "list(vars(context))"))
    if in_process:
        expected[expected.index("_epoch_deadline_time_in_ms")] = "_deadline"
    assert ours == expected


FULL = {
    "client": {
        "installation_id": "id",
        "app_title": "títle",
        "app_version_name": "name",
        "app_version_code": "code",
        "app_package_name": "package",
    },
    "custom": {"a": [1, {"b": None}]},
    "env": {"locale": "en"},
}
W3C = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b", "baggage": "c=d"}


@pytest.mark.parametrize(
    "given",
    [
        FULL,
        {},
        {"custom": {"only": "this"}},
        {"env": None, "custom": 5},
        {"client": {}},
        {"client": {"app_title": "title"}},
        {"client": None},
        {"client": {"unknown": 1}, "unknown": 2},
        {**FULL, "w3c": W3C},
        {"w3c": {**W3C, "other": "dropped", "tracestate": 5}},
        {"w3c": "no object"},
        {"w3c": None},
    ],
    ids=lambda given: json.dumps(given)[:60],
)
def test_a_client_context_is_as_on_aws(compare, given):
    expression = (
        "[repr(context), str(context.client_context), context.w3c(), context.client_context.custom, "
        "context.client_context.env, repr(context.client_context.client), "
        "[type(item).__name__ for item in (context.client_context, context.client_context.client)], "
        "[hasattr(context.client_context, name) for name in ('w3c', 'unknown', '__dict__')]]"
    )
    ours, expected = compare("evaluate", expression, client_context=json.dumps(given))
    assert not expected.failed
    assert ours.payload == expected.payload


@pytest.mark.parametrize("client", ["text", 5, [], True])
def test_a_client_that_is_not_an_object_fails_as_on_aws(compare, shows_client, client):
    """Without AWS's client the trace is empty: all frames are in the runtime's own code."""
    both = compare("hello", client_context=json.dumps({"client": client}))
    ours, expected = (json.loads(side.payload) for side in both)
    assert ours == (expected if shows_client else {**expected, "stackTrace": []})


# Loading


@pytest.mark.parametrize(
    "handler",
    [
        "handler",
        "",
        ".",
        ".handler",
        "..handler",
        "tests.support.handlers.",
        "tests.support.handlers.no_such_handler",
        "tests.support.handlers.Colour.RED",
        "tests.support.no_such_module.handler",
        "no_such_module.handler",
        "no_such_package/module.handler",
        "sys.exit",
        "builtins.print",
        "tests.support.broken_syntax.handler",
        "tests.support.broken_import.handler",
        "tests/support/broken_import.handler",
    ],
)
def test_a_handler_that_cannot_be_loaded_is_reported_as_on_aws(compare, handler):
    agree(*compare("", handler=handler))


@pytest.mark.parametrize(
    "module",
    ["faulty_missing", "faulty_name", "faulty_indent", "faulty_coding", "faulty_nested", "faulty_lazy"],
)
def test_a_module_that_cannot_be_imported_is_reported_as_on_aws(compare, modules, monkeypatch, module):
    monkeypatch.syspath_prepend(modules)
    agree(*compare("", handler=f"{module}.handler"))


def test_a_module_that_exits_is_reported_as_the_exit_of_the_runtime_of_aws(compare, modules, monkeypatch):
    monkeypatch.syspath_prepend(modules)
    ours, expected = compare("", handler="faulty_exit.handler")
    message = f"RequestId: {ID} Error: {ending(expected.ended)}"
    assert json.loads(ours.payload) == {"errorType": "Runtime.ExitError", "errorMessage": message}


def test_a_handler_string_may_have_slashes_as_on_aws(compare):
    agree(*compare("", handler="tests/support/handlers.hello"))
