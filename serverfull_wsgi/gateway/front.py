"""The front: the WSGI side of the gateway."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING

from serverfull_wsgi.auth.sigv4.verifier import Verified, Verifier
from serverfull_wsgi.errors import AccessDeniedException
from serverfull_wsgi.gateway.formats import Answer, HttpRequest, Refusal, RequestContext, http_v2
from serverfull_wsgi.gateway.gateway import Gateway, new_context
from serverfull_wsgi.gateway.locations import Location, Locations, route_lines
from serverfull_wsgi.gateway.requests import Networks, request_of
from serverfull_wsgi.gateway.sites import Site
from serverfull_wsgi.server_exits import raised_by_server
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.wsgi.requests import discard_body, is_granian, raw_path, read_body
from serverfull_wsgi.wsgi.responses import NO_BODY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

NOWHERE = Location(None, "/", http_v2, fault="no API, function URL or load balancer has the host and the path")


class SiteServer:
    """Serves sites in a WSGI application.

    Args:
        gateway: answers the requests.
        start: opens the parts that a call needs, before each call; it does nothing if they are open.
        locations: finds the site that a request addresses; None to serve ``root`` under every path.
        root: the site under every path.
        proxies: the networks of trusted proxies.
        verifiers: verify signatures, by the service that they are for: ``lambda`` for function URLs, ``execute-api``
            for APIs. Without one, each route that needs a signature refuses its requests.
        logger: receives a line with the stack trace of each error of the server.
    """

    def __init__(
        self,
        gateway: Gateway,
        start: Callable[[], object] = lambda: None,
        *,
        locations: Locations | None = None,
        root: Site | None = None,
        proxies: Networks = (),
        verifiers: Mapping[str, Verifier] | None = None,
        logger: logging.Logger = LOGGER,
    ) -> None:
        self._gateway = gateway
        self._start = start
        self._locations = locations
        self._root = root.at_root() if root else None
        self._proxies = proxies
        self._verifiers = verifiers or {}
        self._logger = logger

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request to the site at the root, or to a location."""
        location = self.locate(environ)
        return self.respond(location or NOWHERE, environ, start_response)

    def locate(self, environ: WSGIEnvironment) -> Location | None:
        """Return the location that a request addresses, or None for a request to another part of the server."""
        path = raw_path(environ)
        if self._root is not None:
            return Location(self._root, path or "/", self._root.format, True)
        if self._locations is None:
            return None
        return self._locations.find(environ.get("HTTP_HOST", ""), path or "/")

    @property
    def is_root(self) -> bool:
        """Whether one site is served under every path, and nothing else beside it but the health check."""
        return self._root is not None

    def urls(self, origin: str) -> list[str]:
        """Return the `route_lines` of all routes, with URLs below ``origin``, such as ``http://127.0.0.1:8080``."""
        if self._root is not None:
            return list(route_lines(origin, self._root.endpoints))
        return [] if self._locations is None else self._locations.urls(origin)

    def respond(self, location: Location, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request to a location. The only exceptions that this raises are exits of the server."""
        request = request_of(environ, location.path, self._proxies)
        incoming = _Incoming(environ, self._verifiers)
        answer = self._answer(location, request, new_context(request), incoming)
        incoming.discard()
        return send(answer, environ, start_response)

    def _answer(self, location: Location, request: HttpRequest, context: RequestContext, incoming: _Incoming) -> Answer:
        if location.site is None:
            self._logger.info("HTTP request refused: %s", location.fault, extra={"request_id": context.request_id})
            return location.format.refuse(Refusal.UNKNOWN_API, request, context)
        try:
            self._start()
            return self._gateway.answer(location.site, request, context, incoming)
        except BaseException as error:  # raised by a user's fetcher or executor, which may even call sys.exit()
            if raised_by_server(error):
                raise
            self._logger.exception("request failed", extra={"request_id": context.request_id})
            return location.format.refuse(Refusal.NOT_RUN, request, context)


class _Incoming:
    """The body of a request, which is read once, and its signature."""

    def __init__(self, environ: WSGIEnvironment, verifiers: Mapping[str, Verifier]) -> None:
        self._environ = environ
        self._verifiers = verifiers
        self._body: bytes | None = None
        self._is_read = False

    def read(self, limit: int) -> bytes:
        """Return the body. Raises as `read_body`, which drops the body that it refuses."""
        if self._body is None:
            self._is_read = True
            self._body = read_body(self._environ, limit)
        return self._body

    def verify(self, service: str, limit: int) -> Verified:
        """Return the caller that signed the request. Raises as `Verifier.verify`, and as `read`."""
        if service not in self._verifiers:
            raise AccessDeniedException("no request can be verified, since SERVERFULL_CREDENTIALS_FILE is not set")
        return self._verifiers[service].verify(self._environ, lambda: sha256(self.read(limit)).hexdigest())

    def discard(self) -> None:
        """Read and drop a body that was not read: a client that cannot finish sending does not read its answer."""
        if not self._is_read:
            discard_body(self._environ)


def send(answer: Answer, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Send an answer as a WSGI response. Header values that are not ASCII are sent as UTF-8.

    WSGI passes each byte of a header as one character. granian encodes the characters as UTF-8 itself.
    """
    headers = answer.headers
    if not all(value.isascii() for _, value in headers) and not is_granian(environ):
        headers = [(name, value.encode("utf-8", "replace").decode("latin-1")) for name, value in headers]
    start_response(_status_line(answer.status), headers)
    return [answer.body] if answer.body else NO_BODY


@lru_cache(maxsize=512)
def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:  # a status that no standard names has no phrase, and some clients need one
        return f"{status} Status"
