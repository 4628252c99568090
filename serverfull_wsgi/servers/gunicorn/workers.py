"""gunicorn's workers that clients which send or read slowly do not stop, and the parts that both have.

`adopt` turns a gunicorn worker that is not running yet into one of them: gthread into `thread_worker.ThreadWorker`, and
sync into `sync_worker.SyncWorker`. The names for ``--worker-class`` are ``serverfull_wsgi.workers.ThreadWorker`` and
``serverfull_wsgi.workers.SyncWorker``.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from serverfull_wsgi.errors import ConfigurationError, RequestTimeoutException
from serverfull_wsgi.evidence import clipped
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.wsgi.ids import new_request_id


def adopt(worker: Any) -> None:
    """Turn gunicorn's own gthread or sync worker into this package's. The worker does not run yet.

    Workers of other classes stay as they are. Both classes add no state before `run`.
    """
    kind = type(worker)
    if (kind.__module__, kind.__name__) == ("gunicorn.workers.sync", "SyncWorker"):
        from serverfull_wsgi.servers.gunicorn.sync_worker import SyncWorker

        worker.__class__ = SyncWorker
    elif (kind.__module__, kind.__name__) == ("gunicorn.workers.gthread", "ThreadWorker"):
        from serverfull_wsgi.servers.gunicorn.thread_worker import ThreadWorker  # imports a pool of threads, and HTTP/2

        worker.__class__ = ThreadWorker


def client_timeout_of(worker: Any) -> float:
    """Return the seconds in which a client must send or read a piece: the worker's own, or the setting's."""
    seconds: float | None = worker.client_timeout
    if seconds is not None:
        return seconds
    try:
        return Settings.from_environ().client_timeout
    except ConfigurationError:  # of other settings, which an application made in code does not use
        return Settings().client_timeout


def clip_evidence(record: logging.LogRecord) -> bool:
    """Shorten parts of a client's request in gunicorn's log lines about malformed requests and failures."""
    if isinstance(record.msg, str) and record.msg.startswith(("Invalid request from ", "Error handling request ")):
        record.msg = clipped(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(clipped(value) if isinstance(value, str) else value for value in record.args)
    return True


def late_answer(seconds: float) -> bytes:
    """Log a request that was not received in time, and return its answer."""
    error, request_id = RequestTimeoutException(seconds), new_request_id()
    LOGGER.info("request refused: %s: %s", error.code, error.message, extra={"request_id": request_id})
    body = json.dumps(error.members()).encode()
    head = [
        f"HTTP/1.1 {error.status.value} {error.status.phrase}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"x-amzn-RequestId: {request_id}",
        f"x-amzn-ErrorType: {error.code}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body
