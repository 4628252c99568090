"""Refusals, rendered: AWS's headers, and a JSON body."""

from __future__ import annotations

from collections.abc import Iterable
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
