"""Payloads: JSON text to events, and events to JSON text."""

from __future__ import annotations

import json
import sys
from json.scanner import make_scanner
from typing import Any, NoReturn

from serverfull_wsgi.errors import InvalidRequestContentException

ESCAPES = sys.version_info < (
    3,
    12,
)  # AWS's newer runtimes write other than ASCII characters as they are


def parse_payload(payload: bytes) -> Any:
    """Return the event of a payload. As on AWS, an empty payload is ``{}``, and NaN is not valid JSON.

    Raises `InvalidRequestContentException` with the position of the error.
    """
    if not payload:
        return {}
    try:
        return parse_json(payload)
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise InvalidRequestContentException(
        f"Could not parse request body into json: Could not parse payload into json: {reason}"
    )


def parse_json(data: bytes) -> Any:
    """Return the value of JSON text.

    Raises `ValueError` if it is not JSON or not UTF-8, and for a number with too many digits; `RecursionError` if it is
    nested too deeply.
    """
    text = str(data, "utf-8")
    try:
        value, end = _scan(text, 0)  # takes half of decode's 0.7 µs; few payloads have white space around
    except StopIteration:
        end = -1
    return value if end == len(text) else _strict.decode(text)


def render_payload(event: Any) -> bytes:
    """Return an event as JSON text. U+003F replaces each lone surrogate, since UTF-8 has no form for it."""
    return _encode(event).encode("utf-8", "replace")


def render_result(result: Any) -> bytes:
    """Return a result of plain values as JSON text, in the form of AWS's Python runtime."""
    return json.dumps(result, ensure_ascii=ESCAPES).encode()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_strict = json.JSONDecoder(parse_constant=_no_constant)
_encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes an encoder at each call: 1.5 µs
_scan = make_scanner(_strict)  # type: ignore[arg-type]  # typeshed's annotation has another class
