"""Responses: from the result of an operation to a status, headers and a body."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from serverfull_wsgi.api.model import recorded
from serverfull_wsgi.api.model.parsing import EPOCH
from serverfull_wsgi.api.model.service import Operation, Shape


class Response(NamedTuple):
    """A successful response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def respond(operation: Operation, result: Mapping[str, Any]) -> Response:
    """Return the response for the result of an operation.

    Members that are absent or None are left out. A member of the model's status code replaces the operation's status.

    Args:
        operation: the operation that was called.
        result: values by member name. Blobs are bytes, and timestamps are aware datetimes.

    Raises:
        ValueError: for a member that the model does not have, and for an event stream. Both are errors of this program.
    """
    status = recorded.STATUSES.get(operation.name, operation.status)
    headers: list[tuple[str, str]] = []
    body = b""
    present = {name: value for name, value in result.items() if value is not None}
    shape = operation.output
    if shape is None:
        _check_names(operation.name, (), present)
        return Response(status, headers, body)
    _check_names(shape.name, shape.members, present)
    for member in shape.members.values():
        if member.location == "statusCode" and member.name in present:
            status = present[member.name]
        elif member.location == "header" and member.name in present:
            headers.append((member.wire_name, _header(member.shape, present[member.name])))
    if status != 204:  # RFC 9110: a 204 has no body
        body = _body(shape, present)
        if body and not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", "application/json"))
    return Response(status, headers, body)


def _check_names(place: str, names: Mapping[str, Any] | tuple[()], values: Mapping[str, Any]) -> None:
    if unknown := [name for name in values if name not in names]:
        raise ValueError(f"{place} has no member {', '.join(unknown)}")


def _header(shape: Shape, value: Any) -> str:
    """Return a value as the text of a header."""
    return str(value).lower() if shape.type == "boolean" else str(value)


def _body(shape: Shape, result: Mapping[str, Any]) -> bytes:
    """Return the body: the payload if the shape has one, otherwise JSON."""
    if shape.payload:
        payload = shape.members[shape.payload].shape
        if payload.is_event_stream:
            raise ValueError(f"{shape.name}: an event stream is not one body")
        body: bytes = result.get(shape.payload, b"")
        return body
    members = {name: result[name] for name in shape.body_members() if name in result}
    return json.dumps(_structure(shape, members), separators=(",", ":")).encode()


def _structure(shape: Shape, value: Mapping[str, Any]) -> dict[str, Any]:
    present = {name: inner for name, inner in value.items() if inner is not None}
    _check_names(shape.name, shape.members, present)
    return {shape.members[name].wire_name: _json(shape.members[name].shape, inner) for name, inner in present.items()}


def _json(shape: Shape, value: Any) -> Any:
    """Return a value of ``shape`` in JSON's types."""
    if value is None:
        return None
    if shape.type == "structure":
        return _structure(shape, value)
    if shape.type == "list" and shape.element:
        element = shape.element
        return [_json(element, inner) for inner in value]
    if shape.type == "map" and shape.element:
        element = shape.element
        return {key: _json(element, inner) for key, inner in value.items()}
    if shape.type == "blob":
        return b64encode(value).decode("ascii")
    return epoch_seconds(value) if shape.type == "timestamp" else value


def epoch_seconds(time: datetime) -> int | float:
    """Return the seconds since 1970, as AWS Lambda writes timestamps in JSON: an integer if there is no fraction.

    >>> from datetime import datetime, timezone
    >>> epoch_seconds(datetime(2026, 11, 24, 12, 30, tzinfo=timezone.utc))
    1795523400
    """
    seconds = (time - EPOCH).total_seconds()
    return int(seconds) if seconds.is_integer() else seconds
