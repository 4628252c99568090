"""The server's own log: one line a record, as text or JSON, written in one piece."""

from __future__ import annotations

import json
import logging
import math
import os
import resource
import sys
import time
from threading import get_ident
from typing import Any

from serverfull_wsgi.telemetry.capture import unrouted

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "aws_request_id", "taskName"}


def configure(logger: logging.Logger, *, output: str, level: int | str, format: str) -> None:
    """Sets up the server's logger: ``output`` STDOUT, STDERR or NULL; ``format`` TEXT or JSON. May be called again."""
    handler = logging.NullHandler() if output == "NULL" else _OutputHandler(output)
    handler.setFormatter(JsonFormatter() if format == "JSON" else TextFormatter())
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


class _OutputHandler(logging.Handler):
    """Writes to standard output or error as they are at that moment, behind any capture."""

    def __init__(self, output: str) -> None:
        super().__init__()
        self._output = output.lower()

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock of handlers, which takes 0.5 µs: a stream writes a line in one piece by itself."""
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = unrouted(getattr(sys, self._output))
            stream.write(self.format(record) + "\n")
            stream.flush()
        except (OSError, ValueError, AttributeError):  # nobody reads the log any more: that stops no invocation
            pass


class _UtcFormatter(logging.Formatter):
    """Timestamps as AWS writes them, ``2026-11-24T04:05:06.789Z``; the part before the dot is made once a second."""

    _second = (0, "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        second, text = self._second
        if second != int(record.created):
            second, text = int(record.created), time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            self._second = second, text
        return f"{text}.{int(record.msecs):03d}Z"


class TextFormatter(_UtcFormatter):
    """``TIME [LEVEL] message``, and the function's name, the request id and who called, where they are known."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record)} [{record.levelname}] {record.getMessage()}"
        fields = record.__dict__
        if name := fields.get("function_name"):
            line += f" function_name={name}"
        if (request_id := fields.get("request_id")) and request_id not in line:
            line += f" request_id={request_id}"
        if principal := fields.get("principal"):
            line += f" principal={principal}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(_UtcFormatter):
    """One JSON object a line, with every ``extra`` field of the record as a member."""

    def format(self, record: logging.LogRecord) -> str:
        members: dict[str, Any] = {
            "timestamp": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        members.update((name, value) for name, value in vars(record).items() if name not in _STANDARD)
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return json.dumps(members, default=str)


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
    line = (
        f"REPORT RequestId: {request_id}\tDuration: {ms:.2f} ms\tBilled Duration: {math.ceil(ms)} ms"
        f"\tMemory Size: {memory_size} MB\tMax Memory Used: {peak_memory() if memory is None else memory} MB"
    )
    if init_duration is not None:
        line += f"\tInit Duration: {init_duration * 1000:.2f} ms"
    return line if status is None else f"{line}\tStatus: {status}"


_KILOBYTES = 1024 if sys.platform == "darwin" else 1  # macOS gives ru_maxrss in bytes


def peak_memory() -> int:
    """The most memory this process has had resident so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 * _KILOBYTES)


class _ReportRecord(logging.LogRecord):
    """A record of an invocation's end. It does not ask for the names of its thread and process, which takes 1 µs."""

    def __init__(self, logger: logging.Logger, message: str) -> None:
        self.__dict__.update(_TEMPLATE)
        self.name = logger.name
        self.msg = message
        self.created = time.time()
        self.msecs = self.created % 1 * 1000
        self.process = os.getpid()
        self.thread = get_ident()


_TEMPLATE = {**vars(logging.LogRecord("", logging.INFO, __file__, 0, "", None, None)), "threadName": None}


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
    """Logs an invocation's REPORT line at INFO; without looking up its caller, which would cost 2 µs of a busy path."""
    if not logger.isEnabledFor(logging.INFO):
        return
    message = report(request_id, duration, memory_size, memory=memory, init_duration=init_duration, status=status)
    record = _ReportRecord(logger, message)
    record.function_name = function_name
    record.request_id = request_id
    record.duration_ms = round(duration * 1000, 3)
    if principal is not None:
        record.principal = principal
    logger.handle(record)
