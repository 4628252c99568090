"""Runs handlers in the server's own process, in the thread of the request: for code that the operator trusts.

A handler runs to its end. Nothing can stop a thread, so the timeout is advisory: the context shows it. Every exception
of a handler is caught here. This includes `SystemExit`, which would otherwise stop a gunicorn master. Nothing can catch
``os._exit``, which ends the worker process and all requests in it.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from functools import lru_cache
from time import monotonic
from typing import Any

from serverfull_wsgi.context import LambdaContext, context_like
from serverfull_wsgi.domain import Function, Invocation, Outcome, ValueOutcome
from serverfull_wsgi.errors import ResourceConflictException
from serverfull_wsgi.executors.function_errors import (
    RESPONSE_LIMIT,
    RESPONSE_TOO_LARGE,
    UNHANDLED,
    Failure,
    exit_error,
)
from serverfull_wsgi.executors.marshalling import JSON, marshal, plain_members
from serverfull_wsgi.handlers import load_handler
from serverfull_wsgi.names import log_group_name, log_stream_name
from serverfull_wsgi.server_exits import raised_by_server
from serverfull_wsgi.telemetry.report import report_line
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.telemetry.stat import Stat
from serverfull_wsgi.telemetry.stdio import RunningScope
from serverfull_wsgi.telemetry.tail import Tail
from serverfull_wsgi.telemetry.tail_handler import attach, ensure_root_handler


class InProcessExecutor:
    """An `Executor` for functions whose handler is a callable, or a Handler string that this process can import.

    Handlers reach ``logger`` and ``stats`` through `logger_from_context` and `stat_from_context`.
    """

    def __init__(self, *, logger: logging.Logger = LOGGER, stats: Stat | None = None) -> None:
        self._logger = logger
        self._stats = stats

    def start(self) -> None:
        """Attach the log tail to ``logger``. Any number of servers in one process may do so."""
        attach(self._logger)

    def execute(self, function: Function, invocation: Invocation) -> Outcome:
        if function.code is not None and isinstance(function.handler, str):
            raise ResourceConflictException(
                f"function {function.name!r} has a code directory of its own, so it runs in a process of its own and "
                "never in the server's; use ProcessExecutor or ChoosingExecutor"
            )
        ensure_root_handler(self._logger)
        was_disabled = self._logger.disabled
        tail = Tail() if invocation.tail else None
        if tail:
            tail.write(f"START RequestId: {invocation.request_id} Version: {function.version}\n")
        scope = RunningScope(
            invocation.request_id, function.name, self._logger, self._stats, tail, invocation.principal
        )
        scope.start()
        try:
            started = monotonic()
            payload, content_type, error_log = _run(function, invocation)
            duration = monotonic() - started
        finally:
            scope.end()
        if self._logger.disabled and not was_disabled:  # `logging.config` disables each logger that it does not name
            self._logger.disabled = False
        if isinstance(payload, bytes) and len(payload) > RESPONSE_LIMIT:
            payload, content_type, error_log = RESPONSE_TOO_LARGE.payload, JSON, RESPONSE_TOO_LARGE.log
        if error_log is not None:
            fields = {"request_id": invocation.request_id, "function_name": function.name}
            if invocation.principal is not None:
                fields["principal"] = invocation.principal
            self._logger.error("%s", error_log.removeprefix("[ERROR] ").rstrip("\n"), extra=fields)
        if tail:
            line = report_line(invocation.request_id, duration, function.memory_size)
            tail.write(f"{error_log or ''}END RequestId: {invocation.request_id}\n{line}\t\n")
        return (Outcome if isinstance(payload, bytes) else ValueOutcome)(
            payload,  # type: ignore[arg-type]  # (of a ValueOutcome, the value)
            function.version,
            None if error_log is None else UNHANDLED,
            bytes(tail) if tail else b"",
            duration,
            content_type,
        )

    def close(self) -> None:
        """Do nothing: an invocation leaves nothing open."""


# payload, or members of a `ValueOutcome`; content type, and the log lines of AWS's runtime for a failure
_Result = tuple[bytes | dict[str, Any], str, str | None]


def _run(function: Function, invocation: Invocation) -> _Result:
    request_id = ""  # on AWS an error in loading the code has none
    try:
        handler = function.handler
        if isinstance(handler, str):
            handler = load_handler(handler)
        request_id = invocation.request_id
        common = _common_context(function.name, function.version, function.memory_size)
        context = context_like(common, invocation, monotonic() + function.timeout)
        result = handler(invocation.event, context)
        if invocation.is_by_value and (members := plain_members(result)) is not None:
            return members, JSON, None
        payload, content_type = marshal(result)
        return payload, content_type, None
    except Exception as error:
        return _failed(error, request_id, invocation)
    except BaseException as error:
        if raised_by_server(error):
            raise
        return _exited(_exit_reason(error), invocation)


def _failed(error: Exception, request_id: str, invocation: Invocation) -> _Result:
    try:
        failure = Failure.of(error, request_id)
        failure.log().encode()
    except Exception:  # AWS's runtime ends if the error's text raises, or cannot be encoded as UTF-8
        return _exited(1, invocation)
    return failure.payload(), JSON, failure.log()


def _exited(reason: str | int, invocation: Invocation) -> _Result:
    error = exit_error(invocation.request_id, reason)
    return error.payload, JSON, error.log


@lru_cache(maxsize=1024)
def _common_context(name: str, version: str, memory_size: int) -> LambdaContext:
    """Return a context with the attributes that all contexts of one function have in common in this process."""
    return LambdaContext(
        "",
        function_name=name,
        function_version=version,
        memory_limit_in_mb=str(memory_size),
        invoked_function_arn="",
        log_group_name=log_group_name(name),
        log_stream_name=log_stream_name(version),
        deadline=0,
    )


def _exit_reason(error: BaseException) -> str | int:
    """Return the exit status, or the signal, with which this uncaught error would have ended a process."""
    if isinstance(error, KeyboardInterrupt):
        return "signal: interrupt"
    if not isinstance(error, SystemExit):
        return 1
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF if -(2**63) <= error.code < 2**63 else 0xFF
    with contextlib.suppress(Exception):  # the text of the exit code may raise, or standard error be closed
        sys.stderr.write(f"{error.code}\n")
    return 1
