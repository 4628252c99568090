"""The part of HTTP/1.1 that clients of the Runtime API use, on sockets that never block.

It is on the path of every isolated invocation; the standard library's server takes three times as long.
Source: RFC 9112.
"""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import Generator
from typing import NamedTuple

from serverfull_wsgi.executors.isolated.runtime_api.gil import yield_gil

HEAD_LIMIT = 2 * 1024 * 1024  # bytes: AWS's Python client may send an X-Ray cause of 1 MiB in a header
CHUNK_LINE_LIMIT = 16 * 1024  # bytes of the line with a chunk's size; extensions are possible, but unusual
MOST_LINES = 256  # of a head, or of trailers; AWS's clients send about ten
RECEIVE_SIZE = 65536  # bytes read from a socket at once
SEND_SIZE = 1024 * 1024  # bytes offered to a socket at once; a kernel's buffer holds less

_FRAMING = ("content-length", "transfer-encoding")
_length = re.compile(rb"[0-9]{1,15}")
_chunk_size = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(;.*)?", re.DOTALL)


class Malformed(ValueError):
    """The bytes are not a valid request; the connection must be closed."""


class ApiRequest(NamedTuple):
    """One request, with header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    oversized: bool = False  # the body was over the limit, and has not been read
    keep_alive: bool = True


class Connection:
    """One client's connection; bodies of more than ``limit`` bytes are not read."""

    def __init__(self, sock: socket.socket, limit: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self._limit = sock, limit
        self.fd = sock.fileno()
        self._buffer = bytearray()
        self._body = bytearray()  # of a chunked request, as far as it has arrived
        self._head_size = 0  # bytes of the current request's head and trailers
        self._parser = self._requests()
        self._unsent = b""
        self._was_reset = False

    def receive(self) -> ApiRequest | None:
        """Read from the socket. Return a request, or None if none is complete yet.

        Raises:
            ConnectionError: if the client has closed the connection.
            Malformed: if the bytes are not a valid request.
        """
        try:
            data = self._socket.recv(RECEIVE_SIZE)
        except ConnectionError:
            self._was_reset = True
            raise
        if not data:
            raise ConnectionResetError
        self._buffer += data
        return next(self._parser)

    def next_request(self) -> ApiRequest | None:
        """Return another request that has arrived already. Return None while responses are unsent."""
        return next(self._parser, None) if self._buffer and not self._unsent else None

    @property
    def buffered_bytes(self) -> int:
        """The memory for incomplete requests and unsent responses."""
        return len(self._buffer) + len(self._body) + self._head_size + len(self._unsent)

    def send(self, data: bytes) -> bool:
        """Send as much as the socket accepts. Return False if some is left for `flush`.

        Raises:
            ConnectionError: if the client has closed the connection.
        """
        if self._unsent:
            self._unsent += data
        else:
            self._unsent = data[self._send(data) :]
        return not self._unsent

    def flush(self) -> bool:
        """Send more of the rest, as `send` does."""
        with memoryview(self._unsent) as view:
            sent = self._send(view[:SEND_SIZE])
        self._unsent = self._unsent[sent:]
        return not self._unsent

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except ConnectionError:
            self._was_reset = True
            raise

    def is_unread(self) -> bool:
        """Return whether the client has closed the connection before it had read all that was sent.

        The kernel then sends RST in place of FIN; RFC 9293, section 3.6.1.
        """
        return self._was_reset or bool(self._unsent or self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def close(self) -> None:
        """Close the socket and free the buffers."""
        self._socket.close()
        self._parser.close()  # breaks the cycle of references between the connection and its parser

    # The parser: generators that yield None for more bytes

    def _requests(self) -> Generator[ApiRequest | None, None, None]:
        while True:
            yield (yield from self._request())

    def _request(self) -> Generator[None, None, ApiRequest]:
        head = yield from self._until(b"\r\n\r\n", HEAD_LIMIT)
        if head.count(b"\r\n") > MOST_LINES:
            raise Malformed(f"the head has more than {MOST_LINES} lines")
        self._head_size = len(head)
        first, *lines = head.decode("latin-1").split("\r\n")
        try:
            method, path, version = first.split(" ")
        except ValueError:
            raise Malformed(f"{first[:80]!r} is not a valid request line") from None
        headers = _parse_headers(lines)
        keep_alive = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        if headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = yield from self._chunks(headers)
        else:
            length = headers.get("content-length", "0")
            if not _length.fullmatch(length.encode("latin-1")):
                raise Malformed(f"{length[:80]!r} is not a valid length")
            body = (yield from self._exactly(int(length))) if int(length) <= self._limit else None
        self._head_size = 0
        return ApiRequest(method, path, headers, body or b"", oversized=body is None, keep_alive=keep_alive)

    def _until(self, end: bytes, limit: int) -> Generator[None, None, bytes]:
        """Return the bytes before ``end``."""
        searched = 0
        while (position := self._buffer.find(end, searched)) < 0:
            if len(self._buffer) > limit:
                raise Malformed(f"a head or line is longer than {limit} bytes")
            searched = max(0, len(self._buffer) - len(end) + 1)
            yield
        data = bytes(self._buffer[:position])
        del self._buffer[: position + len(end)]
        return data

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < size:
            yield
        with memoryview(self._buffer) as view:
            data = bytes(view[:size])
        del self._buffer[:size]
        return data

    def _chunks(self, headers: dict[str, str]) -> Generator[None, None, bytes | None]:
        """Return a chunked body, and add its trailers to ``headers``. Return None as soon as it exceeds the limit."""
        self._body = bytearray()
        for count in itertools.count(1):
            yield_gil(count)
            size = _chunk_size.fullmatch((yield from self._until(b"\r\n", CHUNK_LINE_LIMIT)))
            if not size:
                raise Malformed("a chunk has no size")
            length = int(size[1], 16)
            if not length:
                break
            if len(self._body) + length > self._limit:
                return None
            self._body += yield from self._exactly(length)
            if (yield from self._exactly(2)) != b"\r\n":
                raise Malformed("a chunk is longer than its size")
        lines = []
        while line := (yield from self._until(b"\r\n", HEAD_LIMIT)):
            lines.append(line.decode("latin-1"))
            self._head_size += len(line)
            if len(lines) > MOST_LINES:
                raise Malformed(f"there are more than {MOST_LINES} trailers")
        headers.update(_parse_headers(lines))
        body, self._body = bytes(self._body), bytearray()
        return body


def _parse_headers(lines: list[str]) -> dict[str, str]:
    """Return headers by their names in lower case; of several with one name, the first."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Malformed(f"{line[:80]!r} is not a valid header")
        if headers.setdefault(name.lower(), value.strip(" \t")) != value.strip(" \t") and name.lower() in _FRAMING:
            raise Malformed(f"two headers {name!r} differ")
    return headers
