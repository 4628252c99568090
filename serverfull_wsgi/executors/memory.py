"""How much memory an environment's process has resident, and the end of one that has too much."""

from __future__ import annotations

import contextlib
import os
import signal

PAGE = os.sysconf("SC_PAGESIZE")


class Status:
    """The kernel's account of a process, kept open so that looking is quick."""

    def __init__(self, pid: int) -> None:
        self._fd = -1
        with contextlib.suppress(OSError):
            self._fd = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)

    def peak(self) -> int:
        """The most it has had resident, in KiB; 0 if it cannot be told."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = os.pread(self._fd, 4096, 0)
            return int(text[text.index(b"VmHWM:") + 6 :].split(None, 1)[0])
        return 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def end_if_over(pid: int, limit: int) -> None:
    """SIGKILL for a process that has more than ``limit`` bytes of its own resident."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm") as file:
        _, resident, shared, *_ = map(int, file.read().split())
        if (resident - shared) * PAGE > limit:
            os.kill(pid, signal.SIGKILL)
