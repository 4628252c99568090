"""A row of the table of AWS's behaviour: a request and its response, or the name of the test that checks it.

In a response, ``ID`` stands for the request's own id. Headers and members may be exact, a `Like`, or None for absent.
"""

import base64
import re
import sys
from dataclasses import dataclass, field
from typing import Any, NamedTuple

REGION, ACCOUNT = "us-east-1", "123456789012"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
FILE = b"FILE"  # in a payload: stands for a path that only this row uses
RAW_TEXT = sys.version_info >= (3, 12)  # AWS's runtime escapes characters outside ASCII before 3.12
HELLO = '"Hello ƛ!"'.encode() if RAW_TEXT else rb'"Hello \u019b!"'
STREAMING = "Response streaming"  # docs/compatibility.md's words for what is not served


class Like:
    """Equals any text that matches a pattern as a whole."""

    def __init__(self, pattern):
        self.pattern = pattern

    def __eq__(self, other):
        return isinstance(other, str) and bool(re.fullmatch(self.pattern, other, re.DOTALL))

    def __repr__(self):
        return f"Like({self.pattern!r})"


class Between(NamedTuple):
    """Equals any number above ``low``, up to ``high``."""

    low: float
    high: float

    def __eq__(self, other):
        return isinstance(other, int) and self.low < other <= self.high


class Having(dict):
    """Equals any object that has at least these members."""

    def __eq__(self, other):
        return isinstance(other, dict) and all(name in other and value == other[name] for name, value in self.items())


class Request(NamedTuple):
    """A request: Invoke of the function ``name``, unless there is a ``path``."""

    name: str = ""
    payload: bytes = b""
    query: str = ""
    headers: dict = {}
    method: str = "POST"
    path: str = ""

    @property
    def target(self):
        return self.path or f"/2015-03-31/functions/{self.name}/invocations{self.query and '?'}{self.query}"


class Response(NamedTuple):
    """The expected response. ``body`` is bytes, a `Like`, a size in bytes, or JSON with its members in this order."""

    status: int
    headers: dict
    body: Any
    log: Like | None = None  # the tail of the log; None for a response without one
    file: str | None = None  # the content of the row's FILE at the end; empty if the handler must not create it


@dataclass(frozen=True)
class Row:
    """One statement about AWS's behaviour; ``id`` is the statement.

    ``test`` is the path and name of a test, for a row that takes more than one request. ``reason`` is set if the row
    does not hold for functions in the server's own process, or not at all; docs/compatibility.md has the same words.
    """

    id: str
    request: Request | None = None
    response: Response | None = None
    where: dict[str, Response] = field(default_factory=dict)  # other responses by host (tests/support/hosts.py)
    test: str = ""
    reason: str = ""


UUID = Like(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
JSON = {"Content-Type": "application/json"}
KNOWN = {"x-amzn-RequestId": UUID}
NO_RESULT = {"X-Amz-Executed-Version": None, "X-Amz-Function-Error": None}
TRACED = {
    **KNOWN,
    "X-Amzn-Trace-Id": Like(r"root=1-[0-9a-f]{8}-[0-9a-f]{24};sampled=[01];lineage=[0-9a-f]+:\d+"),
    "x-amzn-Remapped-Content-Length": "0",
    "x-amzn-ErrorType": None,
}


def answered(id, request, body, *, version="$LATEST", log=None, **headers):
    """Return a row for a function that returns."""
    common = {**JSON, **TRACED, "X-Amz-Executed-Version": version, "X-Amz-Function-Error": None}
    return Row(id, request, Response(200, {**common, **named(headers)}, body, log))


def failed(id, request, body, *, log=None):
    """Return a row for a function that fails."""
    common = {**JSON, **TRACED, "X-Amz-Executed-Version": "$LATEST", "X-Amz-Function-Error": "Unhandled"}
    return Row(id, request, Response(200, common, body, log))


def accepted(id, request, *, file=None):
    """Return a row for an accepted event."""
    return Row(id, request, Response(202, {**TRACED, **NO_RESULT}, b"", file=file))


def refusal(status, code, message, key="message", type="User", **headers):
    """Return an error response with AWS's members. ``type`` is empty for an error without one."""
    members = {**({"Type": type} if type else {}), key: message}
    return Response(status, {**JSON, **KNOWN, **NO_RESULT, "x-amzn-ErrorType": code, **named(headers)}, members)


def invalid(*violations):
    """Return the error response for invalid parameters, in the order of the message."""
    count = f"{len(violations)} validation error{'s' if len(violations) > 1 else ''} detected: "
    return refusal(400, "ValidationException", Like(re.escape(count) + "; ".join(violations)), type="")


def violation(value, member, rule):
    return f"Value '{re.escape(value)}' at '{member}' failed to satisfy constraint: Member must {rule}"


def unknown_operation():
    return refusal(404, "UnknownOperationException", Like("No operation of the Lambda API .*"))


def named(headers):
    """Return headers with hyphens: ``Content_Type`` becomes ``Content-Type``."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


def encoded(text):
    """Return the header of a client context."""
    return {"X-Amz-Client-Context": base64.b64encode(text.encode()).decode()}


TAIL = {"X-Amz-Log-Type": "Tail"}
AS_EVENT = {"X-Amz-Invocation-Type": "Event"}
DRY = {"X-Amz-Invocation-Type": "DryRun"}
