"""Who may call: the principal that authentication left in a request, and what an address open to others means."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.auth.principal import PRINCIPAL, Principal
from serverfull_wsgi.names import FunctionName

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

EXPOSED = (
    "listening on %s: whoever reaches that address can run these functions; set SERVERFULL_CREDENTIALS_FILE, so that "
    "callers have to sign, put something in front that knows its callers, or listen on 127.0.0.1"
)


def permitted(environ: WSGIEnvironment, action: str, function: FunctionName | None = None) -> str | None:
    """The name of who makes this request, None where nobody asked. Raises `AccessDeniedException`.

    A middleware may put a `Principal` into the environ, whose permissions count, or any text.
    """
    principal = environ.get(PRINCIPAL)
    if principal is None:
        return None
    if isinstance(principal, Principal):
        principal.require(action, function)
    return str(principal)


def is_exposed(host: str) -> bool:
    """Whether other machines can reach a server that listens on ``host``; empty is every address.

    >>> is_exposed("127.0.0.1"), is_exposed("::1"), is_exposed("0.0.0.0"), is_exposed("")
    (False, False, True, True)
    """
    try:
        return not ip_address(host or "0.0.0.0").is_loopback  # noqa: S104  (asked about, not bound)
    except ValueError:
        return host != "localhost"


def exposed(bind: Any) -> bool:
    """The same for a listener of gunicorn's. Of a unix socket, the file system says who may."""
    return isinstance(bind, tuple) and is_exposed(bind[0])


def exposed_address(environ: WSGIEnvironment) -> str | None:
    """The address by which others can reach the server of an unauthenticated request, None if none is known.

    SERVER_NAME is the listener's address with gunicorn, and with others a name that says nothing: then it counts where
    the request came from.
    """
    if environ.get(PRINCIPAL) is not None or environ.get("REMOTE_USER"):
        return None
    host = environ.get("SERVER_NAME", "")
    if _is_address(host):
        return f"{host}:{environ.get('SERVER_PORT', '')}" if is_exposed(host) else None
    client = environ.get("REMOTE_ADDR", "")
    return f"{host}:{environ.get('SERVER_PORT', '')}" if _is_address(client) and is_exposed(client) else None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
