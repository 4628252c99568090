"""The tables of the store's file, and the checks of a file before it is used."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import struct
import time
from pathlib import Path

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.storage import private_files, wal_check
from serverfull_wsgi.storage.sqlite_errors import is_damage

APPLICATION_ID = 0x5E4F0E11  # in the file's header; distinguishes an event store from other SQLite files
BUSY_TIMEOUT = 0.2  # seconds to wait for SQLite's lock, if a backup or a shell holds it: other servers use the gate
JOURNAL_LIMIT = 32 * 1024 * 1024  # bytes of the write-ahead log that stay on the disk after a checkpoint

_MAGIC, _HEADER_SIZE, _USER_VERSION = b"SQLite format 3\0", 100, 60  # https://www.sqlite.org/fileformat.html
PROGRESS_PERIOD = 2.0  # seconds between two log lines about the progress of an upgrade
PROGRESS_STEPS = 10_000  # instructions of SQLite's virtual machine between two looks at the clock: about a millisecond
STEPS_PER_EVENT = 9  # of these instructions, to build an index; measured with 10,000 to 1,000,000 events
FIRST_WITH_LEASE = 3  # the first version in which the leader is a row of the store, and not the holder of a file lock

# Each migration raises a store's version by one. Times are in seconds. due, accepted, ended and until are store time
# (storage/clock.py); columns with _at are seconds since 1970. A row's owner is the process that holds its lease, which
# the code calls its holder; the owner of the store, an application, is in the table about.
MIGRATIONS = (
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
        runs INTEGER NOT NULL DEFAULT 0,       -- leases given: with the owner, the fence of late results
        owner TEXT NOT NULL DEFAULT '',
        condition TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT '',
        function TEXT NOT NULL,                -- the ARN, with the qualifier of the request
        trace_id TEXT NOT NULL,
        config TEXT NOT NULL,                  -- an EventConfig, in JSON
        checksum INTEGER NOT NULL,             -- of the fields that never change: a damaged event does not run
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
    """
    CREATE TABLE leader (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        holder TEXT NOT NULL,                  -- the process that runs events
        is_worker INTEGER NOT NULL,            -- 1 for `serverfull worker`
        until REAL NOT NULL                    -- the end of its leadership, unless the process renews it
    );
    """,
    """
    CREATE INDEX event_state ON event (state); -- with the id, as every index: pages of one state in order
    CREATE INDEX record_leased ON record (owner) WHERE owner <> '';
    """,
    """
    ALTER TABLE event ADD COLUMN principal TEXT; -- the caller's name, for the log; NULL without authentication
    """,
)


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection without automatic transactions, whose commits are on the disk when they return."""
    db = _connect(path)
    try:
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA fullfsync=ON")  # macOS: fsync alone leaves the data in the disk's cache
        db.execute(f"PRAGMA journal_size_limit={JOURNAL_LIMIT}")
        db.execute("PRAGMA cell_size_check=ON")
    except BaseException:
        db.close()
        raise
    return db


def connect_for_reading(path: Path) -> sqlite3.Connection:
    """Return a connection that changes nothing, and that never moves the write-ahead log into the file.

    Such a connection takes no part in SQLite's WAL-reset bug, so it needs no gate. Its file is open for reading only:
    SQLite therefore cannot checkpoint even if this connection is the last one that is closed.
    """
    db = _connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        db.execute("PRAGMA query_only=ON")
        db.execute("PRAGMA wal_autocheckpoint=0")
    except BaseException:
        db.close()
        raise
    return db


def connect_without_files(path: Path) -> sqlite3.Connection:
    """Return a connection for reading that makes no file beside the store.

    If the store's log has no index, or there is no log, nothing has the store open. SQLite then reads the file alone.
    """
    if _has(path, "-wal") and _has(path, "-shm"):
        return connect_for_reading(path)
    return _connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)


def has_unread_log(path: Path) -> bool:
    """Return whether the store has a log that `connect_without_files` does not read. The file may lack pages then."""
    return _has(path, "-wal") and not _has(path, "-shm")


def _has(path: Path, suffix: str) -> bool:
    return path.with_name(f"{path.name}{suffix}").exists()


def _connect(path: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False, uri=uri)
    db.text_factory = lambda text: text.decode(errors="replace")  # the checksum finds damaged text
    return db


