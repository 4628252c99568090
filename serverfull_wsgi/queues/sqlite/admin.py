"""Queries and commands of operators: list events, show one, run failed ones again, remove ended ones."""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from serverfull_wsgi.event_config import masked_target
from serverfull_wsgi.queues.sqlite import statements
from serverfull_wsgi.queues.sqlite.store import Store, StoreLostError
from serverfull_wsgi.storage.group_commit import StoreError
from serverfull_wsgi.timestamps import timestamp

PATIENCE = 60.0  # seconds for which a page of a long command is repeated; a request waits for one second only
PAUSE = 0.1  # seconds between two attempts
_SUMMARY = (
    "id, request_id, function, state, accepted_at, started_at, ended_at, attempts, throttles, lost, condition, error"
)


def events(db: sqlite3.Connection, state: str, limit: int, before: int | None) -> list[dict[str, Any]]:
    """Return summaries of events, the latest first; see `EventLog.events`."""
    conditions = {"state = ?": state or None, "id < ?": before}
    given = {condition: value for condition, value in conditions.items() if value is not None}
    where = f"WHERE {' AND '.join(given)}" if given else ""  # only what is given, so that SQLite can use an index
    rows = db.execute(f"SELECT {_SUMMARY} FROM event {where} ORDER BY id DESC LIMIT ?", (*given.values(), limit))
    return [_summary(row) for row in rows.fetchall()]


def event(db: sqlite3.Connection, request_id: str, now: float) -> dict[str, Any] | None:
    """Return all fields of one event; see `EventLog.event`."""
    row = db.execute(
        f"SELECT {_SUMMARY}, due, payload, result, principal FROM event WHERE request_id = ?",
        (request_id,),
    ).fetchone()
    if row is None:
        return None
    due, payload, result, principal = row[-4:]
    records = db.execute(
        "SELECT kind, target, state, tries, error FROM record WHERE event = ? ORDER BY id", (row[0],)
    ).fetchall()
    return {
        **_summary(row[:-4]),
        "principal": principal,
        "dueInSeconds": None if due is None else round(due - now, 3),
        "payload": (payload or b"{}").decode(errors="replace"),
        "result": None if result is None else result.decode(errors="replace"),
        "records": [
            {"kind": kind, "target": masked_target(target), "state": state, "tries": tries, "error": error}
            for kind, target, state, tries, error in records
        ],
    }


def _summary(row: tuple[Any, ...]) -> dict[str, Any]:
    number, request_id, function, state, accepted, started, ended, attempts, throttles, lost, condition, error = row
    return {
        "number": number,
        "requestId": request_id,
        "function": function,
        "state": state,
        "attempts": attempts,
        "throttles": throttles,
        "lostLeases": lost,
        "acceptedAt": _time(accepted),
        "startedAt": _time(started),
        "endedAt": _time(ended),
        "condition": condition or None,
        "lastError": error or None,
    }


def _time(wall: float | None) -> str | None:
    return None if wall is None else timestamp(wall)


def redrive(db: sqlite3.Connection, request_id: str, now: float) -> bool:
    """Run a failed event again; see `EventLog.redrive`."""
    return _redrive(db, "request_id = ?", [request_id], now) == 1


class Page(NamedTuple):
    """Events that one transaction changed: their number, and the position after which the next page starts."""

    changed: int
    end: int | None  # None after the last page


class Change(Protocol):
    """A function that changes the page of events with numbers above ``after``."""

    def __call__(self, db: sqlite3.Connection, *, after: int) -> Page: ...


def redrive_failed(db: sqlite3.Connection, after: int, last: int, now: float) -> Page:
    """Run a page of failed events again: those with numbers above ``after`` and up to ``last``."""
    ids, end = statements.page(_sizes(db, "failed", after, last))
    return Page(_redrive(db, "id = ?", ids, now), end)


def _redrive(db: sqlite3.Connection, condition: str, values: Sequence[int | str], now: float) -> int:
    cursor = db.executemany(
        "UPDATE event SET state = 'queued', due = ?, accepted = ?, attempts = 0, throttles = 0, lost = 0, "
        "ended = NULL, ended_at = NULL, condition = '', error = '', result = NULL "
        f"WHERE state = 'failed' AND {condition}",
        [(now, now, value) for value in values],
    )
    return max(cursor.rowcount, 0)  # -1 if there are no values


def latest_number(db: sqlite3.Connection) -> int:
    """Return the number of the latest event; 0 if there is none."""
    number: int = db.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0]
    return number


def purge(db: sqlite3.Connection, after: int, last: int, state: str) -> Page:
    """Remove a page of events that ended in ``state``: those with numbers above ``after`` and up to ``last``.

    An event with a record that still waits is kept.
    """
    ids, end = statements.page(_sizes(db, state, after, last))
    return Page(statements.remove(db, ids), end)


def _sizes(db: sqlite3.Connection, state: str, after: int, last: int) -> list[tuple[int, int]]:
    """Return the numbers and sizes of the next events in one state, in the order of their numbers."""
    return db.execute(
        f"SELECT id, {statements.SIZE} FROM event WHERE state = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?",
        (state, after, last, statements.PAGE),
    ).fetchall()


def change_all(store: Store, change: Change, progress: Callable[[int], None]) -> int:
    """Change events page by page, call ``progress`` with their number after each page, and return their number.

    After each page, servers have as much time for their own writes as the page took. A page that the store refuses,
    because servers or a slow disk keep it busy, is repeated. Raises `StoreError` if that does not help for `PATIENCE`.
    """
    total, position = 0, 0
    while True:
        start = time.monotonic()
        page = _repeated(store, functools.partial(change, after=position))
        total += page.changed
        if page.changed:
            progress(total)
        if page.end is None:
            return total
        position = page.end
        time.sleep(time.monotonic() - start)


def _repeated(store: Store, operation: Callable[[sqlite3.Connection], Page]) -> Page:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return store.write(operation)
        except StoreLostError:
            raise
        except StoreError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(PAUSE)
