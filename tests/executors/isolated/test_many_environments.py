"""Environments by the thousand, and the end of all with the server (B4, C8, C11 and G3)."""

import contextlib
import glob
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serverfull_wsgi.executors.isolated.sandbox.linux import descendants
from tests.support.battery import WHOLE, share
from tests.support.isolated import (
    FUNCTIONS,
    executing,
    function,
    invocation,
    needs_client,
    needs_sandbox,
    population,
    result,
    temporary_folders,
)
from tests.support.noisy_neighbour import LivenessPipe
from tests.support.servers import ROOT, clean_environ
from tests.support.waiting import wait_until

pytestmark = needs_client
THREADS = 4
SANDBOXES = pytest.mark.parametrize("sandbox", ["process", "namespaces", "root"])


@pytest.fixture
def silent():
    logger = logging.Logger("environments")
    logger.addHandler(logging.NullHandler())
    return logger


def test_two_packages_with_modules_of_the_same_name_never_mix_results(battery):
    calls = share(10_000, 400)
    two = [function("app.handler", code=FUNCTIONS / name, name=name) for name in ("one", "two")]
    with executing() as executor, ThreadPoolExecutor(THREADS) as pool:

        def answer(number):
            return result(executor, two[number % 2], number)

        answers = list(pool.map(answer, range(calls)))
    crossed = [value for number, value in enumerate(answers) if value != [two[number % 2].name, number]]
    battery.record("C8", calls=calls, crossed=len(crossed))
    assert crossed == []


ENDS = {
    "os._exit(3)": "Runtime.ExitError",
    "os.kill(os.getpid(), signal.SIGKILL)": "Runtime.ExitError",
    "sys.exit(3)": "Runtime.ExitError",
    "os.fork() or os.setsid() or time.sleep(60); os._exit(0)": "Runtime.ExitError",
    "time.sleep(60)": "Sandbox.Timedout",
}


