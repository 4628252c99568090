"""Progress that other processes can see, so that they wait for a long task and not for one that hangs.

The process with the task changes the time of a file while it makes progress. A process that waits compares this time
with the one that it saw before, and never with its own clock, which may jump.
"""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

PERIOD = 1.0  # seconds between two looks at the process's use of resources
LEAST_WORK = 0.005  # seconds of CPU time in a period that count as progress; the thread itself needs far less


class Progress:
    """The progress of a task that one process at a time has, as the time of the file ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show other processes that the block makes progress, as long as this process computes or reads the disk."""
        ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(ended,), name="serverfull-progress", daemon=True)
        self._advance()
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _watch(self, ended: threading.Event) -> None:
        before = _usage()
        while not ended.wait(PERIOD):
            now = _usage()
            if now[0] - before[0] >= LEAST_WORK or now[1] != before[1]:
                self._advance()
                before = now

    def _advance(self) -> None:
        with contextlib.suppress(OSError):  # the disk is full, so others wait no longer than usual
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.utime(self._path)

    def last(self) -> int:
        """Return a value that changes whenever the task makes progress."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0


def _usage() -> tuple[float, int]:
    """Return this process's seconds of CPU time and its number of reads and writes of the disk."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_inblock + usage.ru_oublock
