"""The server's own log: one line a record, as text or JSON, each written with one call.

The REPORT line of an invocation takes a short cut around `logging` (see `report.log_report`).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from serverfull_wsgi.domain import Invocation
from serverfull_wsgi.telemetry.bounded_output import BoundedBytes, BoundedText, describe_lost
from serverfull_wsgi.telemetry.scope import InvocationScope
from serverfull_wsgi.telemetry.stdio import flush_stdout, line_formatters, output_of, real_stream, write_quietly
from serverfull_wsgi.telemetry.tail_handler import TailHandler
from serverfull_wsgi.timestamps import timestamp

# The attributes of every record; any other attribute comes from ``extra=``. `TailHandler` adds aws_request_id, and
# Python 3.12 added taskName.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "aws_request_id", "taskName"}


def configure(logger: logging.Logger, *, output: str, level: int | str, format: str) -> None:
    """Configure the server's logger, also repeatedly. A `TailHandler` of the logger is kept.

    Args:
        logger: the server's logger; it stops propagating.
        output: STDOUT, STDERR or NULL.
        level: a level of `logging`, by name or number.
        format: TEXT or JSON.
    """
    formatter = JsonFormatter() if format == "JSON" else TextFormatter()
    handler = logging.NullHandler() if output == "NULL" else OutputHandler(output, formatter)
    BoundedBytes.describe_lost = staticmethod(lambda count: formatter.lost(logger.name, count))
    logger.handlers[:] = [handler, *(it for it in logger.handlers if isinstance(it, TailHandler))]
    logger.setLevel(level)
    logger.propagate = False
    line_formatters.pop(logger, None)
    if isinstance(formatter, JsonFormatter):
        line_formatters[logger] = formatter


class OutputHandler(logging.Handler):
    """A log handler for the real standard output or error: no handler of a function can redirect the server's log."""

    formatter: LogFormatter

    def __init__(self, output: str, formatter: LogFormatter) -> None:
        super().__init__()
        self._output = output.lower()
        self.formatter = formatter

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit a record without the handler's lock, which takes 0.5 µs: one write per line keeps lines whole."""
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def is_unchanged(self) -> bool:
        """Return whether the handler writes every line at INFO in its own form: no user has changed it."""
        return not self.filters and self.level <= logging.INFO and isinstance(self.formatter, LogFormatter)

    def emit(self, record: logging.LogRecord) -> None:
        self.write(self.format(record))

    def write(self, line: str) -> None:
        """Write a formatted line, to the process's first stream if the present one is closed."""
        if self._output == "stderr":
            flush_stdout()
        if not _write_line(real_stream(self._output), line) and (first := getattr(sys, f"__{self._output}__")):
            _write_line(output_of(first), line)


def _write_line(stream: Any, line: str) -> bool:
    """Write a line at once and ignore I/O errors. Return False if the stream is closed."""
    try:
        if type(stream) is BoundedText:
            stream.write_line(f"{line}\n")
            return True
        is_open = write_quietly(stream, f"{line}\n")
        stream.flush()
    except (OSError, AttributeError):  # a closed pipe, a stream without flush
        return True
    except ValueError:
        return False
    return is_open


class LogFormatter(logging.Formatter):
    """The base of both formats: a line has a time, a level, the logger's name, the message, and named fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return self.line(record.created, record.levelname, record.name, record.getMessage(), fields)

    def line(self, created: float, level: str, logger: str, message: str, fields: dict[str, Any]) -> str:
        """Return the line for these values; ``created`` is in seconds since 1970."""
        raise NotImplementedError

    def lost(self, logger: str, count: int) -> str:
        """Return the line for ``count`` lines that were dropped."""
        return self.line(time.time(), "WARNING", logger, describe_lost(count), {})

    def report(self, logger: str, message: str, function_name: str, invocation: Invocation, duration: float) -> str:
        """Return the line for an invocation's REPORT ``message``, which contains the request id."""
        fields = report_fields(function_name, invocation, duration)
        return self.line(time.time(), "INFO", logger, message, fields)


_ESCAPED = {  # control characters but for the tab, and the characters at which str.splitlines and log viewers split
    number: repr(chr(number))[1:-1] for number in (*range(9), *range(10, 32), *range(127, 160), 0x2028, 0x2029)
}


class TextFormatter(LogFormatter):
    """Lines of the form ``TIME [LEVEL] message function_name=… request_id=… principal=…``, without unknown fields.

    A message of several lines, and a stack trace, follow indented below the first line, and control characters are
    escaped. So no message can imitate another record.
    """

    def line(self, created: float, level: str, logger: str, message: str, fields: dict[str, Any]) -> str:
        message, *rest = message.split("\n")
        line = f"{timestamp(created)} [{level}] {message}"
        if name := fields.get("function_name"):
            line += f" function_name={name}"
        if (request_id := fields.get("request_id")) and request_id not in line:
            line += f" request_id={request_id}"
        if principal := fields.get("principal"):
            line += f" principal={principal}"
        if exception := fields.get("exception"):
            rest += exception.split("\n")
        return "\n    ".join(line.translate(_ESCAPED) for line in (line, *rest))

    def report(self, logger: str, message: str, function_name: str, invocation: Invocation, duration: float) -> str:
        line = f"{timestamp(time.time())} [INFO] {message} function_name={function_name}"
        return line if invocation.principal is None else f"{line} principal={invocation.principal}"


class JsonFormatter(LogFormatter):
    """One JSON object a line, with every ``extra`` field of the record as a member.

    A value without a JSON form (NaN, a circular list) is written as its ``repr``.
    """

    def printed(self, scope: InvocationScope, text: str) -> str:
        """Return the line for one line that an invocation in the server's process printed."""
        fields = {"function_name": scope.function_name, "request_id": scope.request_id}
        return self.line(time.time(), "INFO", scope.logger.name, text, fields)

    def line(self, created: float, level: str, logger: str, message: str, fields: dict[str, Any]) -> str:
        members = {"timestamp": timestamp(created), "level": level, "logger": logger, "message": message, **fields}
        try:
            return _json(members)
        except Exception:
            return _json({name: _json_safe(value) for name, value in members.items()})


_json = json.JSONEncoder(default=str, allow_nan=False).encode  # json.dumps would make an encoder for each line


def _json_safe(value: Any) -> Any:
    """Return the value; without a JSON form its ``repr``; if that raises, the name of its type."""
    try:
        _json(value)
    except Exception:
        try:
            return repr(value)
        except Exception:
            return f"<{type(value).__name__}>"
    return value


def is_dropped(logger: logging.Logger) -> bool:
    """Return whether records below WARNING outside invocations reach no output, as with the output NULL.

    A record that no handler writes takes 5 µs more than a line to standard output, so a caller need not make it.
    """
    return type(sole_handler(logger)) is logging.NullHandler


def sole_handler(logger: logging.Logger) -> logging.Handler | None:
    """Return the only handler that receives the logger's records, or None if there may be others, or filters.

    A `TailHandler` does not count: it skips records below WARNING outside invocations.
    """
    handlers = logger.handlers
    if logger.propagate or logger.filters:
        return None
    if len(handlers) == 1 or (len(handlers) == 2 and type(handlers[1]) is TailHandler):
        return handlers[0]
    return None


def report_fields(function_name: str, invocation: Invocation, duration: float) -> dict[str, Any]:
    """Return the fields of a REPORT line's record; ``duration`` is in seconds."""
    fields = {
        "function_name": function_name,
        "request_id": invocation.request_id,
        "duration_ms": round(duration * 1000, 3),
    }
    return fields if invocation.principal is None else {**fields, "principal": invocation.principal}
