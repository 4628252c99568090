"""Posting to a webhook, which gets so many seconds for all of it, however slowly it drips."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

TIMEOUT = 10.0  # seconds to connect, and again for all that follows


def post(target: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the answer; what comes after its headers is not read.

    Raises OSError and `http.client.HTTPException` where there is none in time.
    """
    url = urlsplit(target)
    secure = url.scheme == "https"
    connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(url.hostname or "", url.port)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    with (
        contextlib.closing(connection),
        socket.create_connection((connection.host, connection.port), TIMEOUT) as sock,
        _cut_after(TIMEOUT, sock),
    ):
        connection.sock = _secured(sock, connection.host) if secure else sock
        connection.request("POST", path, body, dict(headers))
        return connection.getresponse().status


def _secured(sock: socket.socket, host: str) -> socket.socket:
    return ssl.create_default_context().wrap_socket(sock, server_hostname=host)


@contextlib.contextmanager
def _cut_after(seconds: float, sock: socket.socket) -> Iterator[None]:
    """Ends the connection at that time: a socket's own timeout is for each piece, and there may be many."""
    with sock.dup() as copy:  # which stays when TLS takes the socket over
        timer = threading.Timer(seconds, _cut, [copy])
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
