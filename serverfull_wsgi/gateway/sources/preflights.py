"""Preflight routes that SAM's ``Cors`` adds to a REST API, as a pure function.

Source: SAM's translator.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serverfull_wsgi.gateway.access import OPEN, Access
from serverfull_wsgi.gateway.formats import Route, Stage, rest_v1
from serverfull_wsgi.gateway.route_table import METHODS
from serverfull_wsgi.gateway.sites import Endpoint, FixedAnswer
from serverfull_wsgi.gateway.values import is_true, mapping


def preflights(value: Any, keys: Iterable[str], stage: Stage, access: Access = OPEN) -> dict[str, Endpoint]:
    """Return the OPTIONS routes of each path that has none.

    Args:
        value: the property Cors: an origin, or a mapping. Values are in quotes inside of the quotes, as ``"'*'"``.
        keys: the route keys of the API.
        stage: the stage of the API.
        access: the conditions for the callers of these routes.

    >>> list(preflights("'*'", ["GET /pets", "POST /pets", "OPTIONS /cats"], Stage()))
    ['OPTIONS /pets']
    """
    if value is None or value is False:
        return {}
    members = mapping(value) if isinstance(value, dict) else {"AllowOrigin": value}
    methods: dict[str, set[str]] = {}
    for key in keys:
        method, _, path = key.partition(" ")
        methods.setdefault(path, set()).add(method)
    routes: dict[str, Endpoint] = {}
    for path, of_path in methods.items():
        if "OPTIONS" not in of_path:
            key, fixed = f"OPTIONS {path}", FixedAnswer(200, _headers(members, of_path), b"{}\n")
            routes[key] = Endpoint(Route(key, stage=stage), rest_v1, access=access, fixed=fixed)
    return routes


def _headers(members: dict[str, Any], of_path: set[str]) -> tuple[tuple[str, str], ...]:
    allowed = set(METHODS) - {"ANY"} if "ANY" in of_path else of_path | {"OPTIONS"}
    lines = [
        ("Access-Control-Allow-Origin", members.get("AllowOrigin", "*")),
        ("Access-Control-Allow-Methods", members.get("AllowMethods", ",".join(sorted(allowed)))),
        ("Access-Control-Allow-Headers", members.get("AllowHeaders")),
        ("Access-Control-Max-Age", members.get("MaxAge")),
        ("Access-Control-Allow-Credentials", "true" if is_true(members.get("AllowCredentials")) else None),
    ]
    headers = [(name, str(value).strip("'")) for name, value in lines if value is not None]
    return tuple(line for line in headers if line[1].isprintable())  # no other value can be a header
