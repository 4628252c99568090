"""Deploys without a signature, for a developer's own machine.

To deploy is to run code, so a request without a principal may change functions only if all of this holds::

    SERVERFULL_DEPLOY_UNSIGNED is on
    the server is known to listen on the loopback only     from a server's hook, else from SERVER_NAME
    the client is on this machine                          REMOTE_ADDR
    no header of a browser                                 Origin, Sec-Fetch-Site
    no header of a proxy                                   Forwarded, Via, X-Forwarded-…, X-Real-IP
    Host is a name of the loopback                         or one of SERVERFULL_ALLOWED_HOSTS

A proxy on the same machine that adds no header looks like a client. Functions that run on the machine's network can
send such requests too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.auth.browsers import is_loopback_name, name_of_host
from serverfull_wsgi.auth.exposure import is_address, is_bind_exposed, is_exposed
from serverfull_wsgi.errors import ConfigurationError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

SETTING = "SERVERFULL_DEPLOY_UNSIGNED"
ANNOUNCEMENT = (
    f"{SETTING} is on: every program on this machine, and every function that can reach this server, may replace the "
    "deployed functions and read their environment variables, without a signature"
)
NEEDS_SIGNATURE = (
    "To change functions, sign the request with a key whose serverfull_actions names 'deploy' "
    f"(SERVERFULL_CREDENTIALS_FILE). A server that listens on the loopback only may set {SETTING}=true instead."
)
_OF_BROWSERS = ("HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE")
_OF_PROXIES = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")


class UnsignedDeploys:
    """Decides whether a request without a principal may change functions.

    Args:
        is_on: the setting SERVERFULL_DEPLOY_UNSIGNED.
        hosts: further names, without ports, under which the server may be called.
    """

    def __init__(self, is_on: bool = False, hosts: Collection[str] = ()) -> None:
        self.is_on = is_on
        self._hosts = frozenset(host.lower() for host in hosts)
        self._is_on_loopback: bool | None = None  # None: not known

    def listen_on(self, binds: Iterable[Any]) -> None:
        """Note the listeners of the server, as gunicorn has them: ``(host, port)`` or the path of a unix socket.

        Raises `ConfigurationError` if the setting is on and one of them is not an address of the loopback.
        """
        binds = list(binds)
        others = [bind for bind in binds if not isinstance(bind, tuple) or is_bind_exposed(bind)]
        if self.is_on and others:
            shown = ":".join(map(str, others[0])) if isinstance(others[0], tuple) else f"unix:{others[0]}"
            raise ConfigurationError(
                f"{SETTING}=true: the server listens on {shown}, and unsigned deploys need a server on the loopback "
                "only; listen on 127.0.0.1, or set SERVERFULL_CREDENTIALS_FILE so that callers sign"
            )
        if binds:
            self._is_on_loopback = not others

    def refusal(self, environ: WSGIEnvironment) -> str | None:
        """Return the reason for which this request may not change functions; None if it may."""
        if not self.is_on:
            return NEEDS_SIGNATURE
        client: str = environ.get("REMOTE_ADDR") or ""
        if is_address(client) and is_exposed(client):
            return f"{SETTING} is for clients on the same machine; sign the request."
        if not self._is_loopback_known(environ, client):
            return (
                f"{SETTING} needs a server that is known to listen on the loopback only. Pass its listeners to "
                "Application.warn_if_exposed, or sign the request."
            )
        if any(name in environ for name in _OF_BROWSERS):
            return "A web page may not change functions without a signature."
        if any(name in _OF_PROXIES or name.startswith("HTTP_X_FORWARDED") for name in environ):
            return "A request through a proxy may not change functions without a signature."
        host = name_of_host(environ.get("HTTP_HOST", "localhost").lower())
        if not is_loopback_name(host) and host not in self._hosts:
            return (
                "Call the server as localhost to change functions without a signature, or name the host in "
                "SERVERFULL_ALLOWED_HOSTS."
            )
        return None

    def _is_loopback_known(self, environ: WSGIEnvironment, client: str) -> bool:
        """Return whether the server is known to listen on the loopback only.

        Some servers take SERVER_NAME from the Host header, so without a hook the client must be on the loopback too.
        """
        if self._is_on_loopback is not None:
            return self._is_on_loopback
        server: str = environ.get("SERVER_NAME", "")
        is_named = server == "localhost" or (is_address(server) and not is_exposed(server))
        return is_named and is_address(client)
