"""Locks between processes: files held by flock, which the kernel releases when their holder dies."""

from __future__ import annotations

import fcntl
import itertools
import os
import threading
import time
import weakref
from pathlib import Path

_PAUSES = (0.00005, 0.001)  # seconds between two looks at a lock that is taken: at first, and after a while
_WHILE = 40  # looks

_open: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """One file, locked whole: by one holder, or shared by many. Not for two threads at once.

    A fork would keep the lock alive beyond its holder, so a child closes its copy at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self.held = False

    def acquire(self, wait: float = 0.0, *, shared: bool = False) -> bool:
        """Whether the lock was had within ``wait`` seconds. Raises OSError where the file cannot be opened."""
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _open.add(self)
        deadline = time.monotonic() + wait
        how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        for look in itertools.count():
            try:
                fcntl.flock(self._fd, how)
                self.held = True
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
            time.sleep(_PAUSES[look > _WHILE])
        raise AssertionError("there is always another look")

    def release(self) -> None:
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self.held = False

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)  # which releases, but for copies that other processes have
            self._fd, self.held = None, False


class Gate:
    """Lets one thread of one process through at a time, until it is closed."""

    def __init__(self, path: Path) -> None:
        self._threads = threading.Lock()
        self._processes = FileLock(path)
        self.closed = False

    def enter(self, wait: float) -> bool:
        """Whether the gate was passed within ``wait`` seconds."""
        deadline = time.monotonic() + wait
        if not self._threads.acquire(timeout=wait):
            return False
        passed = False
        try:
            passed = not self.closed and self._processes.acquire(max(0.0, deadline - time.monotonic()))
        finally:
            if not passed:
                self._let_go()
        return passed

    def leave(self) -> None:
        self._processes.release()
        self._let_go()

    def close(self) -> None:
        """Nobody passes any more. The file is let go of now, or by whoever is inside or before it."""
        self.closed = True
        if self._threads.acquire(blocking=False):
            self._let_go()

    def _let_go(self) -> None:
        """Who has the threads' lock gives it back. If the gate is closed by then, the last to do so closes the file."""
        if self.closed:
            self._processes.close()
        self._threads.release()
        if self.closed and self._threads.acquire(blocking=False):
            self._processes.close()
            self._threads.release()


def _forget() -> None:
    """In the child of a fork: it inherits files, and no right to them."""
    for lock in list(_open):
        lock.close()


os.register_at_fork(after_in_child=_forget)
