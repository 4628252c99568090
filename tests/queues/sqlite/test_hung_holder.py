"""A process that hangs while it holds the store's gate is killed; a process that works is not."""

import contextlib
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from serverfull_wsgi import EventConfig, Invocation, Outcome, ServiceException, SqliteQueue
from serverfull_wsgi.storage.locks import holder
from tests.support.event_store import NAME
from tests.support.servers import ROOT, clean_environ
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="reads /proc/locks")

HOLDER = """
import ctypes, os, signal, sys, time
from pathlib import Path
from serverfull_wsgi.storage import progress
from serverfull_wsgi.storage.locks import Gate
progress.PERIOD = 0.05
path, kind = Path(sys.argv[1]), sys.argv[2]
locks = path.with_name(f"{path.name}.locks")
gate = Gate(locks / "writing")
assert gate.enter(10)
print("holding", flush=True)
end = time.monotonic() + 6
if kind == "suspended":
    os.kill(os.getpid(), signal.SIGSTOP)
elif kind == "keeps the interpreter":
    ctypes.PyDLL(None).sleep(3600)
elif kind == "checks the store":
    with progress.Progress(locks / "opening").shown():
        while time.monotonic() < end:
            pass
elif kind == "writes":
    while time.monotonic() < end:
        os.utime(f"{path}-wal")
        time.sleep(0.1)
gate.leave()
"""
LEASE = 3.0  # seconds; a holder that works holds the gate for twice as long


@contextlib.contextmanager
def holding(queue, kind):
    argv = [sys.executable, "-c", HOLDER, str(queue.path), kind]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT, env=clean_environ()) as process:
        try:
            assert process.stdout.readline() == b"holding\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def queue(tmp_path):
    with closing(SqliteQueue(tmp_path / "events.sqlite3", lease=LEASE)) as queue:
        queue.start(lambda *_: Outcome(b"null"), lambda *_: None)
        yield queue


def accept(queue, id):
    """Return whether an event was accepted."""
    with contextlib.suppress(ServiceException):
        return queue.put(Invocation(NAME, b"{}", id), EventConfig()) == id
    return False


@pytest.mark.parametrize("kind", ["suspended", "keeps the interpreter"])
def test_a_process_that_hangs_inside_the_gate_is_killed(queue, caplog, kind):
    with holding(queue, kind) as process:
        assert not accept(queue, "during")
        wait_until(lambda: accept(queue, "after"))
        assert process.wait(60) == -9
    wait_until(lambda: queue.event("after")["state"] == "succeeded")
    assert f"process {process.pid} held the lock of the event store {queue.path} for 3 s" in caplog.text


@pytest.mark.parametrize("kind", ["checks the store", "writes"])
def test_a_process_that_works_inside_the_gate_is_not_killed(queue, kind):
    with holding(queue, kind) as process:
        assert not accept(queue, "during")
        assert process.wait(60) == 0
    wait_until(lambda: accept(queue, "after"))


def test_the_holder_of_a_lock_is_the_process_that_has_it(queue):
    with holding(queue, "suspended") as process:
        lock = queue.path.with_name(f"{queue.path.name}.locks") / "writing"
        assert holder(lock) == process.pid
        process.kill()
        wait_until(lambda: holder(lock) != process.pid)
