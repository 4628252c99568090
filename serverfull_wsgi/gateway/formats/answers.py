"""Answers to HTTP requests, and the checks of a function's result that several kinds share.

A result comes from code that may be wrong or hostile. A check raises `BadResult`, and the kind turns that into the
answer of a failed function.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any, NamedTuple

from serverfull_wsgi.domain import Outcome, ValueOutcome
from serverfull_wsgi.gateway.formats.inputs import HttpRequest, RequestContext
from serverfull_wsgi.payloads import parse_json

Lines = list[tuple[str, str]]


class Reason(NamedTuple):
    """The reason why an outcome became the answer of a failed function.

    Args:
        code: ``function_error``, ``not_json``, ``not_an_object``, ``unknown_key``, ``no_status``, ``bad_status``,
            ``bad_headers``, ``bad_header_name``, ``bad_header_value``, ``bad_cookies``, ``bad_body``, ``bad_base64``,
            ``bad_flag`` or ``too_large``.
        detail: a text for the log. It may contain names of the result's keys and headers, and no header's value.
    """

    code: str
    detail: str = ""


class Answer(NamedTuple):
    """An HTTP answer.

    Args:
        status: the status code.
        headers: pairs of name and value, with Content-Length. Values are text without control characters.
        body: the bytes of the body. It is empty for HEAD, 204 and 304.
        reason: the reason, if the function's outcome could not be used; otherwise None.
        refusal: the reason why the kind answers in the place of the function; otherwise None.
    """

    status: int
    headers: Lines
    body: bytes
    reason: Reason | None = None
    refusal: Refusal | None = None


class Refusal(Enum):
    """Why a request is answered without a function's result."""

    NO_ROUTE = "no route"  # for this path and method
    UNKNOWN_API = "unknown API"  # or no such stage, or a function without a URL
    BAD_REQUEST = "bad request"
    FUNCTION_ERROR = "function error"  # or its own timeout, or a result that cannot be used
    TIMEOUT = "timeout"  # the gateway's own
    TOO_LARGE = "too large"  # the request's body
    THROTTLED = "throttled"  # the function may not run now
    FORBIDDEN = "forbidden"  # no API key that is accepted, or no signature of a key that may call the route
    NOT_SIGNED = "not signed"  # no signature
    UNAUTHORIZED = "unauthorized"  # the caller's identity is missing, or was not accepted
    DENIED = "denied"  # by an authorizer
    DENIED_EXPLICITLY = "denied explicitly"  # by an authorizer's policy
    AUTHORIZER_FAILED = "authorizer failed"
    NOT_RUN = "not run"  # the function does not exist or cannot run, or a configured feature is not served


