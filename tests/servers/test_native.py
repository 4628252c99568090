"""Native Lambda mode: child processes under AWS's own runtime client, with a server that plays the Runtime API."""

import importlib.util
import json
import re
import socket
import subprocess
import sys

import pytest

from tests.support.aws_runtime_client import Child
from tests.support.isolated import WITHOUT_CLIENT
from tests.support.servers import ROOT, clean_environ

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("awslambdaric"), reason="awslambdaric has wheels for Linux on x86-64 and aarch64 only"
)

ID = "0b6f3c1e-6f0e-4d53-8a2c-6f6f1a1f2d3c"
SITE = """
from serverfull_wsgi import Application, Function, StaticFetcher, logger_from_context, stat_from_context
from serverfull_wsgi import start_lambda, start_lambda_mock
from tests.support import handlers


def logs(event, context) -> dict[str, int]:
    logger_from_context().info("got %s", event, extra={"field": 1})
    logger_from_context().debug("not logged at the level INFO")


def counts(event, context):
    stat_from_context().incr("orders", 2)


def ready() -> None:
    '''A handler without parameters: a call fails, so mock mode does not call it.'''


class Documented(Exception):
    pass


fetcher = StaticFetcher({
    "hello": handlers.hello,
    "hello:1": handlers.version_one,
    "echo": handlers.echo,
    "broken": handlers.broken,
    "leave": handlers.leave,
    "unserialisable": handlers.unserialisable,
    "logs": logs,
    "counts": counts,
    "text": "tests.support.handlers.hello",
    "no-module": "no_such_module.handler",
    "fixed": Function(ready, mock={"fixed": True}),
    "ready": ready,
}, aliases={"hello:prod": "1"})
application = Application(fetcher)
"""
FUNCTIONS = ", ".join(
    f"{name}=tests.support.handlers.{handler}"
    for name, handler in (("hello", "hello"), ("broken", "broken"), ("odd", "unserialisable"))
)

STARTS = {
    "start_lambda": lambda target: ["-c", f"import native_site as s; s.start_lambda(s.fetcher, {target!r})"],
    "start_lambda_mock": lambda target: ["-c", f"import native_site as s; s.start_lambda_mock(s.fetcher, {target!r})"],
    "--app": lambda target: ["-m", "serverfull_wsgi", "lambda", "--app", "native_site:application", target],
    "settings": lambda target: ["-m", "serverfull_wsgi", "lambda", target],
}


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder with a user's program."""
    folder = tmp_path_factory.mktemp("native")
    (folder / "native_site.py").write_text(SITE)
    return folder


@pytest.fixture(params=["", f":{WITHOUT_CLIENT}"], ids=["awslambdaric", "fallback"])
def lambda_(request, site, tmp_path):
    """Start a child process for a target, with any settings. It gets its invocations from its ``api``."""
    children = []

    def run(start, target, **settings):
        env = {
            "PYTHONPATH": f"{ROOT}:{site}{request.param}",
            "PYTHONUTF8": "1",
            "SERVERFULL_FUNCTIONS": FUNCTIONS,
            **settings,
        }
        child = Child(
            STARTS[start](target),
            tmp_path / f"log{len(children)}",
            lambda address, log: {**env, "AWS_LAMBDA_RUNTIME_API": address},
        )
        children.append(child)
        return child

    yield run
    for child in children:
        child.stop()


def invoke(child, event=None):
    child.api.put(json.dumps(event), ID)
    answer = child.answer()
    assert not isinstance(answer, int), f"exited with status {answer}:\n{child.output()}"
    return answer


def output(child):
    """Return the output of a child, without the warning about the fallback client."""
    return re.sub(r"^the function runs under serverfull_wsgi's own runtime client: .*\n", "", child.output())


@pytest.mark.parametrize("start", ["start_lambda", "--app", "settings"])
def test_a_result_reaches_the_runtime_api(lambda_, start):
    answer = invoke(lambda_(start, "hello"))
    assert answer.kind == "response"
    assert json.loads(answer.payload) == "Hello ƛ!"


@pytest.mark.parametrize("start", ["start_lambda", "--app", "settings"])
def test_notices_about_misspelt_names_of_settings_are_logged_once(lambda_, start):
    child = lambda_(start, "hello", SERVERFULL_MOK="1")
    invoke(child)
    assert child.output().count("SERVERFULL_MOK is not a setting; did you mean SERVERFULL_MOCK?") == 1


def test_one_process_runs_one_invocation_after_another(lambda_):
    child = lambda_("start_lambda", "echo")
    assert [json.loads(invoke(child, event).payload) for event in (1, {"two": 2}, "ƛ")] == [1, {"two": 2}, "ƛ"]


@pytest.mark.parametrize(
    ("target", "result"),
    [("hello:1", "one"), ("hello:prod", "one"), ("hello:$LATEST", "Hello ƛ!"), ("text", "Hello ƛ!")],
)
def test_a_target_may_be_a_version_an_alias_or_a_function_with_a_handler_string(lambda_, target, result):
    assert json.loads(invoke(lambda_("start_lambda", target)).payload) == result


