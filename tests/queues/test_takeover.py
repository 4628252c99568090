"""What becomes of events in work when their process is killed: no lease is waited for, and bystanders do not suffer."""

import contextlib
import os
import signal
import time
from pathlib import Path
from statistics import median

import pytest

from tests.support.battery import share
from tests.support.event_servers import GTHREAD, EventServers, children
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
LONG = {"SERVERFULL_EVENTS_LEASE": "600"}  # seconds; nobody is to wait for its end


@pytest.fixture
def servers(tmp_path):
    return EventServers(tmp_path)


def leader(servers):
    """The process that has events in work."""
    ((owner,),) = servers.rows("SELECT DISTINCT owner FROM event WHERE state = 'running'")
    return int(owner.split(":")[1])


def begun(servers, event, times=1):
    """Waits until an event has begun so often, and says how many seconds that took."""
    since = time.monotonic()
    wait_until(lambda: servers.noted("began").count(event) >= times)
    return time.monotonic() - since


def told(seconds):
    return {"median": round(median(seconds), 2), "most": round(max(seconds), 2), "times": len(seconds)}


def test_another_worker_takes_over_without_a_request_and_runs_what_was_in_work(servers, battery):
    seconds = []
    with servers.gunicorn("--workers", "3", *GTHREAD, **LONG):
        for _ in range(share(20, 1)):
            event = servers.accept("work", 1)
            begun(servers, event)
            os.kill(leader(servers), signal.SIGKILL)
            seconds.append(begun(servers, event, 2))
            wait_until(lambda: not servers.pending())
        found = servers.rows("SELECT state, lost, attempts FROM event")
    battery.record("killed leader to the next run, in another worker, seconds", **told(seconds))
    assert found == [("succeeded", 1, 1)] * len(seconds)


def test_a_start_runs_what_was_in_work_when_everything_was_killed(servers, battery):
    """A2."""
    seconds = []
    for _ in range(share(10, 1)):
        with servers.gunicorn(**LONG) as server:
            event = servers.accept("work", 1)
            begun(servers, event)
            for pid in (server.process.pid, *children(server.process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            server.process.wait()
        with servers.gunicorn(**LONG):
            seconds.append(begun(servers, event, 2))
            wait_until(lambda: not servers.pending())
    battery.record("A2 start, answering, to the first re-run, seconds", **told(seconds))
    assert servers.rows("SELECT state, lost FROM event") == [("succeeded", 1)] * len(seconds)


def test_an_event_that_kills_takes_no_bystander_with_it(servers, battery):
    """A12: three run beside it each time it kills, and others wait."""
    with servers.gunicorn(**LONG):
        others = [servers.accept("work", 0.5) for _ in range(3)]
        wait_until(lambda: len(servers.noted("began")) == 3)
        id = servers.send_poison()
        more = [answer[1] for answer in (servers.send("work", 0.5) for _ in range(9)) if answer and answer[0] == 202]
        wait_until(lambda: dict(servers.rows())[id] == "failed")
        wait_until(lambda: not servers.pending())
        rows = dict(servers.rows())
        lost = servers.rows("SELECT max(lost) FROM event WHERE state = 'succeeded'")[0][0]
    battery.record("A12 bystanders of an event that kills", bystanders=len(others + more), most_leases_lost=lost)
    assert {rows[other] for other in others + more} == {"succeeded"}
    assert servers.noted("ran").count(id) == 5
