"""Counted places that processes share: one byte of a file for each place, locked while the place is in use.

A *key*, such as a function's name, has places 0, 1, 2 and so on. `PlaceLocks.acquire` locks a free place below a limit.
So the places of a key that are in use, over all processes with the same file, never exceed the limit::

    file   |.....|X X . X . . . .|......................|. X . . . .|.....
                  places of "a"                           places of "b"

The locks are Linux's open file description locks (fcntl_locking(2)):

- The kernel releases them when the last copy of the open file is closed, so also by ``kill -9``.
- They belong to the open file, not to the process. Locks of one process never conflict with each other, so the process
  also counts its own places in memory. A forked child has a copy of the open file, which would keep its parent's locks
  after the parent's death. So each child closes its copy at once, and an exec closes it too.
- A descriptor that is passed on purpose (`PlaceLocks.descriptors`) keeps the locks until its process has ended. The
  fork servers of isolated functions inherit it: an environment that outlives its server for some milliseconds still
  counts.

The offset of a key's first byte is a digest of the key, so that one file and one descriptor serve all keys. Two of a
thousand keys have the same offset with a probability of about one in two million; they would share their places.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import struct
import sys
import threading
import weakref
from pathlib import Path
from typing import NamedTuple

from serverfull_wsgi.storage.private_files import make_directory

MOST_PLACES = 1 << 22  # of a key
_DIGEST_BYTES = 5  # 40 bits of digest and 22 of place: an offset has 63
_FLOCK = "hhqqi"  # struct flock of Linux: type, whence, start, length, process

_instances: weakref.WeakSet[PlaceLocks] = weakref.WeakSet()


class Place(NamedTuple):
    """A place in use."""

    key: str
    number: int


class PlaceLocks:
    """The places of one file, for all threads of this process. The first `acquire`, or `open`, opens the file.

    Args:
        path: the file. Its folder is created if it is missing. None counts the places of this process only.
        logger: receives a line if the places of each process are counted separately, and if the file was replaced.
    """

    def __init__(self, path: Path | None, logger: logging.Logger) -> None:
        self._path, self._logger = path, logger
        self._fd: int | None = None
        self._is_shared = path is not None  # False if the kernel or the file system has no such locks
        self._is_closed = False
        self._held: dict[str, set[int]] = {}
        self._latest: dict[str, int] = {}  # the place that was released last, which is probably still free
        _instances.add(self)

    def open(self) -> None:
        """Open the file. Raises OSError if it cannot be opened or created."""
        with self._lock():
            self._open()

    def descriptors(self) -> list[int]:
        """Return the descriptor for a child process that shall keep the locks of this process; none if not open."""
        return [] if self._fd is None else [self._fd]

    def acquire(self, key: str, limit: int) -> Place | None:
        """Return a place, or None if ``limit`` places of the key are in use, here and in other processes.

        The limit may differ from call to call. Places in use above a lowered limit count until they are released.
        Raises OSError if the file cannot be opened.
        """
        with self._lock():
            self._open()
            held = self._held.setdefault(key, set())
            if len(held) >= limit:
                return None
            offset = _offset(key)
            bound = self._bound(offset, held, limit) if self._fd is not None else limit
            first = self._latest.get(key, 0)
            for number in (*range(first, bound), *range(min(first, bound))):
                if number not in held and self._lock_byte(offset + number):
                    held.add(number)
                    return Place(key, number)
            return None

    def count(self, key: str) -> int:
        """Return the number of the key's places that are in use, here and in other processes."""
        with self._lock():
            offset, held = _offset(key), len(self._held.get(key, ()))
            return held if self._fd is None else held + self._count(offset, offset + MOST_PLACES)

    def release(self, place: Place) -> None:
        """Give a place back."""
        with self._lock():
            held = self._held.get(place.key, set())
            if place.number not in held:  # of the parent, in a forked child
                return
            held.remove(place.number)
            if self._fd is not None:
                _set_lock(self._fd, fcntl.F_UNLCK, _offset(place.key) + place.number)
            self._latest[place.key] = place.number
            if not held:
                del self._held[place.key]
            if self._is_closed:
                self._close_unused()

    def close(self) -> None:
        """Close the file, as soon as no place is in use. A later `acquire` opens it again."""
        with self._lock():
            self._is_closed = True
            self._close_unused()

    def _close_unused(self) -> None:
        if self._fd is not None and not self._held:
            os.close(self._fd)
            self._fd = None

    def _lock(self) -> threading.Lock:
        """Return the lock. Its first use creates it, since gevent replaces `threading.Lock` after the constructor."""
        lock: threading.Lock = self.__dict__.setdefault("_mutex", threading.Lock())
        return lock

    def _open(self) -> None:
        if self._path is None or not self._is_shared or (self._fd is not None and self._is_current(self._fd)):
            return
        make_directory(self._path.parent)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _has_locks(fd):
            os.close(fd)
            self._is_shared = False
            self._logger.warning(
                "%s: the system has no open file description locks here, so each process counts its own places: "
                "limits of concurrency hold for each process, not for all together",
                self._path,
            )
            return
        if self._fd is not None:
            self._logger.warning("%s was removed or replaced; its locks are taken again on a new file", self._path)
            os.close(self._fd)
            for key, held in self._held.items():
                for number in held:
                    _set_lock(fd, fcntl.F_WRLCK, _offset(key) + number)
        self._fd = fd

    def _is_current(self, fd: int) -> bool:
        """Return whether the path still leads to the open file: other processes would lock another one."""
        assert self._path is not None  # noqa: S101
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(fd))
        except FileNotFoundError:
            return False

    def _bound(self, offset: int, held: set[int], limit: int) -> int:
        """Return the number below which a place may be locked, so that no more than ``limit`` are in use.

        It is ``limit`` unless places above are in use, from before the limit was lowered.
        """
        assert self._fd is not None  # noqa: S101
        above = self._count(offset + limit, offset + MOST_PLACES) + sum(number >= limit for number in held)
        bound = limit
        while bound and bound + above > limit:
            bound -= 1
            above += bound in held or self._count(offset + bound, offset + bound + 1)
        return bound

    def _count(self, start: int, end: int) -> int:
        """Return the number of bytes from ``start`` to ``end`` that other processes have locked."""
        assert self._fd is not None  # noqa: S101
        if start >= end:
            return 0
        answer = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, 0, start, end - start, 0))
        kind, _, first, length, _ = struct.unpack_from(_FLOCK, answer)
        if kind == fcntl.F_UNLCK:
            return 0
        first, last = max(first, start), min(first + length, end)
        return int(last - first) + self._count(start, first) + self._count(last, end)

    def _lock_byte(self, offset: int) -> bool:
        return self._fd is None or _set_lock(self._fd, fcntl.F_WRLCK, offset)

    def _forget(self) -> None:
        """In a forked child: close the copy of the open file, so that it does not keep the parent's locks."""
        self.__dict__.pop("_mutex", None)  # a thread of the parent may hold it
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._held, self._latest, self._is_closed = None, {}, {}, False


def _offset(key: str) -> int:
    from hashlib import blake2b  # imports OpenSSL, and most servers reserve no concurrency

    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest(), "big") * (
        MOST_PLACES
    )


def _set_lock(fd: int, kind: int, offset: int) -> bool:
    """Lock or unlock one byte. Return False if another open file has it locked."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, 0, offset, 1, 0))
    except (BlockingIOError, PermissionError):  # EAGAIN; POSIX also allows EACCES
        return False
    return True


def _has_locks(fd: int) -> bool:
    """Return whether the kernel and the file's file system have open file description locks."""
    if sys.platform != "linux":  # the layout of struct flock is Linux's
        return False
    with contextlib.suppress(OSError):
        _set_lock(fd, fcntl.F_UNLCK, 0)
        return True
    return False


def _forget_inherited() -> None:
    for locks in list(_instances):
        locks._forget()


os.register_at_fork(after_in_child=_forget_inherited)
