"""Writes that do not wait for the reader of standard output or standard error if it has stopped to read.

A pipe, a terminal or a socket holds a limited number of bytes. If its reader hangs, a write blocks, and with it the
thread that serves a call. So a server writes through a `BoundedText`::

                    room                             no room for 1 s
    WRITING ────────────────────> written                 │
       ^                                                  v
       │  room: the number of lost lines,              DROPPING ───> each write is dropped and counted, without a wait
       └─ then the present write ─────────────────────────┘

The descriptor stays in blocking mode: its mode belongs to all processes that share it, the user's shell among them.

========== =============================================================================================================
pipe,      Linux 6.4 and later write without a wait if the call requests it (RWF_NOWAIT). On an older kernel, the file
socket     is polled before a write of at most PIPE_BUF bytes, for which a file that poll(2) reports as writable has
           room. There a write can still block in a rare case: another process fills the file after the poll.
terminal   It is opened a second time, since its poll reports room for one byte. The second open file has a mode of
           its own. If that is not allowed, the terminal is written to as any file is.
other      A file on a disk is always writable, and is not wrapped.
========== =============================================================================================================
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import select
import stat
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

PATIENCE = 1.0  # seconds: a reader that is only slow, such as a log shipper, loses no line
BUFFER_SIZE = 8192  # characters: as Python's own streams buffer
PIPE_BUF = getattr(select, "PIPE_BUF", 512)  # bytes; 512 is POSIX's minimum
_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_UNSUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ESPIPE}  # by the kernel, for this kind of file


def describe_lost(count: int) -> str:
    """Return the line that stands for ``count`` lost lines."""
    lines = "1 line of output was" if count == 1 else f"{count} lines of output were"
    return f"{lines} dropped, because nothing read the output"


class BoundedBytes(io.RawIOBase):
    """The binary layer of a `BoundedText`.

    Args:
        file: the open pipe, terminal or socket. It stays open if this object is closed.

    Attributes:
        lost: lines that were dropped since the last line that was written.
        describe_lost: makes the line that is written, after a loss, from the number of lost lines.
    """

    describe_lost: Callable[[int], str] = staticmethod(describe_lost)

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._fd = file.fileno()
        self._terminal = _reopen(self._fd) if os.isatty(self._fd) else None
        self._flags = 0 if self._terminal else _RWF_NOWAIT  # 0 if the kernel cannot write to this file without a wait
        self._lock = threading.RLock()  # reentrant: a signal handler may log while its own thread holds the lock
        self._is_in_line = False  # a part of a line was written, and its end was lost
        self.lost = 0
        _all.add(self)

    def write(self, data: Any) -> int:
        """Write all bytes, or drop the bytes for which there is no room."""
        if self._file.closed:  # another file may have the descriptor now
            raise ValueError("I/O operation on closed file.")
        with self._lock:
            written = 0
            if self._flags and not self.lost:
                try:  # noqa: SIM105  (contextlib.suppress takes 0.3 µs more)
                    written = os.pwritev(self._fd, (data,), -1, self._flags)
                except OSError:
                    pass
                if written == len(data):
                    return written
            return self._write_rest(memoryview(data), written)

    def _write_rest(self, data: memoryview, written: int) -> int:
        """Write ``data`` from the byte ``written`` on. Wait for room, unless lines were lost before."""
        if self.lost and not self._is_loss_written():
            self.lost += _lines(data)
            return len(data)
        deadline = time.monotonic() + PATIENCE
        while written < len(data):
            count = self._write_now(data[written:])
            written += count
            if not count and not self._has_room(deadline - time.monotonic()):
                self._is_in_line = written > 0
                self.lost = _lines(data[written:])
                break
        return len(data)

    def _is_loss_written(self) -> bool:
        """Write the number of lost lines. Return False if there is still no room.

        A short note may fit where no whole line does, and the next line would wait again. So the file is polled first.
        """
        if not self._has_room(0):
            return False
        note = f"{self.describe_lost(self.lost)}\n".encode()
        if not self._write_now(memoryview(b"\n" + note if self._is_in_line else note)):
            return False
        self.lost, self._is_in_line = 0, False
        return True

    def _write_now(self, data: memoryview) -> int:
        """Write the bytes for which there is room now, and return their number."""
        if self._terminal and self._is_at_terminal(self._terminal):
            try:
                return os.write(self._terminal, data)
            except BlockingIOError:
                return 0
        if self._flags:
            try:
                return os.pwritev(self._fd, (data,), -1, self._flags)
            except BlockingIOError:
                if _can_be_full(self._fd):
                    return 0
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
            self._flags = 0
        return os.write(self._fd, data[:PIPE_BUF]) if self._has_room(0) else 0

    def _is_at_terminal(self, terminal: int) -> bool:
        """Return False from then on if another file has replaced the terminal, as with gunicorn's --capture-output."""
        if os.path.samestat(os.fstat(self._fd), os.fstat(terminal)):
            return True
        os.close(terminal)
        self._terminal, self._flags = None, _RWF_NOWAIT
        return False

    def _has_room(self, seconds: float) -> bool:
        """Return whether PIPE_BUF bytes (one byte to a terminal) can be written. Wait for at most ``seconds``.

        gevent's own poll would let another greenlet write at the same time.
        """
        poll = _original("select", "poll")()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def renew_lock(self) -> None:
        """Replace the lock, in a forked child: a thread of the parent may hold it."""
        self._lock = threading.RLock()

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def writable(self) -> bool:
        return True


