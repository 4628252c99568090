"""Code packages: directories, which are used as they are, zip archives, which are unpacked, and single files.

An archive is unpacked to a `PackageCache`. Without a cache, the directory is private to the process and is deleted when
the process exits; single files and code in templates always have such a directory. The process holds a lock on the
directory. If the process is killed, the next process that unpacks an archive deletes the unlocked directory.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
import zipfile
from pathlib import Path

from serverfull_wsgi.storage.archives import UNZIPPED_LIMIT, BadPackage, sha256_of, unpack
from serverfull_wsgi.storage.package_cache import PackageCache

_PREFIX = "serverfull-code-"
_GRACE = 60.0  # seconds after which a directory without a lock was left by a killed process


class Packages:
    """The packages of one process. Each archive is unpacked once, to a directory that only this user can read.

    Args:
        cache: keeps unpacked archives for other processes and later starts; None for a directory of this process.
    """

    def __init__(self, cache: PackageCache | None = None) -> None:
        self._cache = cache
        self._root: Path | None = None
        self._unpacked: dict[str, str] = {}

    def directory(self, path: str) -> str:
        """Return the directory with the code of the package at ``path``: a directory, a zip archive or one file.

        A file that is not an archive is copied to a directory of its own, as AWS's tools pack it.

        Raises `BadPackage`.
        """
        if os.path.isdir(path):
            return path
        if path not in self._unpacked:
            self._unpacked[path] = self._unpack(path) if _is_archive(path) else self._copy(path)
        return self._unpacked[path]

    def write_inline(self, code: str, suffix: str) -> str:
        """Write ``code`` to ``index.py`` or ``index.js`` in a new directory, and return the directory.

        Raises `BadPackage`.
        """
        try:
            directory = self._new_directory()
            (directory / f"index.{suffix}").write_text(code, encoding="utf-8")
        except (OSError, ValueError) as error:
            raise BadPackage(f"the code cannot be written to a file: {error}; correct the code") from None
        return str(directory)

    def _copy(self, path: str) -> str:
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise BadPackage("it is not a directory, a file or a zip archive; name one of them")
            if status.st_size > UNZIPPED_LIMIT:
                raise BadPackage(f"it is over AWS's limit of {UNZIPPED_LIMIT:,} bytes; make it smaller")
            copy = self._new_directory() / os.path.basename(path)
            shutil.copyfile(path, copy)
            copy.chmod(stat.S_IMODE(status.st_mode) & 0o777 | 0o600)
            return str(copy.parent)
        except OSError as error:
            raise BadPackage(f"the file cannot be copied: {error.strerror or error}; make it readable") from None

    def _unpack(self, path: str) -> str:
        try:
            with open(path, "rb") as file:
                if self._cache:
                    with contextlib.suppress(OSError):  # without the cache, a directory of this process will do
                        return self._cache.get(sha256_of(file), lambda directory: unpack(file, directory))
                directory = self._new_directory()
                try:
                    unpack(file, directory)
                except BaseException:
                    shutil.rmtree(directory, ignore_errors=True)
                    raise
                return str(directory)
        except OSError as error:
            raise BadPackage(f"the archive cannot be unpacked: {error.strerror or error}; pack it again") from None

    def _new_directory(self) -> Path:
        if self._root is None:
            for root in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
                with contextlib.suppress(OSError):
                    _remove_abandoned(root)
            self._root = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._lock = os.open(self._root, os.O_RDONLY)  # never closed: forks share the lock
            with contextlib.suppress(OSError):  # a file system without locks: abandoned directories stay
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            atexit.register(_remove, self._root, os.getpid())
        return Path(tempfile.mkdtemp(dir=self._root))


def _is_archive(path: str) -> bool:
    """Return True for a file that is a zip archive, or has the name of one."""
    return path.lower().endswith((".zip", ".jar")) or (os.path.isfile(path) and zipfile.is_zipfile(path))


def _remove(root: Path, pid: int) -> None:
    """Delete the directory if this process is the one that made it; its forks run this function too."""
    if os.getpid() == pid:
        shutil.rmtree(root, ignore_errors=True)


def _remove_abandoned(root: Path) -> None:
    """Delete a directory of this user that no process holds. Raises OSError if a process holds the directory."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(fd)
        if status.st_uid == os.getuid() and status.st_mtime < time.time() - _GRACE:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(root, ignore_errors=True)
    finally:
        os.close(fd)
