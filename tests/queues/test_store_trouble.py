"""A store that cannot be written: events are refused in time, and calls go on unharmed."""

import contextlib
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.battery import share
from tests.support.event_servers import GTHREAD, SETTINGS, EventServers
from tests.support.servers import Server, running
from tests.support.small_disk import PRIVATE, mounts
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


def post(servers, name, body=b"1", headers=None):
    """The status, the type of error, the request id, and how many seconds it took."""
    began = time.monotonic()
    status, answer, _ = servers.request("POST", f"/2015-03-31/functions/{name}/invocations", body, headers)
    return status, answer["x-amzn-ErrorType"], answer["x-amzn-RequestId"], time.monotonic() - began


def load(servers, seconds, body=b"1"):
    """Events and calls side by side, for that long: the answers to either."""

    def client(headers):
        ends, found = time.monotonic() + seconds, []
        while not found or time.monotonic() < ends:
            found.append(post(servers, "note", body, headers))
        return found

    with ThreadPoolExecutor(8) as pool:
        events, calls = ([pool.submit(client, headers) for _ in range(4)] for headers in (EVENT, None))
        return [[answer for one in sent for answer in one.result()] for sent in (events, calls)]


def judged(battery, case, servers, events, calls):
    """Every event was accepted or refused as it should be, and every call got its answer."""
    refused = [event for event in events if event[0] != 202]
    battery.record(
        case,
        refused=len(refused),
        accepted=len(events) - len(refused),
        slowest_answer=round(max(event[3] for event in events), 2),
        calls=len(calls),
        slowest_call=round(max(call[3] for call in calls), 2),
    )
    assert {event[:2] for event in refused} == {(500, "ServiceException")}
    assert {call[0] for call in calls} == {200}
    return [event[2] for event in events if event[0] == 202]


def test_a_store_that_another_process_holds(servers, battery):
    with servers.gunicorn(*GTHREAD, **NAMED):
        first = servers.accept("note")
        with contextlib.closing(sqlite3.connect(servers.folder / ".serverfull/events.sqlite3")) as db:
            wait_until(lambda: not servers.pending())
            db.execute("PRAGMA busy_timeout=30000")
            db.execute("BEGIN IMMEDIATE")
            events, calls = load(servers, share(30, 1))
        wait_until(lambda: post(servers, "note", headers=EVENT)[0] == 202)
        accepted = [first, *judged(battery, "a store locked for 30 s", servers, events, calls)]
        wait_until(lambda: not servers.pending())
        states = dict(servers.rows())
    assert accepted == [first]
    assert set(states.values()) == {"succeeded"}
    assert len(states) == 2


def test_a_disk_that_is_full(servers, battery):
    disk = servers.folder / ".serverfull"
    disk.mkdir()
    if not mounts(disk):
        pytest.skip("needs the right to mount a tmpfs")
    with on_small_disk(servers, disk):
        first = servers.accept("note")
        assert post(servers, "fill")[0] == 200
        events, calls = load(servers, share(30, 1), b'"' + b"x" * 50_000 + b'"')
        assert post(servers, "free")[0] == 200
        wait_until(lambda: post(servers, "note", headers=EVENT)[0] == 202)
        accepted = [first, *judged(battery, "a disk full for 30 s", servers, events, calls)]
        wait_until(lambda: all(servers.event(id)["state"] == "succeeded" for id in accepted))
    assert len(accepted) < len(events)


@contextlib.contextmanager
def on_small_disk(servers, disk):
    """gunicorn, whose data directory is a file system of 16 MB that only it sees."""
    bind = f"127.0.0.1:{servers.port}"
    serve = [sys.executable, "-m", "gunicorn", "serverfull_wsgi:app", "--bind", bind, "--no-control-socket", *GTHREAD]
    argv = ["-c", f"import os; os.execvp('unshare', {[*PRIVATE, str(disk), *serve]!r})"]
    environ = {**SETTINGS, **NAMED}
    with running(Server(argv, servers.folder / "log", port=servers.port, env=environ, cwd=servers.folder)) as server:
        yield server
