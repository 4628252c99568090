"""Unpacked archives that outlive a process, so that an archive is unpacked once and not at each start.

::

    DIRECTORY/v1-SHA256      one unpacked archive
    DIRECTORY/.new-…         an archive that is being unpacked
    DIRECTORY/.old-…         an archive that is being deleted
    DIRECTORY/.idle-SHA256   since when an archive is not needed: see `delete_unneeded`
    DIRECTORY/unpack.lock    held while a process makes or deletes a directory
    DIRECTORY/use.lock       shared by the processes that use the cache

A directory gets its name when it is complete and on the disk. So a directory with such a name is complete, also after a
power failure. A process that finds no other user of the cache deletes the archives that have not been used for a week.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from serverfull_wsgi.storage.locks import FileLock
from serverfull_wsgi.storage.private_files import make_directory, sync_directory

UNUSED = 7 * 86_400.0  # seconds without a use after which an archive is deleted
_WAIT = 600.0  # seconds to wait for another process that unpacks: more than the largest archive takes
_FORMAT = "v1-"  # changes if archives are unpacked in another way


class PackageCache:
    """A directory of unpacked archives.

    Args:
        directory: the path of the directory. Only this user can read it.
        may_create: False if the cache must create no files; it then has the archives of other processes only.
    """

    def __init__(self, directory: Path, *, may_create: bool = True) -> None:
        self._directory = directory
        self._may_create = may_create
        self._unpacking = FileLock(directory / "unpack.lock")
        self._use = FileLock(directory / "use.lock")

    def get(self, digest: str, unpack: Callable[[Path], None]) -> str:
        """Return the directory of an archive, and call ``unpack`` with a new directory if no process has done so.

        Args:
            digest: the SHA-256 of the archive, in hexadecimal.
            unpack: writes the archive's files to the directory.

        Raises:
            OSError: if the cache cannot be used.
        """
        if self._may_create:
            self._open()
        target = self.path(digest)
        if not self._is_safe(target):
            if not self._may_create:
                raise FileNotFoundError(f"{target} does not exist")
            self._make(target, unpack)
        if self._may_create:
            os.utime(target)
            self._marker(digest).unlink(missing_ok=True)
        return str(target)

    def path(self, digest: str) -> Path:
        """Return the directory that an archive has, or will have."""
        return self._directory / f"{_FORMAT}{digest}"

    def delete_unneeded(self, needed: set[str], patience: float) -> int:
        """Delete archives that have not been needed for a while, and return their number. Other processes may run.

        The first call marks an archive that is not needed. A later call deletes the archive. A call that runs its code
        has ended then.

        Args:
            needed: the digests of archives to keep.
            patience: seconds between the mark and the deletion.

        Raises:
            OSError: if the cache cannot be used.
        """
        if not self._directory.is_dir() or not self._unpacking.acquire(_WAIT):
            return 0
        try:
            before, count = time.time() - patience, 0
            for path in self._directory.glob(f"{_FORMAT}*"):
                digest = path.name.removeprefix(_FORMAT)
                marker = self._marker(digest)
                if digest in needed:
                    marker.unlink(missing_ok=True)
                elif not marker.exists():
                    marker.touch()
                elif max(marker.stat().st_mtime, path.stat().st_mtime) < before:
                    path.rename(path.with_name(f".old-{path.name}"))
                    marker.unlink()
                    count += 1
            self._delete_rests()
            return count
        finally:
            self._unpacking.release()

    def _marker(self, digest: str) -> Path:
        return self._directory / f".idle-{digest}"

    def _open(self) -> None:
        """Create the directory, and delete unused archives. Later calls do nothing."""
        if self._use.is_held:
            return
        make_directory(self._directory.parent)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        if not self._is_safe(self._directory):
            raise PermissionError(f"{self._directory} belongs to another user, or others can write to it")
        if self._use.acquire():
            self._delete_unused()
        if not self._use.acquire(_WAIT, shared=True):
            raise TimeoutError(f"{self._directory} is in use")

    def _is_safe(self, path: Path) -> bool:
        """Return True for a directory of this user to which no other user can write: its code runs."""
        try:
            status = path.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022

    def _make(self, target: Path, unpack: Callable[[Path], None]) -> None:
        if not self._unpacking.acquire(_WAIT):
            raise TimeoutError(f"another process is unpacking in {self._directory}")
        try:
            self._delete_rests()
            if self._is_safe(target):  # another process has made it meanwhile
                return
            new = Path(tempfile.mkdtemp(prefix=".new-", dir=self._directory))
            try:
                unpack(new)
                os.sync()  # once for all files: an fsync for each of 50,000 files takes minutes
                new.rename(target)
                sync_directory(self._directory)
            except BaseException:
                _remove(new)
                raise
        finally:
            self._unpacking.release()

    def _delete_unused(self) -> None:
        if not self._unpacking.acquire():
            return
        try:
            for path in self._directory.glob(f"{_FORMAT}*"):
                if path.lstat().st_mtime < time.time() - UNUSED:
                    path.rename(path.with_name(f".old-{path.name}"))
            self._delete_rests()
        finally:
            self._unpacking.release()

    def _delete_rests(self) -> None:
        """Delete the directories of processes that were killed while they made or deleted them."""
        for path in self._directory.glob(".[no][el][wd]-*"):
            _remove(path)


def _remove(directory: Path) -> None:
    """Delete a directory whose folders may be read-only."""
    with contextlib.suppress(OSError):
        for _, _, _, fd in os.fwalk(directory):
            os.fchmod(fd, 0o700)
    shutil.rmtree(directory, ignore_errors=True)
