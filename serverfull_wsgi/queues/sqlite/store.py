"""One file of events: opened by many processes, written by one at a time, each commit on the disk when it returns.

Threads share commits (commits.py). The gate holds between processes too, so no two ever write or checkpoint at once;
SQLite 3.7.0 to 3.51.2 can damage a WAL when they do.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.queues.sqlite import schema
from serverfull_wsgi.storage.clock import Anchor, Ticks, anchored, boot_clock
from serverfull_wsgi.storage.disk_reserve import DiskReserve
from serverfull_wsgi.storage.group_commit import TIMEOUT, TOO_SLOW, GroupCommit, Operation, StoreError, T
from serverfull_wsgi.storage.locks import FileLock, Gate
from serverfull_wsgi.storage.sqlite_errors import is_disk_full

OPENING = 30.0  # seconds a process waits for others to have opened the store


class Store:
    """Opens ``path``, making it where there is none.

    ``owner`` says whose events these are: a store in which another's wait is refused. ``now`` takes the place of the
    store's clock, for tests. Raises `ConfigurationError` for a store that cannot be used.
    """

    def __init__(
        self, path: Path, owner: str | None = None, *, now: Ticks | None = None, steps: Sequence[str] = schema.STEPS
    ) -> None:
        self.path = path
        self.pid = os.getpid()
        try:
            self.locks = locks = path.with_name(f"{path.name}.locks")
            locks.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.dispatching, self.worker = FileLock(locks / "dispatching"), FileLock(locks / "worker")
            self._users, self._gate = FileLock(locks / "users"), Gate(locks / "writing")
            try:
                self._db = self._open(owner, steps, now)
            except BaseException:
                self._close_locks()
                raise
            self._commits = GroupCommit(self._db, self._gate)
            self.reserve = DiskReserve(path.with_name(f"{path.name}.reserve"))
            with contextlib.suppress(OSError):  # on a full disk: no event is accepted until there is room for it
                self.reserve.acquire()
        except ConfigurationError:
            raise
        except (ValueError, TypeError) as error:  # text that is none, even in SQLite's own messages
            raise schema.damaged(path, str(error)) from None
        except sqlite3.DatabaseError as error:
            raise schema.refusal(path, error) from None
        except OSError as error:
            raise _unusable(path, error) from None

    def _open(self, owner: str | None, steps: Sequence[str], now: Ticks | None) -> sqlite3.Connection:
        if not self._gate.enter(OPENING):
            raise OSError("another process holds it")
        try:
            alone = self._users.acquire()
            if self.path.exists():
                schema.check(self.path, steps, thoroughly=alone)
            elif self.path.with_name(f"{self.path.name}-wal").exists():
                raise ConfigurationError(
                    f"the event store {self.path} is gone, but its -wal file is there: bring it back"
                )
            else:
                schema.create(self.path, steps)
            self._users.acquire(OPENING, shared=True)
            db = schema.connect(self.path)
            try:
                db.execute("BEGIN IMMEDIATE")
                if owner is not None:
                    _claim_store(db, owner, alone, self.path)
                self.now = now or _clock(db)
                db.execute("COMMIT")
            except BaseException:
                db.close()
                raise
            return db
        finally:
            self._gate.leave()

    def write(self, operation: Operation[T], *, vital: bool = False) -> T:
        """What ``operation`` returns, once its transaction is on the disk; it may share that with others' operations.

        It may be called more than once, each time in a fresh transaction. ``vital`` ones, which make events end, go on
        from reserved space when the disk is full. Raises `StoreError` within a second.
        """
        self._check_open()
        done = self._commits.write(operation)
        error = done.error
        if error is None:
            return done.result  # type: ignore[no-any-return]
        if vital and is_disk_full(error) and self.reserve.release():
            return self.write(operation)
        raise StoreError(str(error)) from error

    def read(self, operation: Operation[T]) -> T:
        """What ``operation`` returns, from a state that was committed. Raises `StoreError`."""
        self._check_open()
        if not self._gate.enter(TIMEOUT * 10):
            raise StoreError(TOO_SLOW)
        try:
            return operation(self._db)
        except (sqlite3.Error, ValueError) as error:
            raise StoreError(str(error)) from error
        finally:
            self._gate.leave()

    def _check_open(self) -> None:
        if self.pid != os.getpid():
            raise StoreError("this process is a fork of the one that opened the store")
        if self._gate.is_closed:
            raise StoreError("it is closed")

    def close(self) -> None:
        """Lets go of the file, once whoever writes has written. The last one to go checkpoints it."""
        if self.pid == os.getpid():
            passed = self._gate.enter(OPENING)
            self._db.close()
            self._gate.close()
            if passed:
                self._gate.leave()
        self._close_locks()

    def _close_locks(self) -> None:
        for lock in (self.dispatching, self.worker, self._users, self._gate):
            lock.close()


def _clock(db: sqlite3.Connection) -> Ticks:
    boot, ticks = boot_clock()
    row = db.execute("SELECT value FROM about WHERE name = 'clock'").fetchone()
    latest = db.execute("SELECT accepted FROM event ORDER BY id DESC LIMIT 1").fetchone() or (0.0,)
    anchor = anchored(Anchor.from_json(row[0]) if row else None, latest[0], boot, ticks(), time.time())
    db.execute("INSERT OR REPLACE INTO about VALUES ('clock', ?)", (anchor.to_json(),))
    return lambda: anchor.now(ticks())


def check_place(path: Path) -> None:
    """Looks whether a store could be opened or made at ``path``, and makes nothing. Raises `ConfigurationError`."""
    try:
        there = next(place for place in (path, *path.parents) if place.exists())
    except OSError as error:
        raise _unusable(path, error) from None
    if (there == path) == there.is_dir():
        raise _unusable(path, f"{there} is {'a' if there == path else 'no'} folder")
    if not os.access(there, os.R_OK | os.W_OK):
        raise _unusable(path, f"this process may not write to {there}")


def _unusable(path: Path, why: object) -> ConfigurationError:
    return ConfigurationError(
        f"the event store {path} cannot be opened: {why}; SERVERFULL_DATA_DIR names a folder this process may write "
        "to, and SERVERFULL_EVENTS=memory does without one"
    )


def _claim_store(db: sqlite3.Connection, owner: str, alone: bool, path: Path) -> None:
    row = db.execute("SELECT value FROM about WHERE name = 'owner'").fetchone()
    if row and row[0] != owner:
        waiting = db.execute("SELECT count(*) FROM event WHERE due IS NOT NULL").fetchone()[0]
        if waiting or not alone:
            reason = f"has {waiting} of its events" if waiting else "is in use"
            raise ConfigurationError(
                f"the event store {path} belongs to the application {row[0]!r} and {reason}, and this one is "
                f"{owner!r}: two applications would take each other's events. Name another SERVERFULL_DATA_DIR, or say "
                f"SERVERFULL_EVENTS_OWNER={row[0]} if they are the same"
            )
    db.execute("INSERT OR REPLACE INTO about VALUES ('owner', ?)", (owner,))
