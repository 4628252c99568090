"""One invocation in an execution environment, told as AWS tells it: what the caller gets, and the log."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from time import monotonic
from typing import NamedTuple

from serverfull_wsgi.domain import Function, Invocation, Outcome
from serverfull_wsgi.errors import ServiceException
from serverfull_wsgi.executors.function_errors import (
    EXIT_ERROR,
    RESPONSE_LIMIT,
    RESPONSE_TOO_LARGE,
    UNHANDLED,
    exit_message,
    platform_error,
)
from serverfull_wsgi.executors.isolated.environment import Environment, Stopped, TimedOut
from serverfull_wsgi.executors.isolated.runtime_api.server import Answer
from serverfull_wsgi.executors.isolated.zygote.control_channel import Ended
from serverfull_wsgi.executors.marshalling import JSON
from serverfull_wsgi.telemetry.logs import report_line
from serverfull_wsgi.telemetry.tail import Tail
from serverfull_wsgi.timestamps import timestamp

# What Go's runtime, which AWS's platform is written in, calls the signals that end a process.
SIGNALS: dict[int, str] = {
    signal.SIGHUP: "hangup",
    signal.SIGINT: "interrupt",
    signal.SIGQUIT: "quit",
    signal.SIGILL: "illegal instruction",
    signal.SIGTRAP: "trace/breakpoint trap",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGKILL: "killed",
    signal.SIGUSR1: "user defined signal 1",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGUSR2: "user defined signal 2",
    signal.SIGPIPE: "broken pipe",
    signal.SIGALRM: "alarm clock",
    signal.SIGTERM: "terminated",
}


class FailedStart(NamedTuple):
    """A start that came to nothing: what the runtime said of it, or how its process ended, or that it took too long."""

    answer: Answer | None
    ended: Ended | None
    exec_error: int
    timed_out: float = 0.0  # seconds


class Execution:
    """An invocation on its way through an environment; `outcome` is what became of it."""

    def __init__(self, function: Function, invocation: Invocation, logger: logging.Logger) -> None:
        self._function, self._invocation, self._logger = function, invocation, logger
        self._fields = {"request_id": invocation.request_id, "function_name": function.name}
        self._tail = Tail() if invocation.tail else None
        self._begun = False  # whether the log has its START
        self._payload, self._content_type, self._failed = b"", JSON, True
        self._duration, self._memory = 0.0, 0
        self._init_duration: float | None = None
        self._status: str | None = None
        self.reusable = False  # whether the environment can run another
        self.stopped = False  # the server gave up on it
        self.overslept = False  # the environment took too long to start
        self.failed_start: FailedStart | None = None

    def start(self, environment: Environment, limit: float) -> None:
        """Waits until a new environment is ready, for at most ``limit`` seconds; what it prints stands before START."""
        environment.output.begin(self._fields, self._tail)
        began = monotonic()
        try:
            answer = environment.wait_until_ready(began + limit)
        except TimedOut:
            self.overslept = True
            environment.kill()
            self._settle(environment)
            return
        except Stopped:
            self.stopped = True
            return
        self._init_duration = monotonic() - began
        if answer or environment.ended:
            self._settle(environment)
            self._start_failed(environment, answer)

    def _start_failed(self, environment: Environment, answer: Answer | None, timed_out: float = 0.0) -> None:
        self.failed_start = FailedStart(answer, environment.ended, environment.exec_error, timed_out)
        self.fail(self.failed_start)

    def run(self, environment: Environment) -> None:
        """Runs the invocation; the start of an environment that is not ready yet counts against its timeout."""
        function, invocation = self._function, self._invocation
        self._begin()
        environment.output.begin(self._fields, self._tail)
        began = monotonic()
        try:
            answer = environment.run(
                invocation.request_id, self._headers(), invocation.payload or b"{}", began + function.timeout
            )
        except TimedOut:
            self._duration = function.timeout
            environment.kill()
            self._settle(environment)
            if environment.was_ready:
                self._time_out(function.timeout)
            else:
                self._start_failed(environment, None, function.timeout)
        except Stopped:
            self.stopped = True
        else:
            self._duration = min(monotonic() - began, function.timeout)
            self._settle(environment)
            if not environment.was_ready:
                self._start_failed(environment, answer)
            elif answer:
                self._take(answer)
            else:
                self._exit(environment.ended or Ended())

    def _headers(self) -> dict[str, str]:
        """What the Runtime API says of an invocation, beside its request id."""
        function, invocation = self._function, self._invocation
        headers = {
            "Lambda-Runtime-Deadline-Ms": str(_epoch_ms(function.timeout)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_name.arn,
        }
        if invocation.trace_id:
            headers["Lambda-Runtime-Trace-Id"] = invocation.trace_id
        if invocation.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = json.dumps(invocation.client_context)
        return headers

    def _settle(self, environment: Environment) -> None:
        environment.output.end()
        self._memory = environment.peak_memory()

    def _take(self, answer: Answer) -> None:
        if answer.too_large or len(answer.payload) > RESPONSE_LIMIT:
            self._platform("Function.ResponseSizeTooLarge", RESPONSE_TOO_LARGE, "Function.ResponseSizeTooLarge\n")
            return
        self._payload, self._content_type = answer.payload, answer.content_type
        self._failed = answer.kind != "response"
        self.reusable = answer.kind != "init"

    def fail(self, failed: FailedStart) -> None:
        """The start of the environment failed; or an earlier one did, and is not tried again so soon."""
        self._begin()
        if failed.timed_out:
            self._time_out(failed.timed_out)
        elif failed.answer:
            self._take(failed.answer)
            self._status = "error"
        elif failed.exec_error:
            self._no_entrypoint(failed.exec_error)
        else:
            self._exit(failed.ended or Ended())

    def _time_out(self, seconds: float) -> None:
        request_id, text = self._invocation.request_id, f"Task timed out after {seconds:.2f} seconds"
        payload = platform_error("Sandbox.Timedout", f"RequestId: {request_id} Error: {text}")
        self._status = "timeout"
        self._platform(text, payload, f"{timestamp(time.time())} {request_id} {text}\n\n")

    def _exit(self, ended: Ended) -> None:
        if ended.failed:
            self._logger.error("an environment could not be started: %s", ended.failed, extra=self._fields)
            raise ServiceException("The service failed; its log has the reason.")
        how = how_it_ended(ended.status)
        message = exit_message(self._invocation.request_id, how)
        self._status = "error"
        self._platform(message, platform_error(EXIT_ERROR, message), f"{message}\n{EXIT_ERROR}\n")

    def _no_entrypoint(self, number: int) -> None:
        message = (
            f"RequestId: {self._invocation.request_id} Error: Couldn't find valid bootstrap(s): "
            f"{os.strerror(number).lower()}"
        )
        self._status = "error"
        self._platform(
            message, platform_error("Runtime.InvalidEntrypoint", message), f"{message}\nRuntime.InvalidEntrypoint\n"
        )

    def _platform(self, message: str, payload: bytes, log: str) -> None:
        """A failure that the platform reports, and not the runtime."""
        self._payload = payload
        self._logger.error("%s", message, extra=self._fields)
        self._write(log)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._write(f"START RequestId: {self._invocation.request_id} Version: {self._function.version}\n")

    def _write(self, text: str) -> None:
        if self._tail is not None:
            self._tail.write(text)

    def outcome(self) -> Outcome:
        """Ends the log."""
        function, request_id = self._function, self._invocation.request_id
        if self._tail is not None:
            line = report_line(
                request_id,
                self._duration,
                function.memory_size,
                memory=self._memory,
                init_duration=self._init_duration,
                status=self._status,
            )
            self._write(f"END RequestId: {request_id}\n{line}\t\n")
        return Outcome(
            self._payload,
            function.version,
            UNHANDLED if self._failed else None,
            bytes(self._tail) if self._tail is not None else b"",
            self._duration,
            self._content_type,
            self._memory,
            self._init_duration,
            self._status,
        )


def how_it_ended(status: int) -> str | int:
    """A wait status as an exit status, or as Go's name of a signal.

    >>> how_it_ended(7 << 8), how_it_ended(9)
    (7, 'signal: killed')
    """
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    return f"signal: {SIGNALS.get(number, f'signal {number}')}"


def _epoch_ms(seconds: float) -> int:
    """The wall clock's milliseconds in that many seconds, as the Runtime API wants its deadline."""
    return int((time.time() + seconds) * 1000)
