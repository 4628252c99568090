"""Threads that write at the same time share a commit, which is what makes sixteen accepts cost little more than one.

The first to come writes for all who wait by then, and gives its turn to the first who came since. Nobody else wakes
before what it asked for is on the disk.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from serverfull_wsgi.storage.locks import Gate

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]

WAIT = 0.7  # seconds a write waits for its turn; with `schema.BUSY` an accept is answered within a second
SLOW = "another process or the disk takes too long"


class StoreError(Exception):
    """The store could not do it: the disk is full or broken, or the store is closed or held by somebody else."""


class Write:
    """An operation that waits for a commit, its own or that of others; ``error`` is None once it is on the disk."""

    __slots__ = ("error", "leads", "operation", "result", "turn")

    def __init__(self, operation: Operation[Any]) -> None:
        self.operation = operation
        self.result: Any = None
        self.error: Exception | None = StoreError(SLOW)
        self.leads = False
        self.turn = threading.Lock()  # released when the write is over, or its thread has to lead
        self.turn.acquire()


class GroupCommit:
    """Transactions over ``db``, each inside the ``gate``."""

    def __init__(self, db: sqlite3.Connection, gate: Gate) -> None:
        self._db, self._gate = db, gate
        self._list = threading.Lock()
        self._waiting: list[Write] = []
        self._led = False  # whether some thread writes, or is about to

    def write(self, operation: Operation[Any]) -> Write:
        """The write, over by now: committed, or with its error. It begins within `WAIT`, or not at all."""
        mine, deadline = Write(operation), time.monotonic() + WAIT
        with self._list:
            self._waiting.append(mine)
            mine.leads, self._led = not self._led, True
        if not mine.leads:
            self._await(mine)
        if mine.leads:
            self._lead(mine, deadline)
        return mine

    def _await(self, mine: Write) -> None:
        try:
            if not mine.turn.acquire(timeout=WAIT):
                self._withdraw(mine)
        except BaseException:  # of whoever ends this request
            self._withdraw(mine)
            if mine.leads:
                self._pass_on()
            raise

    def _withdraw(self, mine: Write) -> None:
        with self._list, contextlib.suppress(ValueError):
            self._waiting.remove(mine)

    def _lead(self, mine: Write, deadline: float) -> None:
        try:
            if self._gate.enter(max(0.0, deadline - time.monotonic())):
                try:
                    self._commit_all()
                finally:
                    self._gate.leave()
        finally:
            self._withdraw(mine)
            self._pass_on()

    def _pass_on(self) -> None:
        with self._list:
            self._led = bool(self._waiting)
            if self._led:
                self._waiting[0].leads = True
                self._waiting[0].turn.release()

    def _commit_all(self) -> None:
        with self._list:
            batch, self._waiting = self._waiting, []
        try:
            self._commit(batch)
        finally:
            for write in batch:
                write.turn.release()

    def _commit(self, batch: list[Write]) -> None:
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


def _is_busy(error: Exception) -> bool:
    return "locked" in str(error)
