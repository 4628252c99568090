"""Threads that wait for rows, and rows that are given to them.

A row with a lease must have a thread: no other process may work on the row, and a kill would count as a lost lease. So
a thread is taken first, then the lease is written, and then the thread gets the row::

    thread     wait ──────────────────────────────────────────────▶ returns the row
    another          take ──▶ transaction with the lease ──▶ give
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class IdleThread(Generic[T]):
    """One wait of one thread. `give` ends the wait, with a row or with None."""

    __slots__ = ("_is_over", "_row")

    def __init__(self) -> None:
        self._row: T | None = None
        self._is_over = threading.Lock()
        self._is_over.acquire()

    def give(self, row: T | None) -> None:
        self._row = row
        self._is_over.release()

    def wait(self, seconds: float = -1) -> bool:
        """Return whether the wait ended within ``seconds``."""
        return self._is_over.acquire(timeout=seconds)

    @property
    def row(self) -> T | None:
        return self._row


class IdleThreads(Generic[T]):
    """The threads of one pool that wait. The one that began to wait last is taken first: its caches are warm."""

    def __init__(self) -> None:
        self._idle: list[IdleThread[T]] = []

    def take(self) -> IdleThread[T] | None:
        """Take a thread out of the idle ones, for `IdleThread.give`; None if no thread is idle."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def wait(self, seconds: float, has_work: Callable[[], bool]) -> T | None:
        """Wait up to ``seconds`` for a row, and return it. Return None at once if ``has_work()``.

        ``has_work`` is called when `take` can find this thread already, so that no wake-up is lost.
        """
        me: IdleThread[T] = IdleThread()
        self._idle.append(me)
        if has_work() or not me.wait(seconds):
            try:
                self._idle.remove(me)
            except ValueError:  # the thread was taken: it is given a row, or None
                me.wait()
        return me.row
