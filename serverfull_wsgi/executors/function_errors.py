"""Function errors in AWS's words: the body of a 200 with ``X-Amz-Function-Error``, and the lines in the log.

The runtime reports an exception of the handler (`Failure`). The platform reports everything else (`PlatformError`): a
timeout, the end of a process, a response that is too large.
"""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

from serverfull_wsgi.errors import RuntimeFault
from serverfull_wsgi.executors.marshalling import to_json
from serverfull_wsgi.timestamps import timestamp

UNHANDLED = "Unhandled"  # AWS's Python runtime reports no other value; "Handled" is left over from an old one
RESPONSE_LIMIT = 6_291_556  # bytes: 6 MiB and 100, the number in AWS's own error message
_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


class Failure:
    """An exception of the handler, in the four members that AWS's Python runtime reports."""

    def __init__(self, error_type: str, message: str, request_id: str, stack_trace: Sequence[str] = ()) -> None:
        self.error_type = error_type
        self.message = message
        self.request_id = request_id
        self.stack_trace = list(stack_trace)

    @classmethod
    def of(cls, error: BaseException, request_id: str) -> Failure:
        """Return the report of an exception. Its stack trace starts in the user's code."""
        if isinstance(error, RuntimeFault):
            return cls(error.type, str(error), request_id, error.stack_trace)
        return cls(type(error).__name__, str(error), request_id, stack_trace(error.__traceback__))

    def payload(self) -> bytes:
        return to_json(
            {
                "errorMessage": self.message,
                "errorType": self.error_type,
                "requestId": self.request_id,
                "stackTrace": self.stack_trace,
            }
        )

    def log(self) -> str:
        """Return the lines that AWS's runtime logs. They are indented with U+00A0, which CloudWatch does not trim."""
        head = f"[ERROR] {self.error_type}: {self.message}" if self.message else f"[ERROR] {self.error_type}"
        lines = [head, "Traceback (most recent call last):"]
        for line in (line for entry in self.stack_trace for line in entry.splitlines()):
            text = line.lstrip(" ")
            lines.append("\u00a0" * (len(line) - len(text)) + text)
        return "\n".join(lines) + "\n"


def stack_trace(trace: TracebackType | None) -> list[str]:
    """Return a traceback in AWS's form: without carets, causes, or this package's frames above the user's first."""
    frames = [(frame.filename, frame.lineno or 0, frame.name, frame.line) for frame in traceback.extract_tb(trace)]
    while frames and frames[0][0].startswith(_PACKAGE):
        del frames[0]
    return traceback.format_list(frames)


class PlatformError(NamedTuple):
    """A function error that the platform reports, because the runtime could not."""

    message: str  # for the server's log
    payload: bytes  # compact JSON with two members, errorType and errorMessage
    log: str  # for the invocation's log
    status: str | None = None  # the Status in the REPORT line: ``timeout`` or ``error``

    @property
    def error_type(self) -> str:
        return str(json.loads(self.payload)["errorType"])


def _payload(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}, separators=(",", ":")).encode()


RESPONSE_TOO_LARGE = PlatformError(
    "Function.ResponseSizeTooLarge",
    json.dumps(
        {
            "errorMessage": f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes).",
            "errorType": "Function.ResponseSizeTooLarge",
        },
        separators=(",", ":"),
    ).encode(),
    "Function.ResponseSizeTooLarge\n",
)


def timeout_error(request_id: str, seconds: float) -> PlatformError:
    """Return the error for an invocation that ran out of time.

    >>> timeout_error("ID", 3).message
    'Task timed out after 3.00 seconds'
    """
    text = f"Task timed out after {seconds:.2f} seconds"
    payload = _payload("Sandbox.Timedout", f"RequestId: {request_id} Error: {text}")
    return PlatformError(text, payload, f"{timestamp(time.time())} {request_id} {text}\n\n", "timeout")


def exit_error(request_id: str, reason: str | int) -> PlatformError:
    """Return the error for an environment whose process ended. For ``reason`` see `exit_reason`.

    >>> exit_error("ID", 3).message
    'RequestId: ID Error: Runtime exited with error: exit status 3'
    """
    if reason == 0:
        message = f"RequestId: {request_id} Error: Runtime exited without providing a reason"
    else:
        status = f"exit status {reason}" if isinstance(reason, int) else reason
        message = f"RequestId: {request_id} Error: Runtime exited with error: {status}"
    return PlatformError(message, _payload("Runtime.ExitError", message), f"{message}\nRuntime.ExitError\n", "error")


def entrypoint_error(request_id: str, errno: int) -> PlatformError:
    """Return the error for an environment whose program could not be executed."""
    message = f"RequestId: {request_id} Error: Couldn't find valid bootstrap(s): {os.strerror(errno).lower()}"
    return PlatformError(
        message,
        _payload("Runtime.InvalidEntrypoint", message),
        f"{message}\nRuntime.InvalidEntrypoint\n",
        "error",
    )


# AWS's platform is written in Go, and prints Go's names of the signals.
_SIGNALS: dict[int, str] = {
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


def exit_reason(status: int) -> str | int:
    """Return the exit status in a wait status, or the text for a signal.

    >>> exit_reason(7 << 8), exit_reason(9)
    (7, 'signal: killed')
    """
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    return f"signal: {_SIGNALS.get(number, f'signal {number}')}"
