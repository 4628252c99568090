"""The fork server (zygote): processes forked in advance, and its own failures."""

import contextlib
import logging
import os
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi import ConfigurationError
from serverfull_wsgi.errors import ServiceException
from serverfull_wsgi.executors.isolated.zygote import spawner
from tests.support.isolated import (
    SANDBOXES,
    executing,
    function,
    mount_servers,
    needs_client,
    needs_root,
    needs_sandbox,
    population,
    result,
    run,
    task_root,
    waiting,
)
from tests.support.waiting import wait_until

pytestmark = needs_client


def test_a_new_environment_was_forked_in_advance(executor):
    result(executor, function(name="first"))
    wait_until(lambda: len(waiting(executor)) == 2)
    spare = set(waiting(executor))
    result(executor, function(name="second"))
    assert spare <= set(population(executor))
    wait_until(lambda: len(waiting(executor)) == 2)


@pytest.mark.parametrize("which", [max, min], ids=["the function's process", "its supervisor"])
def test_a_spare_process_that_died_is_replaced(executor, which):
    name = f"despite-{which.__name__}"
    result(executor, function(name=f"{name}-before"))
    wait_until(lambda: len(waiting(executor)) == 2)
    os.kill(which(waiting(executor)), signal.SIGKILL)
    wait_until(lambda: not waiting(executor))
    assert result(executor, function(name=name))["calls"] == 1


def kill(pid):
    """Kill a child of this process, and wait until it has ended. Its parent need not have noticed."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_a_killed_zygote_is_replaced(executor):
    for zygote in executor.statistics().fork_servers:
        kill(zygote)
    assert result(executor, function(name="after-the-zygote"))["calls"] == 1


def test_a_killed_mount_server_is_replaced_with_its_zygote_and_environments_go_on():
    needs_root()
    with executing(sandbox="root") as executor:
        assert result(executor, function(name="before"))["calls"] == 1
        (zygote,), (mount_server,) = executor.statistics().fork_servers, mount_servers(executor)
        os.kill(mount_server, signal.SIGKILL)
        wait_until(lambda: os.waitid(os.P_PID, zygote, os.WEXITED | os.WNOWAIT | os.WNOHANG))
        assert result(executor, function(name="after"))["calls"] == 1
        assert result(executor, function(name="before"))["calls"] == 2


def test_a_zygote_killed_with_a_start_request_unread_is_a_failure_of_the_server():
    with executing() as executor, ThreadPoolExecutor() as pool:
        (zygote,) = executor.statistics().fork_servers
        os.kill(zygote, signal.SIGSTOP)
        call = pool.submit(run, executor, function())
        wait_until(lambda: executor.statistics().environments == 1)  # the request has been sent
        kill(zygote)
        with pytest.raises(ServiceException):
            call.result()
        assert result(executor, function())["calls"] == 1


def test_a_zygote_that_does_not_start_is_a_configuration_error_and_leaves_no_files(tmp_path, monkeypatch):
    (tmp_path / "leaves.py").write_text("import os; os._exit(1)")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(spawner, "_client_path", lambda: (str(tmp_path),))
    for _ in range(2):
        with (
            pytest.raises(ConfigurationError, match=r"Check the modules in SERVERFULL_ZYGOTE_PRELOAD: leaves$"),
            executing(preload=["leaves"]),
        ):
            pass
    assert not [name for name in os.listdir(tmp_path) if name.startswith("serverfull")]


FORKING = """
import errno, os

real = os.fork

def fork():
    if os.path.exists({flag!r}) and os.getpid() {which} {zygote}:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    return real()

os.fork, zygote = fork, os.getpid()
"""


@pytest.mark.parametrize("which", ["==", "!="], ids=["zygote", "init"])
@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_without_room_for_more_processes_the_existing_ones_go_on(sandbox, which, tmp_path, monkeypatch):
    needs_sandbox(sandbox)
    flag = tmp_path / "no_more"
    (tmp_path / "forking.py").write_text(FORKING.format(flag=str(flag), which=which, zygote="zygote"))
    monkeypatch.setattr(spawner, "_client_path", lambda: (str(tmp_path),))
    with executing(preload=["forking"], sandbox=sandbox) as executor:
        first, zygotes = result(executor, function()), executor.statistics().fork_servers
        flag.touch()
        for number in range(4):  # the first may get the process that was forked in advance
            with contextlib.suppress(ServiceException):
                run(executor, function(name=f"late-{number}"))
        with pytest.raises(ServiceException):
            run(executor, function(name="too-late"))
        assert result(executor, function())["pid"] == first["pid"]
        flag.unlink()
        assert result(executor, function(name="in-time"))["calls"] == 1
        assert result(executor, function())["pid"] == first["pid"]
        assert executor.statistics().fork_servers == zygotes


def test_an_interpreter_that_starts_slowly_delays_no_other(executor, tmp_path, monkeypatch):
    begun, may_start = tmp_path / "begun", tmp_path / "may_start"
    slow = tmp_path / "python3.9"
    slow.write_text(f"#!/bin/sh\necho $$ > {begun}\nwhile [ ! -e {may_start} ]; do sleep 0.05; done\nexit 1\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with ThreadPoolExecutor() as pool:
        call = pool.submit(result, executor, function("app.whoami", name="slow-python", runtime="python3.9"))
        wait_until(lambda: begun.exists() and begun.read_text())
        try:
            assert result(executor, function(name="beside-slow-python"))["calls"] == 1
            assert os.path.exists(f"/proc/{begun.read_text().strip()}"), "it waited for the slow interpreter"
        finally:
            may_start.touch()
        assert call.result()["calls"] == 1  # under the server's own interpreter, with a warning


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_without_a_zygote_that_can_fork_environments_are_executed(sandbox, caplog):
    needs_sandbox(sandbox)
    with caplog.at_level(logging.INFO, "serverfull_wsgi"), executing(preload=["no_such_module"], sandbox=sandbox) as it:
        seen = result(it, function("surroundings"))
        assert run(it, function("evaluate", name="b"), "1 / 0")[1]["errorType"] == "ZeroDivisionError"
        assert seen["cwd"] == task_root(it)
    assert "environments start by exec (ModuleNotFoundError: No module named 'no_such_module')" in caplog.text
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warning == "SERVERFULL_ZYGOTE_PRELOAD has no effect: ModuleNotFoundError: No module named 'no_such_module'"


def test_a_preloaded_module_is_in_an_environment_that_is_forked(caplog):
    with caplog.at_level(logging.INFO, "serverfull_wsgi"), executing(preload=["decimal"]) as executor:
        assert result(executor, function("evaluate"), "'decimal' in sys.modules") is True
    assert "environments start by fork" in caplog.text
