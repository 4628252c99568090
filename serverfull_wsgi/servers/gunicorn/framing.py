"""The end of a request in the bytes that a client has sent so far (RFC 9112). Nothing else of the request is parsed."""

from __future__ import annotations

import re

_fields = re.compile(rb"\r\n(content-length|transfer-encoding|expect)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_size = re.compile(rb"[0-9A-Fa-f]{1,16}")
MAX_SIZE_LINE = 1024  # bytes of the line before a chunk: a size and extensions, which gunicorn refuses


class RequestFrame:
    """The frame of one request. Call `end` with all bytes of the connection, each time there are more.

    A malformed request ends where it is malformed: gunicorn's parser, which then reads it, refuses it.

    >>> RequestFrame(1000).end(b"GET / HTTP/1.1\\r\\n\\r\\nGET")
    18
    >>> frame = RequestFrame(1000)
    >>> frame.end(b"POST / HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{"), frame.expects_continue
    (None, False)

    Args:
        max_head: bytes. A longer head ends the request, as malformed.
    """

    def __init__(self, max_head: int) -> None:
        self._max_head = max_head
        self.head_end = 0  # 0: the head is not complete
        self.expects_continue = False  # the client waits for "100 Continue" before it sends the body
        self._searched = 0  # bytes in which the head does not end
        self._body_end: int | None = None  # None: the body has chunks
        self._chunk = 0  # the start of the first incomplete chunk

    def end(self, data: bytes | bytearray) -> int | None:
        """Return the number of bytes of the request, or None if it is not complete."""
        if not self.head_end and not self._find_head(data):
            return len(data) if len(data) > self._max_head else None
        if self._body_end is None:
            return self._end_of_chunks(data)
        return self._body_end if len(data) >= self._body_end else None

    def _find_head(self, data: bytes | bytearray) -> bool:
        found = data.find(b"\r\n\r\n", self._searched)
        if found < 0:
            self._searched = max(0, len(data) - 3)
            return False
        self.head_end = self._chunk = self._body_end = found + 4
        lengths = set()
        for name, value in _fields.findall(data, 0, found):
            kind = name.lower()
            if kind == b"content-length":
                lengths.add(value.strip())
            elif kind == b"transfer-encoding":
                self._body_end = None
            else:
                self.expects_continue = value.strip().lower() == b"100-continue"
        if len(lengths) == 1 and self._body_end and (length := lengths.pop()).isdigit():
            self._body_end += int(length[:20])
        return True

    def _end_of_chunks(self, data: bytes | bytearray) -> int | None:
        while True:
            line_end = data.find(b"\r\n", self._chunk, self._chunk + MAX_SIZE_LINE)
            if line_end < 0:
                return None if len(data) < self._chunk + MAX_SIZE_LINE else len(data)
            size = bytes(data[self._chunk : line_end]).partition(b";")[0].strip()
            if not _size.fullmatch(size):
                return len(data)
            if not int(size, 16):
                return self._end_of_trailers(data, line_end)
            end = line_end + 2 + int(size, 16) + 2
            if end > len(data):
                return None
            self._chunk = end

    def _end_of_trailers(self, data: bytes | bytearray, line_end: int) -> int | None:
        """Return the end of the trailers after the last chunk, an empty line."""
        found = data.find(b"\r\n\r\n", line_end)
        if found < 0:
            return len(data) if len(data) - line_end > self._max_head else None
        return found + 4
