"""Types of file systems."""

from __future__ import annotations

import os
import re
from pathlib import Path

NETWORK = frozenset("nfs nfs4 cifs smb3 smbfs 9p ceph afs ncpfs lustre glusterfs fuse.sshfs fuse.glusterfs".split())


def file_system_of(path: Path, mounts: str = "/proc/self/mountinfo") -> str:
    """Return the type of the file system that has ``path`` or will have it, such as ``ext4``; empty if unknown.

    Args:
        path: an absolute path.
        mounts: the kernel's list of mounts.
    """
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return ""
    real, best, found = os.path.realpath(path), "", ""
    for line in lines:
        before, _, after = line.partition(" - ")
        mount_point = _unescaped(before.split(" ")[4])
        # A later mount hides an earlier one at the same place.
        if len(mount_point) >= len(best) and Path(real).is_relative_to(mount_point):
            best, found = mount_point, after.split(" ")[0]
    return found


def _unescaped(text: str) -> str:
    r"""Return a path without the kernel's octal escapes of blanks and backslashes.

    >>> _unescaped(r"/mnt/my\040disk")
    '/mnt/my disk'
    """
    return re.sub(r"\\([0-7]{3})", lambda digits: chr(int(digits[1], 8)), text)
