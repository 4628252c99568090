"""The Runtime API's messages as frames on a socket pair, for runtimes that are this package's own.

A frame is::

    kind (1 byte)   length of the head (4)   length of the body (4)   head   body

Lengths are big-endian. The head of a runtime's frame is empty, or a request id and a content type with a line feed
between them; to parse JSON there took 4 µs of a call's 60. The head of the server's frames is a JSON object of strings.
The package's docstring has the kinds and their order.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

PREFIX = struct.Struct(">cII")
NEXT, RESPONSE, ERROR, INIT_ERROR = b"N", b"R", b"X", b"I"  # from the runtime
EVENT, REFUSED = b"E", b"F"  # to the runtime
HEAD_LIMIT = 4096  # bytes of a runtime's head, which has a request id and a content type
RECEIVE_SIZE = 65536  # bytes read from a socket at once
LARGE_RECEIVE_SIZE = 262144  # of a long frame; a socket of Linux holds 208 KiB
_KINDS = (NEXT, RESPONSE, ERROR, INIT_ERROR)


class MalformedFrame(ValueError):
    """The bytes are no frame, or one that the runtime must not send now. The stream has no further frames."""


class Frame(NamedTuple):
    """One frame of a runtime."""

    kind: bytes
    request_id: str
    content_type: str
    body: bytes
    oversized: bool = False  # the body is over the limit, and has not been read


class FrameConnection:
    """The server's end of a socket pair; bodies of more than ``limit`` bytes are not read.

    Attributes:
        runtime_end: the other end, which goes to the runtime's process.
    """

    def __init__(self, limit: int) -> None:
        self._socket, self.runtime_end = socket.socketpair()
        self._socket.setblocking(False)
        os.set_blocking(self.runtime_end.fileno(), True)  # which gevent switches off for both processes
        self.fd = self._socket.fileno()
        self._limit = limit
        self._buffer = bytearray()
        self._frame_size = 0  # of the first frame in the buffer, if it is incomplete
        self._unsent: bytes | memoryview = b""
        self._was_reset = False

    def receive(self) -> None:
        """Read from the socket once; `next_frame` returns the frames.

        Raises:
            ConnectionError: if no process has the other end any longer.
        """
        try:
            data = self._socket.recv(LARGE_RECEIVE_SIZE if self._frame_size > RECEIVE_SIZE else RECEIVE_SIZE)
        except BlockingIOError:
            return
        except ConnectionError:  # the kernel's word for a process that has ended before it had read everything
            self._was_reset = True
            raise
        if not data:
            raise ConnectionResetError
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """Return a frame that has arrived, or None if none is complete yet.

        Raises:
            MalformedFrame: if the bytes are not a valid frame.
        """
        buffer = self._buffer
        if len(buffer) < PREFIX.size:
            return None
        kind, head_size, body_size = PREFIX.unpack_from(buffer)
        if kind not in _KINDS or head_size > HEAD_LIMIT:
            raise MalformedFrame
        body_at = PREFIX.size + head_size
        oversized = body_size > self._limit
        end = body_at + (0 if oversized else body_size)
        if len(buffer) < end:
            self._frame_size = end
            return None
        try:
            request_id, _, content_type = buffer[PREFIX.size : body_at].decode().partition("\n")
        except UnicodeDecodeError:
            raise MalformedFrame from None
        with memoryview(buffer) as view:
            body = bytes(view[body_at:end])
        del buffer[:end]
        self._frame_size = 0
        return Frame(kind, request_id, content_type, body, oversized)

    @property
    def buffered_bytes(self) -> int:
        """The memory for an incomplete frame and an unsent event."""
        return len(self._buffer) + len(self._unsent)

    def send(self, data: bytes | memoryview) -> bool:
        """Send as much as the socket accepts. Return False if some is left for `flush`.

        Raises:
            ConnectionError: if no process has the other end any longer.
        """
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            self._was_reset = True
            raise
        self._unsent = memoryview(data)[sent:] if sent < len(data) else b""
        return not self._unsent

    def flush(self) -> bool:
        """Send more of the rest, as `send` does."""
        return self.send(self._unsent)

    def is_unread(self) -> bool:
        """Return whether the runtime's process has ended before it had read all that was sent."""
        return self._was_reset or bool(self._unsent)

    def close(self) -> None:
        """Close both ends."""
        self._socket.close()
        self.runtime_end.close()

    @staticmethod
    def event(request_id: str, headers: Mapping[str, str], payload: bytes) -> bytes:
        """Return the frame of an event."""
        head = {"Content-Type": "application/json", "Lambda-Runtime-Aws-Request-Id": request_id, **headers}
        return encode(EVENT, json.dumps(head), payload)

    @staticmethod
    def refusal(status: HTTPStatus, error_type: str, message: str) -> bytes:
        """Return the frame that refuses a frame of the runtime."""
        head = {"status": str(status.value), "errorType": error_type, "errorMessage": message}
        return encode(REFUSED, json.dumps(head))

    accepted = b""  # an accepted frame has no answer, which saves both sides two system calls


def encode(kind: bytes, head: str = "", body: bytes = b"") -> bytes:
    """Return a frame as it is sent.

    >>> encode(NEXT)
    b'N\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00'
    """
    data = head.encode()
    return b"".join((PREFIX.pack(kind, len(data), len(body)), data, body))
