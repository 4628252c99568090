"""Killed processes: their events run again at once in another process, and other events are not harmed."""

import contextlib
import json
import os
import signal
import socket
import time
from pathlib import Path
from statistics import median

import pytest

from tests.support.battery import share
from tests.support.event_servers import GTHREAD, EventServers
from tests.support.processes import children
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


def wait_for_leader(servers, worker):
    wait_until(lambda: f":{worker.process.pid}:" in servers.rows("SELECT max(holder) FROM leader")[0][0])


def run_note(servers):
    event = servers.accept("note")
    wait_until(lambda: servers.event(event)["state"] == "succeeded")


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


HUNG = {"SERVERFULL_EVENTS_LEASE": "3", "SERVERFULL_EVENTS_WORKERS": "1"}


def test_web_processes_run_the_events_of_a_worker_that_hangs(servers, battery):
    """A13: a worker that is stopped by a signal, and that goes on later."""
    seconds = []
    with servers.gunicorn("--workers", "2", *GTHREAD, **HUNG), servers.worker(**HUNG) as worker:
        for _ in range(share(20, 1)):
            run_note(servers)
            wait_for_leader(servers, worker)
            os.kill(worker.process.pid, signal.SIGSTOP)
            try:
                start = time.monotonic()
                for _ in range(3):
                    servers.accept("note")
                wait_until(lambda: not servers.pending())
                seconds.append(time.monotonic() - start)
            finally:
                os.kill(worker.process.pid, signal.SIGCONT)
        run_note(servers)
        runs = servers.noted("ran")
        output = servers.output()
    battery.record("A13 SIGSTOP of the leader to the end of three events, lease 3 s, seconds", **figures(seconds))
    assert len(runs) == len(set(runs)) == 4 * len(seconds) + 1
    assert "does not respond: its lease ran out" in output


def test_another_process_runs_the_events_of_one_whose_interpreter_is_held(servers, battery):
    """A13: a handler that lets no other thread of its process run."""
    with servers.worker(statuses=(-signal.SIGKILL,), **HUNG) as worker:
        with servers.gunicorn("--workers", "2", *GTHREAD, **HUNG):
            wait_for_leader(servers, worker)
            held = servers.accept("hold", 600)
            wait_until(lambda: servers.noted("began"))
            start = time.monotonic()
            others = [servers.accept("note") for _ in range(3)]
            wait_until(lambda: len(servers.noted("ran")) == 3)
            seconds = time.monotonic() - start
            assert dict(servers.rows())[held] == "running"
        worker.process.kill()  # unless another process has killed it, since it hung inside a transaction
    battery.record("A13 interpreter held to the run of three events, lease 3 s, seconds", **figures([seconds]))
    assert sorted(servers.noted("ran")) == sorted(others)


def test_the_age_of_the_oldest_due_event_is_shown(servers):
    with servers.gunicorn("--workers", "1", SERVERFULL_EVENTS_WORKERS="1"):
        assert health(servers) == {"oldestDueEventAgeInSeconds": 0.0}
        servers.accept("work", 3)
        wait_until(lambda: servers.noted("began"))
        servers.accept("note")
        wait_until(lambda: health(servers)["oldestDueEventAgeInSeconds"] > 1)
        wait_until(lambda: health(servers)["oldestDueEventAgeInSeconds"] == 0)
        assert servers.request("GET", "/healthcheck")[2] == b"."
        assert servers.request("GET", "/healthcheck?other")[2] == b"."


def test_the_age_of_the_oldest_due_event_is_null_without_a_store(servers):
    with servers.gunicorn(SERVERFULL_EVENTS="memory"):
        assert health(servers) == {"oldestDueEventAgeInSeconds": None}


def test_the_age_of_the_oldest_due_event_is_a_metric(servers):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(60)
        port = str(collector.getsockname()[1])
        with servers.gunicorn(
            SERVERFULL_RUNTIME_STATS_OUTPUT="STATSD", SERVERFULL_RUNTIME_STATS_ADDRESS=f"127.0.0.1:{port}"
        ):
            assert collector.recv(1432) == b"serverfull.OldestDueEventAge:0.0|g"


def health(servers):
    return json.loads(servers.request("GET", "/healthcheck?events")[2])


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
