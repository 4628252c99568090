"""A store that cannot be written: events are refused within a second, and synchronous calls succeed."""

import contextlib
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.battery import share
from tests.support.event_servers import GTHREAD, SETTINGS, EventServers
from tests.support.servers import Server, running
from tests.support.small_disk import PRIVATE, can_mount
from tests.support.waiting import wait_until

FUNCTIONS = """
import os
from tests.support import small_disk

def note(event, context):
    return event

def fill(event, context):
    small_disk.fill(".serverfull/filler")

def free(event, context):
    os.unlink(".serverfull/filler")
"""
EVENT = {"X-Amz-Invocation-Type": "Event"}


@pytest.fixture
def servers(tmp_path):
    servers = EventServers(tmp_path)
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    return servers


NAMED = {"SERVERFULL_FUNCTIONS": ", ".join(f"{name}=functions.{name}" for name in ("note", "fill", "free"))}


def call(servers, name, body=b"1", headers=None):
    """Return the status, the error type, the request id, and the seconds that the call took."""
    start = time.monotonic()
    status, answer, _ = servers.request("POST", f"/2015-03-31/functions/{name}/invocations", body, headers)
    return status, answer["x-amzn-ErrorType"], answer["x-amzn-RequestId"], time.monotonic() - start


def load(servers, seconds, body=b"1"):
    """Send events and synchronous calls for ``seconds``; return the answers to events and those to calls."""

    def client(headers):
        end, answers = time.monotonic() + seconds, []
        while not answers or time.monotonic() < end:
            answers.append(call(servers, "note", body, headers))
        return answers

    with ThreadPoolExecutor(8) as pool:
        events, calls = ([pool.submit(client, headers) for _ in range(4)] for headers in (EVENT, None))
        return [[answer for future in futures for answer in future.result()] for futures in (events, calls)]


def check_answers(battery, case, servers, events, calls):
    """Check that every event was accepted or got a 500 and every call a 200; return the ids of accepted events."""
    refused = [event for event in events if event[0] != 202]
    battery.record(
        case,
        refused=len(refused),
        accepted=len(events) - len(refused),
        slowest_answer=round(max(event[3] for event in events), 2),
        calls=len(calls),
        slowest_call=round(max(answer[3] for answer in calls), 2),
    )
    assert {event[:2] for event in refused} == {(500, "ServiceException")}
    assert {answer[0] for answer in calls} == {200}
    return [event[2] for event in events if event[0] == 202]


def test_events_are_refused_while_another_process_holds_the_store(servers, battery):
    with servers.gunicorn(*GTHREAD, **NAMED):
        first = servers.accept("note")
        with contextlib.closing(sqlite3.connect(servers.folder / ".serverfull/events.sqlite3")) as db:
            wait_until(lambda: not servers.pending())
            db.execute("PRAGMA busy_timeout=30000")
            db.execute("BEGIN IMMEDIATE")
            events, calls = load(servers, share(30, 1))
        wait_until(lambda: call(servers, "note", headers=EVENT)[0] == 202)
        accepted = [first, *check_answers(battery, "a store locked for 30 s", servers, events, calls)]
        wait_until(lambda: not servers.pending())
        states = dict(servers.rows())
    assert accepted == [first]
    assert set(states.values()) == {"succeeded"}
    assert len(states) == 2


def test_events_are_refused_while_the_disk_is_full(servers, battery):
    disk = servers.folder / ".serverfull"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("needs permission to mount a tmpfs")
    with on_small_disk(servers, disk):
        first = servers.accept("note")
        assert call(servers, "fill")[0] == 200
        events, calls = load(servers, share(30, 1), b'"' + b"x" * 50_000 + b'"')
        assert call(servers, "free")[0] == 200
        wait_until(lambda: call(servers, "note", headers=EVENT)[0] == 202)
        accepted = [first, *check_answers(battery, "a disk full for 30 s", servers, events, calls)]
        wait_until(lambda: all(servers.event(id)["state"] == "succeeded" for id in accepted))
    assert len(accepted) < len(events)


def test_events_are_refused_once_the_file_has_its_largest_size(servers, battery):
    limit = 600_000
    with servers.gunicorn(*GTHREAD, SERVERFULL_EVENTS_MAX_BYTES=str(limit), **NAMED):
        events, calls = load(servers, share(10, 1), b'"' + b"x" * 50_000 + b'"')
        accepted = check_answers(battery, f"a file of at most {limit} bytes", servers, events, calls)
        wait_until(lambda: not servers.pending())
        assert "(SERVERFULL_EVENTS_MAX_BYTES)" in servers.output()
    assert 0 < len(accepted) < len(events)
    assert dict(servers.rows()) == dict.fromkeys(accepted, "succeeded")


@contextlib.contextmanager
def on_small_disk(servers, disk):
    """Start gunicorn with a data directory on a private file system of 16 MB."""
    bind = f"127.0.0.1:{servers.port}"
    serve = [sys.executable, "-m", "gunicorn", "serverfull_wsgi:app", "--bind", bind, "--no-control-socket", *GTHREAD]
    argv = ["-c", f"import os; os.execvp('unshare', {[*PRIVATE, str(disk), *serve]!r})"]
    environ = {**SETTINGS, **NAMED}
    with running(Server(argv, servers.folder / "log", port=servers.port, env=environ, cwd=servers.folder)) as server:
        yield server
