"""What threads that work on leased rows have in common: a bell to wait at, and leases to look after."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.queues.sqlite import statements
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.telemetry.metrics import Metrics

IDLE = 1.0  # seconds a thread sleeps when nobody rings
AGAIN = 0.5  # seconds before an end that could not be written is written again


class Wakeup:
    """What threads wait at for work."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rings = 0

    def ring(self, times: int = 1) -> None:
        with self._condition:
            self._rings = min(self._rings + times, 64)
            self._condition.notify(times)

    def wait(self) -> None:
        with self._condition:
            if not self._rings:
                self._condition.wait(IDLE)
            self._rings = max(0, self._rings - 1)


class LeaseWorkers:
    """What threads of both kinds have in common: leases under one name, while ``claims`` says that they may."""

    table = ""

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        lease: float,
        delays: Delays,
        logger: logging.Logger,
        metrics: Metrics | None,
        mark: Callable[[str], None],
    ) -> None:
        self._store, self._name, self._lease, self._delays = store, name, lease, delays
        self._logger, self._metrics, self._mark = logger, metrics, mark
        self.claims = False
        self._stopped = False
        self._bell = Wakeup()
        self._in_work: set[int] = set()
        self._idle = threading.Condition()

    def ring(self, times: int = 1) -> None:
        """Tells so many threads that there is something to do, if it is for them to do."""
        if self.claims:
            self._bell.ring(times)

    def _took(self, id: int) -> None:
        with self._idle:
            self._in_work.add(id)

    def _finished(self, id: int) -> None:
        with self._idle:
            self._in_work.discard(id)
            self._idle.notify_all()

    def _ids(self) -> list[int]:
        with self._idle:
            return list(self._in_work)

    def renew(self) -> None:
        """Extends the leases of all that is in work. Raises `StoreError`."""
        if ids := self._ids():
            until = self._store.now() + self._lease
            self._store.write(lambda db: statements.renew(db, self.table, ids, self._name, until), vital=True)

    def drained(self, seconds: float) -> bool:
        """Whether all that is in work ended within that time."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._in_work, seconds)

    def stop(self) -> None:
        self._stopped = True
        self._bell.ring(64)
