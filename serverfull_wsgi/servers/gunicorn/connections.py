"""Connections to clients that may be slow: a thread of a gthread worker waits for none of them."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from gunicorn.http import get_parser
from gunicorn.workers.gthread import TConn

from serverfull_wsgi.servers.gunicorn.deadlines import PIECE, Deadline, reset_at_close
from serverfull_wsgi.servers.gunicorn.framing import RequestFrame

CHUNK = 16_384  # bytes of one recv: Python allocates them before it knows how many come
MAX_BUFFERED = 16 * 1024 * 1024  # bytes of a request, or of an answer, that wait in memory: over AWS's 6 MiB


class BufferingSocket(socket.socket):
    """A client's socket on which `sendall` does not wait: bytes that the kernel does not take are kept.

    The main thread sends them (`send_unsent`). If more than `MAX_BUFFERED` bytes are kept, `sendall` waits.

    Args:
        accepted: the socket that ``accept`` returned. This socket takes its descriptor over.
        seconds: the client's timeout.
        on_unsent: called if there are unsent bytes, from any thread.
    """

    def __init__(self, accepted: socket.socket, seconds: float, on_unsent: Callable[[], object]) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        super().setblocking(False)
        self._unsent = bytearray()
        self._changed = threading.Condition()
        self._is_broken = False
        self._on_unsent = on_unsent
        self.sending = Deadline(seconds)

    def setblocking(self, flag: bool) -> None:
        """Keep the socket non-blocking. gunicorn changes the mode twice for each request, with two system calls."""

    @property
    def unsent(self) -> int:
        """The number of bytes that wait to be sent."""
        return len(self._unsent)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send ``data``, or keep it for `send_unsent`. Raises `BrokenPipeError` for a client that does not read."""
        view = memoryview(data)
        if not self._unsent and not self._is_broken:  # only this thread adds bytes
            view = view[self._send(view) :]
            if not view:
                return
        with self._changed:
            if not self._unsent:
                self.sending.restart()
            self._unsent += view
            self._on_unsent()
            while self.unsent > MAX_BUFFERED and not self._is_broken:
                self._changed.wait()
            if self._is_broken:
                raise BrokenPipeError(errno.EPIPE, "the client does not read its answer")

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send ``count`` bytes of a file, or all of them, through `sendall`."""
        file.seek(offset)
        sent = 0
        while piece := file.read(PIECE if count is None else min(PIECE, count - sent)):
            self.sendall(piece)
            sent += len(piece)
        return sent

    def send_unsent(self) -> bool:
        """Send as many of the unsent bytes as the kernel takes. Return whether none is left. Raises `OSError`."""
        with self._changed:
            if self._unsent:
                sent = self._send(memoryview(self._unsent)[: 16 * PIECE])
                del self._unsent[:sent]
                self.sending.advance(sent)
                self._changed.notify_all()
            return not self._unsent

    def break_off(self) -> None:
        """Disconnect the client, and drop the unsent bytes. A thread that uses this socket gets errors."""
        reset_at_close(self)
        with self._changed:
            self._is_broken = True
            self._unsent.clear()
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def _send(self, view: memoryview) -> int:
        try:
            sent: int = self.send(view)
        except BlockingIOError:
            return 0
        return sent


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A client's connection. Its request is received before a thread works on it.

    gunicorn's parser reads from this object instead of the socket (`recv`), and finds the received bytes only. So the
    end of an incomplete request is the end of the connection for it. Only the part of a request beyond `MAX_BUFFERED`
    is read from the socket, within the deadline.

    Args:
        cfg, accepted, client, server: as for gunicorn's connection.
        seconds: the client's timeout.
        on_unsent: called if there are unsent bytes, from any thread.
        linger: closes a socket as RFC 9112 requires, without waiting.
    """

    def __init__(
        self,
        cfg: Any,
        accepted: socket.socket,
        client: Any,
        server: Any,
        *,
        seconds: float,
        on_unsent: Callable[[Connection], object],
        linger: Callable[[socket.socket], object],
    ) -> None:
        sock = BufferingSocket(accepted, seconds, lambda: on_unsent(self))
        self._linger = linger
        line, field = cfg.limit_request_line, cfg.limit_request_field_size  # bytes; 0: no limit
        self._max_head = line + cfg.limit_request_fields * field if line and field else MAX_BUFFERED
        super().__init__(cfg, sock, client, server)
        self.initialized = self.data_ready = True  # no thread waits for the first bytes
        self.parser = get_parser(cfg, self, client)
        self.receiving = Deadline(seconds)
        self.received = bytearray()  # of this request, and perhaps of the next ones
        self.progress = time.monotonic()  # the time at which the last bytes came or went
        self.response: Future[Any] | None = None  # the thread's result, once it has ended
        self.is_in_thread = False
        self.registered = 0  # events of `selectors` for which the connection is registered
        self._start_frame()

    def _start_frame(self) -> None:
        self._frame = RequestFrame(self._max_head)
        self._end: int | None = None  # bytes of the request in ``received``
        self._has_more = False  # the request is longer than `MAX_BUFFERED`

    def start_request(self) -> None:
        """Begin the next request of a kept-alive connection."""
        self.receiving.restart()
        self.response = None
        self._start_frame()

    def receive(self) -> bool:
        """Receive bytes without waiting. Return whether the request is complete.

        Raises:
            BlockingIOError: if the client has sent nothing more.
            OSError: if the client has disconnected.
        """
        if self._is_complete():
            return True
        while data := self.sock.recv(CHUNK):
            self.progress = time.monotonic()
            self.receiving.advance(len(data))
            self.received += data
            if self._is_complete():
                return True
            if len(data) < CHUNK:
                raise BlockingIOError
        raise ConnectionResetError(errno.ECONNRESET, "the client has disconnected")

    def _is_complete(self) -> bool:
        if not self.received:
            return False
        self._end = self._frame.end(self.received)
        if self._end is None and len(self.received) > self._frame.head_end + MAX_BUFFERED:
            self._end, self._has_more = len(self.received), True
        return self._end is not None

    def needs_continue(self) -> bool:
        """Return once whether the client waits for "100 Continue" before it sends its body."""
        expects, self._frame.expects_continue = self._frame.expects_continue, False
        return expects and self._end is None

    def recv(self, size: int) -> bytes:
        """Return bytes of the request for gunicorn's parser, none at the request's end."""
        if self._end:
            data = bytes(memoryview(self.received)[: min(size, self._end)])
            del self.received[: len(data)]
            self._end -= len(data)
            return data
        return self._receive_more(size) if self._has_more else b""

    def _receive_more(self, size: int) -> bytes:
        """Wait for the rest of a request that is too long for the memory. The caller is the connection's thread."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if not poll.poll(self.receiving.left() * 1000):
            raise ConnectionResetError(errno.ECONNRESET, "the client sends its request too slowly")
        data: bytes = self.sock.recv(size)
        self.receiving.advance(len(data))
        return data

    def close(self, graceful: bool = False) -> None:
        """Close the connection without waiting for the client."""
        if graceful and self.sock.fileno() >= 0:
            self._linger(self.sock)
        else:
            self.sock.close()

    @property
    def buffered(self) -> int:
        """The number of bytes in memory that the client has sent or has not read."""
        unsent: int = self.sock.unsent
        return len(self.received) + unsent