class BadResult(Exception):
    """A result that the kind does not accept. ``reason`` is for the log."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail or code)
        self.reason = Reason(code, detail)


class Page(NamedTuple):
    """The fixed answer of a kind to one refusal. ``error`` is for x-amzn-ErrorType; empty for none."""

    status: int
    body: bytes
    error: str = ""
    content_type: str = "application/json"


def refused(pages: Mapping[Refusal, Page], refusal: Refusal, request: HttpRequest, own: Lines) -> Answer:
    """Return the answer to a refusal, with the headers that the kind adds.

    Raises `ValueError` if the kind never refuses for this reason.
    """
    page = pages.get(refusal)
    if page is None:
        raise ValueError(f"{refusal} is not a refusal of this kind; choose from {', '.join(map(str, pages))}")
    error = [("x-amzn-ErrorType", page.error)] if page.error else []
    lines = [("Content-Type", page.content_type), *error]
    return complete(request, page.status, lines, page.body, "", own)._replace(refusal=refusal)


def failed(outcome: Outcome) -> Reason | None:
    """Return the reason if the function failed, or None."""
    return Reason("function_error", outcome.function_error) if outcome.function_error else None


# Checks of a result


def result_of(outcome: Outcome) -> Any:
    """Return the function's result.

    Raises `BadResult` if the payload is not JSON.
    """
    if isinstance(outcome, ValueOutcome):
        return outcome.value
    try:
        return parse_json(outcome.payload)
    except (ValueError, RecursionError) as error:
        raise BadResult("not_json", f"the result is not JSON: {error}") from None


def object_of(outcome: Outcome) -> dict[str, Any]:
    """Return the members of a result that must be an object.

    Raises `BadResult` for any other result.
    """
    value = result_of(outcome)
    if not isinstance(value, dict):
        raise BadResult("not_an_object", f"the result is {_kind(value)}; it must be an object with statusCode")
    return value


def compact(value: Any) -> bytes:
    """Return JSON text without spaces.

    Raises `BadResult` for a value that is nested too deeply, and for a number that is too large.
    """
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise BadResult("bad_body", f"the body cannot be written as JSON: {error}") from None
    return text.encode("utf-8", "replace")


def status_code(value: Any) -> int:
    """Return the status of a result: a whole number from 200 to 599, or the text of one.

    Raises `BadResult` for any other value. A final answer cannot have an informational status.
    """
    is_whole = isinstance(value, float) and value.is_integer()  # inferred: JSON does not separate 200.0 from 200
    is_text = isinstance(value, str) and re.fullmatch(r"[0-9]{3}", value)
    number = int(value) if is_whole or is_text else value
    if isinstance(number, bool) or not isinstance(number, int) or not 200 <= number <= 599:
        shown = repr(value)[:40] if isinstance(value, (str, int, float)) else _kind(value)
        raise BadResult("bad_status", f"statusCode is {shown}; it must be a whole number from 200 to 599")
    return number


_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def header(name: str, value: Any) -> tuple[str, str]:
    """Return a checked header.

    Raises `BadResult` for a name that HTTP does not allow, for a value that is not a scalar, and for control
    characters. With these a function could add headers, or whole answers, past the checks.
    """
    if not _token.fullmatch(name):
        raise BadResult("bad_header_name", f"{name[:80]!r} is not the name of a header")
    text = scalar(value)
    if text is None:
        raise BadResult("bad_header_value", f"header {name[:80]} is {_kind(value)}; it must be a string")
    if _control.search(text):
        raise BadResult("bad_header_value", f"header {name[:80]} has a control character or a lone surrogate")
    return name, text.strip(" \t")


def single_headers(members: Mapping[str, Any]) -> Lines:
    """Return the headers in ``headers``. Null values are left out.

    Raises `BadResult` for a wrong type, and for headers that HTTP does not allow.
    """
    headers = members.get("headers")
    if headers is None:
        return []
    if not isinstance(headers, dict):
        raise BadResult("bad_headers", f"headers is {_kind(headers)}; it must be an object")
    return [header(name, value) for name, value in headers.items() if value is not None]


def multi_headers(members: Mapping[str, Any]) -> Lines:
    """Return the headers in ``multiValueHeaders``, a line for each value.

    Raises `BadResult` for a wrong type, and for headers that HTTP does not allow.
    """
    headers = members.get("multiValueHeaders")
    if headers is None:
        return []
    if not isinstance(headers, dict):
        raise BadResult("bad_headers", f"multiValueHeaders is {_kind(headers)}; it must be an object")
    lines = []
    for name, values in headers.items():
        if values is None:
            continue
        if not isinstance(values, list):
            shown = f"multiValueHeaders has {_kind(values)} for {name[:80]!r}"
            raise BadResult("bad_header_value", f"{shown}; it must be a list of strings")
        lines += [header(name, value) for value in values if value is not None]
    return lines


def cookies(members: Mapping[str, Any]) -> Lines:
    """Return a Set-Cookie header for each of ``cookies``.

    Raises `BadResult` if that is not a list of strings.
    """
    values = members.get("cookies")
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise BadResult("bad_cookies", "cookies must be a list of strings")
    return [header("Set-Cookie", value) for value in values]


def is_encoded(members: Mapping[str, Any], *names: str) -> bool:
    """Return whether the body is base64: the first of these members that is not null.

    Raises `BadResult` for a value that is not a boolean.
    """
    value = next((members[name] for name in names if members.get(name) is not None), False)
    if value in ("true", "false"):  # inferred: AWS's JSON readers accept the texts
        value = value == "true"
    if not isinstance(value, bool):
        raise BadResult("bad_flag", f"{names[0]} is {_kind(value)}; it must be true or false")
    return value


def body_string(members: Mapping[str, Any]) -> str:
    """Return ``body``, which must be a string. Numbers and booleans are written as text, null is empty.

    Raises `BadResult` for objects and lists.
    """
    body = members.get("body")
    text = "" if body is None else scalar(body)
    if text is None:
        raise BadResult("bad_body", f"body is {_kind(body)}; it must be a string, so serialise it")
    return text


def body_json(members: Mapping[str, Any]) -> str:
    """Return ``body``: a string as it is, any other value as JSON text."""
    body = members.get("body")
    return compact(body).decode() if isinstance(body, (dict, list)) else body_string(members)


def body_bytes(text: str, is_base64: bool) -> bytes:
    """Return the bytes of a body. Line breaks in base64 and missing padding are accepted.

    Raises `BadResult` for a body that is not base64.
    """
    if not is_base64:
        return text.encode("utf-8", "replace")
    try:
        data = b"".join(text.encode("ascii").split())
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are two
        raise BadResult("bad_base64", "isBase64Encoded is true, but body is not base64") from None


def scalar(value: Any) -> str | None:
    """Return a string, number or boolean as text, or None for any other value.

    >>> [scalar(value) for value in ("a", True, 3, 0.5, [])]
    ['a', 'true', '3', '0.5', None]
    """
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, (bool, int, float)) else None


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


# Headers of an answer

CONNECTION_HEADERS = frozenset(  # "trailers" too: PEP 3333 forbids it by that name, and waitress answers 500
    {"transfer-encoding", "connection", "content-length", "keep-alive", "te", "trailer", "trailers", "upgrade"}
)


def complete(
    request: HttpRequest,
    status: int,
    lines: Lines,
    body: bytes,
    content_type: str,
    own: Collection[tuple[str, str]] = (),
) -> Answer:
    """Return an answer with its whole body.

    Args:
        request: the request; HEAD is answered without a body.
        status: the status code.
        lines: the headers of the function's result.
        body: the body that GET would receive.
        content_type: the Content-Type if the function gives none.
        own: the headers that the kind adds.
    """
    headers = head(lines, content_type, own)
    has_no_body = status in (204, 304)  # RFC 9110, 8.6 and 15.4.5
    length = [] if has_no_body else [("Content-Length", str(len(body)))]
    return Answer(status, [*headers, *length, *own], b"" if request.method == "HEAD" or has_no_body else body)


def head(lines: Lines, content_type: str, own: Collection[tuple[str, str]]) -> Lines:
    """Return the headers of an answer, without its length: those of the function that are not about the connection.

    Headers of the function with a name in ``own`` are left out, since the kind adds these itself.
    """
    added = {name.lower() for name, _ in own}
    headers, has_type = [], False
    for line in lines:
        name = line[0].lower()
        if name in CONNECTION_HEADERS or name in added or name.startswith("proxy-"):
            continue
        has_type = has_type or name == "content-type"
        headers.append(line)
    if not has_type:
        headers.append(("Content-Type", content_type))
    return headers


def trace_header(request: HttpRequest, context: RequestContext) -> str:
    """Return the X-Amzn-Trace-Id of an answer. Parent and lineage follow from the root, as no X-Ray service makes them.

    >>> trace_header(HttpRequest(), RequestContext(trace_id="Root=1-6a5145a8-536f3e792f6be9b44c1f46fa"))
    'Root=1-6a5145a8-536f3e792f6be9b44c1f46fa;Parent=2f6be9b44c1f46fa;Sampled=0;Lineage=1:536f3e79:0'
    """
    root = _root.search(request.header("x-amzn-trace-id") or "") or _root.search(context.trace_id)
    if root is None:
        return context.trace_id
    return f"{root[0]};Parent={root[1][8:]};Sampled=0;Lineage=1:{root[1][:8]}:0"


_root = re.compile(r"Root=1-[0-9a-f]{8}-([0-9a-f]{24})")
