"""The routes of one API: which of them matches a method and a path, by the rules of its kind.

A table is a tree of path segments. Each node has the routes that end there by method, and a child for each literal
segment and for a variable. A search goes down segment by segment, and prefers a literal segment to a variable, and a
variable to a greedy one. A node without a route for the method is a dead end, and the search goes back to the last
choice. So a search among 10,000 routes costs what a search among 10 does.

    ====================  =======================================  ===========================================
    path                  REST APIs                                HTTP APIs
    ====================  =======================================  ===========================================
    slash at the end      ignored                                  a segment of its own, which only a greedy
                                                                   variable or ``$default`` matches
    slashes at the start  count as one                             count
    no route              None                                     the route ``$default``, if the API has it
    ====================  =======================================  ===========================================

A variable matches one segment that is not empty. A greedy variable matches the rest of the path, of at least one
character. ``ANY`` matches each method for which the node has no route of its own. Literal segments are compared decoded
and with case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar
from urllib.parse import unquote

from serverfull_wsgi.errors import ConfigurationError

METHODS = ("ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
DEFAULT_KEY = "$default"

Target = TypeVar("Target")

VARIABLE = "{}"  # no literal segment has braces
GREEDY = "{+}"

_variable = re.compile(r"\{([A-Za-z0-9._$:-]+)(\+?)\}")


class _Node(Generic[Target]):
    """A path's node. The routes in ``methods`` end here, those in ``greedy`` in a greedy variable below."""

    __slots__ = ("children", "greedy", "methods")

    def __init__(self) -> None:
        self.children: dict[str, _Node[Target]] = {}  # by literal segment, or VARIABLE
        self.methods: dict[str, Target] = {}
        self.greedy: dict[str, Target] = {}


class RouteTable(Generic[Target]):
    """Find the target of a request among the routes of one API.

    Args:
        routes: targets by route key, such as ``"GET /pets/{id}"``, ``"ANY /{proxy+}"``, or ``"$default"``.
        is_rest: True for the rules of REST APIs, False for those of HTTP APIs.

    Raises:
        ConfigurationError: for a key that no API could have, and for two keys that match the same requests.

    >>> table = RouteTable({"GET /pets/{id}": "one", "ANY /{proxy+}": "rest"})
    >>> table.find("GET", "/pets/7"), table.find("PUT", "/pets/7"), table.find("GET", "/")
    ('one', 'rest', None)
    """

    def __init__(self, routes: Mapping[str, Target], *, is_rest: bool = False) -> None:
        self._is_rest = is_rest
        self._root: _Node[Target] = _Node()
        self._default: Target | None = None
        seen: dict[tuple[str, ...], str] = {}
        for key, target in routes.items():
            if key == DEFAULT_KEY and not is_rest:
                self._default = target
                continue
            method, *shape = shape_of(key, is_rest=is_rest)
            if (other := seen.setdefault((method, *shape), key)) != key:
                raise ConfigurationError(f"routes {other!r} and {key!r} match the same requests; remove one")
            self._add(method, shape, target)

    def _add(self, method: str, shape: Sequence[str], target: Target) -> None:
        node = self._root
        for segment in shape:
            if segment == GREEDY:
                node.greedy[method] = target
                return
            node = node.children.setdefault(segment, _Node())
        node.methods[method] = target

    def find(self, method: str, path: str) -> Target | None:
        """Return the target of the route that a request matches, or None.

        Args:
            method: the method, in upper case.
            path: the path, percent-encoded, without the stage and the query.
        """
        found = _search(self._root, method, _segments(path, self._is_rest), 0)
        return self._default if found is None else found


def shape_of(key: str, *, is_rest: bool) -> tuple[str, ...]:
    """Return the method of a route key and the segments of its path, without the names of variables.

    Keys of one shape match the same requests. Raises as `parse_key`.

    >>> shape_of("GET /pets/{id}", is_rest=True) == shape_of("GET /pets/{name}/", is_rest=True)
    True
    """
    if key == DEFAULT_KEY and not is_rest:
        return (DEFAULT_KEY,)
    method, template = parse_key(key)
    return (method, *map(_shape, _segments(template, is_rest)))


def parse_key(key: str) -> tuple[str, str]:
    """Return method and path template of a route key.

    Raises `ConfigurationError` for a key that is not a method and a template.

    >>> parse_key("GET /pets/{id}")
    ('GET', '/pets/{id}')
    """
    method, _, template = key.partition(" ")
    if method not in METHODS:
        raise ConfigurationError(f"route {key!r} has no method; begin it with one of {', '.join(METHODS)} and a space")
    if not template.startswith("/"):
        raise ConfigurationError(f"the path of route {key!r} must begin with '/'")
    if "?" in template or "#" in template:
        raise ConfigurationError(f"route {key!r} must end with its path; remove '?' or '#' and the rest")
    segments = _segments(template, is_rest=False)
    names = []
    for index, segment in enumerate(segments):
        match = _variable.fullmatch(segment)
        if match is None and ("{" in segment or "}" in segment):
            raise ConfigurationError(
                f"{segment!r} in route {key!r} must be a whole variable, such as {{id}} or {{proxy+}}"
            )
        if match is not None:
            names.append(match[1])
            if match[2] and index + 1 < len(segments):
                raise ConfigurationError(f"{segment!r} in route {key!r} must be the last part of the path")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"route {key!r} has two variables of one name; rename one")
    return method, template


def _segments(path: str, is_rest: bool) -> list[str]:
    path = path.strip("/") if is_rest else path[1:]
    return path.split("/") if path else []


def _shape(segment: str) -> str:
    """Return a template's segment without the name of its variable."""
    if segment.startswith("{"):
        return GREEDY if segment.endswith("+}") else VARIABLE
    return unquote(segment)


def _search(node: _Node[Target], method: str, segments: Sequence[str], index: int) -> Target | None:
    """Return the target below a node for the segments from ``index`` on. The recursion is as deep as the tree."""
    if index == len(segments):
        return _of_method(node.methods, method)
    segment = segments[index]
    for name in (unquote(segment), VARIABLE) if segment else ("",):
        child = node.children.get(name)
        found = None if child is None else _search(child, method, segments, index + 1)
        if found is not None:
            return found
    return _of_method(node.greedy, method) if segment or index + 1 < len(segments) else None


def _of_method(targets: Mapping[str, Target], method: str) -> Target | None:
    target = targets.get(method)
    return targets.get("ANY") if target is None and method in METHODS else target
