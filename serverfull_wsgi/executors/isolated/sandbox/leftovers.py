"""The temporary directory and control groups of a server process, and the removal of those that a killed one left.

A server process holds an ``flock`` of its directory and of each parent group. Its zygotes and supervisors inherit the
descriptors, so that the kernel releases the locks after the last of them has ended. The next server process of the same
user removes each directory that nothing holds, and the groups that a file in the directory names.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from serverfull_wsgi.executors.isolated.sandbox.cgroups import ROOT, Group
from serverfull_wsgi.executors.isolated.sandbox.linux import kill, remove_tree

PREFIX = "serverfull-environments-"
_GROUPS_FILE = "groups"  # one path of a control group a line


def create_directory() -> tuple[str, int]:
    """Return a new temporary directory and a descriptor that holds its lock."""
    while True:
        path = tempfile.mkdtemp(prefix=PREFIX)
        if (fd := hold(path)) is not None:
            return path, fd


def hold(path: str) -> int | None:
    """Lock a directory. Return a descriptor that holds the lock, or None if another process has removed it meanwhile.

    On a file system without locks the descriptor holds none, and the directory stays after a kill.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # `remove_abandoned` of another process removes it
        os.close(fd)
        return None
    except OSError:
        return fd
    if os.path.isdir(path):
        return fd
    os.close(fd)
    return None


def record_groups(directory: str, paths: Iterable[str]) -> None:
    """Write the paths of parent groups into the directory of their server process."""
    Path(directory, _GROUPS_FILE).write_text("\n".join(paths))


def remove_abandoned() -> list[str]:
    """Remove the directories and control groups of server processes that were killed. Return the directories."""
    removed = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if (fd := _hold_abandoned(path)) is not None:
            for group in _recorded_groups(path):
                _remove_group(group)
            remove_tree(str(path))
            os.close(fd)
            removed.append(str(path))
    return removed


def _hold_abandoned(path: Path) -> int | None:
    """Lock a directory of this user that no process holds."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(fd).st_uid == os.geteuid():
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd
        except OSError:
            os.close(fd)
            raise
        os.close(fd)
    return None


def _recorded_groups(directory: Path) -> list[Path]:
    """Return the groups that the file in a directory names. A function may have written the file: check each path."""
    try:
        paths = [Path(line) for line in (directory / _GROUPS_FILE).read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return []
    return [
        path for path in paths if path.name == directory.name and path.is_relative_to(ROOT) and ".." not in path.parts
    ]


def _remove_group(parent: Path) -> None:
    """Kill the processes in a parent group that no process holds, and remove it with its groups."""
    if (fd := _hold_abandoned(parent)) is None:
        return
    for path in [*filter(Path.is_dir, parent.iterdir()), parent]:
        group = Group((str(path),))
        group.kill()
        for file in group.procs_files():
            with contextlib.suppress(OSError, ValueError):
                for pid in Path(file).read_text().split():
                    kill(int(pid))
        group.remove()
    os.close(fd)
