"""The parts of an application that a process opens when it starts, and closes when it ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from serverfull_wsgi.api.router import Router
from serverfull_wsgi.concurrency import ReservedConcurrency
from serverfull_wsgi.dispatcher import Dispatcher
from serverfull_wsgi.protocols import Closable, EventQueue, Executor, Startable

if TYPE_CHECKING:
    from serverfull_wsgi.telemetry.metrics import Metrics


class Parts:
    """The parts of an application in one process. They are opened in this order: metrics, places, executor, queue.

    Each part may use those before it, and parts are closed in the reverse order.
    """

    def __init__(
        self,
        router: Router,
        metrics: Metrics | None,
        concurrency: tuple[ReservedConcurrency, Callable[[], object] | None],
        executor: Executor,
        queue: EventQueue,
        dispatcher: Dispatcher,
    ) -> None:
        self.router = router
        self._opened = ExitStack()
        self._unopened: list[tuple[object, Callable[[], object] | None]] = [
            concurrency,
            (executor, executor.start if isinstance(executor, Startable) else None),
            (queue, partial(queue.start, run=dispatcher.invoke, send=dispatcher.send)),
        ]
        if metrics:
            self._unopened.insert(0, (metrics, metrics.start))

    def open(self) -> None:
        """Start the parts that are not open. After an error, the next call continues with the part that failed."""
        while self._unopened:
            part, start = self._unopened[0]
            if start:
                start()
            if isinstance(part, Closable):
                self._opened.callback(part.close)
            del self._unopened[0]

    def close(self) -> None:
        """Close the open parts, each even if another one fails. Raise the last failure."""
        self._opened.close()
