"""gunicorn's worker sync, for clients that send or read slowly or not at all. Its only thread waits for each client."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from gunicorn.workers import sync

from serverfull_wsgi.servers.gunicorn.deadlines import DeadlineSocket
from serverfull_wsgi.servers.gunicorn.workers import client_timeout_of, clip_evidence, late_answer


class SyncWorker(sync.SyncWorker):  # type: ignore[misc]
    """gunicorn's sync worker, which waits for a client no longer than until its deadline.

    Attributes:
        client_timeout: as in `ThreadWorker`.
    """

    client_timeout: float | None = None

    def run(self) -> None:
        self._timeout = client_timeout_of(self)
        self.log.error_log.addFilter(clip_evidence)
        super().run()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        if not self.cfg.is_ssl:
            client = DeadlineSocket(client, self._timeout, self._answer_late)
        super().handle(listener, client, addr)

    def _answer_late(self, client: DeadlineSocket) -> None:
        with contextlib.suppress(OSError):
            client.send(late_answer(self._timeout), socket.MSG_DONTWAIT)
