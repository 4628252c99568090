"""Which processes that hold leases are alive: each keeps a file locked, and the kernel unlocks it when it ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from serverfull_wsgi.storage.locks import FileLock


class LivenessLocks:
    """The files ``folder/NAME``, of which this process holds the one with its own ``name`` until `close`.

    Where a disk has no room for one, nobody finds out that its process is gone, and its leases run out in their time.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        starting = folder.with_name(f"{name}.starting")  # so that nobody finds it before it is locked
        self._mine = FileLock(starting)
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True, mode=0o700)
            self._mine.acquire()
            os.rename(starting, folder / name)

    def gone(self) -> Iterator[str]:
        """The names of those that ended without `close`. Each is forgotten once the caller asks for the next."""
        for file in sorted(self._folder.glob("*")):
            if file.name != self._name and _is_free(file):
                yield file.name
                file.unlink(missing_ok=True)

    def close(self) -> None:
        (self._folder / self._name).unlink(missing_ok=True)
        self._mine.close()


def _is_free(file: Path) -> bool:
    lock = FileLock(file)
    try:
        return lock.acquire()
    finally:
        lock.close()
