"""`SqliteQueue`, an event queue in one SQLite file."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from serverfull_wsgi.domain import Invocation
from serverfull_wsgi.errors import ServiceException
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.protocols import Run, Send
from serverfull_wsgi.queues.sqlite import admin, statements
from serverfull_wsgi.queues.sqlite.options import Options
from serverfull_wsgi.queues.sqlite.session import Session
from serverfull_wsgi.queues.sqlite.store import Store, StoreLostError, check_place, exposure
from serverfull_wsgi.storage.group_commit import StoreError
from serverfull_wsgi.telemetry.scope import LOGGER

if TYPE_CHECKING:
    from serverfull_wsgi.telemetry.metrics import Metrics

T = TypeVar("T")


class SqliteQueue:
    """An `EventQueue` in an SQLite file that all processes of one machine may share.

    An event is on the disk before `put` returns. One process at a time runs events: a ``serverfull worker`` if there is
    one, otherwise one of the web processes. An event that runs has a lease, which its process renews. If the process
    dies, another process runs the event again.

    The constructor opens nothing. `start` opens the file, once in each process, and `close` is final: a process that
    closed a queue cannot start it again. A forked child starts the queue for itself.

    Args:
        path: the file; `start` creates the file and its directory.
        owner: name of the application that the events belong to. A file with another application's events is refused.
            None for no check.
        workers: threads that run events.
        drain: seconds that `close` waits for running events. Then the process gives up their leases.
        lease: seconds of a lease without renewal.
        retention: seconds that an event is kept after its end.
        max_bytes: size of the file at which events are refused, as on a full disk; 0 for no limit. Results of running
            events are still written.
        delays: seconds between attempts; None for AWS's.
        endpoint: URL of a service that stands in for AWS's, for destinations in SQS, SNS and EventBridge.
        logger: gets the queue's warnings and errors.
        metrics: counts events that failed for good and failed deliveries; None for no metrics.
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
        max_bytes: int = 0,
        delays: Delays | None = None,
        endpoint: str | None = None,
        logger: logging.Logger = LOGGER,
        metrics: Metrics | None = None,
    ) -> None:
        self.path = Path(path)
        self._logger = logger
        self._options = Options(
            self.path, owner, workers, drain, lease, retention, max_bytes, delays or Delays(), endpoint, logger, metrics
        )
        self._session: Session | None = None

    def check_place(self) -> None:
        """Raise `ConfigurationError` if `start` could not open or create the file. Leave no file behind."""
        check_place(self.path.absolute(), self._options.owner)

    def storage_warnings(self) -> list[str]:
        """Return a warning if other users of the machine can read the file; see `StorageAdvisor`."""
        warning = exposure(self.path.absolute())
        return [warning] if warning else []

    def start(self, run: Run, send: Send) -> None:
        """Open the file and take part in running its events; see `EventQueue.start`.

        Raises RuntimeError if this process started the queue before.
        """
        session = self._session
        if session is not None and session.pid == os.getpid():
            state = "closed" if session.is_closing else "started"
            raise RuntimeError(
                f"this SqliteQueue was {state} already in this process; create another one for {self.path}"
            )
        self._session = Session(self._options, run, send)

    def become_worker(self) -> None:
        """Run the events in this process from now on; web processes then run none. The queue must be started."""
        if self._session is None:
            raise RuntimeError(f"the SqliteQueue for {self.path} is not started; call start() first")
        self._session.leader.is_worker = True

    @property
    def is_leading(self) -> bool:
        """Whether this process is the one that runs events."""
        session = self._session
        return session is not None and not session.is_closed and session.leader.is_leading

    def put(self, invocation: Invocation, config: EventConfig, dedupe: str = "") -> str:
        """Write an event to the disk and return its request id; see `EventQueue.put`.

        Raises `ServiceException` if the event is not on the disk, or if the queue is closed. A disk that is full or
        held by another process takes at most a second; a slow disk takes as long as one commit.
        """
        session = self._session
        if session is None or session.is_closing:
            raise ServiceException("The server is stopping and takes no more events; send this one again.")
        insert = functools.partial(
            statements.insert,
            invocation=invocation,
            config=config,
            dedupe=dedupe,
            now=session.store.now(),
            wall=time.time(),
            max_bytes=self._options.max_bytes,
        )
        try:
            return session.events.accept(insert)
        except StoreError as error:
            raise self._refusal(invocation, error) from None

    def _refusal(self, invocation: Invocation, reason: object) -> ServiceException:
        request_id = invocation.request_id
        level = logging.INFO if isinstance(reason, StoreLostError) else logging.ERROR  # the loss is an error once
        self._logger.log(
            level,
            "event %s was refused, and its caller gets a 500: %s",
            request_id,
            reason,
            extra={"request_id": request_id},
        )
        return ServiceException("The event could not be stored; the server's log has the reason.")

    def close(self) -> None:
        """Accept no more events, and wait up to the drain time for running ones. Without `start`, do nothing."""
        if self._session is not None:
            self._session.close()

    def oldest_due_age(self) -> float:
        """Return the seconds for which the oldest due event has waited; see `Backlog.oldest_due_age`."""
        return self._query(lambda store: store.read(lambda db: statements.oldest_due_age(db, store.now())))

    # `EventLog`

    def events(self, state: str = "", limit: int = 50, before: int | None = None) -> list[dict[str, Any]]:
        """Return summaries of events, the latest first; see `EventLog.events`."""
        return self._query(lambda store: store.read(lambda db: admin.events(db, state, limit, before)))

    def event(self, request_id: str) -> dict[str, Any] | None:
        """Return all fields of one event, or None if the store does not have it; see `EventLog.event`."""
        return self._query(lambda store: store.read(lambda db: admin.event(db, request_id, store.now())))

    def redrive(self, request_id: str) -> bool:
        """Run a failed event again; return False if there is no such failed event. See `EventLog.redrive`."""
        is_redriven = self._query(lambda store: store.write(lambda db: admin.redrive(db, request_id, store.now())))
        if self._session is not None:
            self._session.events.wake()
        return is_redriven

    def _query(self, query: Callable[[Store], T]) -> T:
        session = self._session
        if session is None or session.is_closed:
            raise ServiceException("The server is stopping.")
        try:
            return query(session.store)
        except StoreError as error:
            self._logger.error("the event store %s cannot be read: %s", self.path, error)
            raise ServiceException("The event store cannot be read; the server's log has the reason.") from None
