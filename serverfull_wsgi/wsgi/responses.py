"""WSGI responses: errors with AWS's headers and a JSON body, JSON documents, and payloads in one packet."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.auth.principal import PRINCIPAL
from serverfull_wsgi.errors import ServiceError
from serverfull_wsgi.evidence import clipped
from serverfull_wsgi.telemetry.logs import is_dropped
from serverfull_wsgi.wsgi.requests import function_in_path

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def refuse(
    error: ServiceError,
    request_id: str,
    environ: WSGIEnvironment,
    start_response: StartResponse,
    logger: logging.Logger,
) -> Iterable[bytes]:
    """Log one line about a refused request, and send ``error`` as its response."""
    if logger.isEnabledFor(logging.INFO) and not is_dropped(logger):
        fields = log_fields(environ, request_id)
        logger.info("request refused: %s: %s", error.code, error.evidence, extra=fields)
    return render(error, request_id, environ, start_response)


def log_fields(environ: WSGIEnvironment, request_id: str) -> dict[str, str]:
    """Return the fields of a log line about a request: its id, and its function and caller if they are known.

    The function is the name in the path, percent-encoded, since it may contain anything.
    """
    fields = {"request_id": request_id}
    if function := function_in_path(environ):
        fields["function_name"] = clipped(function)
    if (principal := environ.get(PRINCIPAL)) is not None:
        fields["principal"] = str(principal)
    return fields


NO_BODY = (b"",)  # not empty: Hypercorn sends the head of a response with the first piece of its body


def render(
    error: ServiceError,
    request_id: str,
    environ: WSGIEnvironment,
    start_response: StartResponse,
    exc_info: OptExcInfo | None = None,
) -> Iterable[bytes]:
    """Send ``error`` as the response.

    ``exc_info`` is the exception in progress if ``start_response`` may have been called already, as PEP 3333 requires.
    """
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
        exc_info,
    )
    return NO_BODY if environ["REQUEST_METHOD"] == "HEAD" else [body]


def send_json(status: str, value: Any, request_id: str, start_response: StartResponse) -> Iterable[bytes]:
    """Send ``value`` as a JSON document. ``status`` is the status line's code and phrase, such as ``"200 OK"``."""
    body = json.dumps(value).encode()
    start_response(
        status,
        [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("x-amzn-RequestId", request_id),
        ],
    )
    return [body]


def in_one_packet(connection: socket.socket, payload: bytes) -> Iterator[bytes]:
    """Return the payload as a WSGI iterable that leaves in one packet with the response's head.

    gunicorn sends head and body separately. The head alone would wake the client, which has nothing to do yet but to
    make the server's threads take turns. In one packet, a threaded worker serves 5 % more requests. Linux delays
    corked data for 200 ms at most (tcp(7)), even if this iterable is never finished. Other systems and other sockets
    have no cork.
    """
    _cork(connection, True)
    try:
        yield payload
    finally:
        _cork(connection, False)


def _cork(connection: socket.socket, corked: bool) -> None:
    try:  # noqa: SIM105  (contextlib.suppress takes 0.3 µs more, twice in each call)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, corked)
    except (OSError, AttributeError):  # a unix socket, a closed socket, or a system without TCP_CORK
        pass
