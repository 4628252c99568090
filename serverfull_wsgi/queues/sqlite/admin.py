"""Queries and commands of operators: list events, show one, run failed ones again, remove ended ones."""

from __future__ import annotations

import sqlite3
from typing import Any

from serverfull_wsgi.queues.sqlite import statements
from serverfull_wsgi.timestamps import timestamp

_SUMMARY = (
    "id, request_id, function, state, accepted_at, started_at, ended_at, attempts, throttles, lost, condition, error"
)


def events(db: sqlite3.Connection, state: str, limit: int, before: int | None) -> list[dict[str, Any]]:
    """Return summaries of events, the latest first; see `EventLog.events`."""
    where = "WHERE (? = '' OR state = ?) AND (? IS NULL OR id < ?)"
    rows = db.execute(
        f"SELECT {_SUMMARY} FROM event {where} ORDER BY id DESC LIMIT ?",
        (state, state, before, before, limit),
    )
    return [_summary(row) for row in rows.fetchall()]


def event(db: sqlite3.Connection, request_id: str, now: float) -> dict[str, Any] | None:
    """Return all fields of one event; see `EventLog.event`."""
    row = db.execute(
        f"SELECT {_SUMMARY}, due, payload, result FROM event WHERE request_id = ?",
        (request_id,),
    ).fetchone()
    if row is None:
        return None
    due, payload, result = row[-3:]
    records = db.execute(
        "SELECT kind, target, state, tries, error FROM record WHERE event = ? ORDER BY id", (row[0],)
    ).fetchall()
    return {
        **_summary(row[:-3]),
        "dueInSeconds": None if due is None else round(due - now, 3),
        "payload": (payload or b"{}").decode(errors="replace"),
        "result": None if result is None else result.decode(errors="replace"),
        "records": [
            dict(zip(("kind", "target", "state", "tries", "error"), record, strict=True)) for record in records
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
    return _redrive(db, "request_id = ?", (request_id,), now) == 1


def redrive_failed(db: sqlite3.Connection, last: int, now: float, limit: int = 500) -> int:
    """Run up to ``limit`` failed events with numbers up to ``last`` again, and return their number."""
    condition = "id IN (SELECT id FROM event WHERE state = 'failed' AND id <= ? LIMIT ?)"
    return _redrive(db, condition, (last, limit), now)


def _redrive(db: sqlite3.Connection, condition: str, values: tuple[Any, ...], now: float) -> int:
    cursor = db.execute(
        "UPDATE event SET state = 'queued', due = ?, accepted = ?, attempts = 0, throttles = 0, lost = 0, "
        "ended = NULL, ended_at = NULL, condition = '', error = '', result = NULL "
        f"WHERE state = 'failed' AND {condition}",
        (now, now, *values),
    )
    return cursor.rowcount


def latest_number(db: sqlite3.Connection) -> int:
    """Return the number of the latest event; 0 if there is none."""
    number: int = db.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0]
    return number


def purge(db: sqlite3.Connection, state: str, last: int, limit: int = 500) -> int:
    """Remove up to ``limit`` ended events with numbers up to ``last``, and return their number.

    An empty ``state`` stands for every state. An event with a record that still waits is kept.
    """
    return statements.remove_ended(db, "(? = '' OR state = ?) AND id <= ?", (state, state, last), limit)
