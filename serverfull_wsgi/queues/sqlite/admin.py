"""Looking after events: what operators see of a store, and what they may do to it."""

from __future__ import annotations

import sqlite3
from typing import Any

from serverfull_wsgi.queues.sqlite import statements as rows
from serverfull_wsgi.timestamps import timestamp

STATES = ("queued", "running", "succeeded", "failed")
_SUMMARY = (
    "id, request_id, function, state, accepted_at, started_at, ended_at, attempts, throttles, lost, condition, error"
)


def events(db: sqlite3.Connection, state: str, limit: int, before: int | None) -> list[dict[str, Any]]:
    """The latest first; see `EventLog.events`."""
    where = "WHERE (? = '' OR state = ?) AND (? IS NULL OR id < ?)"
    found = db.execute(
        f"SELECT {_SUMMARY} FROM event {where} ORDER BY id DESC LIMIT ?",
        (state, state, before, before, limit),
    )
    return [_summary(row) for row in found.fetchall()]


def event(db: sqlite3.Connection, request_id: str, now: float) -> dict[str, Any] | None:
    """Everything of one event; see `EventLog.event`."""
    row = db.execute(
        f"SELECT {_SUMMARY}, due, payload, result FROM event WHERE request_id = ?",
        (request_id,),
    ).fetchone()
    if row is None:
        return None
    due, payload, result = row[-3:]
    sent = db.execute(
        "SELECT kind, target, state, tries, error FROM record WHERE event = ? ORDER BY id", (row[0],)
    ).fetchall()
    return {
        **_summary(row[:-3]),
        "dueInSeconds": None if due is None else round(due - now, 3),
        "payload": (payload or b"{}").decode(errors="replace"),
        "result": None if result is None else result.decode(errors="replace"),
        "records": [dict(zip(("kind", "target", "state", "tries", "error"), one, strict=True)) for one in sent],
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
    """See `EventLog.redrive`."""
    return _redriven(db, "request_id = ?", (request_id,), now) == 1


def redrive_failed(db: sqlite3.Connection, upto: int, now: float, most: int = 500) -> int:
    """Redrives up to ``most`` of the failed events up to this number, and says how many."""
    which = "id IN (SELECT id FROM event WHERE state = 'failed' AND id <= ? LIMIT ?)"
    return _redriven(db, which, (upto, most), now)


def _redriven(db: sqlite3.Connection, which: str, values: tuple[Any, ...], now: float) -> int:
    done = db.execute(
        "UPDATE event SET state = 'queued', due = ?, accepted = ?, attempts = 0, throttles = 0, lost = 0, "
        "ended = NULL, ended_at = NULL, condition = '', error = '', result = NULL WHERE state = 'failed' AND " + which,
        (now, now, *values),
    )
    return done.rowcount


def latest(db: sqlite3.Connection) -> int:
    """The number of the latest event, 0 without one."""
    found: int = db.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0]
    return found


def purge(db: sqlite3.Connection, state: str, upto: int, most: int = 500) -> int:
    """Removes up to ``most`` ended events of this state (empty: of any), and says how many; see `rows.remove`."""
    return rows.remove(db, "(? = '' OR state = ?) AND id <= ?", (state, state, upto), most)
