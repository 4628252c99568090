"""JSON of a handler's result, byte for byte as AWS's Python runtime writes it.

The tests compare it with the marshaller of awslambdaric, AWS's own runtime client.
"""

from __future__ import annotations

import json
import marshal as builtin_types
import math
from decimal import Decimal
from json.encoder import (  # type: ignore[attr-defined]  # (typeshed leaves the first out)
    c_make_encoder,
    encode_basestring,
    encode_basestring_ascii,
)
from typing import Any

import simplejson
from simplejson.raw_json import RawJSON

from serverfull_wsgi.errors import RuntimeFault
from serverfull_wsgi.payloads import ESCAPES

JSON = "application/json"
UNKNOWN = "application/unknown"


class _Encoder(simplejson.JSONEncoder):
    """simplejson with AWS's options: namedtuples are objects, bytes are UTF-8 text, Decimals keep their digits."""

    def __init__(self) -> None:
        super().__init__(use_decimal=False, allow_nan=True, ensure_ascii=ESCAPES)

    def default(self, o: Any) -> Any:
        if isinstance(o, Decimal):
            return math.nan if o.is_nan() else RawJSON(str(o))
        return super().default(o)


_encode_any = _Encoder().encode
_encode_string = encode_basestring_ascii if ESCAPES else encode_basestring
# json.JSONEncoder.encode() creates this object for each value, which takes 0.5 of its 0.8 µs. The arguments: markers
# (for circles), default, string encoder, indent, key separator, item separator, sort_keys, skipkeys, allow_nan.
_encode_plain = c_make_encoder(None, json.JSONEncoder().default, _encode_string, None, ": ", ", ", False, False, True)


def _encode(value: Any) -> str:
    """Return JSON text.

    For plain values, the standard library writes the same text as simplejson, and 10 KB in 92 µs instead of 124. Its
    module `marshal` finds out whether a value is plain: that takes 13 µs, and raises for subclasses and circles.
    """
    try:
        builtin_types.dumps(value)
        return "".join(_encode_plain(value, 0))
    except Exception:  # noqa: S110  (simplejson runs below: inside this block, RecursionError has another text)
        pass
    return _encode_any(value)


def marshal(result: Any) -> tuple[bytes, str]:
    """Return the payload and its content type. Bytes are returned unchanged.

    Raises `RuntimeFault` for a value that has no JSON form. Raises `SystemExit` for a lone surrogate: it has no UTF-8
    form, and AWS's runtime ends with an error that it does not catch.
    """
    if isinstance(result, bytes):
        return result, UNKNOWN
    try:
        text = _encode(result)
    except Exception as error:
        raise RuntimeFault("Runtime.MarshalError", f"Unable to marshal response: {error}") from error
    try:
        return text.encode(), JSON
    except UnicodeEncodeError as error:
        raise SystemExit(1) from error


def plain_members(result: Any) -> dict[str, Any] | None:
    """Return a copy of a result that its JSON text would not change, or None.

    Such a result is an object, as handlers return for HTTP: its members are strings, status codes, booleans, null, and
    objects of strings. None is returned for other results, and for long ones, which `marshal` has to measure.
    """
    if type(result) is not dict:
        return None
    members = result.copy()  # in one step: another thread may change the result
    length = 0
    for name, value in members.items():
        texts = [name]
        if type(value) is dict:
            members[name] = inner = value.copy()
            texts += [*inner, *inner.values()]
        elif type(value) is str:
            texts.append(value)
        elif value is not None and type(value) is not bool and not (type(value) is int and 0 <= value < 1000):
            return None
        for text in texts:
            if type(text) is not str or not _is_utf8(text):
                return None
            length += len(text) + _PUNCTUATION
    return members if length <= MAX_PLAIN else None


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


MAX_PLAIN = 150_000  # characters: as JSON at most 900 KB, below the limits of results and of load balancers' results
_PUNCTUATION = 4  # quotes, and a comma or a colon with a blank


def to_json(value: Any) -> bytes:
    """Return ``value`` in the form of the error documents of AWS's runtime."""
    return _encode(value).encode("utf-8", "backslashreplace")
