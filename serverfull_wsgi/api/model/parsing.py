"""Parameters of a request: from its path, query string, headers and body.

The JSON type of each value is checked here, and its constraints are checked in `validation`. As on AWS, unknown
members are ignored, and ``null`` means that the member is absent.
"""

from __future__ import annotations

import json
import re
import sys
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from math import isfinite
from mmap import mmap
from typing import Any, NoReturn

from serverfull_wsgi.api.model.service import Member, Operation, Shape
from serverfull_wsgi.errors import InvalidRequestContentException, SerializationException

Query = Mapping[str, Sequence[str]]

MAX_DOUBLE = sys.float_info.max
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def parse(
    operation: Operation, labels: Mapping[str, str], query: Query, headers: Mapping[str, str], body: bytes | mmap
) -> dict[str, Any]:
    """Return the parameters of a request.

    Args:
        operation: the operation that the request addresses.
        labels: the values in its path, decoded.
        query: the values of each query parameter, as `routing.match` takes them.
        headers: the headers, by names in lower case, or in any case if the mapping ignores it.
        body: the whole body, in memory or in a file.

    Raises:
        InvalidRequestContentException: for a body that is not JSON.
        SerializationException: for a value of another type than the model's.
    """
    parameters: dict[str, Any] = {}
    for member in operation.input.members.values():
        if (value := _outside_body(member, labels, query, headers)) is not None:
            parameters[member.name] = value
    return parameters | _from_body(operation.input, body)


def _outside_body(member: Member, labels: Mapping[str, str], query: Query, headers: Mapping[str, str]) -> Any:
    """Return the value of a member in the path, query string or headers; None if it is absent."""
    shape = member.shape
    if member.location == "querystring" and shape.element:
        texts = query.get(member.wire_name)
        return [_text(shape.element, text) for text in texts] if texts else None
    text = None
    if member.location == "uri":
        text = labels.get(member.wire_name)
    elif member.location == "querystring":
        text = next(iter(query.get(member.wire_name, ())), None)
    elif member.location == "header":
        text = headers.get(member.wire_name.lower())
    return None if text is None else _text(shape, text)


def _text(shape: Shape, text: str) -> Any:
    """Return a value that the request has as text."""
    convert: Callable[[str], Any] | None = _TEXTS.get(shape.type)
    if convert is None:
        return text
    try:
        return convert(text)
    except (ValueError, OverflowError):
        raise SerializationException(f"STRING_VALUE can not be converted to {_NOUNS[shape.type]}") from None


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit()):  # int() takes "1_0" and " 1" too
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    """Return the number of a text in JSON's form, which has no infinity and no NaN."""
    return float(text) if text.strip("+-.0123456789eE") == "" and isfinite(float(text)) else _fail(text)


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text] if text in ("true", "false") else _fail(text)


def _fail(text: str) -> NoReturn:
    raise ValueError(text)


def _instant(text: str) -> datetime:
    """Return the time of an ISO 8601 text, of any number of digits after the second. Without an offset it is in UTC."""
    whole = re.sub(r"[.,](\d{1,6})\d*", lambda digits: f".{digits[1]:0<6}", text)  # Python 3.10 takes 3 or 6 digits
    time = datetime.fromisoformat(whole.removesuffix("Z") + "+00:00" if whole.endswith("Z") else whole)
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


_TEXTS: dict[str, Callable[[str], Any]] = {
    "integer": _whole_number,
    "long": _whole_number,
    "double": _number,
    "boolean": _truth,
    "timestamp": _instant,
}


def _from_body(shape: Shape, body: bytes | mmap) -> dict[str, Any]:
    """Return the members that the body has. An empty body is an empty structure."""
    if shape.payload:
        member = shape.members[shape.payload]
        value: Any = body if member.shape.type == "blob" else _value(member.shape, _json(body))
        return {member.name: value} if value else {}  # boto3 sends an empty body, or {}, for an absent payload
    members = shape.body_members()
    return _structure(members, _json(body)) if members else {}


def _json(body: bytes | mmap) -> Any:
    """Return the value of a JSON body.

    Raises:
        InvalidRequestContentException: with the place of the error. AWS's text goes on with its parser's words.
    """
    try:
        return json.loads(str(body, "utf-8"), parse_constant=_fail) if body else {}
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:  # raised for JSON, for UTF-8, and for a number with too many digits
        reason = str(error)
    raise InvalidRequestContentException(f"Could not parse request body into json: {reason}")


def _value(shape: Shape, value: Any) -> Any:
    """Return a JSON value as a value of ``shape``."""
    if shape.type == "structure":
        return _structure(shape.body_members(), value)
    if shape.type == "list" and shape.element:
        element = shape.element
        items = value if isinstance(value, list) else _refuse(shape, value)
        return [None if item is None else _value(element, item) for item in items]
    if shape.type == "map" and shape.element:
        element = shape.element
        entries = value if isinstance(value, dict) else _refuse(shape, value)
        return {key: None if inner is None else _value(element, inner) for key, inner in entries.items()}
    return _scalar(shape, value)


def _structure(members: Mapping[str, Member], value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SerializationException(_unexpected(value) or "Unexpected field type")
    return {
        member.name: _value(member.shape, value[member.wire_name])
        for member in members.values()
        if value.get(member.wire_name) is not None
    }


def _scalar(shape: Shape, value: Any) -> Any:
    """Return a JSON string, number or truth value as a value of ``shape``."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if shape.type == "string" and isinstance(value, str):
        return value
    if shape.type == "boolean" and isinstance(value, bool):
        return value
    if shape.type in ("integer", "long") and is_number and value == value // 1:  # 3.0 is an integer
        return int(value)
    if shape.type == "double" and is_number and abs(value) <= MAX_DOUBLE:
        return float(value)
    if shape.type == "blob" and isinstance(value, str):
        return _bytes(value)
    if shape.type == "timestamp" and is_number:
        return _time(value)
    return _refuse(shape, value)


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:  # a character outside the alphabet, or of another script; wrong padding
        raise SerializationException("STRING_VALUE can not be converted to a Blob: it is not valid Base64") from None


def _time(seconds: float) -> datetime:
    """Return the time of a number of seconds since 1970."""
    try:
        return EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise SerializationException("NUMBER_VALUE can not be converted to a Date: it is out of range") from None


def _refuse(shape: Shape, value: Any) -> NoReturn:
    """Raise the error for a value of a wrong type.

    "STRING_VALUE can not be converted to an Integer" is recorded from AWS Lambda. The other texts follow its form.
    """
    kind = {str: "STRING", bool: str(value).upper(), int: "NUMBER", float: "NUMBER"}.get(type(value))
    raise SerializationException(_unexpected(value) or f"{kind}_VALUE can not be converted to {_NOUNS[shape.type]}")


def _unexpected(value: Any) -> str | None:
    """Return the text for an object or a list in a wrong place; None for another value."""
    name = "structure or map" if isinstance(value, dict) else "list" if isinstance(value, list) else None
    return f"Start of {name} found where not expected." if name else None


_NOUNS = {
    "string": "a String",
    "integer": "an Integer",
    "long": "a Long",
    "double": "a Double",
    "boolean": "a Boolean",
    "timestamp": "a Date",
    "blob": "a Blob",
    "list": "a List",
    "map": "a Map",
}
