"""The output of an environment: standard output, standard error and the frames of its telemetry descriptor.

All three arrive through one pipe, which keeps their order. AWS's runtime client writes a frame for each log record:

    type (4 bytes: A55A00 and the level)   length (4)   time (8, in microseconds)   text

All numbers are big-endian.
"""

from __future__ import annotations

import logging
import os
import re

from serverfull_wsgi.executors.isolated.runtime_api.gil import yield_gil
from serverfull_wsgi.telemetry.logs import is_dropped
from serverfull_wsgi.telemetry.tail import Tail

LOGGED = 256 * 1024  # bytes of one invocation's output in the server's log, so that no function fills the log
PIECE = 65536  # bytes: the capacity of a pipe on Linux
LINE_LIMIT = PIECE  # bytes after which an incomplete line becomes a record
ESCAPED_AT_ONCE = 8192  # bytes, which take 0.4 ms
_frame = re.compile(rb"\xa5\x5a\x00(.)(.{4}).{8}", re.DOTALL)
_HEAD = 16  # bytes of a frame before its text
_JSON = 2  # the last two bits of the type of a frame in JSON
_ERROR = (0x16, 0x17)  # as JSON and as text; AWS's client ends the text of all other types with a line end
_prefix = re.compile(rb"\[(WARNING|ERROR|CRITICAL)\]\t")  # of a text frame: it has one type for all levels
_NO_FRAMES = b"\nTraceback (most recent call last):"  # AWS's Python client writes no frames for a failed import
_ESCAPES = {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(128, 256)}
_LEVELS = {0x12: logging.WARNING, 0x13: logging.WARNING, **dict.fromkeys((*_ERROR, 0x1A, 0x1B), logging.ERROR)}


class Output:
    """The reader of the pipe ``fd``, which must not block. Lines go to ``logger``, and all bytes to the tail.

    If the server's log has the output NULL, no records are made.

    Its memory is bounded: it logs at most `LOGGED` bytes of an invocation, and counts the rest. Its share of the
    interpreter is bounded too: it pauses for the server's other threads, and a function that writes faster waits for
    room in the pipe.
    """

    def __init__(self, fd: int, logger: logging.Logger) -> None:
        self.fd = fd
        self._logger = logger
        self._incomplete = b""  # possibly the first bytes of a frame's head
        self._frame_left = 0  # bytes of the current frame that have not arrived
        self._frame_type = 0
        self._frame_level = logging.INFO
        self._line = bytearray()
        self.start_invocation({}, None)

    def start_invocation(self, fields: dict[str, str], tail: Tail | None) -> None:
        """Attribute the output from now on to an invocation, by ``fields`` in the server's log and by ``tail``."""
        self._fields, self._tail, self._is_dropped = fields, tail, is_dropped(self._logger)
        self._logged = self._dropped = 0

    def read(self) -> bool:
        """Read and process one piece. Return False if the pipe is empty or closed."""
        try:
            data = os.read(self.fd, PIECE)
        except BlockingIOError:
            return False
        if data:
            self._parse(data)
        if self._dropped:
            yield_gil()
        return bool(data)

    def end_invocation(self) -> None:
        """Log the incomplete last line of the invocation, and the number of bytes that were not logged."""
        if self._incomplete:
            self._write(self._incomplete)
        self._incomplete, self._frame_left = b"", 0
        if self._line:
            self._log_line(logging.INFO)
        if self._dropped:
            self._logger.warning(
                "%d bytes of output were left out here: an invocation's first %d are logged",
                self._dropped,
                LOGGED,
                extra=self._fields,
            )

    def _parse(self, data: bytes) -> None:
        data = self._incomplete + data
        self._incomplete = b""
        while data:
            if self._frame_left:
                data = self._parse_frame(data)
            elif frame := _frame.search(data):
                self._write(data[: frame.start()])
                self._frame_left, self._frame_type = int.from_bytes(frame[2], "big"), frame[1][0]
                data = data[frame.end() :]
                self._frame_level = _LEVELS.get(self._frame_type) or _level_in_text(data)
            else:
                head = data.find(b"\xa5", max(0, len(data) - _HEAD + 1))
                if head >= 0:
                    data, self._incomplete = data[:head], data[head:]
                self._write(data)
                return

    def _parse_frame(self, data: bytes) -> bytes:
        """Process the text of the current frame, and return the bytes after it."""
        text, data = data[: self._frame_left], data[self._frame_left :]
        self._frame_left -= len(text)
        if not self._frame_left and _may_lack_line_end(self._frame_type) and not text.endswith(b"\n"):
            text += b"\n"
        self._write(text, self._frame_level, whole=self._frame_level > logging.INFO)
        if not self._frame_left:
            self._log_line(self._frame_level)
        return data

    def _write(self, text: bytes, level: int = logging.INFO, *, whole: bool = False) -> None:
        """Copy text to the tail, and its lines to the log; if ``whole``, all lines in one record, as a stack trace."""
        if self._tail is not None:
            self._tail.write_bytes(text)
        if self._is_dropped:
            return
        room = LOGGED - self._logged
        self._logged += min(len(text), room)
        self._dropped += max(0, len(text) - room)
        if room <= 0:
            return
        *lines, rest = [text[:room]] if whole else text[:room].split(b"\n")
        for number, line in enumerate(lines, 1):
            self._line += line
            self._log_line(level)
            yield_gil(number)
        self._line += rest
        if len(self._line) > LINE_LIMIT:
            self._log_line(level)

    def _log_line(self, level: int) -> None:
        text = bytes(self._line.rstrip(b"\r\n")).removesuffix(_NO_FRAMES)
        if level > logging.INFO:  # AWS's client writes the level before a frame's text, and the record has it already
            text = re.sub(rb"^\[%s\][ \t]" % logging.getLevelName(level).encode(), b"", text)
        if text and self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", decode_output(text), extra=self._fields)
        self._line.clear()


def _may_lack_line_end(frame_type: int) -> bool:
    """Return whether AWS's clients write such a frame without a line end: errors, and records in JSON."""
    return frame_type in _ERROR or frame_type & 3 == _JSON


def _level_in_text(text: bytes) -> int:
    """Return the level at the start of a frame's text. DEBUG counts as INFO, so that the server logs it."""
    level = _prefix.match(text)
    return int(getattr(logging, level[1].decode())) if level else logging.INFO


def decode_output(text: bytes | bytearray) -> str:
    r"""Return bytes as text. Bytes that are not UTF-8 are escaped.

    This takes a third of the time of ``backslashreplace``, which also blocks all other threads. 64 KiB of escapes still
    take 3 ms, so other threads can run after each 8 KiB.

    >>> print(decode_output(b"caf\xc3\xa9 \xff"))
    café \xff
    """
    try:
        return text.decode()
    except UnicodeDecodeError:
        escaped = text.decode("utf-8", "surrogateescape")
        pieces = []
        for start in range(0, len(escaped), ESCAPED_AT_ONCE):
            pieces.append(escaped[start : start + ESCAPED_AT_ONCE].translate(_ESCAPES))
            yield_gil()
        return "".join(pieces)