@pytest.mark.parametrize("start", ["start_lambda", "--app", "settings"])
def test_a_failing_handlers_stack_trace_begins_in_the_users_code(lambda_, start):
    answer = invoke(lambda_(start, "broken"), {"message": "böse"})
    assert answer.kind == "error"
    error = json.loads(answer.payload)
    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert error["errorMessage"] == "böse"
    assert error["errorType"] == "ValueError"
    assert error["requestId"] == ID
    (frame,) = error["stackTrace"]
    assert re.match(rf'  File "{re.escape(str(ROOT / "tests/support/handlers.py"))}", line \d+, in broken\n', frame)


def test_a_process_runs_the_next_invocation_after_a_failure(lambda_):
    child = lambda_("start_lambda", "broken")
    assert [invoke(child).kind for _ in range(2)] == ["error", "error"]


def test_a_result_that_is_not_json_is_reported(lambda_):
    error = json.loads(invoke(lambda_("settings", "odd")).payload)
    assert error["errorType"] == "Runtime.MarshalError"
    assert error["errorMessage"] == "Unable to marshal response: Object of type set is not JSON serializable"


def test_a_handler_that_exits_ends_the_process_with_its_status(lambda_):
    child = lambda_("start_lambda", "leave")
    child.api.put('{"how": 3}', ID)
    assert child.answer() == 3


# Failing starts


def startup_error(child):
    """Return the last line of the output of a child that exits with status 1."""
    assert child.answer() == 1
    return child.output().strip().splitlines()[-1]


@pytest.mark.parametrize("target", ["nothing", "hello:9", "hello:nowhere"])
def test_an_unknown_target_is_an_error_that_lists_the_functions(lambda_, target):
    message = startup_error(lambda_("start_lambda", target))
    assert f"there is no function '{target}'" in message
    assert "hello, hello:1, echo" in message


@pytest.mark.parametrize("start", ["--app", "settings"])
def test_the_command_prints_one_line_without_a_traceback_for_an_unknown_target(lambda_, start):
    child = lambda_(start, "nothing")
    assert child.answer() == 1
    assert re.fullmatch(r"Error: there is no function 'nothing'; there are: hello, .*\n", child.output())


def test_a_handler_that_cannot_be_imported_is_an_error_with_the_cause(lambda_):
    message = startup_error(lambda_("start_lambda", "no-module"))
    assert "'no-module'" in message
    assert "No module named 'no_such_module'" in message


@pytest.mark.parametrize("start", STARTS)
def test_a_missing_runtime_api_is_an_error_on_standard_error(site, start):
    run = subprocess.run(
        [sys.executable, *STARTS[start]("hello")],
        cwd=ROOT,
        env={**clean_environ(), "PYTHONPATH": f"{ROOT}:{site}", "SERVERFULL_FUNCTIONS": FUNCTIONS},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 1
    assert run.stdout == ""
    assert "AWS_LAMBDA_RUNTIME_API is not set" in run.stderr.strip().splitlines()[-1]


# The logger and the stats client


@pytest.mark.parametrize("start", ["start_lambda", "--app"])
def test_a_handlers_log_is_in_awss_format_on_standard_output(lambda_, start):
    child = lambda_(start, "logs")
    invoke(child, "ƛ")
    assert re.fullmatch(rf"\[INFO\]\t[-\d]+T[:.\d]+Z\t{ID}\tgot ƛ\n", output(child))


def test_the_log_level_is_a_setting(lambda_):
    child = lambda_("start_lambda", "logs", SERVERFULL_RUNTIME_LOGGER_LEVEL="WARNING")
    invoke(child)
    assert output(child) == ""


@pytest.mark.parametrize("start", ["start_lambda", "--app"])
@pytest.mark.parametrize(
    ("output", "datagram"),
    [("STATSD", b"serverfull.counts.orders:2|c"), ("DATADOG", b"serverfull.orders:2|c|#env:test,functionname:counts")],
)
def test_a_handlers_metrics_arrive_at_the_collector(lambda_, start, output, datagram):
    with socket.socket(type=socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(30)
        child = lambda_(
            start,
            "counts",
            SERVERFULL_RUNTIME_STATS_OUTPUT=output,
            SERVERFULL_RUNTIME_STATS_ADDRESS=f"127.0.0.1:{collector.getsockname()[1]}",
            SERVERFULL_RUNTIME_STATS_TAGS="env:test",
        )
        assert invoke(child).payload == b"null"
        assert collector.recv(2000) == datagram


# Mock mode


@pytest.mark.parametrize(
    ("target", "result"), [("logs", {}), ("hello", None), ("fixed", {"fixed": True}), ("ready", None)]
)
def test_mock_mode_responds_from_the_annotation_and_does_not_run_the_handler(lambda_, target, result):
    child = lambda_("start_lambda_mock", target)
    assert json.loads(invoke(child).payload) == result
    assert output(child) == ""


@pytest.mark.parametrize("start", ["start_lambda", "--app", "settings"])
def test_mock_mode_is_a_setting_too(lambda_, start):
    child = lambda_(start, "broken", SERVERFULL_MOCK="true")
    assert invoke(child).payload == b"null"
