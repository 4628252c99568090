"""Files that only the server's user can read: events have the payloads of callers.

SQLite gives a store's log and index the mode of the store. So it is enough to create the store with the right mode. The
umask of the process has no effect on that.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_READ, _SEARCH = 0o004, 0o001  # for users outside the file's group


def make_directory(path: Path) -> None:
    """Create the directory ``path`` for this user only, unless it exists; git ignores the new directory.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        path.mkdir(mode=0o700, exist_ok=True)  # raises if a file has the name
        return
    with contextlib.suppress(OSError):  # the disk is full
        (path / ".gitignore").write_text("*\n")
    sync_directory(path.parent)


def create(path: Path) -> None:
    """Create an empty file for this user only. Raises OSError, also if the file exists."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def readable_by_others(directory: Path, names: list[str]) -> list[str]:
    """Return those of the files ``directory/NAME`` that users outside the file's group can read."""
    if not _mode(directory) & _SEARCH:
        return []
    return [name for name in names if _mode(directory / name) & _READ]


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def sync_directory(directory: Path) -> None:
    """Write the directory's entries to the disk."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
