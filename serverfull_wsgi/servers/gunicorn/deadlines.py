"""Deadlines of clients, and the socket of a sync worker, whose only thread waits no longer than until the deadline."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

PIECE = 65_536  # bytes that a client has to send, or to read, within its timeout: 4 KiB/s with the default of 15 s


class Deadline:
    """The time by which a client has to send, or to read, the next `PIECE` bytes. It moves on with each piece.

    A deadline for each byte would let a client that sends one byte a second wait forever. A deadline for the whole
    body would cut off clients with slow lines.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Start the time of a new piece."""
        self.time = time.monotonic() + self._seconds  # of the monotonic clock
        self._missing = PIECE

    def advance(self, size: int) -> None:
        """Note that ``size`` bytes were sent or read."""
        self._missing -= size
        if self._missing <= 0:
            self.restart()

    def left(self) -> float:
        """Return the seconds that are left, 0 if the time is over."""
        return max(0.0, self.time - time.monotonic())


def reset_at_close(sock: socket.socket) -> None:
    """Let the kernel drop, at the close, the bytes that the client has not read. It would keep them for minutes."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class DeadlineSocket(socket.socket):
    """A client's socket on which a thread waits no longer than until the client's deadline.

    Args:
        accepted: the socket that ``accept`` returned. This socket takes its descriptor over.
        seconds: the client's timeout.
        on_late_request: called with this socket if a request is not received in time.
    """

    def __init__(
        self, accepted: socket.socket, seconds: float, on_late_request: Callable[[DeadlineSocket], object]
    ) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self._receiving = Deadline(seconds)
        self._sending: Deadline | None = None
        self._seconds = seconds
        self._on_late_request = on_late_request
        self._has_received = self._is_late = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return bytes that the client sent. Raises `ConnectionResetError` after its deadline."""
        if self.gettimeout() is not None:  # gunicorn's own timeout while it closes the connection
            return super().recv(size, flags)
        if not self._is_ready(select.POLLIN, self._receiving):
            if not self._is_late and self._has_received and self._sending is None:
                self._on_late_request(self)
            self._is_late = True
            raise ConnectionResetError(errno.ECONNRESET, "the client sends its request too slowly")
        data = super().recv(size, flags)
        self._has_received = True
        self._receiving.advance(len(data))
        return data

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send ``data``. Raises `BrokenPipeError` after the client's deadline, and if its request was late."""
        self._sending = self._sending or Deadline(self._seconds)
        self._sending.restart()
        view = memoryview(data)
        while view and not self._is_late:
            try:
                sent = self.send(view, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if self._is_ready(select.POLLOUT, self._sending):
                    continue
                break
            self._sending.advance(sent)
            view = view[sent:]
        if view:
            reset_at_close(self)
            raise BrokenPipeError(errno.EPIPE, "the client does not read its answer")

    def _is_ready(self, event: int, deadline: Deadline) -> bool:
        poll = select.poll()
        poll.register(self, event)
        return bool(poll.poll(deadline.left() * 1000))
