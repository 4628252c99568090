"""Files that show which processes are alive."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from serverfull_wsgi.storage.locks import FileLock


class LivenessLocks:
    """The files ``directory/NAME``, one for each process. This process holds the lock on its own ``name``.

    If the disk has no space for the file, other processes do not notice the death of this process; its leases then end
    in their time.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name
        unlocked = directory.with_name(f"{name}.starting")  # not in ``directory``, where it would be taken for dead
        self._lock = FileLock(unlocked)
        with contextlib.suppress(OSError):
            directory.mkdir(exist_ok=True, mode=0o700)
            self._lock.acquire()
            os.rename(unlocked, directory / name)

    def dead(self) -> Iterator[str]:
        """Yield the name of each process that ended without `close`.

        A name's file is deleted when the caller requests the next name. So a caller that fails gets the name again.
        """
        for file in sorted(self._directory.glob("*")):
            if file.name != self._name and _is_unlocked(file):
                yield file.name
                file.unlink(missing_ok=True)

    def is_dead(self, name: str) -> bool:
        """Return whether the process ``name`` ended without `close`. False if nothing is known about the process."""
        file = self._directory / name
        return name != self._name and file.exists() and _is_unlocked(file)

    def close(self) -> None:
        """Delete this process's file and release its lock."""
        (self._directory / self._name).unlink(missing_ok=True)
        self._lock.close()


def _is_unlocked(file: Path) -> bool:
    lock = FileLock(file)
    try:
        return lock.acquire()
    finally:
        lock.close()
