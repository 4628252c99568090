"""The warning for servers that other machines can reach and that do not authenticate their callers."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.auth.authorize import is_authenticated
from serverfull_wsgi.evidence import clipped

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

EXPOSED = (
    "listening on %s: every client that reaches this address can run these functions, without authentication; set "
    "SERVERFULL_CREDENTIALS_FILE so that callers must sign, add a proxy that authenticates them, or listen on 127.0.0.1"
)


def is_exposed(host: str) -> bool:
    """Return whether other machines can reach a server that listens on ``host``. An empty host is every address.

    >>> is_exposed("127.0.0.1"), is_exposed("::1"), is_exposed("0.0.0.0"), is_exposed("")
    (False, False, True, True)
    """
    try:
        return not ip_address(host or "0.0.0.0").is_loopback  # noqa: S104  (compared, not bound)
    except ValueError:
        return host != "localhost"


def is_bind_exposed(bind: Any) -> bool:
    """Return whether other machines can reach a listener of gunicorn: ``(host, port)`` or the path of a unix socket.

    The file system's permissions protect a unix socket.
    """
    return isinstance(bind, tuple) and is_exposed(bind[0])


def exposed_address(environ: WSGIEnvironment) -> str | None:
    """Return the address by which other machines reach the server of an unauthenticated request, or None.

    gunicorn sets SERVER_NAME to the listener's address. Other servers set it to a name, which may resolve to anything.
    For these the client's address decides: a client on another machine proves that the server is exposed.
    """
    if is_authenticated(environ):
        return None
    host = environ.get("SERVER_NAME", "")
    decisive = host if is_address(host) else environ.get("REMOTE_ADDR", "")
    if not is_address(decisive) or not is_exposed(decisive):
        return None
    return f"{clipped(host)}:{environ.get('SERVER_PORT', '')}"


def is_address(text: str) -> bool:
    """Return whether ``text`` is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
