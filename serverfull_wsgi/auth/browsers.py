"""Protection of servers without authentication against web pages of other sites.

A page of any site can make a browser send requests to a server on the user's own machine. A browser asks the server
first (a preflight) only if the page adds unusual headers, and Invoke needs none. Two attacks, and their marks::

    a page of evil.example ── POST http://127.0.0.1:8080/… ──▶   Origin: http://evil.example, Sec-Fetch-Site: cross-site
    a page of evil.example, whose name now resolves to 127.0.0.1 (DNS rebinding)
                           ── POST http://evil.example:8080/… ──▶   Host: evil.example:8080, and Origin is equal to it

Browsers set these headers, and pages cannot change them. SDKs, the AWS CLI and curl send neither Origin nor
Sec-Fetch-Site, and a Host of the URL that their user gave.

Host is checked if the server listens on the loopback only. On other addresses a proxy may pass on any Host. The address
is known from a server's hook, else from SERVER_NAME if that is an address. If it is not known, a list of allowed hosts
turns the check on.

The rules for Origin follow Go's ``http.CrossOriginProtection``: https://pkg.go.dev/net/http#CrossOriginProtection
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.auth.authorize import is_authenticated
from serverfull_wsgi.auth.exposure import is_address, is_bind_exposed, is_exposed
from serverfull_wsgi.errors import AccessDeniedException
from serverfull_wsgi.evidence import clipped
from serverfull_wsgi.wsgi.requests import discard_body

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

OWN_SITES = ("none", "same-origin")  # values of Sec-Fetch-Site: the user typed the URL, or a page of this server


class BrowserGuard:
    """Refuses unauthenticated requests that a page of another site may have caused.

    Args:
        origins: further origins whose pages may send requests, such as ``http://localhost:3000``.
        hosts: further names, without ports, under which a server on the loopback may be called.
    """

    def __init__(self, origins: Collection[str] = (), hosts: Collection[str] = ()) -> None:
        self._origins = frozenset(origin.lower() for origin in origins)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._is_on_loopback: bool | None = None  # None: not known
        self._is_own_host = lru_cache(maxsize=1024)(self._check_host)  # 60 ns for a call from a client's few hosts

    def listen_on(self, binds: Iterable[Any]) -> None:
        """Note the listeners of the server, as gunicorn has them: ``(host, port)`` or the path of a unix socket."""
        binds = list(binds)
        if binds:
            self._is_on_loopback = all(isinstance(bind, tuple) and not is_bind_exposed(bind) for bind in binds)
        self._is_own_host.cache_clear()

    def check(self, environ: WSGIEnvironment) -> None:
        """Raise `AccessDeniedException` if a page of another site may have caused this request.

        The body of a refused request is read and dropped, so that the client reads the response.
        """
        if "HTTP_ORIGIN" in environ or "HTTP_SEC_FETCH_SITE" in environ:
            self._check_origin(environ)
        host: str | None = environ.get("HTTP_HOST")
        if not self._is_own_host(host, environ.get("SERVER_NAME", "")) and not is_authenticated(environ):
            discard_body(environ)
            raise AccessDeniedException(
                f"Host '{clipped(host or '')}' is not a name of this server on the loopback. Call it as localhost, or "
                "name the host in SERVERFULL_ALLOWED_HOSTS."
            )

    def _check_origin(self, environ: WSGIEnvironment) -> None:
        origin: str | None = environ.get("HTTP_ORIGIN")
        site: str = environ.get("HTTP_SEC_FETCH_SITE", "none")
        if origin is not None and origin.lower() in self._origins:
            return
        is_own = origin is None or _authority(origin) == environ.get("HTTP_HOST", "").lower()
        if (is_own and site.lower() in OWN_SITES) or is_authenticated(environ):
            return
        discard_body(environ)
        sender = f"origin '{clipped(origin)}'" if origin else "another site"
        raise AccessDeniedException(
            f"A web page of {sender} may not send unauthenticated requests to this server. Name its origin in "
            "SERVERFULL_ALLOWED_ORIGINS, or sign the requests."
        )

    def _check_host(self, host: str | None, server_name: str) -> bool:
        """Return whether a request with this Host may be served. A browser always sends a Host."""
        if host is None or not self._must_check_host(server_name):
            return True
        name = name_of_host(host.lower())
        return name in self._hosts or is_loopback_name(name)

    def _must_check_host(self, server_name: str) -> bool:
        if self._is_on_loopback is not None:
            return self._is_on_loopback
        if is_address(server_name) or server_name == "localhost":
            return not is_exposed(server_name)
        return bool(self._hosts)


def _authority(origin: str) -> str | None:
    """Return the host and port of an origin, as a Host header has them. None for ``null``.

    A proxy may have removed TLS, so the scheme is not compared.
    """
    _, separator, authority = origin.lower().partition("://")
    return authority if separator else None


def name_of_host(host: str) -> str:
    """Return a Host header without its port, an IPv6 address without brackets, and a name without a final dot.

    >>> name_of_host("localhost:8080"), name_of_host("[::1]:8080"), name_of_host("localhost.")
    ('localhost', '::1', 'localhost')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def is_loopback_name(name: str) -> bool:
    """Return whether browsers connect to the loopback for this name, without the DNS (RFC 6761)."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
