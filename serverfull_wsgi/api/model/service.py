"""AWS's service model: operations, shapes and exceptions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

FILE = Path(__file__).with_name("lambda.json")


@dataclass(eq=False, slots=True)
class Shape:
    """The type of a value, with its constraints. Shapes refer to each other, so they are linked after creation."""

    name: str
    type: str  # structure, list, map, string, integer, long, double, boolean, timestamp or blob
    members: dict[str, Member] = field(default_factory=dict, repr=False)  # of a structure, in AWS's order
    payload: str | None = None  # the member that is the whole body
    element: Shape | None = field(default=None, repr=False)  # of a list and of a map's values
    key: Shape | None = field(default=None, repr=False)  # of a map's keys
    minimum: float | None = None  # of a number; the least length of a string, list, map or blob
    maximum: float | None = None  # of a number; the greatest length of a string, list, map or blob
    pattern: str | None = None
    enum: tuple[str, ...] = ()
    is_sensitive: bool = False  # AWS's messages do not repeat the value
    is_event_stream: bool = False
    error_status: int | None = None  # of an exception

    def body_members(self) -> dict[str, Member]:
        """Return the members that a JSON body has."""
        return {name: member for name, member in self.members.items() if member.location == "body"}


@dataclass(frozen=True, eq=False, slots=True)
class Member:
    """One member of a structure, and its place in a request or response."""

    name: str
    shape: Shape
    wire_name: str  # the name of the JSON key, header, query parameter or path label
    location: str  # body, uri, querystring, header or statusCode
    is_required: bool


@dataclass(frozen=True, eq=False, slots=True)
class Pagination:
    """The members by which an operation returns its result in pages."""

    input_token: str
    output_token: str
    limit_key: str
    result_key: str


@dataclass(frozen=True, eq=False, slots=True)
class Operation:
    """One operation of the API: its address, its input and its output."""

    name: str
    method: str
    path: str  # with labels in braces: /2015-03-31/functions/{FunctionName}
    fixed_query: tuple[tuple[str, str], ...]  # parameters that only this operation has: find=LayerVersion
    status: int  # of a successful response
    input: Shape
    output: Shape | None
    errors: tuple[str, ...]  # codes of the modelled exceptions
    pagination: Pagination | None


@dataclass(frozen=True, eq=False, slots=True)
class Service:
    """All operations and shapes, by name."""

    botocore_version: str  # the botocore that the model is from
    operations: dict[str, Operation]
    shapes: dict[str, Shape]

    def exceptions(self) -> dict[str, Shape]:
        """Return the shapes of the modelled exceptions by code."""
        return {name: shape for name, shape in self.shapes.items() if shape.error_status is not None}


@lru_cache(maxsize=1)
def load() -> Service:
    """Return the service model. The first call in a process reads and links it, which takes about 10 ms."""
    document = json.loads(FILE.read_text(encoding="utf-8"))
    shapes = _shapes(document["shapes"])
    pagination = {name: Pagination(**tokens) for name, tokens in document["pagination"].items()}
    operations = {name: _operation(raw, shapes, pagination.get(name)) for name, raw in document["operations"].items()}
    return Service(document["source"]["version"], operations, shapes)


def _operation(raw: dict[str, Any], shapes: dict[str, Shape], pagination: Pagination | None) -> Operation:
    path, _, query = raw["http"]["requestUri"].partition("?")
    return Operation(
        name=raw["name"],
        method=raw["http"]["method"],
        path=path,
        fixed_query=tuple(parse_qsl(query)),
        status=raw["http"]["responseCode"],
        input=shapes[raw["input"]["shape"]],
        output=shapes[raw["output"]["shape"]] if "output" in raw else None,
        errors=tuple(error["shape"] for error in raw["errors"]),
        pagination=pagination,
    )


def _shapes(raws: dict[str, dict[str, Any]]) -> dict[str, Shape]:
    shapes = {name: _shape(name, raw) for name, raw in raws.items()}
    for name, raw in raws.items():
        _link(shapes[name], raw, shapes)
    return shapes


def _shape(name: str, raw: dict[str, Any]) -> Shape:
    return Shape(
        name=name,
        type=raw["type"],
        payload=raw.get("payload"),
        minimum=raw.get("min"),
        maximum=raw.get("max"),
        pattern=raw.get("pattern"),
        enum=tuple(raw.get("enum", ())),
        is_sensitive=raw.get("sensitive", False),
        is_event_stream=raw.get("eventstream", False),
        error_status=raw["error"]["httpStatusCode"] if "error" in raw else None,
    )


def _link(shape: Shape, raw: dict[str, Any], shapes: dict[str, Shape]) -> None:
    """Add the shapes that ``shape`` refers to."""
    required = set(raw.get("required", ()))
    for name, member in raw.get("members", {}).items():
        shape.members[name] = Member(
            name=name,
            shape=shapes[member["shape"]],
            wire_name=member.get("locationName", name),
            location=member.get("location", "body"),
            is_required=name in required,
        )
    if shape.type == "list":
        shape.element = shapes[raw["member"]["shape"]]
    elif shape.type == "map":
        shape.key, shape.element = shapes[raw["key"]["shape"]], shapes[raw["value"]["shape"]]
