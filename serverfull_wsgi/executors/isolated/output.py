"""What an environment writes: standard output, standard error and the frames of its telemetry descriptor, in one pipe.

One, because only so their order is known. A frame is AWS's: 4 bytes of type (``A55A0003``, and more by level), 4 of
length, 8 of time in microseconds, all big-endian, then the text.
"""

from __future__ import annotations

import logging
import os
import re

from serverfull_wsgi.executors.isolated.runtime_api.gil import yield_gil
from serverfull_wsgi.telemetry.tail import Tail

KEPT = 256 * 1024  # bytes of one invocation's output that go to the server's log
PIECE = 65536
LINE = PIECE  # bytes after which a line that has not come whole is broken
STEP = 8192  # bytes that are escaped at once
_frame = re.compile(rb"\xa5\x5a\x00(.)(.{4}).{8}", re.DOTALL)
_HEAD = 16  # bytes of a frame before its text
_ERROR = (0x16, 0x17)  # as JSON and as text; of all types, the report of an error alone has no line end of its own
_ESCAPES = {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(128, 256)}
_LEVELS = {0x12: logging.WARNING, 0x13: logging.WARNING, **dict.fromkeys((*_ERROR, 0x1A, 0x1B), logging.ERROR)}


class Output:
    """Reads the pipe ``fd``, which must not block; passes complete lines on to ``logger``, and all to the tail.

    Its memory is bounded: at most `KEPT` bytes an invocation are passed on, and the rest is counted. So is its pace, by
    pauses for the server's other threads: who writes faster waits at a full pipe.
    """

    def __init__(self, fd: int, logger: logging.Logger) -> None:
        self.fd = fd
        self._logger = logger
        self._waiting = b""  # what may be the head of a frame that has not come whole
        self._in_frame = 0  # bytes of the frame at hand that are still to come
        self._kind = 0  # its type
        self._line = bytearray()
        self.start_invocation({}, None)

    def start_invocation(self, fields: dict[str, str], tail: Tail | None) -> None:
        """From here on, what comes is an invocation's: ``fields`` say whose, in the server's log."""
        self._fields, self._tail = fields, tail
        self._passed = self._dropped = 0

    def read(self) -> bool:
        """Takes a piece of what is there; False at the end of the pipe, or where nothing is there."""
        try:
            data = os.read(self.fd, PIECE)
        except BlockingIOError:
            return False
        if data:
            self._take(data)
        if self._dropped:
            yield_gil()
        return bool(data)

    def end_invocation(self) -> None:
        """The invocation is over: what is left of its last line is one too, and what was left out is told."""
        self._text(self._waiting)
        self._waiting, self._in_frame = b"", 0
        self._pass_line(logging.INFO)
        if self._dropped:
            self._logger.warning(
                "%d bytes of output were left out here: an invocation's first %d are logged",
                self._dropped,
                KEPT,
                extra=self._fields,
            )

    def _take(self, data: bytes) -> None:
        data = self._waiting + data
        self._waiting = b""
        while data:
            if self._in_frame:
                data = self._take_from_frame(data)
            elif frame := _frame.search(data):
                self._text(data[: frame.start()])
                self._in_frame, self._kind = int.from_bytes(frame[2], "big"), frame[1][0]
                data = data[frame.end() :]
            else:
                begun = data.find(b"\xa5", max(0, len(data) - _HEAD + 1))
                if begun >= 0:
                    data, self._waiting = data[:begun], data[begun:]
                self._text(data)
                return

    def _take_from_frame(self, data: bytes) -> bytes:
        """Takes what belongs to the frame at hand; returns what comes after it."""
        text, data = data[: self._in_frame], data[self._in_frame :]
        self._in_frame -= len(text)
        if not self._in_frame and self._kind in _ERROR and not text.endswith(b"\n"):
            text += b"\n"
        level = _LEVELS.get(self._kind, logging.INFO)
        self._text(text, level, whole=level == logging.ERROR)
        if not self._in_frame:
            self._pass_line(level)
        return data

    def _text(self, text: bytes, level: int = logging.INFO, *, whole: bool = False) -> None:
        """``whole``: what has several lines is one record, as a stack trace is."""
        if self._tail is not None:
            self._tail.write_bytes(text)
        room = KEPT - self._passed
        self._passed += min(len(text), room)
        self._dropped += max(0, len(text) - room)
        if room <= 0:
            return
        *lines, rest = [text[:room]] if whole else text[:room].split(b"\n")
        for number, line in enumerate(lines, 1):
            self._line += line
            self._pass_line(level)
            yield_gil(number)
        self._line += rest
        if len(self._line) > LINE:
            self._pass_line(level)

    def _pass_line(self, level: int) -> None:
        text = bytes(self._line.rstrip(b"\n"))
        if level > logging.INFO:  # of a frame: its record has the level that AWS's client writes before the text
            text = re.sub(rb"^\[%s\][ \t]" % logging.getLevelName(level).encode(), b"", text)
        if text and self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", _decoded(text), extra=self._fields)
        self._line.clear()


def _decoded(text: bytes | bytearray) -> str:
    r"""As UTF-8, with other bytes escaped; three times as quick as ``backslashreplace``, which lets no thread run.

    64 KiB of them still take 3 ms: after each 8 the server's other threads have the interpreter.

    >>> print(_decoded(b"caf\xc3\xa9 \xff"))
    café \xff
    """
    try:
        return text.decode()
    except UnicodeDecodeError:
        escaped = text.decode("utf-8", "surrogateescape")
        pieces = []
        for begin in range(0, len(escaped), STEP):
            pieces.append(escaped[begin : begin + STEP].translate(_ESCAPES))
            yield_gil()
        return "".join(pieces)
