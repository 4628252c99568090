"""The platform's lines in the log of an invocation: START, END and REPORT, or events in JSON.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html for the events, and
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html for the level of each.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any, NamedTuple

from serverfull_wsgi.domain import Function
from serverfull_wsgi.logging_config import SYSTEM_LEVELS
from serverfull_wsgi.telemetry.report import report_line
from serverfull_wsgi.timestamps import timestamp


class Report(NamedTuple):
    """The measurements of an invocation that has ended."""

    seconds: float
    memory: int  # MiB: the peak
    init_duration: float | None  # seconds; None if the environment was started earlier, or from a snapshot
    restore_duration: float | None  # seconds; None if the environment was not started now, or not from a snapshot
    status: str | None  # ``timeout`` or ``error`` if the platform ended the invocation
    error_type: str | None = None  # of the platform's error
    produced_bytes: int = 0  # of the payload


def is_json(function: Function) -> bool:
    """Return whether the function's log has the format JSON."""
    return function.logging_config is not None and function.logging_config.log_format == "JSON"


def start_lines(function: Function, request_id: str, arn: str) -> str:
    """Return the lines at the start of an invocation; ``arn`` is the function's, as the caller addressed it."""
    if not is_json(function):
        return f"START RequestId: {request_id} Version: {function.version}\n"
    return _event(function, "INFO", "start", {"requestId": request_id, "functionArn": arn, "version": function.version})


def end_lines(function: Function, request_id: str, report: Report) -> str:
    """Return the lines at the end of an invocation."""
    if not is_json(function):
        line = report_line(
            request_id,
            report.seconds,
            function.memory_size,
            memory=report.memory,
            init_duration=report.init_duration,
            restore_duration=report.restore_duration,
            status=report.status,
        )
        return f"END RequestId: {request_id}\n{line}\t\n"
    ms = round(report.seconds * 1000, 3)
    outcome = {"status": report.status or "success", **({"errorType": report.error_type} if report.error_type else {})}
    done = {"requestId": request_id, "metrics": {"durationMs": ms, "producedBytes": report.produced_bytes}, **outcome}
    metrics = {
        "durationMs": ms,
        "billedDurationMs": math.ceil(ms + (report.restore_duration or 0) * 1000),
        "memorySizeMB": int(function.memory_size),
        "maxMemoryUsedMB": report.memory,
    }
    if report.init_duration is not None:
        metrics["initDurationMs"] = round(report.init_duration * 1000, 3)
    if report.restore_duration is not None:
        metrics["restoreDurationMs"] = round(report.restore_duration * 1000, 3)
    failed = report.status is not None
    return _event(function, "WARN" if failed else "DEBUG", "runtimeDone", done) + _event(
        function, "WARN" if failed else "INFO", "report", {"requestId": request_id, "metrics": metrics, **outcome}
    )


def _event(function: Function, level: str, kind: str, record: dict[str, Any]) -> str:
    """Return the line of an event, or an empty text if the function's system log level excludes it."""
    least = function.logging_config.system_log_level if function.logging_config else ""
    if SYSTEM_LEVELS.index(level) < SYSTEM_LEVELS.index(least or "INFO"):
        return ""
    event = {"time": timestamp(time.time()), "type": f"platform.{kind}", "record": record}
    return json.dumps(event, separators=(",", ":")) + "\n"
