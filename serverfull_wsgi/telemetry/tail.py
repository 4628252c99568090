"""The end of an invocation's log, for callers that request it with ``X-Amz-Log-Type: Tail``."""

from __future__ import annotations

TAIL_SIZE = 4096  # bytes: AWS returns the last 4 KB of the log in X-Amz-Log-Result
_BUFFER_LIMIT = 16 * TAIL_SIZE  # bytes: the buffer is cut at this size, so that most writes only append


class Tail:
    """A buffer of which the last 4,096 bytes are returned."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, text: str) -> None:
        """Append text as UTF-8. A lone surrogate is written as its escape sequence."""
        self.write_bytes(text[-_BUFFER_LIMIT:].encode("utf-8", "backslashreplace"))

    def write_bytes(self, data: bytes) -> None:
        """Append bytes."""
        self._bytes += data[-TAIL_SIZE:]
        if len(self._bytes) > _BUFFER_LIMIT:
            del self._bytes[:-TAIL_SIZE]

    def __bytes__(self) -> bytes:
        return bytes(self._bytes[-TAIL_SIZE:])
