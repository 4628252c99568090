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
from serverfull_wsgi.storage.group_commit import StoreError

DEDUPE = 600.0  # seconds in which a repeated accept is recognised; boto3 makes 5 attempts of 60 s by default
PAGE = 500  # events that one transaction of an operator or of retention changes, since accepts wait meanwhile
PAGE_BYTES = 8 * 1024 * 1024  # bytes of such events: each page of the file that an event fills takes time too
KEY_BATCH = 5000  # keys of accepts removed in one transaction: small rows
KEPT_RESULT = 256 * 1024  # bytes of a result that are kept for `show`; the result itself may have 6 MB
SIZE = "length(payload) + coalesce(length(result), 0)"  # the bytes of an event; SQLite reads no payload for this


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
    principal: str | None

    @property
    def counts(self) -> Counts:
        return Counts(self.attempts, self.throttles, self.lost)

    @property
    def fence(self) -> tuple[int, str, int]:
        """The values that a row must still have when a result is written: its id, holder and count of runs."""
        return self.id, self.holder, self.runs

    @property
    def config(self) -> EventConfig:
        return _config(self.config_json)

    @property
    def is_damaged(self) -> bool:
        """Whether the event differs from the accepted event."""
        texts = self.request_id, self.function, self.trace_id, self.config_json
        try:  # without the caller's name, which older versions did not keep
            return self.checksum != checksum(*texts, payload=self.payload)
        except TypeError:  # one bit turns a text into a blob
            return True


_COLUMNS = (
    "id, request_id, function, trace_id, config, checksum, payload, accepted, attempts, throttles, lost, runs, owner, "
    "principal"
)


def checksum(*texts: str, payload: bytes) -> int:
    """Return the checksum of the fields that never change in an event."""
    return zlib.crc32(payload, zlib.crc32("\0".join(texts).encode("utf-8", "surrogatepass")))


class Lease(NamedTuple):
    """The lease of an event that runs as soon as it is accepted."""

    holder: str
    until: float  # store time


class Accepted(NamedTuple):
    """An accepted event: its request id, and the event itself if it was inserted with a lease."""

    request_id: str
    event: Event | None = None


def may_run_at_once(db: sqlite3.Connection, holder: str, now: float) -> bool:
    """Return whether ``holder`` leads and no other event is due, so that a new event may have its lease at once."""
    (may,) = db.execute(
        "SELECT EXISTS (SELECT 1 FROM leader WHERE holder = ? AND until > ?) "
        "AND NOT EXISTS (SELECT 1 FROM event WHERE due <= ?)",
        (holder, now, now),
    ).fetchone()
    return bool(may)


def insert(
    db: sqlite3.Connection,
    invocation: Invocation,
    config: EventConfig,
    dedupe: str,
    now: float,
    wall: float,
    max_bytes: int = 0,
    lease: Lease | None = None,
) -> Accepted:
    """Insert an event: queued, or claimed already with ``lease``.

    Nothing is inserted, and the request id is the first event's, if the key ``dedupe`` was used before. Raises
    `StoreError` if the file would exceed ``max_bytes``, unless that is 0.
    """
    if dedupe and (first := _first_request_id(db, dedupe, invocation.request_id, now)) != invocation.request_id:
        return Accepted(first)
    if max_bytes and (used := used_bytes(db)) + len(invocation.payload) > max_bytes:
        raise StoreError(f"the store has {used:,} bytes and may have {max_bytes:,} (SERVERFULL_EVENTS_MAX_BYTES)")
    texts = (invocation.request_id, invocation.function_name.arn, invocation.trace_id, _config_json(config))
    sum, payload, principal = checksum(*texts, payload=invocation.payload), invocation.payload, invocation.principal
    state = ("running", lease.until, lease.holder, 1, wall) if lease else ("queued", now, "", 0, None)
    cursor = db.execute(
        "INSERT INTO event (request_id, function, trace_id, config, checksum, payload, principal, accepted, "
        "accepted_at, state, due, owner, runs, started_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (request_id) DO NOTHING",
        (*texts, sum, payload, principal, now, wall, *state),
    )
    if lease is None or not cursor.rowcount or cursor.lastrowid is None:
        return Accepted(invocation.request_id)
    event = Event(cursor.lastrowid, *texts, sum, payload, now, 0, 0, 0, 1, lease.holder, principal)
    return Accepted(invocation.request_id, event)


def _first_request_id(db: sqlite3.Connection, key: str, request_id: str, now: float) -> str:
    """Note ``request_id`` under the key of its accept. Return the request id of the first event with the key."""
    cursor = db.execute(
        "INSERT INTO accepted VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
        "SET request_id = excluded.request_id, until = excluded.until WHERE until <= ?",
        (key, request_id, now + DEDUPE, now),
    )
    if cursor.rowcount:
        return request_id
    return str(db.execute("SELECT request_id FROM accepted WHERE key = ?", (key,)).fetchone()[0])


