"""As much of HTTP/1.1 as the clients of the Runtime API speak, read from sockets that never block.

Of one's own because it is on the path of every isolated invocation: the standard library's server takes three times
as long. Source: RFC 9112.
"""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import Generator
from typing import NamedTuple

from serverfull_wsgi.executors.isolated.runtime_api.gil import yield_gil

HEAD_LIMIT = 2 * 1024 * 1024  # bytes: AWS's Python client may send a trace of 1 MiB in a header
LINE_LIMIT = 16 * 1024  # bytes of a chunk's size
LINES = 256  # of a head, or of trailers
PIECE = 65536  # bytes taken from a socket at once

_FRAMING = ("content-length", "transfer-encoding")
_length = re.compile(rb"[0-9]{1,15}")
_size = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(;.*)?", re.DOTALL)


class Malformed(ValueError):
    """What came is no request that can be answered; the connection cannot go on."""


class ApiRequest(NamedTuple):
    """One request; header names in lower case. ``oversized``: its body was longer than allowed, and left unread."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    oversized: bool = False
    keep_alive: bool = True


class Connection:
    """One client's connection. ``limit`` is how many bytes of a body are read."""

    def __init__(self, sock: socket.socket, limit: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self._limit = sock, limit
        self.fd = sock.fileno()
        self._buffer = bytearray()
        self._body = bytearray()  # of a request in chunks, as far as they have come
        self._aside = 0  # bytes of its head and trailers
        self._parser = self._requests()
        self._unsent = b""

    def receive(self) -> ApiRequest | None:
        """What has come: a request, or None if it is not whole yet.

        Raises `ConnectionError` when the client is gone, `Malformed` when it talks nonsense.
        """
        data = self._socket.recv(PIECE)
        if not data:
            raise ConnectionResetError
        self._buffer += data
        return next(self._parser)

    def waiting(self) -> ApiRequest | None:
        """A further request that came together with the last one; none while the client does not take what is sent."""
        return next(self._parser, None) if self._buffer and not self._unsent else None

    @property
    def held(self) -> int:
        """How many bytes it has in memory: of requests that are not whole, and of what the client has not taken."""
        return len(self._buffer) + len(self._body) + self._aside + len(self._unsent)

    def send(self, data: bytes) -> bool:
        """Sends as much as goes at once; whether that was all. Raises `ConnectionError` when the client is gone."""
        if self._unsent:
            self._unsent += data
        else:
            self._unsent = data[self._sent(data) :]
        return not self._unsent

    def flush(self) -> bool:
        """Goes on sending; whether all is sent."""
        with memoryview(self._unsent) as view:
            sent = self._sent(view[:1_048_576])
        self._unsent = self._unsent[sent:]
        return not self._unsent

    def _sent(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self._socket.close()
        self._parser.close()  # it has this connection, as this has it: with it goes what both have in memory

    def _requests(self) -> Generator[ApiRequest | None, None, None]:
        """The parser: yields None where it needs more bytes, and every request that is whole."""
        while True:
            yield (yield from self._request())

    def _request(self) -> Generator[None, None, ApiRequest]:
        head = yield from self._until(b"\r\n\r\n", HEAD_LIMIT)
        if head.count(b"\r\n") > LINES:
            raise Malformed("a head of too many lines")
        self._aside = len(head)
        first, *lines = head.decode("latin-1").split("\r\n")
        try:
            method, path, version = first.split(" ")
        except ValueError:
            raise Malformed(f"{first[:80]!r} is no request line") from None
        headers = _headers(lines)
        keep_alive = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        if headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = yield from self._chunks(headers)
        else:
            length = headers.get("content-length", "0")
            if not _length.fullmatch(length.encode("latin-1")):
                raise Malformed(f"{length[:80]!r} is no length")
            body = (yield from self._exactly(int(length))) if int(length) <= self._limit else None
        self._aside = 0
        return ApiRequest(method, path, headers, body or b"", oversized=body is None, keep_alive=keep_alive)

    def _until(self, end: bytes, limit: int) -> Generator[None, None, bytes]:
        searched = 0
        while (found := self._buffer.find(end, searched)) < 0:
            if len(self._buffer) > limit:
                raise Malformed("a head or line without end")
            searched = max(0, len(self._buffer) - len(end) + 1)
            yield
        data = bytes(self._buffer[:found])
        del self._buffer[: found + len(end)]
        return data

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < size:
            yield
        with memoryview(self._buffer) as view:
            data = bytes(view[:size])
        del self._buffer[:size]
        return data

    def _chunks(self, headers: dict[str, str]) -> Generator[None, None, bytes | None]:
        """A chunked body, its trailers put into ``headers``; None as soon as it is over the limit."""
        self._body = bytearray()
        for number in itertools.count(1):
            yield_gil(number)
            size = _size.fullmatch((yield from self._until(b"\r\n", LINE_LIMIT)))
            if not size:
                raise Malformed("a chunk without a size")
            length = int(size[1], 16)
            if not length:
                break
            if len(self._body) + length > self._limit:
                return None
            self._body += yield from self._exactly(length)
            if (yield from self._exactly(2)) != b"\r\n":
                raise Malformed("a chunk longer than its size")
        lines = []
        while line := (yield from self._until(b"\r\n", HEAD_LIMIT)):
            lines.append(line.decode("latin-1"))
            self._aside += len(line)
            if len(lines) > LINES:
                raise Malformed("trailers without end")
        headers.update(_headers(lines))
        body, self._body = bytes(self._body), bytearray()
        return body


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Malformed(f"{line[:80]!r} is no header")
        if headers.setdefault(name.lower(), value.strip(" \t")) != value.strip(" \t") and name.lower() in _FRAMING:
            raise Malformed(f"two of {name!r} that differ")
    return headers
