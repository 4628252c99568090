"""Processes and open files, as Linux shows them in /proc."""

import contextlib
import os
from pathlib import Path


def children(parent):
    """Return the ids of a process's children, zombies included."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                pids.append(int(path.parent.name))
    return pids


def open_files(folder):
    """Return the paths of the files below ``folder`` that this process has open.

    A count of all descriptors would also change with other files, such as those of objects that Python frees later.
    """
    paths = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the descriptor of this listing
            paths.append(os.readlink(descriptor))
    return sorted(path for path in paths if path.startswith(f"{os.path.realpath(folder)}/"))
