"""JSON, byte for byte as AWS's client writes it: with simplejson's rules, by the standard library.

The standard library writes plain values as simplejson does. `_Writer` has the rules for all others: namedtuples are
objects, bytes are UTF-8 text, and Decimals keep their digits.
"""

from __future__ import annotations

import json
import marshal
import math
import os
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, NoReturn

from .lambda_runtime_exception import FaultException

_FIRST_WITH_RAW_TEXT = 12  # from Python 3.12 on, characters outside ASCII are not escaped
_DOING = "calling a Python object" if sys.version_info >= (3, 12) else "encoding a JSON object"  # as simplejson
_TOO_DEEP = f"maximum recursion depth exceeded while {_DOING}"


class Encoder:
    """An encoder of values. AWS_EXECUTION_ENV, which ends in the version of Python, decides on escapes."""

    def __init__(self) -> None:
        minor = os.environ.get("AWS_EXECUTION_ENV", "").partition("AWS_Lambda_python3.")[2]
        self._is_ascii = not (minor.isdigit() and int(minor) >= _FIRST_WITH_RAW_TEXT)
        self._encode_plain = json.JSONEncoder(ensure_ascii=self._is_ascii, check_circular=False).encode

    def encode(self, value: Any) -> str:
        """Return JSON text. Raise TypeError or ValueError for a value that has no JSON form."""
        try:
            marshal.dumps(value)  # raises for subclasses and circles, so that the value is plain
            return self._encode_plain(value)
        except Exception:  # noqa: S110  (the writer runs outside of this block: a RecursionError has another text here)
            pass
        try:
            return "".join(_Writer(encode_basestring_ascii if self._is_ascii else encode_basestring).pieces(value))
        except RecursionError:
            raise RecursionError(_TOO_DEEP) from None


class _Writer:
    """The rules of simplejson for one value. ``quote`` returns a text as a JSON string."""

    def __init__(self, quote: Any) -> None:
        self._quote = quote
        self._parents: set[int] = set()

    def pieces(self, value: Any) -> Iterator[str]:
        """Yield the parts of the JSON text."""
        if (text := self._scalar(value)) is not None:
            yield text
            return
        if id(value) in self._parents:
            raise ValueError("Circular reference detected")
        self._parents.add(id(value))
        if not isinstance(value, type) and callable(as_dict := getattr(value, "_asdict", None)):
            members = as_dict()
            if not isinstance(members, dict):
                raise TypeError(f"_asdict() must return a dict, not {type(members).__name__}")
            yield from self._object(members)
        elif isinstance(value, list | tuple):
            yield from self._array(value)
        elif isinstance(value, dict):
            yield from self._object(value)
        elif isinstance(value, Decimal):
            yield "NaN" if value.is_nan() else str(value)
        else:
            raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
        self._parents.discard(id(value))

    def _scalar(self, value: Any) -> str | None:
        """Return the text of a value without parts; None for all others."""
        if value is None or value is True or value is False:
            return {None: "null", True: "true", False: "false"}[value]
        if isinstance(value, str):
            return str(self._quote(value))
        if isinstance(value, bytes):
            return str(self._quote(value.decode()))
        if isinstance(value, int):
            return int.__repr__(value)
        if isinstance(value, float):
            return _float(value)
        return None

    def _array(self, values: Iterable[Any]) -> Iterator[str]:
        separator = "["
        for value in values:
            yield separator
            yield from self.pieces(value)
            separator = ", "
        yield "[]" if separator == "[" else "]"

    def _object(self, members: dict[Any, Any]) -> Iterator[str]:
        separator = "{"
        for key, value in members.items():
            yield f"{separator}{self._key(key)}: "
            yield from self.pieces(value)
            separator = ", "
        yield "{}" if separator == "{" else "}"

    def _key(self, key: Any) -> str:
        text = self._scalar(key)
        if text is None:
            raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")
        return text if text.startswith('"') else f'"{text}"'


def _float(value: float) -> str:
    if math.isfinite(value):
        return float.__repr__(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def to_json(obj: Any) -> str:
    """Return the JSON text of a value."""
    return Encoder().encode(obj)


class LambdaMarshaller:
    """Events from bytes, and results to bytes or text. A function can replace the methods."""

    def __init__(self) -> None:
        self.jsonEncoder = Encoder()

    def unmarshal_request(self, request: bytes, content_type: str | None = "application/json") -> Any:
        """Return the event, parsed if it is JSON."""
        if content_type != "application/json":
            return request
        try:
            return _parse(request.decode())
        except Exception as error:
            raise FaultException(FaultException.UNMARSHAL_ERROR, f"Unable to unmarshal input: {error}") from error

    def marshal_response(self, response: Any) -> tuple[bytes | str, str]:
        """Return the payload of a result, and its content type."""
        if isinstance(response, bytes):
            return response, "application/unknown"
        try:
            return self.jsonEncoder.encode(response), "application/json"
        except Exception as error:
            raise FaultException(FaultException.MARSHAL_ERROR, f"Unable to marshal response: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_parse = json.JSONDecoder(parse_constant=_refuse_constant).decode
