"""Helpers for tests of the event store: a store with a test's clock, and the steps of an event."""

import json
from contextlib import closing

from serverfull_wsgi import EventConfig, Invocation
from serverfull_wsgi.events.retry_policy import Counts
from serverfull_wsgi.events.runner import Final
from serverfull_wsgi.queues.sqlite import admin, statements
from serverfull_wsgi.queues.sqlite.statements import Lease
from serverfull_wsgi.queues.sqlite.store import Store
from tests.support.names import function_name

LEASE = 30.0  # seconds
NEVER = 1e12  # in store time
SUCCEEDED = Final("succeeded", "Success", Counts(1))
NAME = function_name("hello")


class Time:
    """A clock that moves only when a test moves it."""

    def __init__(self):
        self.now = 1000.0


class ClockedStore(Store):
    """A store whose time is a test's `Time`."""

    def __init__(self, path, time):
        super().__init__(path, "tests")
        self._time = time

    def now(self):
        return self._time.now


def put(store, id, payload=b"{}", config=EventConfig(), dedupe=""):  # noqa: B008  (frozen)
    invocation = Invocation(NAME, payload, id, trace_id="Root=1")
    accepted = store.write(lambda db: statements.insert(db, invocation, config, dedupe, store.now(), 0.0))
    return accepted.request_id


def accept_and_run(store, id, holder="one", is_leading=True, dedupe=""):
    """Accept an event as a process with an idle thread does. Return the event if it may run, None if it is queued."""

    def operation(db):
        db.execute("DELETE FROM leader")
        if is_leading:
            db.execute("INSERT INTO leader VALUES (1, ?, 0, ?)", (holder, store.now() + LEASE))
        lease = None
        if statements.may_run_at_once(db, holder, store.now()):
            lease = Lease(holder, store.now() + LEASE)
        return statements.insert(db, invocation, EventConfig(), dedupe, store.now(), 0.0, lease=lease).event

    invocation = Invocation(NAME, b"{}", id, trace_id="Root=1")
    return store.write(operation)


def claim(store, holder="one"):
    return store.write(lambda db: statements.claim(db, holder, store.now(), LEASE, 0.0))


def end(store, event, final=SUCCEEDED):
    return store.write(lambda db: statements.end(db, event, final, store.now(), 0.0))


def states(store):
    return {event["requestId"]: event["state"] for event in store.read(lambda db: admin.events(db, "", 1000, None))}


def fill(path, count=20):
    with closing(Store(path, "tests")) as store:
        for number in range(count):
            put(store, f"id-{number}", payload(number))


def fill_quickly(path, state, count, name="hello"):
    """Insert ``count`` events of the function ``name`` in one state in one transaction. Queued ones are due never."""
    arn = function_name(name).arn
    is_ended = state in ("succeeded", "failed")

    def row(number):
        texts, data = (f"{state}-{number}", arn, "Root=1", "{}"), payload(number)
        due, ended = (None, NEVER) if is_ended else (NEVER, None)
        return (*texts, statements.checksum(*texts, payload=data), data, state, due, ended)

    columns = "request_id, function, trace_id, config, checksum, payload, state, due, ended, accepted, accepted_at"
    query = f"INSERT INTO event ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1.0, 1.0)"
    with closing(Store(path)) as store:
        store.write(lambda db: db.executemany(query, (row(number) for number in range(count))).rowcount)


def payload(number):
    return json.dumps({"number": number, "text": "x" * 200}).encode()
