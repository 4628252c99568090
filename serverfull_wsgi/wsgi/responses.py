"""How answers leave: refusals with AWS's headers and a JSON body, payloads in one packet with their head."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from serverfull_wsgi.errors import ServiceError

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def render(
    error: ServiceError,
    request_id: str,
    environ: WSGIEnvironment,
    start_response: StartResponse,
    begun: OptExcInfo | None = None,
) -> Iterable[bytes]:
    """Answers with ``error``; ``begun`` is the exception where ``start_response`` may have been called already."""
    body = error.body()
    start_response(
        f"{error.status.value} {error.status.phrase}",
        [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("x-amzn-RequestId", request_id),
            ("x-amzn-ErrorType", error.code),
            *error.headers(),
        ],
        begun,
    )
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def in_one_packet(connection: socket.socket, payload: bytes) -> Iterator[bytes]:
    """The payload as a WSGI iterable, under a server that sends an answer's head and its body apart.

    The head would wake the caller, who has nothing to do yet but to make the server's threads take turns: with the
    two in one packet a threaded worker answers 5 % more requests. Linux holds what it is given meanwhile back for
    200 ms at most (tcp(7)), whatever becomes of this iterable; other systems and other sockets do not.
    """
    _cork(connection, True)
    try:
        yield payload
    finally:
        _cork(connection, False)


def _cork(connection: socket.socket, shut: bool) -> None:
    with suppress(OSError, AttributeError):  # a unix socket, one that is closed by now, a system that has no corks
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, shut)
