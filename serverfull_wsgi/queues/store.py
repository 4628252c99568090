"""One file of events: opened by many processes, written by one at a time, each commit on the disk when it returns.

Threads that write at the same time share a commit: whoever has the gate writes for all who wait, which is what makes
sixteen accepts cost little more than one. The gate holds between processes too, so no two ever write or checkpoint at
once; SQLite 3.7.0 to 3.51.2 can damage a WAL when they do.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.queues import schema
from serverfull_wsgi.queues.clock import Anchor, Clock, anchored, machine
from serverfull_wsgi.queues.locks import FileLock, Gate

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]

WAIT = 0.7  # seconds a write waits for its turn; with `schema.BUSY` an accept is answered within a second
OPENING = 30.0  # seconds a process waits for others to have opened the store
SLOW = "another process or the disk takes too long"
RESERVE = 8 * 1024 * 1024  # bytes kept for acknowledgements when the disk is full


class StoreError(Exception):
    """The store could not do it: the disk is full or broken, or the store is closed or held by somebody else."""


class _Write:
    """An operation that waits for a commit, its own or that of others."""

    __slots__ = ("done", "error", "operation", "result")

    def __init__(self, operation: Operation[Any]) -> None:
        self.operation = operation
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None


class Store:
    """Opens ``path``, making it where there is none.

    ``owner`` says whose events these are: a store in which another's wait is refused. ``now`` takes the place of the
    store's clock, for tests. Raises `ConfigurationError` for a store that cannot be used.
    """

    def __init__(
        self, path: Path, owner: str | None = None, *, now: Clock | None = None, steps: Sequence[str] = schema.STEPS
    ) -> None:
        self.path = path
        self.pid = os.getpid()
        self._waiting: list[_Write] = []
        self._list = threading.Lock()
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
            self.reserve = _Reserve(path.with_name(f"{path.name}.reserve"))
            with contextlib.suppress(OSError):  # on a full disk: no event is accepted until there is room for it
                self.reserve.fill()
        except ConfigurationError:
            raise
        except (ValueError, TypeError) as error:  # text that is none, even in SQLite's own messages
            raise schema.damaged(path, str(error)) from None
        except sqlite3.DatabaseError as error:
            raise schema.refusal(path, error) from None
        except OSError as error:
            raise ConfigurationError(
                f"the event store {path} cannot be opened: {error}; SERVERFULL_DATA_DIR names a folder this process "
                "may write to, and SERVERFULL_EVENTS=memory does without one"
            ) from None

    def _open(self, owner: str | None, steps: Sequence[str], now: Clock | None) -> sqlite3.Connection:
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
        self._check_pid()
        mine = _Write(operation)
        with self._list:
            self._waiting.append(mine)
        if self._gate.enter(WAIT, lambda: mine.done):
            try:
                with self._list:
                    batch, self._waiting = self._waiting, []
                if batch:
                    self._commit(batch)
            finally:
                self._gate.leave()
        elif not mine.done:
            with self._list, contextlib.suppress(ValueError):
                self._waiting.remove(mine)
            raise StoreError(SLOW)
        if mine.error is not None and vital and _is_full(mine.error) and self.reserve.release():
            return self.write(operation)
        if mine.error is not None:
            raise StoreError(str(mine.error)) from mine.error
        return mine.result  # type: ignore[no-any-return]

    def _commit(self, batch: list[_Write]) -> None:
        """All in one transaction; if that fails, each in its own, so that each has its own error.

        Another's lock is an error of all: nobody has the time to wait for it once more.
        """
        try:
            self._transaction(batch)
        except (sqlite3.Error, OSError, ValueError) as error:
            if len(batch) > 1 and not _is_busy(error):
                for write in batch:
                    self._commit([write])
                return
            for write in batch:
                write.error = error
        for write in batch:
            write.done = True

    def _transaction(self, batch: list[_Write]) -> None:
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            for write in batch:
                write.error, write.result = None, write.operation(db)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            raise

    def read(self, operation: Operation[T]) -> T:
        """What ``operation`` returns, from a state that was committed. Raises `StoreError`."""
        self._check_pid()
        if not self._gate.enter(WAIT * 10):
            raise StoreError(SLOW)
        try:
            return operation(self._db)
        except (sqlite3.Error, ValueError) as error:
            raise StoreError(str(error)) from error
        finally:
            self._gate.leave()

    def _check_pid(self) -> None:
        if self.pid != os.getpid():
            raise StoreError("this process is a fork of the one that opened the store")

    def close(self) -> None:
        """Lets go of the file, once whoever writes has written. The last one to go checkpoints it."""
        if self.pid == os.getpid():
            passed = self._gate.enter(OPENING)
            self._db.close()
            if passed:
                self._gate.leave()
        self._close_locks()

    def _close_locks(self) -> None:
        for lock in (self.dispatching, self.worker, self._users, self._gate):
            lock.close()


class _Reserve:
    """Space on the disk that is given back when acknowledgements need it; without it no event is accepted."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_full(self) -> bool:
        return self._path.exists()

    def fill(self) -> None:
        """Takes the space again. Raises OSError while there is none."""
        if self.is_full():
            return
        filling = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        fd = os.open(filling, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, RESERVE)
            os.rename(filling, self._path)
        except OSError:
            os.unlink(filling)
            raise
        finally:
            os.close(fd)

    def release(self) -> bool:
        """Whether there was space to give back."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


def _is_busy(error: Exception) -> bool:
    return "locked" in str(error)


def _is_full(error: Exception) -> bool:
    return "full" in str(error)


def _clock(db: sqlite3.Connection) -> Clock:
    boot, ticks = machine()
    row = db.execute("SELECT value FROM about WHERE name = 'clock'").fetchone()
    latest = db.execute("SELECT accepted FROM event ORDER BY id DESC LIMIT 1").fetchone() or (0.0,)
    anchor = anchored(Anchor.read(row[0]) if row else None, latest[0], boot, ticks(), time.time())
    db.execute("INSERT OR REPLACE INTO about VALUES ('clock', ?)", (anchor.write(),))
    return lambda: anchor.now(ticks())


def _claim_store(db: sqlite3.Connection, owner: str, alone: bool, path: Path) -> None:
    row = db.execute("SELECT value FROM about WHERE name = 'owner'").fetchone()
    if row and row[0] != owner:
        waiting = db.execute("SELECT count(*) FROM event WHERE due IS NOT NULL").fetchone()[0]
        if waiting or not alone:
            reason = f"has {waiting} of its events" if waiting else "is in use"
            raise ConfigurationError(
                f"the event store {path} belongs to the application {row[0]!r} and {reason}, and this one is "
                f"{owner!r}: two applications would take each other's events. Name another SERVERFULL_DATA_DIR, or say "
                f"SERVERFULL_EVENTS_APPLICATION={row[0]} if they are the same"
            )
    db.execute("INSERT OR REPLACE INTO about VALUES ('owner', ?)", (owner,))
