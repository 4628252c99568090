"""A process that hangs while it holds the gate, and so keeps every other process from writing.

A process may stop at any instruction: a signal suspends it, or a handler keeps the interpreter, and the thread that
writes cannot go on. If that happens inside a transaction, the kernel keeps the process's locks, and SQLite's too. Only
the end of the process frees them. gunicorn ends such a worker after ``--timeout``; nothing ends a ``serverfull worker``
or a mounted application.

A slow process must not be ended. A holder hangs if, for the whole time, it kept the lock, waited for no disk, showed no
progress, and nothing was written to the store.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from serverfull_wsgi.storage.locks import holder

LEAST = 3.0  # seconds: a few observations may by chance all meet short transactions of one process that change nothing
MOST = 1.0  # seconds between two observations that count: after a pause of the whole machine the holder was paused too


class Signs(NamedTuple):
    """Signs of life of the holder. They change if the lock changed hands or something was written."""

    pid: int
    files: tuple[tuple[int, int] | None, ...]  # time of change and size


class HungHolder:
    """Observations of the process that holds the lock on the file ``lock``.

    Args:
        lock: the file with the lock.
        files: files that a process writes while it works inside the lock.
        seconds: time without a sign of life after which the holder counts as hung; at least `LEAST`.
    """

    def __init__(self, lock: Path, files: Sequence[Path], seconds: float) -> None:
        self._lock, self._files, self.seconds = lock, files, max(seconds, LEAST)
        self._signs: Signs | None = None
        self._quiet = self._observed = 0.0  # seconds without a sign, and the time of the last observation

    def observe(self) -> int | None:
        """Observe the lock, which is usually free. Return the process id of its holder if the holder hangs."""
        now, signs = time.monotonic(), self._present_signs()
        is_quiet = signs is not None and signs == self._signs
        self._quiet = self._quiet + min(now - self._observed, MOST) if is_quiet else 0.0
        self._signs, self._observed = signs, now
        return signs.pid if signs is not None and self._quiet >= self.seconds else None

    def _present_signs(self) -> Signs | None:
        pid = holder(self._lock)
        if pid is None or pid == os.getpid() or _waits_for_disk(pid):
            return None
        return Signs(pid, tuple(_change(file) for file in self._files))

    def end(self, pid: int) -> bool:
        """Kill the process ``pid`` if it still holds the lock, and return whether it was killed."""
        try:
            fd = os.pidfd_open(pid)  # so that no other process with this id is killed
        except (AttributeError, OSError):  # a system without pidfd_open, or the process has ended
            return False
        try:
            if holder(self._lock) != pid:
                return False
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        except OSError:  # the process belongs to another user
            return False
        finally:
            os.close(fd)
        return True


def _waits_for_disk(pid: int) -> bool:
    """Return whether a thread of the process is in a call that signals do not interrupt, as fsync is."""
    for status in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError, IndexError):
            if status.read_text().rpartition(") ")[2][0] == "D":
                return True
    return False


def _change(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
