"""The operation that a method, a path and a query string address."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

from serverfull_wsgi.api.model.service import Operation, load
from serverfull_wsgi.wsgi.requests import decoded, raw_path

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_api_path = re.compile(r"/20\d\d-\d\d-\d\d/.*", re.ASCII)  # all paths of the API begin with a date


class Match(NamedTuple):
    """An operation, and the values of the labels in its path, decoded."""

    operation: Operation
    labels: dict[str, str]


def match(method: str, path: str, query: Mapping[str, Sequence[str]]) -> Match | None:
    """Return the operation of a request, or None if there is none.

    Args:
        method: the HTTP method.
        path: the path below the application, percent-encoded as the client sent it. A label is decoded once, after
            the path was split, so that an encoded slash belongs to its label. One slash at the end means nothing.
        query: the values of each query parameter, as `parse_qs` of `urllib.parse` returns them. A parameter
            without a value counts too (``keep_blank_values=True``).

    >>> found = match("GET", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Aa/", {})
    >>> found.operation.name, found.labels
    ('GetFunction', {'FunctionName': 'arn:aws:lambda:us-east-1:123456789012:function:a'})
    >>> [match("GET", "/2018-10-31/layers", query).operation.name for query in ({}, {"find": ["LayerVersion"]})]
    ['ListLayers', 'GetLayerVersionByArn']
    """
    segments = path.removesuffix("/").split("/")
    for template, operation in _routes().get((method, len(segments)), ()):
        labels = _labels(template, segments)
        if labels is not None and all(value in query.get(name, ()) for name, value in operation.fixed_query):
            return Match(operation, labels)
    return None


def match_below(environ: WSGIEnvironment) -> Match | None:
    """Return the operation of a WSGI request to an application that serves the API at any path; None if there is none.

    A request to the API itself has no other path before the date. There, `match` decides.
    """
    path = _api_path.search(raw_path(environ))
    if not path:
        return None
    return match(environ["REQUEST_METHOD"], path[0], parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True))


def _labels(template: list[str], segments: list[str]) -> dict[str, str] | None:
    """Return the values of a template's labels, or None if the path does not fit. A label is never empty."""
    labels = {}
    for expected, segment in zip(template, segments, strict=True):
        value = decoded(segment)
        if expected.startswith("{") and value:
            labels[expected[1:-1]] = value
        elif expected != value:
            return None
    return labels


@lru_cache(maxsize=1)
def _routes() -> dict[tuple[str, int], list[tuple[list[str], Operation]]]:
    """Return the templates by method and number of segments. Operations with a fixed query come first."""
    routes: dict[tuple[str, int], list[tuple[list[str], Operation]]] = {}
    for operation in sorted(load().operations.values(), key=lambda operation: not operation.fixed_query):
        template = operation.path.split("/")
        routes.setdefault((operation.method, len(template)), []).append((template, operation))
    return routes
