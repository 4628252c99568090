"""Events in this process's memory: fast, bounded, and lost if the process is killed."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import threading
import time
from typing import TYPE_CHECKING

from serverfull_wsgi.domain import Invocation, Outcome
from serverfull_wsgi.errors import ServiceException, TooManyRequestsException, ZeroReservedConcurrency
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.protocols import Run, Send
from serverfull_wsgi.server_exits import raised_by_server
from serverfull_wsgi.telemetry.scope import LOGGER

if TYPE_CHECKING:
    from serverfull_wsgi.telemetry.metrics import Metrics

IN_MEMORY = (
    "events (invocation type Event) are stored in this process's memory: a stop waits until they have run, a crash "
    "loses them, and an event that fails is neither retried nor sent to a destination"
)
FIRST_DELAY, LONGEST_DELAY = 0.05, 5.0  # seconds before a throttled event is tried again: doubled each time
STOPPING = "The server is stopping and takes no more events; send this one again."


class MemoryQueue:
    """An `EventQueue` in memory. Each event runs once, on a thread of this process; an event that fails is dropped.

    An event whose function is throttled waits on its thread until the function may run.

    Args:
        size: events that may wait; `put` raises `TooManyRequestsException` for the next one.
        workers: threads that run events. They start with the first event.
        drain: seconds that `close` waits for accepted events. Events that have not run by then are lost.
        logger: gets a line for each event that is lost.
        metrics: counts the events that are lost; None for no metrics.
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
        self._pool: _WorkerPool | None = None

    def start(self, run: Run, send: Send) -> None:
        """See `EventQueue.start`. ``send`` is not used: this queue has no destinations."""
        self._pool = _WorkerPool(run, self._size, self._workers, self._drain, self._logger, self._metrics)
        self._logger.warning(IN_MEMORY)

    def put(self, invocation: Invocation, config: EventConfig, dedupe: str = "") -> str:
        """See `EventQueue.put`. ``config`` and ``dedupe`` are not used."""
        if self._pool is None:
            raise ServiceException(STOPPING)
        self._pool.put(invocation)
        return invocation.request_id

    def close(self) -> None:
        """Refuse new events, and wait up to the drain time for accepted ones."""
        if self._pool is not None:
            self._pool.close()


class _WorkerPool:
    """The events of one process, and the threads that run them."""

    def __init__(
        self, run: Run, size: int, workers: int, drain: float, logger: logging.Logger, metrics: Metrics | None
    ) -> None:
        self._run, self._workers, self._drain = run, workers, drain
        self._logger, self._metrics = logger, metrics
        self._events: queue.Queue[tuple[Invocation, float] | None] = queue.Queue(size)
        self._lock = threading.Lock()
        self._finished = threading.Condition(self._lock)  # queue.Queue's own has another name under gevent
        self._unfinished = 0
        self._threads: list[threading.Thread] = []
        self._is_closing = False
        self._closed = threading.Event()  # the drain time has ended
        self._pid = os.getpid()

    def put(self, invocation: Invocation) -> None:
        with self._lock:
            if self._is_closing:
                raise ServiceException(STOPPING)
            if not self._threads:
                self._start_threads()
            try:
                self._events.put_nowait((invocation, time.monotonic()))
            except queue.Full:
                raise TooManyRequestsException() from None
            self._unfinished += 1

    def _start_threads(self) -> None:
        atexit.register(self.close)
        for number in range(self._workers):
            thread = threading.Thread(target=self._work, name=f"serverfull-event-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        while (item := self._events.get()) is not None:
            invocation, accepted = item
            try:
                self._run_event(invocation, time.monotonic() - accepted)
            finally:
                with self._finished:
                    self._unfinished -= 1
                    self._finished.notify_all()

    def _run_event(self, invocation: Invocation, age: float) -> None:
        try:
            has_failed = self._run_unthrottled(invocation, age).function_error is not None
        except BaseException as error:  # the function was removed, or its fetcher raised, possibly a SystemExit
            if raised_by_server(error):
                raise
            self._logger.error(
                "event %s could not run and is lost: %s", invocation.request_id, error, extra=_log_fields(invocation)
            )
            has_failed = True
        if has_failed:
            self._count_dropped(invocation)

    def _run_unthrottled(self, invocation: Invocation, age: float) -> Outcome:
        """Run an event. While the function is throttled, wait and run the event again, until the queue is closed."""
        started, delay = time.monotonic(), FIRST_DELAY
        while True:
            try:
                return self._run(invocation, age + time.monotonic() - started)
            except ZeroReservedConcurrency:
                raise
            except TooManyRequestsException:
                if self._closed.wait(delay):
                    raise
                delay = min(2 * delay, LONGEST_DELAY)

    def _count_dropped(self, invocation: Invocation) -> None:
        if self._metrics:
            self._metrics.count(invocation.function_name.name, "AsyncEventsDropped")

    def close(self) -> None:
        if self._pid != os.getpid():  # a forked child has the events, but not the threads
            return
        with self._finished:
            self._is_closing = True
            self._finished.wait_for(lambda: not self._unfinished, self._drain)
        self._closed.set()
        self._drop_waiting()
        for _ in self._threads:
            self._events.put(None)
        self._threads = []
        atexit.unregister(self.close)

    def _drop_waiting(self) -> None:
        with contextlib.suppress(queue.Empty):
            while item := self._events.get_nowait():
                invocation, _ = item
                self._logger.error(
                    "event %s was dropped: the drain time of %g s ended before the event could run",
                    invocation.request_id,
                    self._drain,
                    extra=_log_fields(invocation),
                )
                self._count_dropped(invocation)


def _log_fields(invocation: Invocation) -> dict[str, str]:
    principal = {} if invocation.principal is None else {"principal": invocation.principal}
    return {"request_id": invocation.request_id, "function_name": invocation.function_name.name, **principal}
