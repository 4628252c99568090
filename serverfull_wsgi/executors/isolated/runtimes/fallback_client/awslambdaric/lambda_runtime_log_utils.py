"""The function's log: the sinks that lines go to, frames of the telemetry descriptor, and records as JSON.

A frame is a type of 4 bytes, the length of the message in 4 bytes, the microseconds since 1970 in 8 bytes, and the
message; numbers are big-endian. The last byte of the type has the level, and whether the message is text or JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

DATE_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_TEXT, _JSON = 0xA55A0003, 0xA55A0002  # types of frames without a level; each level adds 4 and begins at 8
_BUILT_IN = {*vars(logging.makeLogRecord({})), "aws_request_id", "tenant_id", "_frame_type"} - {"taskName"}
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


def frame_type(level: int, *, is_json: bool) -> bytes:
    """Return the type of a frame.

    >>> frame_type(logging.ERROR, is_json=False).hex(), frame_type(logging.NOTSET, is_json=True).hex()
    ('a55a0017', 'a55a0002')
    """
    step = _step(level)
    number = (_JSON if is_json else _TEXT) + (4 + 4 * step if step else 0)
    return number.to_bytes(4, "big")


def _step(level: int) -> int:
    """Return 0 to 5 for a level; levels of the user's own are rounded down."""
    return min(50, max(0, level)) // 10


class StandardLogSink:
    """A sink that writes to standard output."""

    def __enter__(self) -> StandardLogSink:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def log(self, msg: str, frame_type: bytes | None = None) -> None:
        """Write a message, which has its line end."""
        sys.stdout.write(msg)

    def log_error(self, message_lines: Sequence[str]) -> None:
        """Write the report of an error as one line: CloudWatch splits at line feeds only."""
        sys.stdout.write("\r".join(message_lines) + "\n")


class FramedTelemetryLogSink:
    """A sink that writes frames to a descriptor.

    Args:
        fd: the descriptor, as a number or as text.
        error_type: the type of the frames of errors.
    """

    def __init__(self, fd: int | str, error_type: bytes = frame_type(logging.ERROR, is_json=False)) -> None:
        self.fd, self._error_type = int(fd), error_type

    def __enter__(self) -> FramedTelemetryLogSink:
        self.file = os.fdopen(self.fd, "wb", 0)
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def log(self, msg: str, frame_type: bytes | None = None) -> None:
        """Write a message as one frame."""
        message = msg.encode()
        microseconds = time.time_ns() // 1000
        head = (frame_type or _TEXT.to_bytes(4, "big")) + len(message).to_bytes(4, "big")
        self.file.write(head + microseconds.to_bytes(8, "big") + message)

    def log_error(self, message_lines: Sequence[str]) -> None:
        """Write the report of an error as one frame."""
        self.log("\n".join(message_lines), self._error_type)


class JsonFormatter(logging.Formatter):
    """A formatter of records as JSON, with the members of AWS's log format, and those of ``extra``."""

    def __init__(self) -> None:
        super().__init__(datefmt=DATE_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line. A value that has no JSON form is its text."""
        record.levelno = _step(record.levelno) * 10
        record.levelname = logging.getLevelName(record.levelno)
        record._frame_type = frame_type(record.levelno, is_json=True)
        is_object = isinstance(record.msg, dict) and not record.args
        members: dict[str, Any] = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.msg if is_object else record.getMessage(),
            "logger": record.name,
            **_error_members(record),
            "requestId": getattr(record, "aws_request_id", None),
            "location": f"{record.pathname}:{record.funcName}:{record.lineno}" if record.exc_info else None,
            "tenantId": getattr(record, "tenant_id", None),
        }
        extra = {name: value for name, value in vars(record).items() if name not in _BUILT_IN and name not in members}
        return _encode({name: value for name, value in (members | extra).items() if value is not None}) + "\n"


def _error_members(record: logging.LogRecord) -> dict[str, Any]:
    if not record.exc_info:
        return {}
    kind, error, trace = record.exc_info
    return {
        "stackTrace": traceback.format_tb(trace),
        "errorType": kind.__name__,  # type: ignore[union-attr]  # raises outside of an except block, as on AWS
        "errorMessage": str(error),
    }
