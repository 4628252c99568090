"""Applications inside of other WSGI callables, such as middleware, a dispatcher or a Flask application."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

from serverfull_wsgi.api.application import Application

# Attributes in which a WSGI callable has the one inside of it, by custom. `serverfull_application` is for a callable
# without any of them.
ATTRIBUTES = (
    "serverfull_application",
    "serverfull.application",
    "app",
    "application",
    "wsgi_app",
    "wsgi_application",
    "wrapped",
    "_app",
    "_application",
    "_wsgi_app",
    "_wrapped",
    "__wrapped__",
    "mounts",  # werkzeug's DispatcherMiddleware
    "apps",
    "func",  # functools.partial
    "args",
    "keywords",
    "__self__",
)
LIMIT = 10_000  # objects: a search ends even if each object makes new ones


def applications_in(wsgi: object) -> list[Application]:
    """Return ``wsgi`` itself if it is an `Application`, otherwise the applications inside of it, the outermost first.

    >>> applications_in(lambda environ, start_response: [])
    []
    """
    found: list[Application] = []
    seen: dict[int, object] = {}  # by identity; the reference keeps an id from being used again
    queue: deque[object] = deque([wsgi])
    while queue and len(seen) < LIMIT:
        it = queue.popleft()
        if id(it) in seen:
            continue
        seen[id(it)] = it
        if isinstance(it, Application):
            found.append(it)
        else:
            queue.extend(_inside(it))
    return found


def _inside(it: Any) -> Iterator[object]:
    """Yield the objects that a WSGI callable, or a collection of them, may pass a request on to."""
    if isinstance(it, Mapping):
        yield from it.values()
    elif isinstance(it, (list, tuple)):
        yield from it
    elif callable(it) and not isinstance(it, type):
        for name in ATTRIBUTES:
            with contextlib.suppress(Exception):  # a property or a proxy may raise anything
                yield getattr(it, name)
    if isinstance(it, FunctionType):
        for cell in it.__closure__ or ():
            with contextlib.suppress(ValueError):  # the variable has no value yet
                yield cell.cell_contents
