"""Threads that claim leased rows and work on them: one kind runs events, the other delivers records.

Each thread claims a row, works on it, and writes the result under the fence of its lease. A thread without a row to
claim waits for a `Wakeup`. All threads of a process hold their leases under one name, the *holder*.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable

from serverfull_wsgi.events import retry_policy
from serverfull_wsgi.events.destinations import Delivery, DestinationClient
from serverfull_wsgi.events.runner import EventRunner, Final, Retry
from serverfull_wsgi.protocols import Run
from serverfull_wsgi.queues.sqlite import statements
from serverfull_wsgi.queues.sqlite.leader_election import is_leader
from serverfull_wsgi.queues.sqlite.options import Options
from serverfull_wsgi.queues.sqlite.statements import Event, Record
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.storage.group_commit import StoreError

IDLE = 1.0  # seconds a thread waits for a wake-up before it tries to claim anyway
RETRY = 0.5  # seconds before a write that failed is tried again: the disk may have space again
MOST_WAKEUPS = 64  # that are kept for threads that are busy; more would only make them claim in vain

DAMAGED = "the store is damaged: the event differs from the event that was accepted"


def failpoint(name: str) -> None:
    """Do nothing. Tests replace this function, to kill the process at each point between a claim and its result."""


class Wakeup:
    """A counter of wake-ups on which threads wait. One wake-up ends the wait of one thread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def notify(self, count: int = 1) -> None:
        with self._condition:
            self._count = min(self._count + count, MOST_WAKEUPS)
            self._condition.notify(count)

    def wait(self) -> None:
        """Return at the next wake-up, or after `IDLE` seconds."""
        with self._condition:
            if not self._count:
                self._condition.wait(IDLE)
            self._count = max(0, self._count - 1)


