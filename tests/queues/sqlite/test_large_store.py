"""Operators' commands on a store with many events, beside callers that send events."""

import itertools
import json
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.battery import share
from tests.support.event_servers import GTHREAD, EventServers
from tests.support.event_store import fill_quickly

EVENTS = share(1_000_000, 20_000)
RATE = 50  # events a second, from all callers together
CALLERS = 10
LEAST = share(3.0, 0.2)  # seconds for which a GET is repeated, since one takes milliseconds
OWNER = {"SERVERFULL_EVENTS_OWNER": "tests", "SERVERFULL_EVENTS_RETENTION": "86400"}


@pytest.fixture
def servers(tmp_path):
    return EventServers(tmp_path)


@pytest.fixture
def store_path(servers):
    path = servers.folder / ".serverfull/events.sqlite3"
    for state, percent in (("succeeded", 60), ("failed", 35), ("queued", 5)):
        fill_quickly(path, state, EVENTS * percent // 100, "note")
    return path


STATES = ("queued", "running", "succeeded", "failed")
COMMANDS = {
    **{f"GET ?state={state}": ("GET", f"/serverfull/events?state={state}&limit=500") for state in STATES},
    "GET": ("GET", "/serverfull/events?limit=500"),
    "GET of the first page": ("GET", "/serverfull/events?before=500&limit=500"),
    "GET of one": ("GET", "/serverfull/events/failed-7"),
    "POST redrive": ("POST", "/serverfull/events/failed-1/redrive"),
    **{f"list --state {state}": ("list", "--state", state, "--limit", "10000") for state in STATES},
    "list": ("list", "--limit", "10000"),
    "show": ("show", "failed-7"),
    "redrive": ("redrive", "failed-2"),
    "redrive --failed": ("redrive", "--failed"),
    "purge": ("purge", "--yes"),
}


def test_no_event_is_refused_beside_an_operators_command(servers, store_path, battery):
    """A15."""
    with servers.gunicorn("--workers", "2", *GTHREAD, **OWNER):
        with Callers(servers) as callers:
            for name, command in COMMANDS.items():
                callers.during(name)
                run(servers, command)
            callers.during("nothing")
    battery.record(f"A15 {RATE} accepts/s beside each command, {EVENTS} events", **callers.figures())
    assert callers.refused() == []


def run(servers, command):
    if command[0] == "POST":
        assert servers.request(*command)[0] == 202
    elif command[0] == "GET":
        end = time.monotonic() + LEAST
        while time.monotonic() < end:
            assert servers.request(*command)[0] == 200
    else:
        result = servers.command("events", *command, **OWNER)
        assert result.returncode == 0, result.stderr


class Callers:
    """Clients that send `RATE` events a second together, and note each answer with the command that ran then."""

    def __init__(self, servers):
        self._servers, self._command, self._answers = servers, "nothing", []
        self._stopped = threading.Event()
        self._numbers = itertools.count()

    def __enter__(self):
        self._pool = ThreadPoolExecutor(CALLERS)
        self._start = time.monotonic()
        for _ in range(CALLERS):
            self._pool.submit(self._call)
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._pool.shutdown()

    def during(self, command):
        self._command = command
        self._began = {**getattr(self, "_began", {}), command: time.monotonic()}

    def _call(self):
        while True:
            number = next(self._numbers)
            if self._stopped.wait(max(0, self._start + number / RATE - time.monotonic())):
                return
            command, start = self._command, time.monotonic()
            answer = self._servers.send("note", number)
            self._answers.append((command, answer and answer[0], time.monotonic() - start))

    def refused(self):
        return [answer for answer in self._answers if answer[1] != 202]

    def figures(self):
        """Return for each command: its seconds, the events accepted and refused meanwhile, and the slowest answer."""
        ends = [*list(self._began.values())[1:], time.monotonic()]
        figures = {}
        for (command, began), end in zip(self._began.items(), ends, strict=True):
            answers = [answer for answer in self._answers if answer[0] == command]
            figures[command] = {
                "seconds": round(end - began, 2),
                "accepted": sum(answer[1] == 202 for answer in answers),
                "refused": sum(answer[1] != 202 for answer in answers),
                "slowest_answer": round(max((answer[2] for answer in answers), default=0), 2),
            }
        return figures


def cpu_seconds():
    """Return the CPU time of all commands that ended so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_a_redrive_of_all_failed_events_takes_time_in_proportion_to_their_number(servers, battery):
    figures = {}
    for count in (EVENTS // 10, EVENTS):
        path = servers.folder / ".serverfull/events.sqlite3"
        fill_quickly(path, "failed", count, "note")
        start, cpu = time.monotonic(), cpu_seconds()
        result = servers.command("events", "redrive", "--failed", **OWNER)
        figures[f"{count} events"] = {
            "seconds": round(time.monotonic() - start, 1),
            "cpu_seconds": round(cpu_seconds() - cpu, 1),
        }
        assert result.stdout == f"{count} redriven\n"
        listed = json.loads(servers.command("events", "show", "failed-0", **OWNER).stdout)
        assert (listed["state"], listed["attempts"]) == ("queued", 0)
        for file in path.parent.glob("events.sqlite3*"):
            if file.is_file():
                file.unlink()
    battery.record("A4 redrive --failed", **figures)