def test_ended_environments_leave_no_resources(silent, battery, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    count, ends = share(10_000, 50), list(ENDS)
    with executing(idle=1.0, logger=silent) as executor, ThreadPoolExecutor(THREADS) as pool:
        spare = len(groups(executor))

        def end(number):
            ending = ends[number % len(ends)]
            ended = function("execute", name=f"ends{number % 7}", timeout=0.2 if "60)" in ending[:14] else 30)
            outcome = executor.execute(ended, invocation(ending, name=ended.name))
            assert outcome.init_duration is not None, "the environment was used again"
            assert json.loads(outcome.payload)["errorType"] == ENDS[ending]

        list(pool.map(end, range(20)))
        before = resources(executor, spare)
        list(pool.map(end, range(count)))
        left = {}

        def has_none_left():
            """Fill ``left``. The thread that closes the last environment may still run."""
            left.update((name, number - before[name]) for name, number in resources(executor, spare).items())
            return all(number <= 0 for name, number in left.items() if name != "resident_mib")

        try:
            wait_until(has_none_left)
        finally:
            battery.record("G3", environments=count, **left)


def test_a_function_that_changes_while_it_runs_leaves_no_files(silent):
    with executing(idle=1.0, logger=silent) as executor, ThreadPoolExecutor(1) as pool:
        running = pool.submit(result, executor, function("sleep", name="changes", memory_size=128), 0.5)
        wait_until(lambda: executor.statistics().environments == 1)
        result(executor, function("sleep", name="changes", memory_size=256), 0)
        running.result()
        wait_until(lambda: not temporary_folders(executor))


def resources(executor, spare):
    """Return numbers of resources once idle environments have ended, and ``spare`` control groups are left."""
    wait_until(lambda: not executor.statistics().environments and not temporary_folders(executor))
    wait_until(lambda: not population(executor) and len(groups(executor)) == spare)
    return {
        "fds": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "processes": len(population(executor)),
        "control_groups": len(groups(executor)),
        "temporary_files": sum(len(files) + len(folders) for _, folders, files in os.walk(tempfile.gettempdir())),
        "resident_mib": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20,
    }


def groups(executor):
    return groups_of(executor.statistics().directory)


def groups_of(directory):
    """Return the control groups of the executor with this directory, which they are named after."""
    return glob.glob(f"/sys/fs/cgroup/**/{os.path.basename(directory)}/*/", recursive=True)


SERVER = """
import json, sys, threading, time
from pathlib import Path
from tests.support.isolated import executing, function, run

def call(name, code, pipe, event):
    options = {"code": code, "name": name, "timeout": 60, "memory_size": 512, "environment": {"LIVENESS_PIPE": pipe}}
    hostile = function("hostile.handler", **options)
    run(executor, hostile, {"do": "nothing"})
    threading.Thread(target=run, args=[executor, hostile, event], daemon=True).start()

sandbox, acts = sys.argv[1], json.loads(sys.argv[2])
with executing(sandbox=sandbox) as executor:
    for name, act in acts.items():
        call(name, *act)
    time.sleep(1)
    print(executor.statistics().directory, flush=True)
    time.sleep(60)
"""
ACTS = [
    {"do": "nothing"},
    {"do": "loop"},
    {"do": "ignore"},
    {"do": "stop"},
    {"do": "stop_the_supervisor"},
    {"do": "fork_twice"},
    {"do": "bomb", "count": 50},
    {"do": "flood", "size": 10**12},
]


@SANDBOXES
def test_all_environments_end_with_a_killed_server(sandbox, tmp_path, battery):
    needs_sandbox(sandbox)
    code = tmp_path / "code"
    shutil.copytree(FUNCTIONS / "hostile", code)
    worst = 0.0
    for number in range(share(10, 1)):
        pipes = {f"act{at}": LivenessPipe(code / f"{number}-{at}") for at in range(len(ACTS))}
        seen = "/var/task" if sandbox == "root" else code
        acts = {f"act{at}": [str(code), f"{seen}/{number}-{at}", act] for at, act in enumerate(ACTS)}
        argv = [sys.executable, "-c", SERVER, sandbox, json.dumps(acts)]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=clean_environ()
        ) as server:
            directory = server.stdout.readline().strip()
            server.send_signal(signal.SIGKILL)
            killed = time.monotonic()
        worst = max(worst, *(pipe.wait_for_end() - killed for pipe in pipes.values()))
        wait_until(lambda directory=directory: not os.path.exists(directory) and not groups_of(directory))
        for pipe in pipes.values():
            pipe.close()
    battery.record(f"B4 ({sandbox})", kills=share(10, 1), environments=len(ACTS), all_gone_ms=f"{worst * 1000:.0f}")


BROKEN = """
import sys, time
from pathlib import Path
from tests.support.isolated import executing, function, run

code, starts = sys.argv[1:]
with executing(init_timeout=0.5, sandbox="process") as executor:
    for handler in ("leaves.handler", "missing.handler", "hangs.handler"):
        broken = function(handler, code=code, name=handler[:5], timeout=0.5, environment={"STARTS": starts})
        for _ in range(6):
            assert run(executor, broken)[0].function_error
    print("broken", flush=True)
    sys.stdin.read()
"""


def test_a_function_that_fails_to_start_uses_no_cpu_between_calls(tmp_path, battery):
    shutil.copytree(FUNCTIONS / "broken", tmp_path / "code")
    starts = tmp_path / "code" / "starts"
    argv = [sys.executable, "-c", BROKEN, str(tmp_path / "code"), str(starts)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(argv, cwd=ROOT, env=clean_environ(), **pipes) as server:
        assert server.stdout.readline() == "broken\n"
        attempts = len(starts.read_text())
        seconds = share(10, 1)
        before = processor_time(server.pid)
        time.sleep(seconds)
        percent = (processor_time(server.pid) - before) / seconds * 100
        server.stdin.close()
    battery.record("C11 idle after broken starts", seconds=seconds, cpu=f"{percent:.1f} %")
    assert len(starts.read_text()) == attempts, "a start was repeated without a call"
    if WHOLE:
        assert percent < 5


def processor_time(pid):
    """Return the CPU seconds of a process and of its descendants, including those that have ended."""
    ticks = 0
    for one in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError):
            fields = re.sub(r".*\) ", "", Path(f"/proc/{one}/stat").read_text()).split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
