"""The temporary directory and control groups of a server process, and the removal of those that a killed one left.

A server process holds an ``flock`` of its directory and of each parent group. Its zygotes and supervisors inherit the
descriptors, so that the kernel releases the locks after the last of them has ended. The next server process of the same
user removes each directory that nothing holds, and the groups of the same name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

from serverfull_wsgi.executors.isolated.sandbox.cgroups import ROOT, Group
from serverfull_wsgi.executors.isolated.sandbox.linux import kill, remove_tree

PREFIX = "serverfull-environments-"


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


def remove_abandoned() -> list[str]:
    """Remove the directories and control groups of server processes that were killed. Return the directories."""
    removed = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if (fd := _hold_abandoned(path)) is not None:
            with contextlib.suppress(OSError):  # another group disappears meanwhile
                for group in Path(ROOT).glob(f"**/{path.name}"):  # a server may have started in any group
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
