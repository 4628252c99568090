"""Environments that do not start: in time, at all, or with a runtime that does not exist here."""

import contextlib
import gc
import os
import re
import resource
import shutil
import sys
import tempfile
import threading

import pytest

from serverfull_wsgi import ConfigurationError, Function, ServiceError
from serverfull_wsgi.errors import ServiceException, TooManyRequestsException
from serverfull_wsgi.executors.isolated.sandbox.linux import descendants
from tests.support.isolated import (
    FUNCTIONS,
    executing,
    function,
    invocation,
    needs_client,
    result,
    run,
    temporary_folders,
)
from tests.support.waiting import wait_until

pytestmark = needs_client


def test_a_start_that_exits_is_reported_each_time_and_repeated_with_a_back_off(executor, tmp_path):
    starts = tmp_path / "starts"
    leaving = function("leaves.handler", code=FUNCTIONS / "broken", name="leaving", environment={"STARTS": str(starts)})
    if str(tmp_path).startswith("/tmp") and executor.sandbox != "process":
        leaving = function(
            "leaves.handler", code=FUNCTIONS / "broken", name="leaving", environment={"STARTS": "/dev/null"}
        )
    for _ in range(50):
        outcome, error = run(executor, leaving)
        assert error["errorType"] == "Runtime.ExitError"
        assert error["errorMessage"].endswith("Runtime exited with error: exit status 7")
        assert outcome.function_error == "Unhandled"
    if starts.exists():
        assert 3 <= len(starts.read_text()) < 50


def test_a_start_may_take_the_init_timeout_and_then_the_function_timeout():
    hanging = function("hangs.handler", code=FUNCTIONS / "broken", name="hanging", timeout=0.7)
    with executing(init_timeout=0.5) as executor:
        outcome, error = run(executor, hanging)
        assert (outcome.function_error, outcome.duration) == ("Unhandled", 0.7)
        assert error["errorType"] == "Sandbox.Timedout"
        assert error["errorMessage"].endswith("Task timed out after 0.70 seconds")
        assert executor.statistics().environments == 0


def test_a_start_that_times_out_is_repeated_in_the_time_of_the_invocation():
    sleeper = function("oversleeps.handler", code=FUNCTIONS / "broken", name="sleeper")
    with executing(init_timeout=1) as executor:
        outcome, value = run(executor, sleeper)
        assert value == "late, but here"
        assert run(executor, sleeper)[0].init_duration is outcome.init_duration is None
    log = outcome.log.decode()
    assert re.fullmatch(r"asleep\nSTART .*\nawake\nat work\nEND .*\nREPORT .*\n", log)


def test_the_output_of_a_start_comes_before_the_log_of_the_invocation(executor):
    log = run(executor, function("talkative.handler", name="talkative"))[0].log.decode()
    assert re.fullmatch(
        r"at the start .*to the end\nSTART .*\nhandled\nEND .*\nREPORT .*\n", log[log.index("at the") :]
    )


@pytest.mark.parametrize(
    ("handler", "error_type"), [("missing", "Runtime.ImportModuleError"), ("syntax_", "Runtime.UserCodeSyntaxError")]
)
def test_a_module_that_cannot_be_imported_is_reported_in_every_invocation(executor, handler, error_type):
    broken = function(f"{handler}.handler", code=FUNCTIONS / "broken", name=handler)
    assert [run(executor, broken)[1]["errorType"] for _ in range(5)] == [error_type] * 5


def test_an_unknown_runtime_is_refused_with_a_list_of_runtimes(executor):
    with pytest.raises(ServiceError, match=r"ruby3\.3.*python3\.x"):
        executor.execute(function(runtime="ruby3.3"), invocation())


def test_a_missing_code_directory_is_logged(executor, tmp_path, caplog):
    outcome = run(executor, function(name="there", code=shutil.copytree(FUNCTIONS, tmp_path / "code")))[0]
    assert outcome.function_error is None
    shutil.rmtree(tmp_path / "code")
    for _ in range(2):
        with pytest.raises(ServiceException):
            run(executor, function(name="vanished", code=tmp_path / "code"))
    assert f"its code directory {tmp_path}/code cannot be entered: No such file or directory" in caplog.text


def test_a_missing_bootstrap_is_reported_as_on_aws(executor, tmp_path):
    missing = Function("none", name="missing", code=str(tmp_path), runtime="provided", timeout=30)
    outcome, error = run(executor, missing)
    assert (outcome.function_error, error["errorType"]) == ("Unhandled", "Runtime.InvalidEntrypoint")
    assert "no such file or directory" in error["errorMessage"]


def test_an_executor_that_cannot_open_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    for _ in range(2):
        with pytest.raises(FileNotFoundError), executing():
            pass
    gc.collect()
    assert os.listdir(tmp_path) == []


def test_an_environment_that_cannot_open_leaves_no_descriptors_or_files():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with executing() as executor:
        result(executor, function())

        def descriptors():
            """Return the open descriptors, but for files of CPU weights, which open when a weight changes."""
            paths = {number: os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
            return {
                number
                for number, path in paths.items()
                if os.path.lexists(f"/proc/self/fd/{number}") and not path.startswith("/sys/fs/cgroup/")
            }

        before, folders, failed = descriptors(), temporary_folders(executor), 0
        for more in range(1, 12):
            one = function(name=f"no-room-{more}")
            try:
                with contextlib.ExitStack() as stack:  # the next descriptor has a higher number than all open ones
                    while (number := stack.enter_context(open(os.devnull)).fileno()) <= max(map(int, before)):
                        pass
                    resource.setrlimit(resource.RLIMIT_NOFILE, (number + more, limit[1]))
                    run(executor, one)
            except TooManyRequestsException:
                failed += 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            gc.collect()
            if executor.statistics().environments > 1:
                break
            wait_until(lambda: descriptors() <= before)  # threads of other tests open files for a moment
            if more == 1:  # later environments may have started, and the next one keeps their files
                assert temporary_folders(executor) == folders
        assert failed
        assert result(executor, function(name="room-again"))["calls"] == 1


def test_a_function_with_too_many_variables_fails_alone():
    with executing() as executor:
        before = result(executor, function())
        big = function(name="big", environment={"BIG": "x" * 250_000})
        with pytest.raises(ConfigurationError, match=r"'big': .* bytes, .*environment= smaller"):
            run(executor, big)
        assert result(executor, function())["pid"] == before["pid"]
        assert result(executor, function(name="another"))
        wait_until(lambda: executor.statistics().environments == 2)


def test_an_executor_that_cannot_start_its_threads_leaves_no_process(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other test processes make folders in the shared one
    start, before = threading.Thread.start, set(descendants(os.getpid()))

    def start_some(thread):
        if thread.name == "serverfull-temporary-files":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    with pytest.raises(RuntimeError, match="new thread"), executing():
        pass
    assert set(descendants(os.getpid())) <= before
    assert os.listdir(tmp_path) == []