def create(path: Path) -> None:
    """Create an empty store. The file appears under its name only when it is complete."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    private_files.create(new)
    db = connect(new)
    try:
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.executescript(f"BEGIN; {';'.join(MIGRATIONS)}; PRAGMA user_version={len(MIGRATIONS)}; COMMIT;")
        db.execute("PRAGMA journal_mode=WAL")
    finally:
        db.close()
    os.rename(new, path)
    private_files.sync_directory(path.parent)


def check(path: Path, logger: logging.Logger, *, thoroughly: bool) -> None:
    """Check a store's file and upgrade an older one. ``thoroughly`` reads the whole file and its log.

    Raises `ConfigurationError` if the file is not an event store, is damaged, or has a newer version.
    """
    if path.stat().st_size == 0:
        raise damage(path, "the file is empty")
    if thoroughly:
        _check_log(path)
    try:
        db = connect(path)
        try:
            _check(db, path, thoroughly)
            _upgrade(db, path, logger)
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        raise open_failure(path, error) from None


def version(path: Path) -> int:
    """Return the version of the store at ``path``; 0 if the file does not exist or is not a store."""
    if not path.exists():
        return 0
    try:
        with contextlib.closing(connect_for_reading(path)) as db:
            number: int = db.execute("PRAGMA user_version").fetchone()[0]
            return number
    except sqlite3.Error:
        return 0


def check_header(path: Path) -> None:
    """Raise `ConfigurationError` if the first bytes of the file show that `check` would refuse it.

    SQLite itself would make files beside the store. A migration that is only in the -wal file is not seen here.
    """
    with open(path, "rb") as file:
        header = file.read(_HEADER_SIZE)
    if not header:
        raise damage(path, "the file is empty")
    if len(header) < _HEADER_SIZE or not header.startswith(_MAGIC):
        raise damage(path, "file is not a database")
    _check_numbers(path, *struct.unpack_from(">i4xi", header, _USER_VERSION)[::-1])


def _check(db: sqlite3.Connection, path: Path, thoroughly: bool) -> None:
    application_id = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    _check_numbers(path, application_id, version)
    if thoroughly:
        _check_pages(db, path)


def check_content(db: sqlite3.Connection, path: Path) -> None:
    """Raise `ConfigurationError` if a store that no process has open, or its log, is damaged."""
    _check_log(path)
    _check_pages(db, path)


def _check_log(path: Path) -> None:
    if description := wal_check.find_damage(path.with_name(f"{path.name}-wal")):
        raise damage(path, description)


def _check_pages(db: sqlite3.Connection, path: Path) -> None:
    result = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if result != "ok":
        raise damage(path, result)


def _check_numbers(path: Path, application_id: int, version: int) -> None:
    if application_id != APPLICATION_ID:
        raise ConfigurationError(f"{path} is an SQLite file, but not an event store; set another path")
    if not 0 < version <= len(MIGRATIONS):
        raise ConfigurationError(
            f"the event store {path} has version {version}, and this serverfull-wsgi reads versions up to "
            f"{len(MIGRATIONS)}; run the serverfull-wsgi that wrote the store, or set another path"
        )


def _upgrade(db: sqlite3.Connection, path: Path, logger: logging.Logger) -> None:
    """Raise the store's version to the present one; log the start, the progress and the end of this."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == len(MIGRATIONS):
        return
    events = db.execute("SELECT count(*) FROM event").fetchone()[0]
    logger.info("upgrading the event store %s with %s events to version %s", path, f"{events:,}", len(MIGRATIONS))
    start = time.monotonic()
    db.set_progress_handler(UpgradeProgress(path, events, logger).advance, PROGRESS_STEPS)
    for number, migration in enumerate(MIGRATIONS[version:], version + 1):
        db.executescript(f"BEGIN IMMEDIATE; {migration}; PRAGMA user_version={number}; COMMIT;")
    db.set_progress_handler(None, 0)
    logger.info("upgraded the event store %s in %.1f s", path, time.monotonic() - start)


class UpgradeProgress:
    """Log lines about a long upgrade of the store at ``path`` with ``events`` events."""

    def __init__(self, path: Path, events: int, logger: logging.Logger) -> None:
        self._path, self._logger = path, logger
        self._total = max(1, events * STEPS_PER_EVENT)
        self._steps, self._logged = 0, time.monotonic()

    def advance(self) -> int:
        """Count `PROGRESS_STEPS` steps of SQLite. Return 0, which lets SQLite go on."""
        self._steps += PROGRESS_STEPS
        if time.monotonic() - self._logged >= PROGRESS_PERIOD:
            self._logged = time.monotonic()
            percent = min(99, 100 * self._steps // self._total)
            self._logger.info("upgrading the event store %s: about %d %% done", self._path, percent)
        return 0


def open_failure(path: Path, error: sqlite3.DatabaseError) -> ConfigurationError:
    """Return the error for a store that SQLite cannot open."""
    if is_damage(error):
        return damage(path, str(error))
    free_space = "free space on its disk, or " if "full" in str(error) else ""
    return ConfigurationError(
        f"the event store {path} cannot be opened: {error}; {free_space}set SERVERFULL_DATA_DIR to another directory"
    )


def damage(path: Path, description: str) -> ConfigurationError:
    """Return the error for a damaged store."""
    return ConfigurationError(
        f"the event store {path} is damaged ({description}). Nothing was started and nothing was changed. Restore the "
        f"file and its -wal file from a backup, or save the readable events with `sqlite3 {path.name} .recover`. To "
        f"give the events up, move {path.name}* to another directory and start again"
    )
