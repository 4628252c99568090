"""Webhooks: destinations that receive records by HTTP.

The first delivery imports this module, since HTTP and TLS take 3 ms to import.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit


def is_invalid_url(error: Exception) -> bool:
    """Return whether `post` raised ``error`` since the URL is not valid. Its text may quote a password of the URL."""
    return isinstance(error, (ValueError, http.client.InvalidURL)) and not isinstance(error, OSError)


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:
    """Post ``body`` and return the response's status. The response's body is not read.

    The user info of the URL, ``user:password@``, is sent as HTTP's basic authentication.

    ``timeout`` is in seconds: once to connect, and again for the whole exchange, however slowly bytes arrive.

    Raises:
        OSError, http.client.HTTPException: if there is no response in time.
    """
    parts = urlsplit(url)
    is_https = parts.scheme == "https"
    connection_class = http.client.HTTPSConnection if is_https else http.client.HTTPConnection
    connection = connection_class(parts.hostname or "", parts.port)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with (
        contextlib.closing(connection),
        socket.create_connection((connection.host, connection.port), timeout) as sock,
        _shut_down_after(timeout, sock),
    ):
        connection.sock = _with_tls(sock, connection.host) if is_https else sock
        connection.request("POST", path, body, {**headers, **_basic_authentication(parts)})
        return connection.getresponse().status


def _basic_authentication(url: SplitResult) -> dict[str, str]:
    """Return the header for the user info of a URL, with special characters percent-encoded (RFC 7617)."""
    if url.username is None:
        return {}
    user_info = unquote_to_bytes(url.username) + b":" + unquote_to_bytes(url.password or "")
    return {"Authorization": f"Basic {b64encode(user_info).decode()}"}


def _with_tls(sock: socket.socket, host: str) -> socket.socket:
    return ssl.create_default_context().wrap_socket(sock, server_hostname=host)


@contextlib.contextmanager
def _shut_down_after(seconds: float, sock: socket.socket) -> Iterator[None]:
    """Shut the connection down after ``seconds``, since a socket's own timeout applies to each of many reads."""
    with sock.dup() as copy:  # TLS detaches the original socket
        timer = threading.Timer(seconds, _shut_down, [copy])
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
