"""Durable events in one file: on the disk before they are accepted, and run until they have come to an end."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from serverfull_wsgi.domain import Invocation, Run, Send
from serverfull_wsgi.errors import ServiceException
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.events.destinations import DestinationClient
from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.queues.sqlite import admin, statements
from serverfull_wsgi.queues.sqlite.delivery_workers import DeliveryWorkers
from serverfull_wsgi.queues.sqlite.event_workers import EventWorkers
from serverfull_wsgi.queues.sqlite.leader_election import Leader
from serverfull_wsgi.queues.sqlite.store import Store, check_place
from serverfull_wsgi.storage.clock import Ticks
from serverfull_wsgi.storage.group_commit import StoreError
from serverfull_wsgi.storage.liveness import LivenessLocks
from serverfull_wsgi.telemetry.metrics import Metrics
from serverfull_wsgi.telemetry.scope import LOGGER

POLL = 0.1  # seconds between two looks for what other processes accepted, and for their end
COURIERS = 2  # threads that deliver records
SWEEP = 60.0  # seconds between two removals of what is past its retention
BURY = 0.5  # seconds between two looks for processes that were killed
FILL = 1.0  # seconds between two tries to take the reserved space again

T = TypeVar("T")
Mark = Callable[[str], None]


class SqliteQueue:
    """An `EventQueue` in the file ``path``, for all processes on this machine that name it.

    One of them at a time runs events, on ``workers`` threads; it is a process that called `work` where there is one.
    An event in work has a lease of ``lease`` seconds, which is renewed while its process lives, and ended by whoever
    finds that it was killed. `close` waits up to ``drain`` seconds and then gives leases back. What ended is removed
    after ``retention`` seconds. ``owner`` says whose events these are. ``mark`` is called at each point between a
    claim and the end, ``now`` takes the place of the store's clock: both are for tests.

    Making one opens nothing; `start` does, once in a process.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        owner: str | None = None,
        workers: int = 4,
        drain: float = 25.0,
        lease: float = 30.0,
        retention: float = 86_400.0,
        delays: Delays | None = None,
        endpoint: str | None = None,
        logger: logging.Logger = LOGGER,
        metrics: Metrics | None = None,
        mark: Mark = lambda point: None,
        now: Ticks | None = None,
    ) -> None:
        self.path = Path(path)
        self._owner, self._workers, self._drain, self._retention = owner, workers, drain, retention
        self._lease, self._delays, self._endpoint = lease, delays or Delays(), endpoint
        self._logger, self._metrics, self._mark, self._clock = logger, metrics, mark, now
        self._store: Store | None = None

    def check_place(self) -> None:
        """Whether `start` may find a place for the file, as far as can be seen. Raises `ConfigurationError`."""
        check_place(self.path.absolute())

    def start(self, run: Run, send: Send) -> None:
        self._store = store = Store(self.path, self._owner, now=self._clock)
        self._lock, self._closing = threading.Lock(), False
        name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
        common: Any = {"name": name, "lease": self._lease, "delays": self._delays, "logger": self._logger}
        self._attempts = EventWorkers(store, run, metrics=self._metrics, mark=self._mark, **common)
        senders = DestinationClient(send, self._endpoint, self._logger, self._metrics)
        self._courier = DeliveryWorkers(store, senders, metrics=self._metrics, mark=self._mark, **common)
        self._leader = Leader(store)
        self._owners = LivenessLocks(store.locks / "owners", name)
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._swept = self._renewed = self._filled = time.monotonic()
        self._looked = -BURY  # at once
        self._complained = ""
        atexit.register(self.close)
        self._thread("keeper", self._keep)

    def work(self) -> None:
        """From now on this process is the one to run events, and web processes leave them to it."""
        self._leader.is_worker = True

    @property
    def is_leading(self) -> bool:
        """Whether it is this process that runs events."""
        return self._store is not None and self._leader.leads

    def put(self, invocation: Invocation, config: EventConfig, dedupe: str = "") -> str:
        store = self._store
        if store is None or self._closing:
            raise ServiceException("The server is stopping and takes no more events; send this one again.")
        if not store.reserve.is_held():
            self._logger.error("an event was refused: there is no room on the disk, or %s is gone", self.path)
            raise ServiceException("The event could not be stored; the server's log has the reason.")
        operation = functools.partial(
            statements.insert, invocation=invocation, config=config, dedupe=dedupe, now=store.now(), wall=time.time()
        )
        try:
            request_id = store.write(operation)
        except StoreError as error:
            self._logger.error("an event was refused: %s", error, extra={"request_id": invocation.request_id})
            raise ServiceException("The event could not be stored; the server's log has the reason.") from None
        self._attempts.ring()
        return request_id

    def _thread(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=f"serverfull-events-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _keep(self) -> None:
        """Looks after leadership, leases and space, until the end."""
        while not self._ended.wait(POLL):
            try:
                self._tend()
                self._complained = ""
            except Exception as error:  # of the disk; it may get well again, and an event in work has to be kept
                if str(error) != self._complained:
                    self._logger.error("the event store %s: %s", self.path, error)
                self._complained = str(error)

    def _tend(self) -> None:
        store = self._store
        if store is None:
            return
        if _is_over(self._filled, FILL):
            self._filled = time.monotonic()
            with contextlib.suppress(OSError):
                store.reserve.acquire()
        if _is_over(self._renewed, self._lease / 3):
            self._renewed = time.monotonic()
            self._attempts.renew()
            self._courier.renew()
        leads = self._leader.look()
        self._attempts.claims = self._courier.claims = leads
        if leads:
            self._lead(store)

    def _lead(self, store: Store) -> None:
        if len(self._threads) == 1:
            for number in range(self._workers):
                self._thread(str(number), self._attempts.work)
            for number in range(COURIERS):
                self._thread(f"courier-{number}", self._courier.work)
        if _is_over(self._looked, BURY):
            self._looked = time.monotonic()
            self._bury(store)
        due = store.read(statements.next_due)
        if due is not None and due <= store.now():
            self._attempts.ring(self._workers)
            self._courier.ring(COURIERS)
        if _is_over(self._swept, SWEEP):
            more = store.write(lambda db: statements.sweep(db, store.now(), self._retention))
            store.write(lambda db: db.execute("PRAGMA incremental_vacuum(1000)").fetchall())
            self._swept = time.monotonic() - (SWEEP - POLL if more else 0.0)

    def _bury(self, store: Store) -> None:
        """Has run again at once what was in work where a process was killed."""
        for owner in self._owners.dead():
            if store.write(functools.partial(statements.bury, owner=owner, now=store.now()), vital=True):
                self._logger.warning("the process %s is gone; what it had in work is run again", owner)

    def close(self) -> None:
        """Lets what runs come to its end within the drain time, and gives back the leases of what does not."""
        store = self._store
        if store is None or self._closing or store.pid != os.getpid():
            return
        self._closing = self._leader.resigns = True
        self._attempts.claims = self._courier.claims = False
        deadline = time.monotonic() + self._drain
        if not self._attempts.drained(self._drain):
            self._logger.warning("events that run longer than a stop waits are left to be run again")
        if not self._courier.drained(deadline - time.monotonic()):
            self._logger.warning("records whose delivery takes longer than a stop waits are left to be sent again")
        self._ended.set()
        try:
            self._attempts.release()
        except StoreError as error:
            self._logger.error("leases could not be given back, so they run out: %s", error)
        self._attempts.stop()
        self._courier.stop()
        self._threads[0].join(timeout=5.0)
        self._store = None
        self._owners.close()
        store.close()
        atexit.unregister(self.close)

    # `EventLog`

    def events(self, state: str = "", limit: int = 50, before: int | None = None) -> list[dict[str, Any]]:
        return self._look(lambda store: store.read(lambda db: admin.events(db, state, limit, before)))

    def event(self, request_id: str) -> dict[str, Any] | None:
        return self._look(lambda store: store.read(lambda db: admin.event(db, request_id, store.now())))

    def redrive(self, request_id: str) -> bool:
        done = self._look(lambda store: store.write(lambda db: admin.redrive(db, request_id, store.now())))
        self._attempts.ring()
        return done

    def _look(self, ask: Callable[[Store], T]) -> T:
        if self._store is None:
            raise ServiceException("The server is stopping.")
        try:
            return ask(self._store)
        except StoreError as error:
            self._logger.error("the event store %s: %s", self.path, error)
            raise ServiceException("The event store cannot be read; the server's log has the reason.") from None


def _is_over(since: float, seconds: float) -> bool:
    return time.monotonic() - since >= seconds
