"""The SQL of events and their records. Each function is one step inside a transaction of its caller.

A lease is three columns of a row: its holder (the column ``owner``), the count ``runs``, and its end, ``due``. One
index on ``due`` therefore finds both the rows that are due and the leases that ran out. A result is written only if
holder and count are still those of the lease; see `Event.fence`.

Parameters, unless a function has others: ``now`` is store time in seconds, ``wall`` seconds since 1970, ``lease``
seconds, ``holder`` the name of the process that holds leases.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import NamedTuple

from serverfull_wsgi.domain import Invocation
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.events.retry_policy import Counts
from serverfull_wsgi.events.runner import Final

DEDUPE = 600.0  # seconds in which a repeated accept is recognised; boto3 makes 5 attempts of 60 s by default
_BATCH = 500  # events removed in one transaction, since accepts wait meanwhile
_KEY_BATCH = 5000  # keys of accepts removed in one transaction: small rows


class Event(NamedTuple):
    """A claimed event: the invocation, and the lease under which it runs."""

    id: int
    request_id: str
    function: str
    trace_id: str
    config_json: str
    checksum: int
    payload: bytes
    accepted: float  # store time
    attempts: int
    throttles: int
    lost: int
    runs: int
    holder: str

    @property
    def counts(self) -> Counts:
        return Counts(self.attempts, self.throttles, self.lost)

    @property
    def fence(self) -> tuple[int, str, int]:
        """The values that a row must still have when a result is written: its id, holder and count of runs."""
        return self.id, self.holder, self.runs

    @property
    def config(self) -> EventConfig:
        return EventConfig(**json.loads(self.config_json))

    @property
    def is_damaged(self) -> bool:
        """Whether the event differs from the accepted event."""
        return self.checksum != checksum(
            self.request_id, self.function, self.trace_id, self.config_json, payload=self.payload
        )


_COLUMNS = (
    "id, request_id, function, trace_id, config, checksum, payload, accepted, attempts, throttles, lost, runs, owner"
)


def checksum(*texts: str, payload: bytes) -> int:
    """Return the checksum of the fields that never change in an event."""
    return zlib.crc32(payload, zlib.crc32("\0".join(texts).encode("utf-8", "surrogatepass")))


def insert(
    db: sqlite3.Connection, invocation: Invocation, config: EventConfig, dedupe: str, now: float, wall: float
) -> str:
    """Insert an event and return its request id, or the first event's id if the key ``dedupe`` was used before."""
    if dedupe:
        first = db.execute("SELECT request_id FROM accepted WHERE key = ? AND until > ?", (dedupe, now)).fetchone()
        if first:
            return str(first[0])
        row = (dedupe, invocation.request_id, now + DEDUPE)
        db.execute("INSERT OR REPLACE INTO accepted VALUES (?, ?, ?)", row)
    texts = (invocation.request_id, invocation.function_name.arn, invocation.trace_id, _config_json(config))
    db.execute(
        "INSERT INTO event (request_id, function, trace_id, config, checksum, payload, due, accepted, accepted_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (request_id) DO NOTHING",
        (*texts, checksum(*texts, payload=invocation.payload), invocation.payload, now, now, wall),
    )
    return invocation.request_id


@lru_cache(maxsize=1024)
def _config_json(config: EventConfig) -> str:
    return json.dumps(asdict(config))


def claim(db: sqlite3.Connection, holder: str, now: float, lease: float, wall: float) -> Event | None:
    """Lease the event that has been due longest and return the event; None if no event is due.

    If the event was running, its lease ran out and counts as lost. An event that lost two leases may be the one that
    kills its processes. Such events run one at a time, so that an innocent one does not lose further leases.
    """
    row = db.execute(
        "UPDATE event SET state = 'running', owner = ?, due = ?, started_at = ?, runs = runs + 1, "
        "lost = lost + (state = 'running') WHERE id = (SELECT id FROM event WHERE due <= ? "
        "AND (lost + (state = 'running') < 2 OR NOT EXISTS "
        "(SELECT 1 FROM event WHERE lost >= 2 AND state = 'running' AND due > ?)) ORDER BY due LIMIT 1) "
        "RETURNING " + _COLUMNS,
        (holder, now + lease, wall, now, now),
    ).fetchall()
    return Event(*row[0]) if row else None


def next_due(db: sqlite3.Connection) -> float | None:
    """Return the store time at which the next event or record is due; None if none waits."""
    due: float | None = db.execute(
        "SELECT min(due) FROM (SELECT (SELECT due FROM event WHERE due IS NOT NULL ORDER BY due LIMIT 1) AS due "
        "UNION ALL SELECT (SELECT due FROM record WHERE due IS NOT NULL ORDER BY due LIMIT 1))"
    ).fetchone()[0]
    return due


def oldest_due_age(db: sqlite3.Connection, now: float) -> float:
    """Return the seconds for which the event that has been due longest has waited; 0 if no event is due."""
    due = db.execute("SELECT min(due) FROM event WHERE due <= ?", (now,)).fetchone()[0]
    return 0.0 if due is None else float(now - due)


