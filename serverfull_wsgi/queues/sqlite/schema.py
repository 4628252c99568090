"""The file events are kept in: its tables, and when it is not opened."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.storage import wal_check
from serverfull_wsgi.storage.sqlite_errors import is_damage

APPLICATION_ID = 0x5E4F0E11  # in the file's header, so that `file` and we can tell it
BUSY = 0.2  # seconds to wait for the lock of somebody who is none of us: a backup, a shell

# Each takes a store one version further; a store's version is how many it has been through. Times are in seconds:
# due, accepted, ended and until in the store's own (clock.py), those with _at as the wall clock gave them.
STEPS = (
    """
    CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL DEFAULT 'queued',  -- queued, running, succeeded, failed
        due REAL,                              -- queued: when to run it; running: the end of its lease; else NULL
        accepted REAL NOT NULL,
        accepted_at REAL NOT NULL,
        started_at REAL,
        ended REAL,
        ended_at REAL,
        attempts INTEGER NOT NULL DEFAULT 0,
        throttles INTEGER NOT NULL DEFAULT 0,
        lost INTEGER NOT NULL DEFAULT 0,       -- leases that ran out
        runs INTEGER NOT NULL DEFAULT 0,       -- leases given: with the owner, what fences late acknowledgements
        owner TEXT NOT NULL DEFAULT '',
        condition TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT '',
        function TEXT NOT NULL,                -- the ARN, as it was addressed
        trace_id TEXT NOT NULL,
        config TEXT NOT NULL,                  -- an EventConfig, in JSON
        checksum INTEGER NOT NULL,             -- of what never changes: a damaged event is not run
        payload BLOB NOT NULL,
        result BLOB
    );
    CREATE INDEX event_due ON event (due) WHERE due IS NOT NULL;
    CREATE INDEX event_ended ON event (ended) WHERE ended IS NOT NULL;
    CREATE TABLE record (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        event INTEGER NOT NULL,
        kind TEXT NOT NULL,                    -- on_success, on_failure, dead_letter
        target TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting', -- waiting, delivered, dropped
        due REAL,                              -- waiting: when to send it, or the end of its lease; else NULL
        tries INTEGER NOT NULL DEFAULT 0,
        owner TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT '',
        attributes TEXT NOT NULL,
        body BLOB NOT NULL
    );
    CREATE INDEX record_due ON record (due) WHERE due IS NOT NULL;
    CREATE INDEX record_event ON record (event);
    CREATE TABLE accepted (key TEXT PRIMARY KEY, request_id TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
    CREATE INDEX accepted_until ON accepted (until);
    """,
    """
    CREATE INDEX event_suspect ON event (due) WHERE lost >= 2 AND state = 'running';
    """,
)


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose commits are on the disk when they return; transactions are begun by hand."""
    db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    db.text_factory = lambda text: text.decode(errors="replace")  # damage is for the checksum to find
    try:
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA fullfsync=ON")  # where a disk would only be asked to write, macOS
        db.execute("PRAGMA journal_size_limit=33554432")  # bytes
        db.execute("PRAGMA cell_size_check=ON")
    except BaseException:
        db.close()
        raise
    return db


def create(path: Path, steps: Sequence[str] = STEPS) -> None:
    """Makes an empty store: whole or not at all, so that an empty file is never taken for a store."""
    made = path.with_name(f"{path.name}.{os.getpid()}.new")
    made.unlink(missing_ok=True)
    db = connect(made)
    try:
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        _advance(db, 0, steps)
        db.execute("PRAGMA journal_mode=WAL")
    finally:
        db.close()
    os.rename(made, path)
    _sync(path.parent)


def check(path: Path, steps: Sequence[str] = STEPS, *, thoroughly: bool) -> None:
    """Brings an older store up to date; ``thoroughly`` reads all of it.

    Raises `ConfigurationError` for what is no store, a damaged one, or one of a newer version.
    """
    if path.stat().st_size == 0:
        raise damaged(path, "the file is empty")
    if thoroughly and (what := wal_check.find_damage(path.with_name(f"{path.name}-wal"))):
        raise damaged(path, what)
    try:
        db = connect(path)
        try:
            _check(db, path, steps, thoroughly)
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        raise refusal(path, error) from None


def _check(db: sqlite3.Connection, path: Path, steps: Sequence[str], thoroughly: bool) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ConfigurationError(f"{path} is no event store, but some other SQLite file; name another one")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if not 0 < version <= len(steps):
        raise ConfigurationError(
            f"the event store {path} has version {version}, and this serverfull-wsgi knows up to {len(steps)}: "
            "run the newer serverfull-wsgi that wrote it, or name another store"
        )
    if thoroughly:
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise damaged(path, found)
    if version < len(steps):
        _advance(db, version, steps)


def _advance(db: sqlite3.Connection, version: int, steps: Sequence[str]) -> None:
    for number, step in enumerate(steps[version:], version + 1):
        db.executescript(f"BEGIN IMMEDIATE; {step}; PRAGMA user_version={number}; COMMIT;")


def refusal(path: Path, error: sqlite3.DatabaseError) -> ConfigurationError:
    """Why the store cannot be opened."""
    if is_damage(error):
        return damaged(path, str(error))
    return ConfigurationError(f"the event store {path} cannot be opened: {error}")


def damaged(path: Path, what: str) -> ConfigurationError:
    """The refusal of a store that is not as it was written."""
    return ConfigurationError(
        f"the event store {path} is damaged ({what}), so nothing starts and nothing was changed. Bring it back from a "
        f"backup with its -wal file; or save what can be saved with `sqlite3 {path.name} .recover`; or, giving its "
        f"events up, move {path.name}* aside and start again"
    )


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
