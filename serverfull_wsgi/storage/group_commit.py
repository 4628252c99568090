"""Transactions that threads share: sixteen writes at once cost little more than one.

The first thread that writes is the leader. It writes the operations of all threads that wait by then in one
transaction. The first thread that came meanwhile is the next leader. A thread is woken only when its own operation
is on the disk or when the thread becomes the leader.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from serverfull_wsgi.storage.locks import Gate
from serverfull_wsgi.storage.sqlite_errors import is_busy

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]

TIMEOUT = 0.7  # seconds a write waits for its turn; with `schema.BUSY_TIMEOUT` a transaction begins within a second
TOO_SLOW = "another process holds the store, or the disk is too slow"


class StoreError(Exception):
    """A store that cannot read or write: the disk is full or broken, or the store is closed or held by another."""


class Write:
    """One operation in a commit; ``error`` is None once the operation is on the disk.

    A write that a transaction took waits for the end of the transaction, however slow the disk is. So a write with an
    error does not succeed later.
    """

    __slots__ = (
        "error",
        "is_confirmed",
        "is_leader",
        "is_taken",
        "operation",
        "result",
        "settled",
        "turn",
    )

    def __init__(
        self,
        operation: Operation[Any],
        is_confirmed: bool = False,
        settled: Callable[[Write], None] | None = None,
    ) -> None:
        self.operation = operation
        self.is_confirmed = is_confirmed
        self.settled = settled
        self.result: Any = None  # also set if the operation is on the disk and could not be confirmed
        self.error: Exception | None = StoreError(TOO_SLOW)
        self.is_leader = False
        self.is_taken = False  # by a transaction
        self.turn = threading.Lock()  # released when the operation is over, or when its thread becomes the leader
        self.turn.acquire()

    def settle(self) -> None:
        """End the wait of the operation's thread, once the operation is committed or has failed."""
        try:
            if self.settled:
                self.settled(self)
        finally:
            self.turn.release()


class GroupCommit:
    """Transactions on the connection ``db``, each inside the ``gate``.

    ``confirm`` is called once after a commit with a write that has to be confirmed. Its `StoreError` fails such writes.
    """

    def __init__(self, db: sqlite3.Connection, gate: Gate, confirm: Callable[[], None]) -> None:
        self._db, self._gate, self._confirm = db, gate, confirm
        self._lock = threading.Lock()
        self._waiting: list[Write] = []
        self._deferred: list[Write] = []
        self._has_leader = False

    def commit(self, write: Write) -> None:
        """Return when ``write``, which may be a deferred one, is committed or has its error.

        The transaction starts within `TIMEOUT` seconds, or not at all.
        """
        deadline = time.monotonic() + TIMEOUT
        with self._lock:
            if not write.is_taken:
                if write in self._deferred:
                    self._deferred.remove(write)
                self._waiting.append(write)
                write.is_leader, self._has_leader = not self._has_leader, True
        if not write.is_leader:
            self._wait_for_turn(write)
        if write.is_leader:
            self._lead(write, deadline)

    def defer(self, write: Write) -> None:
        """Add ``write`` to the next transaction, and return at once. The caller calls `commit` for it soon after."""
        with self._lock:
            self._deferred.append(write)

    def _wait_for_turn(self, write: Write) -> None:
        try:
            if not write.turn.acquire(timeout=TIMEOUT):
                self._withdraw(write)
                if write.is_taken:
                    write.turn.acquire()
        except BaseException:  # a server may end the request's thread with any exception
            self._withdraw(write)
            if write.is_leader:
                self._choose_leader()
            raise

    def _withdraw(self, write: Write) -> None:
        with self._lock:
            if write in self._waiting:
                self._waiting.remove(write)

    def _lead(self, write: Write, deadline: float) -> None:
        batch: list[Write] = []
        try:
            if self._gate.enter(max(0.0, deadline - time.monotonic())):
                try:
                    self._take(batch)
                    self._commit(batch)
                finally:
                    self._gate.leave()
        finally:
            self._withdraw(write)
            self._choose_leader()
            _settle(iter(batch))

    def _choose_leader(self) -> None:
        with self._lock:
            self._has_leader = bool(self._waiting)
            if self._has_leader:
                self._waiting[0].is_leader = True
                self._waiting[0].turn.release()

    def _take(self, batch: list[Write]) -> None:
        """Move all writes that wait to ``batch``: deferred ones first, which may let a thread run an event."""
        with self._lock:
            batch += self._deferred + self._waiting
            self._deferred, self._waiting = [], []
            for write in batch:
                write.is_taken = True

    def _commit(self, batch: list[Write]) -> None:
        """Write all operations in one transaction; if that fails, each in its own, so that each has its own error.

        If another connection holds SQLite's lock, all operations fail: none has time to wait for the lock again.
        """
        try:
            self._transaction(batch)
        except Exception as error:
            if len(batch) > 1 and not is_busy(error):
                for write in batch:
                    self._commit([write])
                return
            for write in batch:
                write.error = error

    def _transaction(self, batch: list[Write]) -> None:
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            results = [write.operation(db) for write in batch]
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            raise
        for write, result in zip(batch, results, strict=True):
            write.result, write.error = result, None
        self._confirm_all([write for write in batch if write.is_confirmed])

    def _confirm_all(self, writes: list[Write]) -> None:
        try:
            if writes:
                self._confirm()
        except StoreError as error:
            for write in writes:
                write.error = error


def _settle(writes: Iterator[Write]) -> None:
    """Settle all writes, even if an exception ends this thread meanwhile."""
    try:
        for write in writes:
            write.settle()
    finally:
        for write in writes:
            write.settle()
