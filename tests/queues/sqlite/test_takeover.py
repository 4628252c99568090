"""Killed processes: their events run again at once in another process, and other events are not harmed."""

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
LONG = {"SERVERFULL_EVENTS_LEASE": "600"}  # seconds: a test that had to wait for its end would fail


@pytest.fixture
def servers(tmp_path):
    return EventServers(tmp_path)


def leader(servers):
    """Return the id of the process that runs events."""
    ((holder,),) = servers.rows("SELECT DISTINCT owner FROM event WHERE state = 'running'")
    return int(holder.split(":")[1])


def wait_for_run(servers, event, number=1):
    """Wait for an event's first or next run, and return the seconds that it took."""
    start = time.monotonic()
    wait_until(lambda: servers.noted("began").count(event) >= number)
    return time.monotonic() - start


def figures(seconds):
    return {"median": round(median(seconds), 2), "most": round(max(seconds), 2), "times": len(seconds)}


def test_another_worker_runs_the_events_of_a_killed_leader_without_a_request(servers, battery):
    seconds = []
    with servers.gunicorn("--workers", "3", *GTHREAD, **LONG):
        for _ in range(share(20, 1)):
            event = servers.accept("work", 1)
            wait_for_run(servers, event)
            os.kill(leader(servers), signal.SIGKILL)
            seconds.append(wait_for_run(servers, event, 2))
            wait_until(lambda: not servers.pending())
        rows = servers.rows("SELECT state, lost, attempts FROM event")
    battery.record("killed leader to the next run, in another worker, seconds", **figures(seconds))
    assert rows == [("succeeded", 1, 1)] * len(seconds)


def test_a_start_runs_the_events_of_killed_servers(servers, battery):
    """A2."""
    seconds = []
    for _ in range(share(10, 1)):
        with servers.gunicorn(**LONG) as server:
            event = servers.accept("work", 1)
            wait_for_run(servers, event)
            for pid in (server.process.pid, *children(server.process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            server.process.wait()
        with servers.gunicorn(**LONG):
            seconds.append(wait_for_run(servers, event, 2))
            wait_until(lambda: not servers.pending())
    battery.record("A2 start, answering, to the first re-run, seconds", **figures(seconds))
    assert servers.rows("SELECT state, lost FROM event") == [("succeeded", 1)] * len(seconds)


def test_an_event_that_kills_its_process_does_not_fail_other_events(servers, battery):
    """A12: three events run at each kill, and others wait."""
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
