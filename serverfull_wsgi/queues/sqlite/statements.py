"""What is done with events and their records, each step as SQL inside one transaction.

A lease is a row's owner and count of runs, and its end is the row's ``due``: one index finds what is due and what was
lost. Whatever comes from a lease that is no longer the row's is turned away.
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

DEDUPE = 600.0  # seconds in which a repeated accept is known


class Event(NamedTuple):
    """An event as it was claimed: what to run, and the lease under which it runs."""

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
    owner: str

    @property
    def counts(self) -> Counts:
        return Counts(self.attempts, self.throttles, self.lost)

    @property
    def fence(self) -> tuple[int, str, int]:
        """What has to be as it was when an end is written."""
        return self.id, self.owner, self.runs

    @property
    def config(self) -> EventConfig:
        return EventConfig(**json.loads(self.config_json))

    @property
    def is_damaged(self) -> bool:
        """Whether it is no longer what was accepted."""
        return self.checksum != checksum(
            self.request_id, self.function, self.trace_id, self.config_json, payload=self.payload
        )


_COLUMNS = (
    "id, request_id, function, trace_id, config, checksum, payload, accepted, attempts, throttles, lost, runs, owner"
)


def checksum(*texts: str, payload: bytes) -> int:
    """Of what never changes in an event."""
    return zlib.crc32(payload, zlib.crc32("\0".join(texts).encode("utf-8", "surrogatepass")))


def insert(
    db: sqlite3.Connection, invocation: Invocation, config: EventConfig, dedupe: str, now: float, wall: float
) -> str:
    """Accepts an event and returns its request id, or the first one if ``dedupe`` says that it is known already."""
    if dedupe:
        known = db.execute("SELECT request_id FROM accepted WHERE key = ? AND until > ?", (dedupe, now)).fetchone()
        if known:
            return str(known[0])
        row = (dedupe, invocation.request_id, now + DEDUPE)
        db.execute("INSERT OR REPLACE INTO accepted VALUES (?, ?, ?)", row)
    texts = (invocation.request_id, invocation.function_name.arn, invocation.trace_id, _stamp(config))
    db.execute(
        "INSERT INTO event (request_id, function, trace_id, config, checksum, payload, due, accepted, accepted_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (request_id) DO NOTHING",
        (*texts, checksum(*texts, payload=invocation.payload), invocation.payload, now, now, wall),
    )
    return invocation.request_id


@lru_cache(maxsize=1024)
def _stamp(config: EventConfig) -> str:
    return json.dumps(asdict(config))


def claim(db: sqlite3.Connection, owner: str, now: float, lease: float, wall: float) -> Event | None:
    """The event that has been due longest, leased; one whose lease ran out counts one more as lost.

    Those that lost two leases are suspected of killing their process, and run one at a time: so one that does takes
    nobody with it that was suspected only because it was there.
    """
    row = db.execute(
        "UPDATE event SET state = 'running', owner = ?, due = ?, started_at = ?, runs = runs + 1, "
        "lost = lost + (state = 'running') WHERE id = (SELECT id FROM event WHERE due <= ? "
        "AND (lost + (state = 'running') < 2 OR NOT EXISTS "
        "(SELECT 1 FROM event WHERE lost >= 2 AND state = 'running' AND due > ?)) ORDER BY due LIMIT 1) "
        "RETURNING " + _COLUMNS,
        (owner, now + lease, wall, now, now),
    ).fetchall()
    return Event(*row[0]) if row else None


def next_due(db: sqlite3.Connection) -> float | None:
    """When the next event or record is due; None if nothing waits."""
    found: float | None = db.execute(
        "SELECT min(due) FROM (SELECT (SELECT due FROM event WHERE due IS NOT NULL ORDER BY due LIMIT 1) AS due "
        "UNION ALL SELECT (SELECT due FROM record WHERE due IS NOT NULL ORDER BY due LIMIT 1))"
    ).fetchone()[0]
    return found


def renew(db: sqlite3.Connection, table: str, ids: Iterable[int], owner: str, until: float) -> None:
    """Extends the leases that ``owner`` still has on these rows."""
    rows = [(until, id, owner) for id in ids]
    db.executemany(f"UPDATE {table} SET due = ? WHERE id = ? AND owner = ? AND due IS NOT NULL", rows)


def release(db: sqlite3.Connection, ids: Iterable[int], owner: str, now: float) -> None:
    """Gives leases back, so that another may run these events at once; that counts as nothing."""
    db.executemany(
        "UPDATE event SET state = 'queued', due = ?, owner = '' WHERE id = ? AND owner = ? AND state = 'running'",
        [(now, id, owner) for id in ids],
    )


def bury(db: sqlite3.Connection, owner: str, now: float) -> int:
    """Ends the leases of a process that is gone before their time, and says how many; they count as lost."""
    end = "SET due = ? WHERE due > ? AND owner = ?"
    return sum(db.execute(f"UPDATE {table} {end}", (now, now, owner)).rowcount for table in ("event", "record"))


def postpone(db: sqlite3.Connection, event: Event, counts: Counts, due: float, error: str) -> bool:
    """Lets an event rest until ``due``; False if its lease had gone to somebody else."""
    done = db.execute(
        "UPDATE event SET state = 'queued', due = ?, owner = '', attempts = ?, throttles = ?, error = ? "
        "WHERE id = ? AND owner = ? AND runs = ? AND state = 'running'",
        (due, counts.attempts, counts.throttles, error, *event.fence),
    )
    return done.rowcount == 1


def end(db: sqlite3.Connection, event: Event, ending: Final, now: float, wall: float) -> bool:
    """Writes an event's end and the records to deliver; False if its lease had gone to somebody else."""
    done = db.execute(
        "UPDATE event SET state = ?, due = NULL, owner = '', ended = ?, ended_at = ?, condition = ?, attempts = ?, "
        "throttles = ?, error = ?, result = ? WHERE id = ? AND owner = ? AND runs = ? AND state = 'running'",
        (ending.state, now, wall, ending.condition, *ending.counts[:2], ending.error, ending.result, *event.fence),
    )
    if done.rowcount != 1:
        return False
    db.executemany(
        "INSERT INTO record (event, kind, target, attributes, body, due) VALUES (?, ?, ?, ?, ?, ?)",
        [(event.id, *record, now) for record in ending.records],
    )
    return True