class LeaseWorkers:
    """Threads that work on the rows of one table, each row under a lease of ``holder``.

    ``may_claim`` is true while this process is the leader. Without it, threads finish their rows and claim no others.
    """

    table = ""
    thread_name = ""

    def __init__(self, store: Store, holder: str, options: Options) -> None:
        self._store, self._holder, self._lease = store, holder, options.lease
        self._delays, self._logger = options.delays, options.logger
        self.may_claim = False
        self._is_stopped = False
        self._threads: list[threading.Thread] = []
        self._wakeup = Wakeup()
        self._claimed: set[int] = set()
        self._idle = threading.Condition()

    def start(self, count: int) -> None:
        """Start ``count`` threads, unless the threads run already."""
        if self._threads:
            return
        for number in range(count):
            thread = threading.Thread(target=self._work, name=f"{self.thread_name}-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self, count: int = 1) -> None:
        """Wake ``count`` threads, if this process may claim rows."""
        if self.may_claim:
            self._wakeup.notify(count)

    def wake_all(self) -> None:
        self.wake(len(self._threads))

    def renew(self) -> None:
        """Extend the leases on all claimed rows. Raises `StoreError`."""
        if ids := self._claimed_ids():
            until = self._store.now() + self._lease
            self._store.write(
                lambda db: statements.renew(db, self.table, ids, self._holder, until), may_use_reserve=True
            )

    def drain(self, timeout: float) -> bool:
        """Return whether all claimed rows were finished within ``timeout`` seconds."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._claimed, timeout)

    def stop(self) -> None:
        """End each thread after the row it works on."""
        self._is_stopped = True
        self._wakeup.notify(MOST_WAKEUPS)

    def _work(self) -> None:
        raise NotImplementedError

    def _is_leader(self, db: sqlite3.Connection) -> bool:
        """Return whether this process leads by the store: a process that was suspended has an old ``may_claim``."""
        return is_leader(db, self._holder, self._store.now())

    def _add(self, id: int) -> None:
        with self._idle:
            self._claimed.add(id)

    def _remove(self, id: int) -> None:
        with self._idle:
            self._claimed.discard(id)
            self._idle.notify_all()

    def _claimed_ids(self) -> list[int]:
        with self._idle:
            return list(self._claimed)


class EventWorkers(LeaseWorkers):
    """Threads that run events; ``run`` runs one invocation, as `Dispatcher.invoke` does."""

    table = "event"
    thread_name = "serverfull-events"

    def __init__(self, store: Store, holder: str, options: Options, run: Run) -> None:
        super().__init__(store, holder, options)
        self._runner = EventRunner(run, options.delays, options.logger, options.metrics)

    def release(self) -> None:
        """Give back the leases on all claimed events, so that another process runs them. Raises `StoreError`."""
        if ids := self._claimed_ids():
            self._store.write(
                lambda db: statements.release(db, ids, self._holder, self._store.now()), may_use_reserve=True
            )

    def _work(self) -> None:
        event = None
        while not self._is_stopped:
            event = event or self._claim()
            if event is None:
                self._wakeup.wait()
                continue
            event = self._handle(event)

    def _claim(self) -> Event | None:
        if not self.may_claim:
            return None
        try:
            event = self._store.write(self._claim_statement, may_use_reserve=True)
        except StoreError as error:
            self._logger.error("cannot claim an event, will retry in %g s: %s", RETRY, error)
            time.sleep(RETRY)
            return None
        if event:
            self._add(event.id)
        return event

    def _claim_statement(self, db: sqlite3.Connection) -> Event | None:
        if not self._is_leader(db):
            return None
        return statements.claim(db, self._holder, self._store.now(), self._lease, time.time())

    def _handle(self, event: Event) -> Event | None:
        """Run one event; return the next one, which is claimed in the transaction that writes the result."""
        following = None
        try:
            failpoint("claimed")
            write_result = self._run(event)
            failpoint("ran")
            following = self._record(event, write_result)
            failpoint("recorded")
        finally:
            self._remove(event.id)
        return following

    def _run(self, event: Event) -> Callable[[sqlite3.Connection], bool]:
        """Run an event and return the statement that writes the result."""
        now, result = self._store.now, self._result(event)
        if isinstance(result, Retry):
            return lambda db: statements.postpone(db, event, result.counts, now() + result.delay, result.error)
        return lambda db: statements.end(db, event, result, now(), time.time())

    def _result(self, event: Event) -> Retry | Final:
        if event.is_damaged:
            self._logger.error("event %s failed and will not be retried: %s", event.request_id, DAMAGED)
            return Final("failed", "", event.counts, DAMAGED)
        return self._runner.run(event, lambda: self._store.now() - event.accepted, event.principal)

    def _record(self, event: Event, write_result: Callable[[sqlite3.Connection], bool]) -> Event | None:
        """Write an event's result and claim the next event in one transaction; retry until the store accepts both."""

        def operation(db: sqlite3.Connection) -> tuple[bool, Event | None]:
            return write_result(db), self._claim_statement(db) if self.may_claim else None

        while not self._is_stopped:
            try:
                is_written, following = self._store.write(operation, may_use_reserve=True)
            except StoreError as error:
                self._logger.error(
                    "cannot record the result of event %s, will retry in %g s: %s", event.request_id, RETRY, error
                )
                time.sleep(RETRY)
                continue
            if not is_written:
                self._logger.warning(
                    "the lease of event %s ended while it ran and another worker has the event; "
                    "the result of this run is discarded",
                    event.request_id,
                )
            if following:
                self._add(following.id)
            return following
        return None


class DeliveryWorkers(LeaseWorkers):
    """Threads that deliver records through ``client``."""

    table = "record"
    thread_name = "serverfull-deliveries"

    def __init__(self, store: Store, holder: str, options: Options, client: DestinationClient) -> None:
        super().__init__(store, holder, options)
        self._client = client

    def _work(self) -> None:
        while not self._is_stopped:
            try:
                record = self._store.write(self._claim_statement, may_use_reserve=True) if self.may_claim else None
                if record is None:
                    self._wakeup.wait()
                    continue
                self._add(record.id)
                try:
                    self._handle(record)
                finally:
                    self._remove(record.id)
            except StoreError as error:
                self._logger.error("cannot deliver records, will retry in %g s: %s", RETRY, error)
                time.sleep(RETRY)

    def _claim_statement(self, db: sqlite3.Connection) -> Record | None:
        if not self._is_leader(db):
            return None
        return statements.claim_record(db, self._holder, self._store.now(), self._lease)

    def _handle(self, record: Record) -> None:
        state, due, error = self._deliver(record)
        failpoint("sent")
        self._store.write(lambda db: statements.update_record(db, record, state, due, error), may_use_reserve=True)
        failpoint("delivered")

    def _deliver(self, record: Record) -> tuple[str, float | None, str]:
        """Deliver a record once; return its new state, the time of the next delivery, and the error."""
        delivery = Delivery(
            record.kind,
            record.target,
            record.body,
            json.loads(record.attributes),
            record.request_id,
            record.function,
            record.trace_id,
            f"{record.request_id}-{record.id}",
        )
        if error := self._client.deliver(delivery):
            return "waiting", self._store.now() + retry_policy.redelivery_delay(record.tries, self._delays), error
        return "delivered", None, ""
