"""How failures look to the caller: the body of a 200 with ``X-Amz-Function-Error``, and the lines in the log."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Sequence
from types import TracebackType

from serverfull_wsgi.errors import RuntimeFault
from serverfull_wsgi.executors.marshalling import to_json

UNHANDLED = "Unhandled"  # what AWS's Python runtime always reports; "Handled" is a relic
RESPONSE_LIMIT = 6_291_556  # bytes: 6 MiB and 100
_OURS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")  # this package's folder


class Failure:
    """A function error in four members, as the runtime inside an environment reports it."""

    def __init__(self, error_type: str, message: str, request_id: str, stack_trace: Sequence[str] = ()) -> None:
        self.error_type = error_type
        self.message = message
        self.request_id = request_id
        self.stack_trace = list(stack_trace)

    @classmethod
    def of(cls, error: BaseException, request_id: str) -> Failure:
        """What the runtime says of an exception; its trace begins in the user's code."""
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
        """The lines AWS's runtime logs; their indentation is U+00A0, which CloudWatch does not trim."""
        head = f"[ERROR] {self.error_type}: {self.message}" if self.message else f"[ERROR] {self.error_type}"
        lines = [head, "Traceback (most recent call last):"]
        for line in (line for entry in self.stack_trace for line in entry.splitlines()):
            text = line.lstrip(" ")
            lines.append("\u00a0" * (len(line) - len(text)) + text)
        return "\n".join(lines) + "\n"


def stack_trace(trace: TracebackType | None) -> list[str]:
    """A traceback in AWS's form: no carets, no causes, and no frames of ours before the user's first."""
    frames = [(frame.filename, frame.lineno or 0, frame.name, frame.line) for frame in traceback.extract_tb(trace)]
    while frames and frames[0][0].startswith(_OURS):
        del frames[0]
    return traceback.format_list(frames)


def platform_error(error_type: str, message: str) -> bytes:
    """A function error that the platform reports, because the runtime could not: two members, compact."""
    return json.dumps({"errorType": error_type, "errorMessage": message}, separators=(",", ":")).encode()


EXIT_ERROR = "Runtime.ExitError"


def exit_message(request_id: str, how: str | int) -> str:
    """What AWS says of an environment whose process ended.

    ``how`` is its exit status, or ``"signal: killed"`` and the like.

    >>> exit_message("ID", 3)
    'RequestId: ID Error: Runtime exited with error: exit status 3'
    """
    if how == 0:
        return f"RequestId: {request_id} Error: Runtime exited without providing a reason"
    reason = f"exit status {how}" if isinstance(how, int) else how
    return f"RequestId: {request_id} Error: Runtime exited with error: {reason}"


RESPONSE_TOO_LARGE = json.dumps(
    {
        "errorMessage": f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    },
    separators=(",", ":"),
).encode()
