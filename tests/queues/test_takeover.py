"""What becomes of events in work when their process is killed: no lease is waited for, and bystanders do not suffer."""

import contextlib
import os
import signal
import time
from pathlib import Path
from statistics import median

import pytest

from tests.support.battery import share
from tests.support.event_servers import GTHREAD, House, children
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
LONG = {"SERVERFULL_EVENT_LEASE": "600"}  # seconds; nobody is to wait for its end


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def leader(house):
    """The process that has events in work."""
    ((owner,),) = house.rows("SELECT DISTINCT owner FROM event WHERE state = 'running'")
    return int(owner.split(":")[1])


def begun(house, event, times=1):
    """Waits until an event has begun so often, and says how many seconds that took."""
    since = time.monotonic()
    wait_until(lambda: house.noted("began").count(event) >= times)
    return time.monotonic() - since


def told(seconds):
    return {"median": round(median(seconds), 2), "most": round(max(seconds), 2), "times": len(seconds)}


def test_another_worker_takes_over_without_a_request_and_runs_what_was_in_work(house, battery):
    seconds = []
    with house.gunicorn("--workers", "3", *GTHREAD, **LONG):
        for _ in range(share(20, 1)):
            event = house.accept("work", 1)
            begun(house, event)
            os.kill(leader(house), signal.SIGKILL)
            seconds.append(begun(house, event, 2))
            wait_until(lambda: not house.waiting())
        found = house.rows("SELECT state, lost, attempts FROM event")
    battery.record("killed leader to the next run, in another worker, seconds", **told(seconds))
    assert found == [("succeeded", 1, 1)] * len(seconds)


def test_a_start_runs_what_was_in_work_when_everything_was_killed(house, battery):
    """A2."""
    seconds = []
    for _ in range(share(10, 1)):
        with house.gunicorn(**LONG) as server:
            event = house.accept("work", 1)
            begun(house, event)
            for pid in (server.process.pid, *children(server.process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            server.process.wait()
        with house.gunicorn(**LONG):
            seconds.append(begun(house, event, 2))
            wait_until(lambda: not house.waiting())
    battery.record("A2 start, answering, to the first re-run, seconds", **told(seconds))
    assert house.rows("SELECT state, lost FROM event") == [("succeeded", 1)] * len(seconds)


def test_an_event_that_kills_takes_no_bystander_with_it(house, battery):
    """A12: three run beside it each time it kills, and others wait."""
    with house.gunicorn(**LONG):
        others = [house.accept("work", 0.5) for _ in range(3)]
        wait_until(lambda: len(house.noted("began")) == 3)
        id = house.poisoned()
        more = [answer[1] for answer in (house.send("work", 0.5) for _ in range(9)) if answer and answer[0] == 202]
        wait_until(lambda: dict(house.rows())[id] == "failed")
        wait_until(lambda: not house.waiting())
        rows = dict(house.rows())
        lost = house.rows("SELECT max(lost) FROM event WHERE state = 'succeeded'")[0][0]
    battery.record("A12 bystanders of an event that kills", bystanders=len(others + more), most_leases_lost=lost)
    assert {rows[other] for other in others + more} == {"succeeded"}
    assert house.noted("ran").count(id) == 5
