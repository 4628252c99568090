"""Routing of requests to endpoints: a plain Invoke by its path alone, all others with werkzeug."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.api.invoke import Invoke, InvokeAsync
from serverfull_wsgi.wsgi.imports import WERKZEUG_LOCK
from serverfull_wsgi.wsgi.requests import text_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.routing import MapAdapter, Rule

INVOKE_PREFIX, INVOKE_SUFFIX = "/2015-03-31/functions/", "/invocations"


def invoked_name(environ: WSGIEnvironment) -> str:
    """Return the function's name if this is a request for Invoke that needs no router, otherwise an empty text.

    werkzeug's router takes 10 µs, as much as the rest of the request. ``%2`` is the start of an encoded slash: such a
    request needs the path as it was sent.
    """
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    if environ["REQUEST_METHOD"] != "POST" or "%2" in target:
        return ""
    return _name_in(environ.get("PATH_INFO", ""))


@lru_cache(maxsize=1024)
def _name_in(path: str) -> str:
    if not path.startswith(INVOKE_PREFIX) or not path.endswith(INVOKE_SUFFIX):
        return ""
    name = path[len(INVOKE_PREFIX) : -len(INVOKE_SUFFIX)]
    if "/" in name:
        return ""
    return name if name.isascii() else text_of(name)


class Router:
    """Finds the endpoint of a request by its path, with werkzeug.

    werkzeug is imported with the first request, or at once if there are ``routes``: the import takes as long as a fifth
    of the server's start.

    Args:
        invoke: the endpoint of Invoke.
        invoke_async: the endpoint of InvokeAsync.
        routes: rules of further endpoints. They stay unbound.
    """

    def __init__(self, invoke: Invoke, invoke_async: InvokeAsync, routes: Sequence[Rule]) -> None:
        self._invoke, self._invoke_async, self._routes = invoke, invoke_async, routes
        self._urls: MapAdapter | None = self._bind() if routes else None

    def _bind(self) -> MapAdapter:
        from werkzeug.routing import Map, Rule

        path = f"{INVOKE_PREFIX}<FunctionName>{INVOKE_SUFFIX}"
        older = "/2014-11-13/functions/<FunctionName>/invoke-async"
        rules = [
            Rule(path, methods=["POST"], endpoint=self._invoke),
            Rule(older, methods=["POST"], endpoint=self._invoke_async, strict_slashes=False),
            *(rule.empty() for rule in self._routes),
        ]
        return Map(rules, merge_slashes=False, redirect_defaults=False).bind("localhost")

    def match(self, path: str, method: str) -> tuple[Any, Mapping[str, Any]] | None:
        """Return the endpoint and the percent-encoded values of its path, or None if no rule fits."""
        with WERKZEUG_LOCK:
            from werkzeug.exceptions import HTTPException

            if self._urls is None:
                self._urls = self._bind()
        try:
            return self._urls.match(path, method)
        except HTTPException:
            return None
