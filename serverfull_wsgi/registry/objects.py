"""Stores of objects: named bytes, each with an etag that changes with every write.

| operation | condition | if the condition does not hold |
|---|---|---|
| `get`, `etag`, `list` | | |
| `put_new` | the object does not exist | `Changed` |
| `replace`, `delete` | the object has the given etag | `Changed` |

`DirectoryStore` keeps objects as files. A write makes a new file, syncs it, and renames it under an exclusive lock. So
a reader has the old object or the new one, also after a power failure, and readers need no lock.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.storage.filesystems import NETWORK, file_system_of
from serverfull_wsgi.storage.locks import FileLock
from serverfull_wsgi.storage.private_files import make_directory, sync_directory

LOCK_PATIENCE = 30.0  # seconds to wait for other writers: each needs some milliseconds
_LONGEST_PAUSE, _SHORTEST_PAUSE = 0.005, 0.0002  # seconds between two attempts to get the turn
_CHUNK = 1 << 20  # bytes
_TEMPORARY = ".new-"
_key = re.compile(r"[a-z]+/[A-Za-z0-9_-][A-Za-z0-9_.-]*", re.ASCII)


class Stored(NamedTuple):
    """The bytes of an object, and its etag."""

    body: bytes
    etag: str


class Changed(Exception):
    """An object that does not have the expected etag, or exists although it should not."""


class Missing(Exception):
    """An object that a document needs does not exist."""


class Busy(Exception):
    """The lock of the store is held by another process for too long."""


class DirectoryStore:
    """Objects as files of a directory on a local disk.

    Args:
        path: the directory. It is created at the first write.
        reached: called with the name of each step of a write, so that a test can end the process there.
    """

    def __init__(self, path: Path, *, reached: Callable[[str], None] = lambda step: None) -> None:
        self.path = path.absolute()
        self._reached = reached

    def check(self) -> None:
        """Raise `ConfigurationError` if objects are not safe in the directory. Create nothing."""
        kind = file_system_of(self.path)
        if kind in NETWORK:
            raise ConfigurationError(
                f"{self.path} is on a network file system ({kind}), whose locks and renames are not safe for a "
                "registry; name a directory on a local disk"
            )
        with contextlib.suppress(FileNotFoundError):
            status = self.path.stat()
            if not stat.S_ISDIR(status.st_mode):
                raise ConfigurationError(f"{self.path} is not a directory; name another path")
            if status.st_uid != os.getuid() or status.st_mode & 0o022:
                raise ConfigurationError(
                    f"{self.path} belongs to another user, or other users can write to it, and its code runs here; "
                    f"run 'chmod 700 {self.path}' as the server's user"
                )

    # Reading

    def get(self, key: str) -> Stored | None:
        """Return an object, or None if it does not exist."""
        with contextlib.suppress(FileNotFoundError), open(self._file(key), "rb") as file:
            return Stored(file.read(), _etag(os.fstat(file.fileno())))
        return None

    def open(self, key: str) -> BinaryIO:
        """Return an object as a file. Raises FileNotFoundError."""
        return open(self._file(key), "rb")

    def etag(self, key: str) -> str | None:
        """Return an object's etag, or None if it does not exist. This takes one system call."""
        try:
            return _etag(os.stat(self._file(key)))
        except FileNotFoundError:
            return None

    def watch(self, key: str) -> Callable[[], object]:
        """Return a function that returns a value, which differs after every write; None if the object does not exist.

        Each call of the function takes one system call.
        """
        path = str(self._file(key))

        def stamp() -> object:
            try:
                status = os.stat(path)
            except FileNotFoundError:
                return None
            return status.st_mtime_ns, status.st_ino, status.st_size

        return stamp

    def list(self, folder: str) -> dict[str, str]:
        """Return the etags of all objects whose keys start with ``folder/``, by key."""
        etags = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path / folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):  # it was deleted meanwhile
                        etags[f"{folder}/{entry.name}"] = _etag(entry.stat())
        return etags

    # Writing

    def put_new(self, key: str, body: bytes, needs: tuple[str, ...] = ()) -> str:
        """Write an object that does not exist, and return its etag.

        Args:
            key: the object's key.
            body: its bytes.
            needs: keys of other objects, which must exist at the moment of the write.

        Raises:
            Changed: if the object exists.
            Missing: if one of ``needs`` does not exist.
            Busy: if the lock cannot be acquired.
        """
        return self._write(key, body, None, needs)

    def replace(self, key: str, body: bytes, etag: str, needs: tuple[str, ...] = ()) -> str:
        """Write an object that has ``etag``, and return its new etag. Raises as `put_new`."""
        return self._write(key, body, etag, needs)

    def _write(self, key: str, body: bytes, etag: str | None, needs: tuple[str, ...]) -> str:
        """Write an object that has ``etag``, None for one that does not exist. A writer that has lost syncs no file."""
        target = self._file(key)
        self._make_folder(target.parent)
        with self.locked():
            if self.etag(key) != etag:
                raise Changed(key)
            for needed in needs:
                if not self._file(needed).exists():
                    raise Missing(needed)
            with self._temporary(target.parent) as (file, path):
                file.write(body)
                self._sync(file, "document written")
                _make_newer(path, target)
                os.rename(path, target)
                self._reached("document renamed")
                sync_directory(target.parent)
                written = _etag(os.fstat(file.fileno()))
        self._reached("document synced")
        return written

    def put_file(self, key: str, source: BinaryIO) -> None:
        """Write an object from a file, unless it exists. Its key names its content, so no condition is needed."""
        target = self._file(key)
        if target.exists():
            os.utime(target)  # it is in use again: see `delete_unused`
            sync_directory(target.parent)
            return
        self._make_folder(target.parent)
        with self._temporary(target.parent) as (file, path):
            while chunk := source.read(_CHUNK):
                file.write(chunk)
            self._sync(file, "package written")
            os.rename(path, target)  # over the same bytes, if another process was faster
            self._reached("package renamed")
            sync_directory(target.parent)
        self._reached("package synced")

    def delete(self, key: str, etag: str) -> None:
        """Delete an object that has ``etag``. Raises `Changed` and `Busy`."""
        target = self._file(key)
        with self.locked():
            if self.etag(key) != etag:
                raise Changed(key)
            target.unlink()
            self._reached("document deleted")
            sync_directory(target.parent)

    def delete_unused(self, folder: str, used: Callable[[], set[str]], before: float) -> dict[str, int]:
        """Delete the objects of a folder that are not used and were not written since ``before``.

        Args:
            folder: the first part of the keys.
            used: returns the keys to keep. No document is written between this call and the deletion.
            before: seconds since 1970.

        Returns:
            The sizes of the deleted objects in bytes, by key.
        """
        deleted: dict[str, int] = {}
        if not self.path.is_dir():
            return deleted
        with self.locked():
            kept = used()
            for key in self.list(folder).keys() - kept:
                status = self._file(key).stat()
                if status.st_mtime < before:
                    self._file(key).unlink()
                    deleted[key] = status.st_size
        for path in self.path.glob(f"*/{_TEMPORARY}*"):  # of processes that were killed
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
        return deleted

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other writer has the turn, and hold it. Raises `Busy`.

        Many writers of one object would lose most races: an object changes while a writer waits for the lock. So a
        writer that has lost reads, computes and writes in its turn, against newcomers only. The longer a writer waits,
        the more often it tries, so that none waits much longer than the others.
        """
        self._make_folder(self.path)
        lock, start = FileLock(self.path / "turn"), time.monotonic()
        try:
            while not lock.acquire():
                waited = time.monotonic() - start
                if waited > LOCK_PATIENCE:
                    raise Busy(f"another process holds {self.path / 'turn'}")
                time.sleep(max(_SHORTEST_PAUSE, _LONGEST_PAUSE * (1 - waited)))
            yield
        finally:
            lock.close()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of all writers. Raises `Busy`."""
        lock = FileLock(self.path / "lock")  # of its own for each use: the lock holds between threads too
        try:
            if not lock.acquire(LOCK_PATIENCE):
                raise Busy(f"another process holds {self.path / 'lock'}")
            yield
        finally:
            lock.close()

    def _make_folder(self, folder: Path) -> None:
        make_directory(self.path)
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_directory(self.path)

    @contextlib.contextmanager
    def _temporary(self, folder: Path) -> Iterator[tuple[BinaryIO, str]]:
        """Return a new file in ``folder``, and its path. Remove the file if it was not renamed."""
        fd, path = tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)  # for this user only
        with open(fd, "wb") as file:
            try:
                yield file, path
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def _sync(self, file: BinaryIO, step: str) -> None:
        file.flush()
        os.fsync(file.fileno())
        self._reached(step)

    def _file(self, key: str) -> Path:
        if not _key.fullmatch(key):
            raise ValueError(f"{key!r} is not a valid key")
        return self.path / key


def _make_newer(path: str, target: Path) -> None:
    """Give a file a later time than the file that it replaces.

    The kernel's clock for files ticks every some milliseconds, and a new file may have the number of a deleted one. The
    etag of two documents could then be equal.
    """
    now = time.time_ns()
    with contextlib.suppress(FileNotFoundError):
        now = max(now, target.stat().st_mtime_ns + 1)
    os.utime(path, ns=(now, now))


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_ino:x}-{status.st_size:x}"
