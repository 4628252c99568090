"""Events in this process's memory: quick, bounded, and gone when the process is."""

from __future__ import annotations

import atexit
import contextlib
import logging
import queue
import threading
import time

from serverfull_wsgi.domain import Invocation, Run, Send
from serverfull_wsgi.errors import ServiceException, TooManyRequestsException
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.server_exits import raised_by_server
from serverfull_wsgi.telemetry.metrics import Metrics
from serverfull_wsgi.telemetry.scope import LOGGER

IN_MEMORY = (
    "events (invocation type Event) are kept in this process's memory: a stop drains them, a crash loses them, "
    "and one that fails is neither tried again nor sent to a destination"
)


class MemoryQueue:
    """An `EventQueue` of ``workers`` threads and ``size`` places in which events wait for them.

    An event runs once; one that fails is not tried again. `close` waits up to ``drain`` seconds for what was
    accepted; whatever is left then, and everything when the process is killed, is lost.
    """

    def __init__(
        self,
        *,
        size: int = 1000,
        workers: int = 4,
        drain: float = 25.0,
        logger: logging.Logger = LOGGER,
        metrics: Metrics | None = None,
    ) -> None:
        self._size, self._workers, self._drain = size, workers, drain
        self._logger, self._metrics = logger, metrics
        self._run: Run
        self._threads: list[threading.Thread] = []

    def start(self, run: Run, send: Send) -> None:
        self._run = run
        self._events: queue.Queue[tuple[Invocation, float] | None] = queue.Queue(self._size)
        self._lock = threading.Lock()
        self._done = threading.Condition(self._lock)  # that of the queue itself has another name under gevent
        self._unfinished = 0
        self._threads = []
        self._closing = False
        self._logger.warning(IN_MEMORY)

    def put(self, invocation: Invocation, config: EventConfig, dedupe: str = "") -> str:
        with self._lock:
            if self._closing:
                raise ServiceException("The server is stopping and takes no more events; send this one again.")
            if not self._threads:
                self._open()
            try:
                self._events.put_nowait((invocation, time.monotonic()))
            except queue.Full:
                raise TooManyRequestsException() from None
            self._unfinished += 1
        return invocation.request_id

    def _open(self) -> None:
        """Threads begin with the first event: a server that gets none has none."""
        atexit.register(self.close)
        for number in range(self._workers):
            thread = threading.Thread(target=self._work, name=f"serverfull-event-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        while (waiting := self._events.get()) is not None:
            invocation, accepted = waiting
            try:
                self._attempt(invocation, time.monotonic() - accepted)
            finally:
                with self._done:
                    self._unfinished -= 1
                    self._done.notify_all()

    def _attempt(self, invocation: Invocation, age: float) -> None:
        try:
            failed = self._run(invocation, age).function_error is not None
        except BaseException as error:  # the function has gone since, there is no room, or its fetcher left by an exit
            if raised_by_server(error):
                raise
            self._logger.error("an event could not be run: %s", error, extra=_fields(invocation))
            failed = True
        if failed:
            self._dropped(invocation)

    def _dropped(self, invocation: Invocation) -> None:
        if self._metrics:
            self._metrics.count(invocation.function_name.name, "AsyncEventsDropped")

    def close(self) -> None:
        if not self._threads:
            return
        with self._done:
            self._closing = True
            self._done.wait_for(lambda: not self._unfinished, self._drain)
        self._abandon()
        for _ in self._threads:
            self._events.put(None)
        self._threads = []
        atexit.unregister(self.close)

    def _abandon(self) -> None:
        """Empties the queue and says which events are lost."""
        with contextlib.suppress(queue.Empty):
            while waiting := self._events.get_nowait():
                invocation, _ = waiting
                self._logger.error("an event was dropped: no time was left to run it", extra=_fields(invocation))
                self._dropped(invocation)


def _fields(invocation: Invocation) -> dict[str, str]:
    who = {} if invocation.principal is None else {"principal": invocation.principal}
    return {"request_id": invocation.request_id, "function_name": invocation.function_name.name, **who}