class Record(NamedTuple):
    """A record to deliver, as it was claimed."""

    id: int
    event: int
    kind: str
    target: str
    attributes: str
    body: bytes
    tries: int  # with this one
    owner: str
    request_id: str
    function: str
    trace_id: str


def claim_record(db: sqlite3.Connection, owner: str, now: float, lease: float) -> Record | None:
    """The record that has been due longest, leased."""
    row = db.execute(
        "UPDATE record SET owner = ?, due = ?, tries = tries + 1 "
        "WHERE id = (SELECT id FROM record WHERE due <= ? ORDER BY due LIMIT 1) "
        "RETURNING id, event, kind, target, attributes, body, tries, owner",
        (owner, now + lease, now),
    ).fetchall()
    if not row:
        return None
    about = db.execute("SELECT request_id, function, trace_id FROM event WHERE id = ?", (row[0][1],)).fetchone()
    return Record(*row[0], *about)


def settle_record(db: sqlite3.Connection, record: Record, state: str, due: float | None, error: str = "") -> bool:
    """``delivered``, ``dropped``, or still ``waiting`` until ``due``; False if the lease had gone to somebody else."""
    done = db.execute(
        "UPDATE record SET state = ?, due = ?, owner = '', error = ?, "
        "body = CASE ? WHEN 'delivered' THEN x'' ELSE body END "
        "WHERE id = ? AND owner = ? AND tries = ? AND state = 'waiting'",
        (state, due, error, state, record.id, record.owner, record.tries),
    )
    return done.rowcount == 1


def sweep(db: sqlite3.Connection, now: float, retention: float, most: int = 500) -> bool:
    """Removes what ended longer ago than ``retention`` seconds, but nothing with a record that still waits.

    Up to ``most`` events; says whether there may be more.
    """
    db.execute("DELETE FROM accepted WHERE key IN (SELECT key FROM accepted WHERE until < ? LIMIT 5000)", (now,))
    return remove(db, "ended < ?", (now - retention,), most) == most


def remove(db: sqlite3.Connection, which: str, values: Sequence[float | str], most: int) -> int:
    """Removes up to ``most`` events that ended, chosen by SQL, and says how many; waiting records keep theirs."""
    ids = db.execute(
        f"SELECT id FROM event WHERE ended IS NOT NULL AND {which} "
        "AND NOT EXISTS (SELECT 1 FROM record WHERE record.event = event.id AND record.due IS NOT NULL) LIMIT ?",
        (*values, most),
    ).fetchall()
    db.executemany("DELETE FROM record WHERE event = ?", ids)
    db.executemany("DELETE FROM event WHERE id = ?", ids)
    return len(ids)
