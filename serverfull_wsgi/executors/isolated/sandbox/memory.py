"""The memory of an environment: its peak for the report, and its limit where no control group enforces one."""

from __future__ import annotations

import contextlib
import os
import signal
from time import monotonic

from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group, Usage
from serverfull_wsgi.executors.isolated.sandbox.linux import descendants

MIB = 1024 * 1024
CHECK_SHARE = 0.02  # of the time, at most, is spent on adding up the memory of all processes
_PAGE = os.sysconf("SC_PAGESIZE")


class Memory:
    """The memory of one environment.

    Args:
        limit: bytes that `kill_if_over_limit` allows.
        group: the environment's control group, if it has one.
        has_files: whether the group also pays for files in memory, which then count neither for the limit nor for the
            peak. If there were such files, the peak of the group's processes is the highest of the readings.
    """

    def __init__(self, limit: int, group: Group | None, *, has_files: bool = False) -> None:
        self._limit, self._group, self._has_files = limit, group, has_files
        self._field = "Pss_Anon" if has_files else "Pss"  # of /proc/PID/smaps_rollup
        self._peak_fd = _open_first(*(group.peak_files() if group else ()))
        self._status_fd = -1
        self._group_peak = -1  # bytes, when last read
        self._read_group_peak = -1  # bytes, when the limit was last checked
        self._has_seen_files = False
        self._peak_kib = 0
        self._check_at = 0.0

    def attach(self, pid: int) -> None:
        """Open the account of the function process, once."""
        if self._status_fd < 0:
            self._status_fd = _open_first(f"/proc/{pid}/status")

    def peak_kib(self) -> int:
        """Return the most memory that all processes have had resident together, in KiB, as far as it is known.

        A control group counts all processes, but also cached files, and not the pages that are shared with the zygote.
        The function process's own account has the shared pages; reading it takes 15 µs. Where the group's account has
        not changed, nothing is read again.
        """
        group_peak = _read_number(self._peak_fd)
        if group_peak < 0 or group_peak != self._group_peak:
            self._peak_kib = max(self._peak_kib, _process_peak_kib(self._status_fd))
            self._group_peak = group_peak
            if self._group and group_peak > self._peak_kib * 1024:
                usage = self._read_usage(self._group)
                if not self._has_seen_files:
                    self._peak_kib = max(self._peak_kib, (group_peak - usage.file_cache) // 1024)
        return self._peak_kib

    def kill_if_over_limit(self, supervisor: int, pid: int) -> None:
        """Kill the function process ``pid`` if it, or all processes below ``supervisor`` together, exceed the limit."""
        if self._group and self._has_files:
            group_peak = _read_number(self._peak_fd)
            if group_peak == self._read_group_peak and 0 <= group_peak <= self._limit:
                return  # nothing has grown: one system call, and the usual case
            self._read_group_peak = group_peak
            total = self._read_usage(self._group).processes
        else:
            total = max(_private_bytes(pid), self._total_bytes(supervisor))
        if total > self._limit:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _read_usage(self, group: Group) -> Usage:
        """Return what the group uses now, and keep it for the peak."""
        usage = group.usage()
        self._has_seen_files = self._has_seen_files or (self._has_files and usage.files > 0)
        self._peak_kib = max(self._peak_kib, usage.processes // 1024)
        return usage

    def _total_bytes(self, supervisor: int) -> int:
        """Return the memory of all processes, shared pages counted once; 0 for a single process, or between checks."""
        now = monotonic()
        if now < self._check_at or not supervisor:
            return 0
        pids = descendants(supervisor)
        total = sum(_proportional_bytes(pid, self._field) for pid in pids) if len(pids) > 1 else 0
        self._peak_kib = max(self._peak_kib, total // 1024)
        self._check_at = monotonic() + (monotonic() - now) / CHECK_SHARE
        return total

    def close(self) -> None:
        """Close the open files."""
        for fd in (self._peak_fd, self._status_fd):
            if fd >= 0:
                os.close(fd)
        self._peak_fd = self._status_fd = -1


def _open_first(*paths: str) -> int:
    """Return a descriptor of the first file that exists, or -1; kept open, since opening costs more than reading."""
    for path in paths:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return -1


def _read_number(fd: int) -> int:
    """Return the number in an open file, or -1 if it has none."""
    with contextlib.suppress(OSError, ValueError):
        return int(os.pread(fd, 32, 0))
    return -1


def _process_peak_kib(status_fd: int) -> int:
    """Return the most memory that a process has had resident, from its open ``/proc/PID/status``; 0 if unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = os.pread(status_fd, 4096, 0)
        return int(text[text.index(b"VmHWM:") + 6 :].split(None, 1)[0])
    return 0


def _private_bytes(pid: int) -> int:
    """Return the resident memory of a process that is not a file's; 0 if the process has gone."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm") as file:
        _, resident, shared, *_ = map(int, file.read().split())
        return (resident - shared) * _PAGE
    return 0


def _proportional_bytes(pid: int, field: str) -> int:
    """Return the resident memory of a process, with its share of the pages that it shares with others."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/smaps_rollup") as file:
        text = file.read()
        return int(text.partition(f"\n{field}:")[2].split(None, 1)[0]) * 1024
    return _private_bytes(pid)
