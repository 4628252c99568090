"""One invocation in an execution environment: its log, its measurements, and its outcome in AWS's words.

Each step returns a value: `Started`, `InitTimedOut` or `FailedStart` for a start, and a `Result` for a run. From these
values the executor decides whether it keeps the environment, ends it, or starts another one.
"""

from __future__ import annotations

import json
import logging
import signal
import time
from secrets import token_hex
from time import monotonic
from typing import NamedTuple

from serverfull_wsgi.domain import Function, Invocation, Outcome, ProvisionedUse
from serverfull_wsgi.errors import ServiceException, SnapStartException, SnapStartTimeoutException
from serverfull_wsgi.executors.function_errors import (
    RESPONSE_LIMIT,
    RESPONSE_TOO_LARGE,
    UNHANDLED,
    PlatformError,
    entrypoint_error,
    exit_error,
    exit_reason,
    timeout_error,
)
from serverfull_wsgi.executors.isolated.environment import Environment, EventLost, TimedOut
from serverfull_wsgi.executors.isolated.platform_log import Report, end_lines, is_json, start_lines
from serverfull_wsgi.executors.isolated.runtime_api.server import Answer
from serverfull_wsgi.executors.isolated.zygote.protocol import Ended, Failed
from serverfull_wsgi.executors.marshalling import JSON
from serverfull_wsgi.telemetry.tail import Tail


class Started(NamedTuple):
    """A start that succeeded: the environment is ready."""

    init_duration: float  # seconds


class InitTimedOut(NamedTuple):
    """A start that took longer than the init timeout: the environment has been killed."""

    limit: float  # seconds


class FailedStart(NamedTuple):
    """A start that failed: the runtime reported an error, its process ended, or the invocation's time ran out."""

    answer: Answer | None  # the error that the runtime reported
    ended: Ended | Failed | None
    exec_error: int  # errno; 0 if the program was executed
    timed_out: float = 0.0  # the invocation's timeout, in seconds, if it ran out


class Result(NamedTuple):
    """The facts at the end of a run."""

    outcome: Outcome
    is_reusable: bool = False  # whether the environment can run another invocation
    failed_start: FailedStart | None = None  # for a run in an environment that never became ready


