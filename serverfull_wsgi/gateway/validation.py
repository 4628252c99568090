"""Validation of requests to REST APIs: required headers and query parameters, as pure functions."""

from __future__ import annotations

from collections.abc import Iterable

from serverfull_wsgi.gateway.formats import HttpRequest
from serverfull_wsgi.gateway.formats.parts import query_values

REQUIRED = ("header", "querystring")  # places of parameters; a path has each of its parameters


def missing_parameters(required: Iterable[tuple[str, str]], request: HttpRequest) -> list[str]:
    """Return the names of required parameters that a request does not have, or has without a value.

    Args:
        required: pairs of a place of `REQUIRED` and a name.
        request: the request.

    >>> missing_parameters([("header", "X-A"), ("querystring", "b")], HttpRequest(headers=[("x-a", "1")], query="b="))
    ['b']
    """
    query = query_values(request.query)
    return [
        name
        for place, name in required
        if not ((request.header(name.lower()) or "").strip() if place == "header" else any(query.get(name, ())))
    ]
