"""The server's own log: one line a record, as text or JSON, written in one piece."""

from __future__ import annotations

import json
import logging
import math
import resource
import sys
import time
from functools import lru_cache
from typing import Any

from serverfull_wsgi.telemetry.proxies import put
from serverfull_wsgi.telemetry.stdio import standard
from serverfull_wsgi.telemetry.tail_handler import TailHandler
from serverfull_wsgi.timestamps import timestamp

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "aws_request_id", "taskName"}


def configure(logger: logging.Logger, *, output: str, level: int | str, format: str) -> None:
    """Sets up the server's logger: ``output`` STDOUT, STDERR or NULL; ``format`` TEXT or JSON. May be called again."""
    formatter = JsonFormatter() if format == "JSON" else TextFormatter()
    handler = logging.NullHandler() if output == "NULL" else _OutputHandler(output, formatter)
    logger.handlers[:] = [handler, *(it for it in logger.handlers if isinstance(it, TailHandler))]
    logger.setLevel(level)
    logger.propagate = False


class _OutputHandler(logging.Handler):
    """Writes to standard output or error, behind any capture: nothing that a handler puts there has what is ours."""

    formatter: _LineFormatter

    def __init__(self, output: str, formatter: _LineFormatter) -> None:
        super().__init__()
        self._output = output.lower()
        self.formatter = formatter

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock of handlers, which takes 0.5 µs: a stream writes a line in one piece by itself."""
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        self.write(self.format(record))

    def write(self, line: str) -> None:
        """Writes a finished line."""
        stream = standard(self._output)
        if not put(stream, line + "\n") and (first := getattr(sys, f"__{self._output}__")):
            put(stream := first, line + "\n")
        try:  # noqa: SIM105  (in a hot path)
            stream.flush()
        except (OSError, ValueError, AttributeError):  # nobody reads the log any more: that stops no invocation
            pass


class _LineFormatter(logging.Formatter):
    """A line is made of its time, its level, the logger's name, the message, and fields beside it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return self.line(record.created, record.levelname, record.name, record.getMessage(), fields)

    def line(self, created: float, level: str, logger: str, message: str, fields: dict[str, Any]) -> str:
        raise NotImplementedError

    def report(
        self, logger: str, message: str, function_name: str, request_id: str, duration: float, principal: str | None
    ) -> str:
        """The line of an invocation's end, whose message has the request id."""
        fields = _report_fields(function_name, request_id, duration, principal)
        return self.line(time.time(), "INFO", logger, message, fields)


_ESCAPED = {number: repr(chr(number))[1:-1] for number in (*range(9), *range(10, 32), *range(127, 160), 0x2028, 0x2029)}


class TextFormatter(_LineFormatter):
    """``TIME [LEVEL] message``, and the function's name, the request id and who called, where they are known.

    They stand on the first line of a message that has several, as one with a stack trace has. The others are indented,
    and control characters escaped, so that no message passes for other records.
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

    def report(
        self, logger: str, message: str, function_name: str, request_id: str, duration: float, principal: str | None
    ) -> str:
        line = f"{timestamp(time.time())} [INFO] {message} function_name={function_name}"
        return line if principal is None else f"{line} principal={principal}"


class JsonFormatter(_LineFormatter):
    """One JSON object a line, with every ``extra`` field of the record as a member.

    A value that JSON has no form for stands there as its text.
    """

    def line(self, created: float, level: str, logger: str, message: str, fields: dict[str, Any]) -> str:
        members = {"timestamp": timestamp(created), "level": level, "logger": logger, "message": message, **fields}
        try:
            return _json(members)
        except Exception:
            return _json({name: _presentable(value) for name, value in members.items()})


def _json(value: Any) -> str:
    return json.dumps(value, default=str, allow_nan=False)


def _presentable(value: Any) -> Any:
    """The value, or its text where JSON has no form for it (a NaN, a circle), or its type's name where it has none."""
    try:
        _json(value)
    except Exception:
        try:
            return repr(value)
        except Exception:
            return f"<{type(value).__name__}>"
    return value


def report(
    request_id: str,
    duration: float,
    memory_size: int,
    *,
    memory: int | None = None,
    init_duration: float | None = None,
    status: str | None = None,
) -> str:
    """AWS's REPORT line without its end; ``duration`` in seconds, ``memory_size`` in MiB.

    Billed Duration is rounded up to a millisecond, as AWS bills. ``memory`` is the most the environment has had
    resident, in MiB; None for the server's own process, whose peak is told. ``init_duration``, in seconds, is told of
    an environment that was started for this, ``status`` of an end that was not the function's own.

    >>> report("ID", 0.00123, 128).split("\\t")[:4]
    ['REPORT RequestId: ID', 'Duration: 1.23 ms', 'Billed Duration: 2 ms', 'Memory Size: 128 MB']
    >>> report("ID", 3, 128, memory=30, init_duration=0.1, status="timeout").split("\\t")[4:]
    ['Max Memory Used: 30 MB', 'Init Duration: 100.00 ms', 'Status: timeout']
    """
    ms = duration * 1000
    if memory is None:
        memory = _peak_memory(int(time.monotonic()))
    line = (
        f"REPORT RequestId: {request_id}\tDuration: {ms:.2f} ms\tBilled Duration: {math.ceil(ms)} ms"
        f"\tMemory Size: {memory_size} MB\tMax Memory Used: {memory} MB"
    )
    if init_duration is not None:
        line += f"\tInit Duration: {init_duration * 1000:.2f} ms"
    return line if status is None else f"{line}\tStatus: {status}"


_KILOBYTES = 1024 if sys.platform == "darwin" else 1  # macOS gives ru_maxrss in bytes


@lru_cache(maxsize=1)
def _peak_memory(second: int) -> int:
    """The most memory this process has had resident, in MiB; asked once a second, since each time takes 4 µs."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 * _KILOBYTES)


def log_report(
    logger: logging.Logger,
    function_name: str,
    request_id: str,
    duration: float,
    memory_size: int,
    principal: str | None = None,
    *,
    memory: int | None = None,
    init_duration: float | None = None,
    status: str | None = None,
) -> None:
    """Logs an invocation's REPORT line at INFO.

    A logger set up by `configure` and left alone is handed the finished line: a record and its way through `logging`
    take some 10 µs of a busy server's path.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    message = report(request_id, duration, memory_size, memory=memory, init_duration=init_duration, status=status)
    if output := _sole_output(logger):
        output.write(output.formatter.report(logger.name, message, function_name, request_id, duration, principal))
    else:
        logger.info("%s", message, extra=_report_fields(function_name, request_id, duration, principal))


def _report_fields(function_name: str, request_id: str, duration: float, principal: str | None) -> dict[str, Any]:
    fields = {"function_name": function_name, "request_id": request_id, "duration_ms": round(duration * 1000, 3)}
    return fields if principal is None else {**fields, "principal": principal}


def _sole_output(logger: logging.Logger) -> _OutputHandler | None:
    """The output of a logger that was set up by `configure` and left alone but for the capture, which skips reports."""
    handlers = logger.handlers
    if len(handlers) != 2 or type(handlers[1]) is not TailHandler or logger.propagate or logger.filters:
        return None
    output = handlers[0]
    return output if type(output) is _OutputHandler and not output.filters else None