class Execution:
    """One invocation on its way through one environment, or two if the first start timed out.

    An invocation's log has the output of a start before START, and ends with END and REPORT.

    Every method raises `ServiceException` if the environment fails through a fault of the server, or if the server
    stops and its time for running invocations is over.
    """

    def __init__(self, function: Function, invocation: Invocation, logger: logging.Logger) -> None:
        self._function, self._invocation, self._logger = function, invocation, logger
        self._fields = {"request_id": invocation.request_id, "function_name": function.name}
        self._tail = Tail() if invocation.tail else None
        self._init_duration: float | None = None  # seconds
        self.provisioned: ProvisionedUse | None = None  # for the outcome
        self._restore_duration: float | None = None  # seconds
        self._memory = 0  # MiB: the peak of the environment used last

    def start(self, environment: Environment, limit: float) -> Started | InitTimedOut | FailedStart:
        """Wait until a new environment is ready, for at most ``limit`` seconds."""
        environment.output.start_invocation(self._fields, self._tail)
        began = monotonic()
        try:
            answer = environment.wait_until_ready(began + limit)
        except TimedOut:
            environment.kill()
            self._measure(environment)
            return InitTimedOut(limit)
        self._init_duration = monotonic() - began
        if answer or environment.ended:
            self._measure(environment)
            return FailedStart(answer, environment.ended, environment.exec_error)
        return Started(self._init_duration)

    def take_snapshot(self, environment: Environment, limit: float) -> FailedStart | None:
        """Wait for the end of a snapshot's init phase, for at most ``limit`` seconds. Return None if it succeeds.

        The log of the invocation has the output of an init phase that fails, and no duration of another one.
        """
        start = self.start(environment, limit)
        if isinstance(start, FailedStart):
            return start
        if isinstance(start, InitTimedOut):
            return FailedStart(None, None, 0, limit)
        environment.output.end_invocation()
        environment.output.start_invocation({"function_name": self._function.name}, None)
        self._init_duration = None
        self._tail = Tail() if self._tail is not None else None
        return None

    def restore(self, environment: Environment, limit: float) -> Started | FailedStart:
        """Wait until an environment of a snapshot is ready, for at most ``limit`` seconds.

        Raises:
            SnapStartTimeoutException: if the hooks after the restore take longer.
            SnapStartException: if a hook raises.
        """
        start = self.start(environment, limit)
        seconds, self._init_duration = self._init_duration, None
        if isinstance(start, InitTimedOut):
            raise SnapStartTimeoutException
        if isinstance(start, FailedStart):
            if start.answer and start.answer.kind == "restore":
                raise SnapStartException
            return start
        self._restore_duration = seconds
        return start

    def fail(self, failed: FailedStart) -> Outcome:
        """Return the outcome of an invocation whose environment did not start, now or in an earlier invocation."""
        self._log_start()
        return self._failed_start(failed, 0.0)

    def run(self, environment: Environment) -> Result:
        """Run the invocation. If the environment is not ready yet, its start counts against the function's timeout.

        Raises `EventLost` if the environment ended before it had read the event, so that another one can run it.
        """
        timeout = self._function.timeout
        self._log_start()
        environment.output.start_invocation(self._fields, self._tail)
        began = monotonic()
        try:
            answer = environment.run(
                self._invocation.request_id, self._headers(), self._invocation.payload or b"{}", began + timeout
            )
            seconds, timed_out = min(monotonic() - began, timeout), 0.0
        except TimedOut:
            answer, seconds, timed_out = None, timeout, timeout
            environment.kill()
        except EventLost:
            environment.output.end_invocation()
            self._tail = Tail() if self._tail is not None else None  # the next environment's log begins anew
            raise
        self._measure(environment)
        if not environment.was_ready:
            failed = FailedStart(answer, environment.ended, environment.exec_error, timed_out)
            return Result(self._failed_start(failed, seconds), failed_start=failed)
        if timed_out:
            return Result(self._platform_error(timeout_error(self._invocation.request_id, timeout), seconds))
        if answer is None:
            return Result(self._exited(environment.ended, seconds))
        return Result(self._answered(answer, seconds), is_reusable=not _is_too_large(answer))

    def _headers(self) -> dict[str, str]:
        """Return the headers of the Runtime API's next event, except its request id."""
        function, invocation = self._function, self._invocation
        headers = {
            "Lambda-Runtime-Deadline-Ms": str(_epoch_ms(function.timeout)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_name.arn,
        }
        if invocation.trace_id:
            headers["Lambda-Runtime-Trace-Id"] = _complete_trace(invocation.trace_id)
        if invocation.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = json.dumps(invocation.client_context)
        return headers

    def _measure(self, environment: Environment) -> None:
        environment.output.end_invocation()
        self._memory = environment.peak_memory()

    # Outcomes

    def _failed_start(self, failed: FailedStart, seconds: float) -> Outcome:
        request_id = self._invocation.request_id
        if failed.timed_out:
            return self._platform_error(timeout_error(request_id, failed.timed_out), seconds)
        if failed.answer:
            return self._answered(failed.answer, seconds, status="error")
        if failed.exec_error:
            return self._platform_error(entrypoint_error(request_id, failed.exec_error), seconds)
        return self._exited(failed.ended, seconds)

    def _answered(self, answer: Answer, seconds: float, status: str | None = None) -> Outcome:
        if _is_too_large(answer):
            return self._platform_error(RESPONSE_TOO_LARGE._replace(status=status), seconds)
        is_error = answer.kind != "response"
        return self._outcome(
            answer.payload, seconds, content_type=answer.content_type, is_error=is_error, status=status
        )

    def _exited(self, ended: Ended | Failed | None, seconds: float) -> Outcome:
        if isinstance(ended, Failed):
            self._logger.error(
                "an environment could not be started, so its invocation fails: %s", ended.reason, extra=self._fields
            )
            raise ServiceException()
        status = ended.status if ended else signal.SIGKILL  # the supervisor did not report an end in time
        return self._platform_error(exit_error(self._invocation.request_id, exit_reason(status)), seconds)

    def _platform_error(self, error: PlatformError, seconds: float) -> Outcome:
        self._logger.error("%s", error.message, extra=self._fields)
        if not is_json(self._function):  # the report in JSON has the status and the error's type
            self._log(error.log)
        return self._outcome(error.payload, seconds, status=error.status, error_type=error.error_type)

    def _outcome(
        self,
        payload: bytes,
        seconds: float,
        *,
        content_type: str = JSON,
        is_error: bool = True,
        status: str | None = None,
        error_type: str | None = None,
    ) -> Outcome:
        """End the log, and return the outcome."""
        function, request_id = self._function, self._invocation.request_id
        if self._tail is not None:
            durations = self._init_duration, self._restore_duration
            report = Report(seconds, self._memory, *durations, status, error_type, len(payload))
            self._log(end_lines(function, request_id, report))
        return Outcome(
            payload,
            function.version,
            UNHANDLED if is_error else None,
            bytes(self._tail) if self._tail is not None else b"",
            seconds,
            content_type,
            self._memory,
            self._init_duration,
            status,
            self.provisioned,
            restore_duration=self._restore_duration,
        )

    # The invocation's log

    def _log_start(self) -> None:
        if self._tail is not None:
            invocation = self._invocation
            self._log(start_lines(self._function, invocation.request_id, invocation.function_name.arn))

    def _log(self, text: str) -> None:
        if self._tail is not None:
            self._tail.write(text)


def _is_too_large(answer: Answer) -> bool:
    return answer.too_large or len(answer.payload) > RESPONSE_LIMIT


def _complete_trace(trace_id: str) -> str:
    """Return the trace id with a Root, Parent and Sampled: X-Ray's SDKs in functions need all three.

    >>> _complete_trace("Root=1-64f7ba59-40378aa81e4eecc34002f96a;Parent=53995c3f42cd8ad8;Lineage=68fd508a:0")
    'Root=1-64f7ba59-40378aa81e4eecc34002f96a;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=68fd508a:0'
    """
    fields = dict(field.partition("=")[::2] for field in trace_id.split(";"))
    first = {
        "Root": fields.pop("Root", "") or f"1-{int(time.time()):08x}-{token_hex(12)}",
        "Parent": fields.pop("Parent", "") or token_hex(8),
        "Sampled": fields.pop("Sampled", "") or "0",
    }
    return ";".join(f"{name}={value}" for name, value in {**first, **fields}.items())


def _epoch_ms(seconds: float) -> int:
    """Return the wall clock's time in ``seconds``, in milliseconds: the unit of the Runtime API's deadline."""
    return int((time.time() + seconds) * 1000)
