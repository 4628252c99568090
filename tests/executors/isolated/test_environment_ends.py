"""The end of an environment by a timeout or an exit, in the words of AWS's platform."""

import json
import re
import time
import uuid

import pytest

from tests.support.isolated import (
    function,
    invocation,
    marked,
    needs_client,
    result,
    run,
)
from tests.support.waiting import wait_until

pytestmark = needs_client


def test_a_timeout_is_reported_as_on_aws_and_the_next_invocation_gets_a_new_process(executor):
    sleeping = function("sleep", timeout=0.5, name="sleeping")
    call = invocation(60, name="sleeping")
    outcome = executor.execute(sleeping, call)
    message = f"RequestId: {call.request_id} Error: Task timed out after 0.50 seconds"
    assert json.loads(outcome.payload) == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    assert (outcome.function_error, outcome.duration) == ("Unhandled", 0.5)
    assert re.search(
        rf"\d\dZ {call.request_id} Task timed out after 0\.50 seconds\n\nEND RequestId: .*\n"
        r"REPORT .*\tDuration: 500\.00 ms\tBilled Duration: 500 ms\t.*Status: timeout\t\n$",
        outcome.log.decode(),
    )
    assert run(executor, sleeping, 0)[0].init_duration is not None


@pytest.mark.parametrize("handler", ["ignore", "evaluate"])
def test_a_process_that_ignores_signals_or_is_stopped_is_killed(executor, handler):
    event = "os.kill(os.getpid(), signal.SIGSTOP)" if handler == "evaluate" else None
    _, error = run(executor, function(handler, timeout=0.5, name=f"endless-{handler}"), event)
    assert error["errorType"] == "Sandbox.Timedout"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os._exit(7)", "exit status 7"),
        ("sys.exit(3)", "exit status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal: killed"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "signal: terminated"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal: segmentation fault"),
        ("os.abort()", "signal: aborted"),
        ("os.kill(os.getpid(), signal.SIGUSR1)", "signal: user defined signal 1"),
        ("os.kill(os.getpid(), 40)", "signal: signal 40"),
        ("__import__('ctypes').string_at(0)", "signal: segmentation fault"),
    ],
)
def test_the_exit_of_a_process_is_reported_in_the_words_of_aws(executor, code, reason):
    call = invocation(code, name="ending")
    outcome = executor.execute(function("execute", name="ending"), call)
    message = f"RequestId: {call.request_id} Error: Runtime exited with error: {reason}"
    assert json.loads(outcome.payload) == {"errorType": "Runtime.ExitError", "errorMessage": message}
    assert "\tStatus: error\t\n" in outcome.log.decode()


def test_after_an_exit_the_next_invocation_gets_a_new_process(executor):
    run(executor, function("execute", name="left"), "sys.exit(3)")
    assert run(executor, function("execute", name="left"), "pass")[0].init_duration is not None


def test_a_process_that_exits_while_idle_fails_no_invocation(executor):
    dying = function("evaluate", name="dying")
    code = "threading.Timer(0.2, os._exit, [1]).start()"
    result(executor, dying, code)
    time.sleep(0.6)
    assert run(executor, dying, "'alive'")[1] == "alive"


@pytest.mark.parametrize("seconds", [0, 60], ids=["exit", "timeout"])
def test_all_processes_of_an_environment_end_with_it(executor, seconds):
    mark = f"mark-{uuid.uuid4()}"
    if seconds:
        run(executor, function("spawn", timeout=1, name="spawner"), {"mark": mark, "seconds": seconds})
    else:
        run(executor, function("execute", name="spawner2"), f"spawn({{'mark': {mark!r}}}, context); os._exit(0)")
    wait_until(lambda: not marked(mark))


@pytest.mark.parametrize(
    ("code", "error_type"),
    [
        ("time.sleep(60)", "Sandbox.Timedout"),
        ("sys.exit(0)", "Runtime.ExitError"),
        ("os._exit(5)", "Runtime.ExitError"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "Runtime.ExitError"),
    ],
    ids=["timeout", "exit 0", "exit 5", "killed"],
)
def test_after_an_end_globals_are_new_and_temporary_files_are_kept(executor, request, code, error_type):
    name = re.sub(r"\W", "-", request.node.callspec.id)
    ending = function("execute", name=name, timeout=2 if error_type == "Sandbox.Timedout" else 30)
    kept = f"globals()['calls'] = 9; Path(tmp(), 'kept').write_text('here'); {code}"
    assert run(executor, ending, kept)[1]["errorType"] == error_type
    check = "assert calls == 0 and Path(tmp(), 'kept').read_text() == 'here', calls"
    assert result(executor, ending, check) is None
