"""The REPORT line of an invocation: in the log tail of its caller, and in the server's log."""

from __future__ import annotations

import logging
import math
import resource
import sys
import time
from functools import lru_cache

from serverfull_wsgi.domain import Function, Invocation, Outcome
from serverfull_wsgi.telemetry.logs import OutputHandler, report_fields, sole_handler


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
    restore_ms = restore_duration * 1000 if restore_duration else 0.0
    sizes = _sizes_here(memory_size, int(time.monotonic())) if memory is None else _sizes(memory_size, memory)
    line = (
        f"REPORT RequestId: {request_id}\tDuration: {ms:.2f} ms\tBilled Duration: {math.ceil(ms + restore_ms)} ms\t"
        f"{sizes}"
    )
    if init_duration is not None:
        line += f"\tInit Duration: {init_duration * 1000:.2f} ms"
    if restore_duration is not None:
        line += f"\tRestore Duration: {restore_ms:.2f} ms\tBilled Restore Duration: {math.ceil(restore_ms)} ms"
    return line if status is None else f"{line}\tStatus: {status}"


_MAXRSS_PER_KIB = 1024 if sys.platform == "darwin" else 1  # getrusage(2): KiB on Linux, bytes on macOS


def _sizes(memory_size: int, memory: int) -> str:
    return f"Memory Size: {memory_size} MB\tMax Memory Used: {memory} MB"


@lru_cache(maxsize=64)
def _sizes_here(memory_size: int, second: int) -> str:
    """Return the sizes for a function in this process; cached for a second, because to read the peak takes 4 µs."""
    return _sizes(memory_size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 * _MAXRSS_PER_KIB))


def log_report(logger: logging.Logger, function: Function, invocation: Invocation, outcome: Outcome) -> None:
    """Log an invocation's REPORT line at INFO.

    If `configure` alone has configured the logger, the finished line goes directly to its output. A record and its
    way through `logging` take about 10 µs, as long as all the rest of a call.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    handler = sole_handler(logger)
    if type(handler) is logging.NullHandler:
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
    if type(handler) is OutputHandler and handler.is_unchanged():
        handler.write(handler.formatter.report(logger.name, message, function.name, invocation, outcome.duration))
    else:
        logger.info("%s", message, extra=report_fields(function.name, invocation, outcome.duration))