@lru_cache(maxsize=1024)
def _config(text: str) -> EventConfig:
    return EventConfig(**json.loads(text))


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
    leases = {"event": "state = 'running' AND owner = ?", "record": "owner <> '' AND owner = ?"}  # by an index each
    return sum(
        db.execute(f"UPDATE {table} SET due = ? WHERE {lease} AND due > ?", (now, holder, now)).rowcount
        for table, lease in leases.items()
    )


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
    result = kept_result(final.result)
    cursor = db.execute(
        "UPDATE event SET state = ?, due = NULL, owner = '', ended = ?, ended_at = ?, condition = ?, attempts = ?, "
        "throttles = ?, error = ?, result = ? WHERE id = ? AND owner = ? AND runs = ? AND state = 'running'",
        (
            final.state,
            now,
            wall,
            final.condition,
            *final.counts[:2],
            final.error,
            result,
            *event.fence,
        ),
    )
    if cursor.rowcount != 1:
        return False
    db.executemany(
        "INSERT INTO record (event, kind, target, attributes, body, due) VALUES (?, ?, ?, ?, ?, ?)",
        [(event.id, *record, now) for record in final.records],
    )
    return True


def kept_result(result: bytes | None) -> bytes | None:
    """Return the part of a result that the store keeps: all of it, or its start with a mark.

    >>> kept_result(b'"short"')
    b'"short"'
    >>> kept_result(b"x" * 400_000)[262_140:].decode()
    'xxxx… (cut: the result has 400,000 bytes, of which 262,144 are kept)'
    """
    if result is None or len(result) <= KEPT_RESULT:
        return result
    end = KEPT_RESULT
    while result[end] & 0xC0 == 0x80 and end > KEPT_RESULT - 4:  # inside a character
        end -= 1
    return result[:end] + f"… (cut: the result has {len(result):,} bytes, of which {end:,} are kept)".encode()


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


class Position(NamedTuple):
    """A place in the order of ends: the store time of an event's end, and the event's id."""

    ended: float = 0.0
    id: int = 0


def remove_expired(db: sqlite3.Connection, after: Position, now: float, retention: float) -> Position | None:
    """Remove a page of events that ended over ``retention`` seconds ago, in the order of their ends.

    Return the position after which the next page starts, None after the last page. An event with a record that still
    waits is kept.
    """
    rows = db.execute(
        f"SELECT id, {SIZE}, ended FROM event WHERE ended >= ? AND (ended, id) > (?, ?) AND ended < ? "
        "ORDER BY ended, id LIMIT ?",
        (after.ended, *after, now - retention, PAGE),
    ).fetchall()
    ids, last = page((id, size) for id, size, _ in rows)
    remove(db, ids)
    return None if last is None else Position(rows[len(ids) - 1][2], last)


def remove_expired_keys(db: sqlite3.Connection, now: float) -> bool:
    """Remove expired keys of accepts, and return whether there may be more of them."""
    cursor = db.execute(
        "DELETE FROM accepted WHERE key IN (SELECT key FROM accepted WHERE until < ? LIMIT ?)", (now, KEY_BATCH)
    )
    return cursor.rowcount == KEY_BATCH


def page(sizes: Iterable[tuple[int, int]]) -> tuple[list[int], int | None]:
    """Return the ids of the next page of (id, size), and the page's last id if there may be another page.

    A page has at most `PAGE` events and about `PAGE_BYTES` bytes, since accepts wait while a transaction changes them.

    >>> page([(1, 100), (2, 100)])
    ([1, 2], None)
    >>> page([(1, 5_000_000), (2, 5_000_000), (3, 100)])
    ([1, 2], 2)
    """
    ids: list[int] = []
    total = 0
    for id, size in sizes:
        ids.append(id)
        total += size
        if len(ids) == PAGE or total > PAGE_BYTES:
            return ids, id
    return ids, None


def remove(db: sqlite3.Connection, ids: Sequence[int]) -> int:
    """Remove ended events, except those with a record that still waits, and return their number."""
    waits = "SELECT 1 FROM record WHERE event = ? AND due IS NOT NULL LIMIT 1"
    rows = [(id,) for id in ids if not db.execute(waits, (id,)).fetchall()]
    db.executemany("DELETE FROM record WHERE event = ?", rows)
    db.executemany("DELETE FROM event WHERE id = ?", rows)
    return len(rows)


def used_bytes(db: sqlite3.Connection) -> int:
    """Return the size of the file without its free pages."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    used: int = (pages - free) * size
    return used
