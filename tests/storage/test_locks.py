"""Gates between processes, and the liveness of processes."""

import subprocess
import sys
import threading

from serverfull_wsgi.storage.liveness import LivenessLocks
from serverfull_wsgi.storage.locks import FileLock, Gate
from tests.support.processes import open_files
from tests.support.servers import ROOT
from tests.support.waiting import wait_until


def test_a_process_is_dead_if_it_ended_without_close(tmp_path):
    code = "import sys\nfrom pathlib import Path\nfrom serverfull_wsgi.storage.liveness import LivenessLocks\n"
    code += "locks = LivenessLocks(Path(sys.argv[1]), 'killed')\nprint(flush=True)\nsys.stdin.read()"
    ours, child = LivenessLocks(tmp_path / "locks", "ours"), [sys.executable, "-c", code, str(tmp_path / "locks")]
    with subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.readline()
        assert list(ours.dead()) == []
        process.kill()
    assert list(ours.dead()) == ["killed"]
    ours.close()
    assert list(LivenessLocks(tmp_path / "locks", "another").dead()) == []


def test_a_gate_that_is_closed_while_a_thread_waits_at_it_leaves_no_file_open(tmp_path):
    """Another process holds the file lock, so the waiting thread holds the threads' lock only."""
    gate, other = Gate(tmp_path / "gate"), FileLock(tmp_path / "gate")
    assert other.acquire()
    waiter = threading.Thread(target=gate.enter, args=[0.5])
    waiter.start()
    wait_until(lambda: len(open_files(tmp_path)) == 2)
    gate.close()
    waiter.join()
    assert len(open_files(tmp_path)) == 1
    assert not gate.enter(0)
    other.close()


def test_a_gate_that_is_closed_from_inside_cannot_be_entered_again(tmp_path):
    gate = Gate(tmp_path / "gate")
    assert gate.enter(1)
    gate.close()
    gate.leave()
    assert open_files(tmp_path) == []
    assert not gate.enter(0)
