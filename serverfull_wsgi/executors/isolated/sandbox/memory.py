"""How much memory an environment's processes have had resident at most, and the end of one that has too much."""

from __future__ import annotations

import contextlib
import os
import signal
from time import monotonic

from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group
from serverfull_wsgi.executors.isolated.sandbox.linux import descendants

MIB = 1024 * 1024
SHARE = 0.02  # of the time, at most, goes into looking at all processes of an environment
_PAGE = os.sysconf("SC_PAGESIZE")


class Memory:
    """The memory of an environment; ``limit`` bytes are what `kill_if_over_limit` allows, where ``group`` does not."""

    def __init__(self, limit: int, group: Group | None) -> None:
        self._limit, self._group = limit, group
        self._account = _opened(*(group.peak_files() if group else ()))
        self._status = -1
        self._charged = -1  # bytes of the group's account at the last look
        self._most = 0  # KiB
        self._look_at = 0.0

    def attach(self, pid: int) -> None:
        """The function's process has begun."""
        if self._status < 0:
            self._status = _opened(f"/proc/{pid}/status")

    def peak_kib(self) -> int:
        """The most that all its processes have had resident together, in KiB, as far as it can be told.

        A control group knows. Its account has the files that were read and written too, which are no function's memory,
        and lacks what is shared with the zygote; the process's own has that, and takes 15 µs to read.
        """
        charged = _number(self._account)
        if charged < 0 or charged != self._charged:
            self._most = max(self._most, _peak_of(self._status))
            self._charged = charged
            if self._group and charged > self._most * 1024:
                self._most = max(self._most, (charged - self._group.file_cache_bytes()) // 1024)
        return self._most

    def kill_if_over_limit(self, init: int, pid: int) -> None:
        """SIGKILL for the function's process ``pid`` if it, or all below ``init`` together, have too much resident."""
        if _own(pid) > self._limit or self._all(init) > self._limit:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _all(self, init: int) -> int:
        """The bytes all processes have, what they share counted once; 0 where there is but one, or it is too early."""
        now = monotonic()
        if now < self._look_at or not init:
            return 0
        pids = descendants(init)
        together = sum(map(_proportional, pids)) if len(pids) > 1 else 0
        self._most = max(self._most, together // 1024)
        self._look_at = monotonic() + (monotonic() - now) / SHARE
        return together

    def close(self) -> None:
        """Gives back what it has open."""
        for fd in (self._account, self._status):
            if fd >= 0:
                os.close(fd)
        self._account = self._status = -1


def _opened(*paths: str) -> int:
    """A descriptor of the first of these files that there is; -1 without any. Kept, since opening takes longest."""
    for path in paths:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return -1


def _number(fd: int) -> int:
    """The number in an open file; -1 if it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return int(os.pread(fd, 32, 0))
    return -1


def _peak_of(status: int) -> int:
    """The most a process has had resident, in KiB, by its open account; 0 if it cannot be told."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = os.pread(status, 4096, 0)
        return int(text[text.index(b"VmHWM:") + 6 :].split(None, 1)[0])
    return 0


def _own(pid: int) -> int:
    """The bytes a process has resident that are no file's."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm") as file:
        _, resident, shared, *_ = map(int, file.read().split())
        return (resident - shared) * _PAGE
    return 0


def _proportional(pid: int) -> int:
    """The bytes a process has resident, of those shared with others its share."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/smaps_rollup") as file:
        text = file.read()
        return int(text[text.index("\nPss:") + 5 :].split(None, 1)[0]) * 1024
    return _own(pid)
