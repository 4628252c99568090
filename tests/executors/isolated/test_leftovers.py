"""Directories and control groups of servers that were killed."""

import contextlib
import glob
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serverfull_wsgi.executors.isolated.sandbox.leftovers import PREFIX
from serverfull_wsgi.executors.isolated.sandbox.linux import descendants
from tests.support.isolated import needs_client
from tests.support.servers import ROOT
from tests.support.waiting import wait_until

pytestmark = needs_client

# Runs an isolated function, prints the names of directories, and waits.
SCRIPT = """
import logging, sys
from tests.support.isolated import executing, function, result
logging.basicConfig(level="INFO")
with executing(sandbox=sys.argv[1]) as executor:
    result(executor, function("evaluate"), "open(tmp() + '/left', 'w').write('here')")
    print(executor.statistics().directory, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    """Start a server process with its temporary files in ``tmp_path``. Return the process and its directory."""
    with contextlib.ExitStack() as stack, open(tmp_path / "log", "ab") as log:

        def start(sandbox="auto"):
            process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, sandbox],
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(tmp_path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            stack.callback(stop, process)
            return process, process.stdout.readline().strip()

        yield start


def stop(process):
    process.communicate("")


def send(number, pids):
    """Send a signal to processes, of which some may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_all(process):
    """Kill a server process with all its descendants, of which none can react to the end of another."""
    pids = [process.pid, *descendants(process.pid)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        send(number, pids)
    process.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def groups_of(directory):
    return glob.glob(f"/sys/fs/cgroup/**/{os.path.basename(directory)}", recursive=True)


@pytest.mark.parametrize("sandbox", ["process", "auto"])
def test_a_start_removes_what_a_killed_server_left_and_nothing_of_others(start, tmp_path, sandbox):
    _, running = start()
    killed, left = start(sandbox)
    foreign = tmp_path / "serverfull-of-a-user"
    foreign.mkdir()
    kill_all(killed)
    assert os.path.isdir(left)
    before = groups_of(running)
    start()
    assert not os.path.exists(left)
    assert not groups_of(left)
    assert os.path.isdir(running)
    assert groups_of(running) == before
    assert foreign.is_dir()
    assert f"removed {left}, which a server left that was killed" in (tmp_path / "log").read_text()


def test_a_directory_that_only_processes_of_a_killed_server_hold_is_kept(start, tmp_path):
    process, directory = start()
    zygotes = descendants(process.pid)
    send(signal.SIGSTOP, zygotes)
    process.kill()
    process.wait()
    start()
    assert os.path.isdir(directory)
    send(signal.SIGCONT, zygotes)
    wait_until(lambda: not os.path.exists(directory))


def test_a_link_is_not_followed(start, tmp_path):
    target = tmp_path / "data"
    (target / "kept").mkdir(parents=True)
    (tmp_path / f"{PREFIX}link").symlink_to(target)
    start()
    assert (target / "kept").is_dir()


def test_a_server_that_stops_leaves_nothing(start, tmp_path):
    process, directory = start()
    stop(process)
    assert not os.path.exists(directory)
    assert not groups_of(directory)
