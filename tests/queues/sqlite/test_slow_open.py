"""A store whose check takes long: other processes wait for as long as the check makes progress."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from serverfull_wsgi import ConfigurationError
from serverfull_wsgi.queues.sqlite import store as store_module
from serverfull_wsgi.queues.sqlite.store import Store
from tests.support import servers as support
from tests.support.battery import share
from tests.support.event_servers import GTHREAD, EventServers
from tests.support.event_store import fill, fill_quickly, put
from tests.support.processes import children
from tests.support.servers import ROOT, clean_environ
from tests.support.waiting import wait_until

HOLDER = """
import sys, time
from pathlib import Path
from serverfull_wsgi.storage import progress
from serverfull_wsgi.storage.locks import Gate
progress.PERIOD = 0.05
locks, kind = Path(sys.argv[1]), sys.argv[2]
gate = Gate(locks / "writing")
assert gate.enter(10)
with progress.Progress(locks / "opening").shown():
    print("holding", flush=True)
    end = time.monotonic() + (4 if kind == "works" else 3600)
    while time.monotonic() < end:
        if kind == "hangs":
            time.sleep(1)
gate.leave()
"""


@contextlib.contextmanager
def holder(path, kind):
    """Run a process that holds the store at ``path`` as a process does that checks it: it ``works`` or ``hangs``."""
    argv = [sys.executable, "-c", HOLDER, str(path.with_name(f"{path.name}.locks")), kind]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT, env=clean_environ()) as process:
        try:
            assert process.stdout.readline() == b"holding\n"
            yield process
        finally:
            process.kill()


def test_a_process_waits_for_another_one_that_checks_the_store(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(store_module, "OPEN_TIMEOUT", 2.0)  # half the time of the check
    monkeypatch.setattr(store_module, "OPEN_PERIOD", 0.05)
    path = tmp_path / "events.sqlite3"
    fill(path, 1)
    with holder(path, "works"), closing(Store(path, "tests")) as store:
        put(store, "a")
    assert f"another process checks the event store {path}; this process waits" in caplog.text


@pytest.mark.parametrize("kind", ["hangs", "is suspended"])
def test_a_process_does_not_wait_for_another_one_without_progress(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(store_module, "OPEN_TIMEOUT", 2.0)
    monkeypatch.setattr(store_module, "OPEN_PERIOD", 0.05)
    path = tmp_path / "events.sqlite3"
    fill(path, 1)
    with holder(path, "hangs" if kind == "hangs" else "works") as process:
        if kind == "is suspended":
            process.send_signal(signal.SIGSTOP)
        with pytest.raises(ConfigurationError, match="another process holds the store, and has made no progress"):
            Store(path, "tests")


@pytest.fixture
def servers(tmp_path):
    return EventServers(tmp_path)


@contextlib.contextmanager
def slowed_down(started, seconds):
    """Let the workers of each server of this process run for a part of the time only.

    This begins when the file ``started`` exists, and ends after ``seconds``.
    """
    stopped = threading.Event()

    def slow_down():
        wait_until(lambda: stopped.is_set() or started.exists())
        end = time.monotonic() + seconds
        while time.monotonic() < end and not stopped.is_set():
            pids = [pid for server in children(os.getpid()) for pid in children(server)]
            for number, period in ((signal.SIGSTOP, SUSPENDED), (signal.SIGCONT, RUNNING)):
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                stopped.wait(period)

    thread = threading.Thread(target=slow_down)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


SUSPENDED, RUNNING = share(4.0, 0.3), 0.05  # seconds


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("workers", ["2", "3"])
def test_a_server_with_several_workers_starts_however_long_the_check_of_its_store_takes(
    servers, monkeypatch, battery, workers
):
    """A5: in the whole battery the check takes longer than `OPEN_TIMEOUT` and gunicorn's ``--timeout``, both 30 s."""
    monkeypatch.setattr(support, "START", 600)
    path = servers.folder / ".serverfull/events.sqlite3"
    fill_quickly(path, "succeeded", share(1_000_000, 20_000))
    opening = path.with_name(f"{path.name}.locks") / "opening"
    start = time.monotonic()
    with slowed_down(opening, share(45, 2)):
        settings = {"SERVERFULL_EVENTS_OWNER": "tests", "SERVERFULL_RUNTIME_LOGGER_LEVEL": "INFO"}
        with servers.gunicorn("--workers", workers, *GTHREAD, **settings) as server:
            seconds = time.monotonic() - start
            event = servers.accept("note")
            wait_until(lambda: servers.event(event)["state"] == "succeeded")
            output = server.output()
    battery.record(f"A5 {workers} workers, seconds from the start to the first answer", seconds=round(seconds, 1))
    assert "WORKER TIMEOUT" not in output
    assert "another process holds the store" not in output
