"""Isolated functions on systems other than Linux, which are imitated here: no test runs on macOS."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from serverfull_wsgi import ConfigurationError
from tests.support.isolated import executing, function, needs_client, result, run, temporary_folders
from tests.support.servers import ROOT, clean_environ
from tests.support.waiting import wait_until

pytestmark = needs_client


@contextlib.contextmanager
def executing_elsewhere(**options):
    """Return an executor that has started on another system than Linux; close it at the end."""
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "platform", "darwin")
            executor = stack.enter_context(executing(**options))
        yield executor


@pytest.fixture(scope="module")
def executor():
    with executing_elsewhere() as executor:
        yield executor


IMPORTS = """
from tests.support.without_linux import hide
hide()
import pkgutil, importlib, serverfull_wsgi
of_linux = "serverfull_wsgi.executors.isolated.zygote.program."  # runs on Linux only
for info in pkgutil.walk_packages(serverfull_wsgi.__path__, "serverfull_wsgi."):
    if not info.name.startswith(of_linux) and not info.name.endswith("__main__"):
        importlib.import_module(info.name)
print(serverfull_wsgi.Settings.from_environ().sandbox)
"""
CALLS = """
from tests.support.without_linux import hide
hide()
from tests.support.isolated import executing, function, result
with executing() as executor:
    print(executor.sandbox, [result(executor, function())["calls"] for _ in range(2)])
"""


@pytest.mark.parametrize(
    ("program", "output"), [(IMPORTS, "auto\n"), (CALLS, "process [1, 2]\n")], ids=["imports", "calls"]
)
def test_without_the_features_of_linux(program, output):
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=clean_environ(), capture_output=True, text=True
    )
    assert ended.stdout == output, ended.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sandbox": "root"}, "SERVERFULL_SANDBOX=root: .* (only Linux has such means, and this is darwin)"),
        (
            {"sandbox": "namespaces"},
            "SERVERFULL_SANDBOX=namespaces: .* (only Linux has such means, and this is darwin)",
        ),
        ({"network": "none"}, "SERVERFULL_NETWORK=none: "),
    ],
    ids=["root", "namespaces", "network"],
)
def test_what_only_linux_has_is_refused_at_the_start(options, words):
    pattern = words.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ConfigurationError, match=pattern), executing_elsewhere(**options):
        pass


def test_a_process_keeps_its_state_between_calls(executor):
    first, second = (result(executor, function(name="state")) for _ in range(2))
    assert (first["calls"], second["calls"], first["pid"]) == (1, 2, second["pid"])


def test_output_is_in_the_log_of_its_call(executor):
    outcome, _ = run(executor, function("execute", name="prints"), "print('printed'); os.write(3, b'')")
    assert b"\nprinted\nEND RequestId" in outcome.log


@pytest.mark.parametrize(
    ("code", "status"),
    [("os._exit(3)", "exit status 3"), ("os.kill(os.getpid(), 9)", "signal: killed"), ("sys.exit(0)", "exit status 0")],
)
def test_the_end_of_a_process_is_an_error_and_the_next_call_gets_another(executor, code, status):
    ends = function("execute", name="ends")
    _, error = run(executor, ends, code)
    assert error["errorType"] == "Runtime.ExitError"
    assert status in error["errorMessage"] or "without providing a reason" in error["errorMessage"]
    assert result(executor, ends, "pass") is None


def test_a_timeout_ends_the_process_and_the_processes_that_it_started(executor):
    slow = function("execute", name="slow", timeout=1)
    code = f"import subprocess\nsubprocess.Popen(['sleep', '{os.getpid()}.5'])\ntime.sleep(60)"
    _, error = run(executor, slow, "import time\n" + code)
    assert error["errorType"] == "Sandbox.Timedout"
    wait_until(lambda: not commands(f"{os.getpid()}.5"))


def commands(text):
    """Return the lines of processes with this text in their command."""
    lines = subprocess.run(["ps", "-Ao", "pid,args"], capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if text in line]


def test_the_end_of_an_executor_ends_all_processes_and_removes_their_files():
    with executing_elsewhere() as executor:
        pid = result(executor, function())["pid"]
        folder = executor.statistics().directory
        assert temporary_folders(executor)
    assert not os.path.exists(folder)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_killed_supervisor_ends_its_environment(executor):
    orphan = function(name="orphan")
    first = result(executor, orphan)
    os.kill(first["parent"], signal.SIGKILL)
    wait_until(lambda: run(executor, orphan)[1].get("pid", first["pid"]) != first["pid"])  # the signal may end a call
    wait_until(lambda: not os.path.exists(f"/proc/{first['pid']}"))


def test_other_runtimes_run(executor, tmp_path):
    (tmp_path / "app.mjs").write_text("export const handler = async (event) => ({ event });")
    node = function("app.handler", code=tmp_path, name="node", runtime="nodejs20.x")
    assert result(executor, node, 5) == {"event": 5}


def test_a_program_that_cannot_be_executed_is_an_error(executor, tmp_path):
    _, error = run(executor, function("any.handler", code=tmp_path, name="custom", runtime="provided.al2023"))
    assert error["errorType"] == "Runtime.InvalidEntrypoint"


def test_functions_with_snap_start_start_without_a_snapshot(executor, caplog):
    snap = function("evaluate", name="snap", version="1", snap_start=True)
    assert result(executor, snap, "os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']") == "on-demand"