def renew(db: sqlite3.Connection, table: str, ids: Iterable[int], holder: str, until: float) -> None:
    """Extend the leases that ``holder`` still has on these rows to ``until``, in store time."""
    rows = [(until, id, holder) for id in ids]
    db.executemany(f"UPDATE {table} SET due = ? WHERE id = ? AND owner = ? AND due IS NOT NULL", rows)


def release(db: sqlite3.Connection, ids: Iterable[int], holder: str, now: float) -> None:
    """Give leases back, so that another process runs these events at once. The leases do not count as lost."""
    db.executemany(
        "UPDATE event SET state = 'queued', due = ?, owner = '' WHERE id = ? AND owner = ? AND state = 'running'",
        [(now, id, holder) for id in ids],
    )


def expire(db: sqlite3.Connection, holder: str, now: float) -> int:
    """End all leases of a dead process now, and return their number. The leases count as lost at the next claim."""
    end = "SET due = ? WHERE due > ? AND owner = ?"
    return sum(db.execute(f"UPDATE {table} {end}", (now, now, holder)).rowcount for table in ("event", "record"))


def postpone(db: sqlite3.Connection, event: Event, counts: Counts, due: float, error: str) -> bool:
    """Queue an event again until ``due``; return False if the event's lease is no longer valid."""
    cursor = db.execute(
        "UPDATE event SET state = 'queued', due = ?, owner = '', attempts = ?, throttles = ?, error = ? "
        "WHERE id = ? AND owner = ? AND runs = ? AND state = 'running'",
        (due, counts.attempts, counts.throttles, error, *event.fence),
    )
    return cursor.rowcount == 1


def end(db: sqlite3.Connection, event: Event, final: Final, now: float, wall: float) -> bool:
    """Write the end of an event and its records; return False if the event's lease is no longer valid."""
    cursor = db.execute(
        "UPDATE event SET state = ?, due = NULL, owner = '', ended = ?, ended_at = ?, condition = ?, attempts = ?, "
        "throttles = ?, error = ?, result = ? WHERE id = ? AND owner = ? AND runs = ? AND state = 'running'",
        (final.state, now, wall, final.condition, *final.counts[:2], final.error, final.result, *event.fence),
    )
    if cursor.rowcount != 1:
        return False
    db.executemany(
        "INSERT INTO record (event, kind, target, attributes, body, due) VALUES (?, ?, ?, ?, ?, ?)",
        [(event.id, *record, now) for record in final.records],
    )
    return True


class Record(NamedTuple):
    """A claimed record, to be delivered to its destination."""

    id: int
    event: int
    kind: str
    target: str
    attributes: str
    body: bytes
    tries: int  # deliveries, this one included
    holder: str
    request_id: str
    function: str
    trace_id: str


def claim_record(db: sqlite3.Connection, holder: str, now: float, lease: float) -> Record | None:
    """Lease the record that has been due longest and return the record; None if no record is due."""
    row = db.execute(
        "UPDATE record SET owner = ?, due = ?, tries = tries + 1 "
        "WHERE id = (SELECT id FROM record WHERE due <= ? ORDER BY due LIMIT 1) "
        "RETURNING id, event, kind, target, attributes, body, tries, owner",
        (holder, now + lease, now),
    ).fetchall()
    if not row:
        return None
    event = db.execute("SELECT request_id, function, trace_id FROM event WHERE id = ?", (row[0][1],)).fetchone()
    return Record(*row[0], *event)


def update_record(db: sqlite3.Connection, record: Record, state: str, due: float | None, error: str = "") -> bool:
    """Write a record's new state: ``delivered``, ``dropped``, or ``waiting`` until ``due``.

    Return False if the record's lease is no longer valid.
    """
    cursor = db.execute(
        "UPDATE record SET state = ?, due = ?, owner = '', error = ?, "
        "body = CASE ? WHEN 'delivered' THEN x'' ELSE body END "
        "WHERE id = ? AND owner = ? AND tries = ? AND state = 'waiting'",
        (state, due, error, state, record.id, record.holder, record.tries),
    )
    return cursor.rowcount == 1


def remove_expired(db: sqlite3.Connection, now: float, retention: float) -> bool:
    """Remove events that ended over ``retention`` seconds ago, and return whether there may be more of them.

    An event with a record that still waits is kept.
    """
    db.execute(
        "DELETE FROM accepted WHERE key IN (SELECT key FROM accepted WHERE until < ? LIMIT ?)", (now, _KEY_BATCH)
    )
    return remove_ended(db, "ended < ?", (now - retention,), _BATCH) == _BATCH


def remove_ended(db: sqlite3.Connection, condition: str, values: Sequence[float | str], limit: int) -> int:
    """Remove up to ``limit`` ended events that meet an SQL condition, and return their number.

    An event with a record that still waits is kept.
    """
    ids = db.execute(
        f"SELECT id FROM event WHERE ended IS NOT NULL AND {condition} "
        "AND NOT EXISTS (SELECT 1 FROM record WHERE record.event = event.id AND record.due IS NOT NULL) LIMIT ?",
        (*values, limit),
    ).fetchall()
    db.executemany("DELETE FROM record WHERE event = ?", ids)
    db.executemany("DELETE FROM event WHERE id = ?", ids)
    return len(ids)
