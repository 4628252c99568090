"""The server's own log: one line a record, as text or JSON, each written with one call.

The REPORT line of an invocation takes a short cut around `logging` (see `log_report`).
"""

from __future__ import annotations

import json
import logging
import math
import resource
import sys
import time
from functools import lru_cache
from typing import Any

from serverfull_wsgi.domain import Function, Invocation, Outcome
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
    handler = logging.NullHandler() if output == "NULL" else _OutputHandler(output, formatter)
    BoundedBytes.describe_lost = staticmethod(lambda count: formatter.lost(logger.name, count))
    logger.handlers[:] = [handler, *(it for it in logger.handlers if isinstance(it, TailHandler))]
    logger.setLevel(level)
    logger.propagate = False
    line_formatters.pop(logger, None)
    if isinstance(formatter, JsonFormatter):
        line_formatters[logger] = formatter


class _OutputHandler(logging.Handler):
    """A log handler for the real standard output or error: no handler of a function can redirect the server's log."""

    formatter: _LineFormatter

    def __init__(self, output: str, formatter: _LineFormatter) -> None:
        super().__init__()
        self._output = output.lower()
        self.formatter = formatter

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit a record without the handler's lock, which takes 0.5 µs: one write per line keeps lines whole."""
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        self.write(self.format(record))

    def write(self, line: str) -> None:
        """Write a formatted line, to the process's first stream if the present one is closed."""
        if self._output == "stderr":
            flush_stdout()
        stream: Any = real_stream(self._output)
        if type(stream) is BoundedText and _write_line(stream, line + "\n"):
            return
        if not write_quietly(stream, line + "\n") and (first := getattr(sys, f"__{self._output}__")):
            write_quietly(stream := output_of(first), line + "\n")
        try:  # noqa: SIM105  (contextlib.suppress takes 0.3 µs more)
            stream.flush()
        except (OSError, ValueError, AttributeError):  # a closed pipe or stream must not fail the invocation
            pass


def _write_line(stream: BoundedText, line: str) -> bool:
    """Write a line and ignore I/O errors. Return False if the stream is closed."""
    try:
        stream.write_line(line)
    except OSError:
        pass
    except ValueError:
        return False
    return True


class _LineFormatter(logging.Formatter):
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
        fields = _report_fields(function_name, invocation, duration)
        return self.line(time.time(), "INFO", logger, message, fields)


_ESCAPED = {  # control characters but for the tab, and the characters at which str.splitlines and log viewers split
    number: repr(chr(number))[1:-1] for number in (*range(9), *range(10, 32), *range(127, 160), 0x2028, 0x2029)
}


class TextFormatter(_LineFormatter):
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


class JsonFormatter(_LineFormatter):
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


def _json(value: Any) -> str:
    return json.dumps(value, default=str, allow_nan=False)


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


def report_line(
    request_id: str,
    duration: float,
    memory_size: int,
    memory: int | None = None,
    init_duration: float | None = None,
    restore_duration: float | None = None,
    status: str | None = None,
) -> str:
    """Return AWS's REPORT line, without the tab and line end that AWS adds.

    Billed Duration is rounded up to a millisecond, as AWS bills. It includes the restore of a snapshot.

    Args:
        request_id: the invocation's request id.
        duration: the handler's time, in seconds.
        memory_size: the function's memory size, in MiB.
        memory: the most memory that the environment had resident, in MiB; None for the peak of this process.
        init_duration: the time to start the environment, in seconds; None if it was started earlier.
        restore_duration: the time to start the environment from a snapshot, in seconds; None if that did not happen.
        status: ``timeout`` or ``error`` if the platform ended the invocation.

    >>> report_line("ID", 0.00123, 128).split("\\t")[:4]
    ['REPORT RequestId: ID', 'Duration: 1.23 ms', 'Billed Duration: 2 ms', 'Memory Size: 128 MB']
    >>> report_line("ID", 3, 128, memory=30, init_duration=0.1, status="timeout").split("\\t")[4:]
    ['Max Memory Used: 30 MB', 'Init Duration: 100.00 ms', 'Status: timeout']
    >>> report_line("ID", 0.0052, 128, memory=30, restore_duration=0.0101).split("\\t")[2::3]
    ['Billed Duration: 16 ms', 'Restore Duration: 10.10 ms']
    """
    ms = duration * 1000
    restore_ms = (restore_duration or 0) * 1000
    if memory is None:
        memory = _peak_memory(int(time.monotonic()))
    line = (
        f"REPORT RequestId: {request_id}\tDuration: {ms:.2f} ms\tBilled Duration: {math.ceil(ms + restore_ms)} ms"
        f"\tMemory Size: {memory_size} MB\tMax Memory Used: {memory} MB"
    )
    if init_duration is not None:
        line += f"\tInit Duration: {init_duration * 1000:.2f} ms"
    if restore_duration is not None:
        line += f"\tRestore Duration: {restore_ms:.2f} ms\tBilled Restore Duration: {math.ceil(restore_ms)} ms"
    return line if status is None else f"{line}\tStatus: {status}"


_MAXRSS_PER_KIB = 1024 if sys.platform == "darwin" else 1  # getrusage(2): KiB on Linux, bytes on macOS


@lru_cache(maxsize=1)
def _peak_memory(second: int) -> int:
    """Return the most memory that this process had resident, in MiB; cached for a second, because it takes 4 µs."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 * _MAXRSS_PER_KIB)


def log_report(logger: logging.Logger, function: Function, invocation: Invocation, outcome: Outcome) -> None:
    """Log an invocation's REPORT line at INFO.

    If `configure` alone has configured the logger, the finished line goes directly to its output. A record and its
    way through `logging` take about 10 µs, as long as all the rest of a call.
    """
    if not logger.isEnabledFor(logging.INFO) or is_dropped(logger):
        return
    message = report_line(
        invocation.request_id,
        outcome.duration,
        function.memory_size,
        outcome.memory,
        outcome.init_duration,
        outcome.restore_duration,
        outcome.status,
    )
    if output := _sole_output(logger):
        output.write(output.formatter.report(logger.name, message, function.name, invocation, outcome.duration))
    else:
        logger.info("%s", message, extra=_report_fields(function.name, invocation, outcome.duration))


def is_dropped(logger: logging.Logger) -> bool:
    """Return whether records below WARNING outside invocations reach no output, as with the output NULL.

    A record that no handler writes takes 5 µs more than a line to standard output, so a caller need not make it.
    """
    handlers = logger.handlers
    return (
        bool(handlers)
        and type(handlers[0]) is logging.NullHandler
        and all(type(handler) is TailHandler for handler in handlers[1:])
        and not logger.propagate
        and not logger.filters
    )


def _report_fields(function_name: str, invocation: Invocation, duration: float) -> dict[str, Any]:
    fields = {
        "function_name": function_name,
        "request_id": invocation.request_id,
        "duration_ms": round(duration * 1000, 3),
    }
    return fields if invocation.principal is None else {**fields, "principal": invocation.principal}


def _sole_output(logger: logging.Logger) -> _OutputHandler | None:
    """Return the output of a logger with no handlers but those of `configure` and `attach`, and with no filters.

    The `TailHandler` skips REPORT lines in any case: they are logged after the invocation's scope has ended.
    """
    handlers = logger.handlers
    if len(handlers) != 2 or type(handlers[1]) is not TailHandler or logger.propagate or logger.filters:
        return None
    output = handlers[0]
    return output if type(output) is _OutputHandler and not output.filters else None
