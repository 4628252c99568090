"""Locks between processes. The kernel releases an ``flock`` when its process dies."""

from __future__ import annotations

import fcntl
import itertools
import os
import threading
import time
import weakref
from pathlib import Path

# Seconds between two attempts for a lock that another holds. A holder usually needs less than 2 ms, one fsync; a longer
# pause after that costs a waiting process little, and saves its CPU time.
_PAUSE, _LONG_PAUSE = 0.00005, 0.001
_SHORT_PAUSES = 40  # attempts with the short pause: about 2 ms

_open: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """An exclusive or shared lock on one file. Not safe for two threads at once.

    A forked child inherits the open file, which would keep the lock after its holder's death. So each child closes its
    copies at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self.is_held = False

    def acquire(self, timeout: float = 0.0, *, shared: bool = False) -> bool:
        """Return whether the lock was acquired within ``timeout`` seconds.

        Raises OSError if the file cannot be opened.
        """
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _open.add(self)
        deadline = time.monotonic() + timeout
        mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        for attempt in itertools.count():
            try:
                fcntl.flock(self._fd, mode)
                self.is_held = True
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
            time.sleep(_LONG_PAUSE if attempt > _SHORT_PAUSES else _PAUSE)
        raise AssertionError("the loop has no other end")

    def release(self) -> None:
        """Release the lock and keep the file open."""
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self.is_held = False

    def close(self) -> None:
        """Close the file, which releases the lock unless another process has a copy of the open file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd, self.is_held = None, False


class Gate:
    """A lock that one thread of one process holds at a time, until the gate is closed."""

    def __init__(self, path: Path) -> None:
        self._threads = threading.Lock()
        self._processes = FileLock(path)
        self.is_closed = False

    def enter(self, timeout: float) -> bool:
        """Return whether the gate was entered within ``timeout`` seconds. False also if the gate is closed."""
        deadline = time.monotonic() + timeout
        if not self._threads.acquire(timeout=timeout):
            return False
        entered = False
        try:
            entered = not self.is_closed and self._processes.acquire(max(0.0, deadline - time.monotonic()))
        finally:
            if not entered:
                self._release_threads()
        return entered

    def leave(self) -> None:
        """Let the next thread or process enter."""
        self._processes.release()
        self._release_threads()

    def close(self) -> None:
        """Refuse every further `enter`. The last thread inside closes the file; without one, the file is closed now."""
        self.is_closed = True
        if self._threads.acquire(blocking=False):
            self._release_threads()

    def _release_threads(self) -> None:
        """Release the threads' lock, and close the file if the gate is closed.

        `close` may run between the first check and the release. The second check then finds the gate closed.
        """
        if self.is_closed:
            self._processes.close()
        self._threads.release()
        if self.is_closed and self._threads.acquire(blocking=False):
            self._processes.close()
            self._threads.release()


def holder(lock: Path) -> int | None:
    """Return the id of the process with an exclusive ``flock`` on the file; None if there is none, or it is unknown.

    Source of the format: https://man7.org/linux/man-pages/man5/proc_locks.5.html. Other systems have no such file.
    """
    try:
        status = lock.stat()
        file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1:2] == ["FLOCK"] and fields[3:4] == ["WRITE"] and fields[5] == file:
                pid = int(fields[4])
                return pid if pid > 0 else None  # 0 or -1: a process of another pid namespace
    except (OSError, ValueError, IndexError):
        pass
    return None


def _close_inherited() -> None:
    for lock in list(_open):
        lock.close()


os.register_at_fork(after_in_child=_close_inherited)