class BoundedText(io.TextIOBase):
    """A text stream that writes to the file of another stream and does not wait for its reader.

    It has a buffer of its own: Python's buffers would add 0.6 µs to each line of the log.

    Args:
        stream: the other stream, over a pipe, a terminal or a socket.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self.buffer: BoundedBytes = BoundedBytes(_file_of(stream))
        self.name, self.mode = stream.name, "w"
        self._encoding, self._errors = stream.encoding, stream.errors or "strict"
        self._is_line_buffered, self._is_unbuffered = stream.line_buffering, stream.write_through
        self._pending: deque[bytes] = deque()
        self._size = 0  # about the number of pending bytes

    def write(self, text: str) -> int:
        data = text.encode(self._encoding, self._errors)
        self._pending.append(data)
        self._size += len(data)
        if self._is_unbuffered or self._size > BUFFER_SIZE or (self._is_line_buffered and "\n" in text):
            self.flush()
        return len(text)

    def write_line(self, line: str) -> None:
        """Write a line of the log at once, after all that is pending."""
        try:
            data = line.encode(self._encoding)
        except UnicodeEncodeError:
            data = line.encode(self._encoding, "backslashreplace")
        if self._pending:
            self.flush()
        self.buffer.write(data)

    def flush(self) -> None:
        parts = []
        with contextlib.suppress(IndexError):  # another thread may flush at the same time
            while True:
                parts.append(self._pending.popleft())
        self._size = 0
        if parts:
            self.buffer.write(b"".join(parts))

    def reconfigure(
        self,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        line_buffering: bool | None = None,
        write_through: bool | None = None,
    ) -> None:
        """Change the given properties, as `io.TextIOWrapper.reconfigure` does. Line ends are not translated."""
        self.flush()
        self._encoding, self._errors = encoding or self._encoding, errors or self._errors
        if line_buffering is not None:
            self._is_line_buffered = line_buffering
        if write_through is not None:
            self._is_unbuffered = write_through

    def fileno(self) -> int:
        return self.buffer.fileno()

    def isatty(self) -> bool:
        return self.buffer.isatty()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    @property
    def errors(self) -> str:  # type: ignore[override]
        return self._errors

    @property
    def line_buffering(self) -> bool:
        return self._is_line_buffered


_bounded: weakref.WeakKeyDictionary[Any, BoundedText] = (
    weakref.WeakKeyDictionary()
)  # by the stream that each stands for
_all: weakref.WeakSet[BoundedBytes] = weakref.WeakSet()


def bounded(stream: Any) -> Any:
    """Return a `BoundedText` for a text stream, always the same one for a stream.

    Return ``stream`` itself if its file is always writable, and if it is not a stream over a descriptor.
    """
    try:
        if stream not in _bounded:
            if not isinstance(stream, io.TextIOWrapper) or not _can_be_full(_file_of(stream).fileno()):
                return stream
            stream.flush()
            _bounded[stream] = BoundedText(stream)
        return _bounded[stream]
    except (OSError, ValueError, TypeError, AttributeError):  # closed, or without a descriptor
        return stream


def _file_of(stream: io.TextIOWrapper) -> io.FileIO:
    buffer: Any = stream.buffer
    return getattr(buffer, "raw", buffer)  # type: ignore[no-any-return]  # python -u has no layer between


def _reopen(fd: int) -> int:
    """Open a terminal a second time, for writes that do not wait. Raises OSError if this user may not open it."""
    path = f"/proc/self/fd/{fd}" if sys.platform == "linux" else os.ttyname(fd)
    return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)


def _can_be_full(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (stat.S_ISCHR(mode) and os.isatty(fd))


def _lines(data: memoryview) -> int:
    return bytes(data).count(b"\n") or 1


def _original(module: str, name: str) -> Any:
    """Return a function of the standard library, also if gevent has replaced it."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original(module, name) if monkey else getattr(sys.modules[module], name)


def _flush() -> None:
    for stream in list(_bounded.values()):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _renew_locks() -> None:
    for output in _all:
        output.renew_lock()


os.register_at_fork(after_in_child=_renew_locks)
atexit.register(_flush)
