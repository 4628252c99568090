"""An open event store: one file that many processes have open and that one thread at a time uses.

Threads share commits (`storage.group_commit`), and each commit is on the disk when `Store.write` returns. The gate
holds between processes too, so that no two connections write or checkpoint at once; see `serverfull_wsgi.storage`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.queues.sqlite import schema
from serverfull_wsgi.storage import private_files
from serverfull_wsgi.storage.clock import Anchor, anchored, boot_clock
from serverfull_wsgi.storage.disk_reserve import DiskReserve
from serverfull_wsgi.storage.group_commit import GroupCommit, Operation, StoreError, T, Write
from serverfull_wsgi.storage.hung_holder import HungHolder
from serverfull_wsgi.storage.locks import FileLock, Gate
from serverfull_wsgi.storage.progress import Progress
from serverfull_wsgi.storage.sqlite_errors import is_damage, is_disk_full
from serverfull_wsgi.telemetry.scope import LOGGER

USERS, WRITING, OPENING = "users", "writing", "opening"  # in the directory of locks: users, gate, progress of a check
OLDER_VERSIONS = range(1, schema.FIRST_WITH_LEASE)
OLDER_LEADER_PAUSE = 0.1  # seconds between two attempts to exclude a leader of an older version
OLDER_LEADER = (
    "the event store %s is run by a process of an older version of serverfull-wsgi; this process waits until that one "
    "stops, and then upgrades the store"
)
OPEN_TIMEOUT = 30.0  # seconds without progress that a process waits while another checks or upgrades the store
CHECK_TIMEOUT = 1.0  # seconds in which the gate is free for a moment, unless a process checks or upgrades the store
OPEN_PERIOD = 1.0  # seconds between two looks at that progress


class Store:
    """The store in the file ``path``, which is created if it does not exist.

    ``owner`` is the application that the events belong to, None for no check. ``locks`` is the directory with the lock
    files.

    Raises `ConfigurationError` if the store cannot be used.
    """

    def __init__(self, path: Path, owner: str | None = None, logger: logging.Logger = LOGGER) -> None:
        self.path = path
        self.pid = os.getpid()
        self._logger = logger
        try:
            self.locks = path.with_name(f"{path.name}.locks")
            private_files.make_directory(path.parent)
            self.locks.mkdir(exist_ok=True, mode=0o700)
            self._users, self._gate = FileLock(self.locks / USERS), Gate(self.locks / WRITING)
            self._older_leader = FileLock(self.locks / "dispatching")
            self._progress = Progress(self.locks / OPENING)
            self.reserve = DiskReserve(path.with_name(f"{path.name}.reserve"))
            self.reserve.release_if_full()  # SQLite needs a little space to open a file
            try:
                self._db = self._open(owner)
            except BaseException:
                self._close_locks()
                raise
            self._commits = GroupCommit(self._db, self._gate, self._place.check)
            self._readers = Readers(path, self._place)
            with contextlib.suppress(OSError):  # the disk is full: no event is accepted until it has space
                self.reserve.acquire()
        except ConfigurationError:
            raise
        except (ValueError, TypeError) as error:  # damaged text, even in SQLite's own messages
            raise schema.damage(path, str(error)) from None
        except sqlite3.DatabaseError as error:
            raise schema.open_failure(path, error) from None
        except OSError as error:
            raise _unusable(path, error) from None

    def _open(self, owner: str | None) -> sqlite3.Connection:
        self._enter_to_open()
        try:
            self.is_first = is_first = self._users.acquire()  # no other process has the store open
            if self.path.exists():
                with self._progress.shown():
                    schema.check(self.path, self._logger, thoroughly=is_first)
            elif _has_log_only(self.path):
                raise _log_only(self.path)
            else:
                schema.create(self.path)
            self._users.acquire(OPEN_TIMEOUT, shared=True)
            self._place = Place(self.path, self._logger)
            db = schema.connect(self.path)
            try:
                db.execute("BEGIN IMMEDIATE")
                if owner is not None:
                    _set_owner(db, owner, is_first, self.path)
                self._anchor, self._ticks = _saved_anchor(db), boot_clock()[1]
                db.execute("COMMIT")
                if is_first:
                    _end_last_term(db)
                self._place.note_opened()
            except BaseException:
                db.close()
                raise
            return db
        finally:
            self._gate.leave()

    def _enter_to_open(self) -> None:
        """Enter the gate, once no process of an older version runs the events of a store that must be upgraded."""
        is_waiting = False
        while True:
            self._wait_for_gate()
            try:
                may_open = self.excludes_older_leader() or schema.version(self.path) not in OLDER_VERSIONS
            except BaseException:
                self._gate.leave()
                raise
            if may_open:
                return
            self._gate.leave()
            if not is_waiting:
                self._logger.warning(OLDER_LEADER, self.path)
            is_waiting = True
            time.sleep(OLDER_LEADER_PAUSE)

    def _wait_for_gate(self) -> None:
        """Enter the gate. Wait for as long as a process that checks or upgrades the store makes progress.

        Raises OSError if there is no progress for `OPEN_TIMEOUT` seconds.
        """
        seen, deadline, is_waiting = self._progress.last(), time.monotonic() + OPEN_TIMEOUT, False
        while not self._gate.enter(min(OPEN_PERIOD, OPEN_TIMEOUT)):
            if (last := self._progress.last()) != seen:
                seen, deadline = last, time.monotonic() + OPEN_TIMEOUT
                if not is_waiting:
                    self._logger.info("another process checks the event store %s; this process waits", self.path)
                is_waiting = True
            if time.monotonic() >= deadline:
                raise OSError(f"another process holds the store, and has made no progress for {OPEN_TIMEOUT:g} s")

    def excludes_older_leader(self) -> bool:
        """Return whether no process of a version before `schema.FIRST_WITH_LEASE` runs events, now and later.

        Such a process leads while it holds the lock ``dispatching`` alone. This process shares the lock as soon as it
        is free, and keeps it. So two processes never lead, whatever their versions.
        """
        return self._older_leader.is_held or self._older_leader.acquire(shared=True)

    def hung_holder(self, seconds: float) -> HungHolder:
        """Return the observations of the process that holds the gate; it hangs after ``seconds`` without a sign."""
        files = [self.path.with_name(f"{self.path.name}-wal"), self.path, self.locks / OPENING]
        return HungHolder(self.locks / WRITING, files, seconds)

    def now(self) -> float:
        """Return the store time in seconds."""
        return self._anchor.now(self._ticks())

    def write(self, operation: Operation[T], *, may_use_reserve: bool = False) -> T:
        """Run ``operation`` in a transaction, and return its result once the transaction is on the disk.

        Operations of several threads may share the transaction. An operation may be called more than once, each time in
        a new transaction. ``may_use_reserve`` is for results of events: if the disk is full, the reserve is released
        and the operation runs again.

        Raises `StoreError` if the operation is not on the disk. It does so within a second, unless a transaction with
        the operation has begun and the disk is slow.
        """
        self._check_open()
        write = Write(operation)
        self._commits.commit(write)
        if may_use_reserve and write.error is not None and is_disk_full(write.error) and self.reserve.release():
            return self.write(operation)
        result: T = _result(write)
        return result

    def defer(self, operation: Operation[Any]) -> Write:
        """Run ``operation`` in the next transaction. Return its write at once, for `finish` soon after."""
        write = Write(operation)
        self._commits.defer(write)
        return write

    def finish(self, write: Write) -> Any:
        """Return the result of a deferred write once it is on the disk. Raises `StoreError` if it is not there."""
        self._check_open()
        self._commits.commit(write)
        return _result(write)

    def accept(self, operation: Operation[T], settled: Callable[[Write], None] | None = None) -> T:
        """Run ``operation``, which inserts an event, as `write` does; the disk reserve must be held.

        ``settled`` is called when the operation is on the disk or has failed, before its caller goes on.

        Raises `StoreError`, also if a restart would not find the event: the open files are no longer at their paths.
        """
        self._check_open()
        if self._place.is_lost or not self.reserve.is_held():
            self._place.check()
            if not self.reserve.is_held():
                raise StoreError("the disk is full")
        write = Write(operation, is_confirmed=True, settled=settled)
        self._commits.commit(write)
        result: T = _result(write)
        return result

    def reserve_space(self) -> None:
        """Reserve disk space for results again, if it was released. Raises OSError if the disk is full."""
        if not self._place.is_lost:
            self.reserve.acquire()

    def read(self, operation: Operation[T]) -> T:
        """Run ``operation`` on committed data and return its result. Raises `StoreError`.

        A read has a connection of its own and does not enter the gate. However long it takes, it delays no write.
        """
        self._check_open()
        try:
            with self._readers.connection() as db:
                return operation(db)
        except (sqlite3.Error, ValueError) as error:
            raise StoreError(str(error)) from error

    def _check_open(self) -> None:
        if self.pid != os.getpid():
            raise StoreError("this process is a fork of the process that opened the store")
        if self._gate.is_closed:
            raise StoreError("the store is closed")

    def close(self) -> None:
        """Close the file after the present write. The last process that closes it moves its log into the file."""
        if self.pid == os.getpid():
            self._readers.close()
            is_inside = self._gate.enter(OPEN_TIMEOUT)
            self._db.close()
            self._gate.close()
            if is_inside:
                self._gate.leave()
        self._close_locks()

    def _close_locks(self) -> None:
        self._users.close()
        self._older_leader.close()
        self._gate.close()


def _result(write: Write) -> Any:
    error = write.error
    if error is None:
        return write.result
    raise error if isinstance(error, StoreError) else StoreError(str(error)) from error


class StoreLostError(StoreError):
    """A store whose files are no longer where a restart looks for them."""


class Place:
    """The files of an open store, at the paths under which a restart opens them.

    Without the file or its log, or with others at these paths, a restart finds none of the events that are accepted
    from now on. The check takes three calls of stat, about 5 µs.
    """

    def __init__(self, path: Path, logger: logging.Logger) -> None:
        self._path, self._logger = path.absolute(), logger
        self._paths = [f"{self._path}{suffix}" for suffix in ("", "-wal", "-shm")]
        self._opened = self._files()
        self._lock = threading.Lock()
        self.is_lost = False

    def _files(self) -> list[tuple[int, int] | None]:
        return [_identity(path) for path in self._paths]

    def note_opened(self) -> None:
        """Note the log and the index, which exist as soon as the store is open.

        The store itself was noted before it was opened. So a file that vanishes in between is found by `check`.
        """
        self._opened = [self._opened[0], *self._files()[1:]]

    def check(self) -> None:
        """Raise `StoreLostError` if a restart would open other files. The first failure is logged as an error."""
        files = self._files()
        is_lost = files != self._opened or None in files
        if is_lost != self.is_lost:
            self._note(is_lost)
        if is_lost:
            raise StoreLostError(f"the files of the event store {self._path} were moved, removed or replaced")

    def _note(self, is_lost: bool) -> None:
        with self._lock:
            was_lost, self.is_lost = self.is_lost, is_lost
        if is_lost and not was_lost:
            self._logger.error(
                "the files of the event store %s were moved, removed or replaced while this server had them open: "
                "events are refused with a 500 until the files are back or the server is restarted",
                self._path,
            )
        elif was_lost and not is_lost:
            self._logger.warning("the files of the event store %s are back: events are accepted again", self._path)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Readers:
    """Connections for reading. Each read has one for itself; those that no read uses are kept for the next reads."""

    def __init__(self, path: Path, place: Place) -> None:
        self._path, self._place = path.absolute(), place
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection to one read."""
        try:
            db = self._idle.pop()
        except IndexError:
            db = self._connect()
        try:
            yield db
        finally:
            self._idle.append(db)
            if self._is_closed:
                self.close()

    def _connect(self) -> sqlite3.Connection:
        """Open one more connection. Raises `StoreLostError` if it would read another store."""
        db = schema.connect_for_reading(self._path)
        try:
            db.execute("SELECT 1 FROM about").fetchone()  # opens the files
            self._place.check()
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Close the connections. One that a read uses is closed at the end of the read."""
        self._is_closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()


def _end_last_term(db: sqlite3.Connection) -> None:
    """Let this process lead at once: the last leader was killed, or the file is a copy. On a full disk, do nothing."""
    try:
        db.execute("DELETE FROM leader WHERE one = 1")  # without a condition it writes if there is none too
    except sqlite3.Error as error:
        if not is_disk_full(error):
            raise


def _saved_anchor(db: sqlite3.Connection) -> Anchor:
    """Return the anchor of store time in this boot. The first process of a boot saves the anchor for the others."""
    boot, ticks = boot_clock()
    row = db.execute("SELECT value FROM about WHERE name = 'clock'").fetchone()
    latest = db.execute("SELECT accepted FROM event ORDER BY id DESC LIMIT 1").fetchone() or (0.0,)
    saved = Anchor.from_json(row[0]) if row else None
    anchor = anchored(saved, latest[0], boot, ticks(), time.time())
    if anchor is not saved:
        db.execute("INSERT OR REPLACE INTO about VALUES ('clock', ?)", (anchor.to_json(),))
    return anchor


def check_place(path: Path, owner: str | None) -> None:
    """Raise `ConfigurationError` if ``owner`` cannot open or create a store at ``path``. Leave no file behind."""
    try:
        existing = next(place for place in (path, *path.parents) if place.exists())
    except OSError as error:
        raise _unusable(path, error) from None
    if existing == path and existing.is_dir():
        raise _unusable(path, f"{existing} is a directory")
    if existing != path and not existing.is_dir():
        raise _unusable(path, f"{existing} is not a directory")
    directory = existing if existing.is_dir() else path.parent  # SQLite makes further files beside the store
    for place in {existing, directory, *path.parent.glob(f"{path.name}.locks")}:
        if not os.access(place, os.R_OK | os.W_OK | (os.X_OK if place.is_dir() else 0)):
            raise _unusable(path, f"this process may not write to {place}")
    if existing != path:
        try:  # `os.access` allows root to write to /proc too
            os.rmdir(tempfile.mkdtemp(prefix=".serverfull-check-", dir=directory))
        except OSError as error:
            raise _unusable(path, f"{directory}: {error.strerror}") from None
    if existing == path:
        schema.check_header(path)
        _check_content(path, owner)
    elif existing == path.parent and _has_log_only(path):
        raise _log_only(path)


def exposure(path: Path) -> str:
    """Return a warning if other users of the machine can read the events at ``path``, otherwise an empty text."""
    names = private_files.readable_by_others(path.parent, [f"{path.name}{suffix}" for suffix in ("", "-wal", "-shm")])
    if not names:
        return ""
    files = " ".join(str(path.with_name(name)) for name in names)
    return (
        f"other users of this machine can read the events in {path}, with their payloads; "
        f"run chmod o-rwx {path.parent} {files}"
    )


def _has_log_only(path: Path) -> bool:
    return path.with_name(f"{path.name}-wal").exists() and not path.exists()


def _log_only(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"the event store {path} does not exist, but its -wal file does; restore the file, or move "
        "the -wal file to another directory to start without its events"
    )


def _unusable(path: Path, reason: object) -> ConfigurationError:
    return ConfigurationError(
        f"the event store {path} cannot be opened: {reason}; set SERVERFULL_DATA_DIR to a directory that this process "
        "may write to, or SERVERFULL_EVENTS=memory to keep events in memory only"
    )


def _check_content(path: Path, owner: str | None) -> None:
    """Raise `ConfigurationError` if the store at ``path`` is damaged, or if another application uses it.

    A store in use was checked when it was opened. A log without its index is left to the start, which reads it.
    """
    with _held(path.with_name(f"{path.name}.locks")) as is_first:
        try:
            with contextlib.closing(schema.connect_without_files(path)) as db:
                if is_first and not schema.has_unread_log(path):
                    schema.check_content(db, path)
                if owner is not None:
                    _refuse_other_owner(db, owner, is_first, path)
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                raise schema.damage(path, str(error)) from None


@contextlib.contextmanager
def _held(locks: Path) -> Iterator[bool]:
    """Yield whether no process has the store open. If so, a process that opens the store waits until the end.

    ``locks`` is the directory with the lock files. Without them no process has opened the store.
    """
    if not all((locks / name).exists() for name in (USERS, WRITING)):
        yield True
        return
    users, gate = FileLock(locks / USERS), FileLock(locks / WRITING)
    try:
        if gate.acquire(CHECK_TIMEOUT) and users.acquire():
            with Progress(locks / OPENING).shown():
                yield True
        else:
            gate.close()  # others write meanwhile
            yield False
    finally:
        users.close()
        gate.close()


def _refuse_other_owner(db: sqlite3.Connection, owner: str, is_first: bool, path: Path) -> None:
    """Raise `ConfigurationError` if the store belongs to another application that still uses it."""
    row = db.execute("SELECT value FROM about WHERE name = 'owner'").fetchone()
    if row and row[0] != owner:
        waiting = db.execute("SELECT count(*) FROM event WHERE due IS NOT NULL").fetchone()[0]
        if waiting or not is_first:
            reason = f"has {waiting} of its events" if waiting else "is in use"
            raise ConfigurationError(
                f"the event store {path} belongs to the application {row[0]!r} and {reason}, and this application is "
                f"{owner!r}: each would run the other's events. Set another SERVERFULL_DATA_DIR, or "
                f"SERVERFULL_EVENTS_OWNER={row[0]} if both are the same application"
            )


def _set_owner(db: sqlite3.Connection, owner: str, is_first: bool, path: Path) -> None:
    """Write the application that the store belongs to. Raises `ConfigurationError` if another one still uses it."""
    _refuse_other_owner(db, owner, is_first, path)
    db.execute(
        "INSERT INTO about VALUES ('owner', ?) ON CONFLICT DO UPDATE SET value = excluded.value "
        "WHERE value <> excluded.value",
        (owner,),
    )
