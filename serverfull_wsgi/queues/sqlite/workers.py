"""Threads that claim leased rows and work on them: one kind runs events, the other delivers records.

Each thread claims a row, works on it, and writes the result under the fence of its lease. A thread without a row to
claim is one of the `IdleThreads`. All threads of a process hold their leases under one name, the *holder*.

An event that is accepted while a thread of its process is idle takes a short way::

    accept      insert with a lease ──▶ commit ──▶ 202 ... insert the next one ──▶ commit
                                           │                                        ▲
    thread                                 └──▶ run ──▶ end, deferred ──────────────┘  after `LINGER` at the latest
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from serverfull_wsgi.events import retry_policy
from serverfull_wsgi.events.destinations import Delivery, DestinationClient
from serverfull_wsgi.events.runner import EventRunner, Final, Retry
from serverfull_wsgi.protocols import Run
from serverfull_wsgi.queues.sqlite import statements
from serverfull_wsgi.queues.sqlite.idle_threads import IdleThread, IdleThreads
from serverfull_wsgi.queues.sqlite.leader_election import is_leader
from serverfull_wsgi.queues.sqlite.options import Options
from serverfull_wsgi.queues.sqlite.statements import Accepted, Event, Lease, Record
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.storage.group_commit import StoreError, Write

Row = TypeVar("Row")
WriteResult = Callable[[sqlite3.Connection], bool]

IDLE = 1.0  # seconds a thread waits for a wake-up before it tries to claim anyway
RETRY = 0.5  # seconds before a write that failed is tried again: the disk may have space again
LINGER = 0.002  # seconds that the end of an event waits for the transaction of an accept: as long as a slow commit

DAMAGED = "the store is damaged: the event differs from the event that was accepted"


class Insert(Protocol):
    """A function that inserts an event in a transaction, with a lease if the event may run at once."""

    def __call__(self, db: sqlite3.Connection, *, lease: Lease | None) -> Accepted: ...


def failpoint(name: str) -> None:
    """Do nothing. Tests replace this function, to kill the process at each point between a claim and its result."""


class LeaseWorkers(Generic[Row]):
    """Threads that work on the rows of one table, each row under a lease of ``holder``.

    ``may_claim`` is true while this process is the leader. Without it, threads finish their rows and claim no others.
    """

    table = ""
    task = ""
    thread_name = ""

    def __init__(self, store: Store, holder: str, options: Options) -> None:
        self._store, self._holder, self._lease = store, holder, options.lease
        self._delays, self._logger = options.delays, options.logger
        self.may_claim = False
        self._is_stopped = False
        self._threads: list[threading.Thread] = []
        self._idle: IdleThreads[Row] = IdleThreads()
        self._may_be_due = False  # a row that no thread has tried to claim
        self._claimed: set[int] = set()
        self._reserved = 0  # threads that are taken for a row whose lease is not on the disk yet
        self._is_done = threading.Condition()

    def start(self, count: int) -> None:
        """Start ``count`` threads, unless the threads run already. A further call starts those that failed to start."""
        for number in range(len(self._threads), count):
            thread = threading.Thread(target=self._work, name=f"{self.thread_name}-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def wake(self) -> None:
        """Wake a thread to claim a row, if this process may claim rows and a thread is idle."""
        if self.may_claim:
            self._may_be_due = True
            if thread := self._idle.take():
                thread.give(None)

    def wake_all(self) -> None:
        for _ in self._threads:
            self.wake()

    def renew(self) -> None:
        """Extend the leases on all claimed rows. Raises `StoreError`."""
        if ids := self._claimed_ids():
            until = self._store.now() + self._lease
            self._store.write(
                lambda db: statements.renew(db, self.table, ids, self._holder, until), may_use_reserve=True
            )

    def drain(self, timeout: float) -> bool:
        """Return whether all claimed rows were finished within ``timeout`` seconds."""
        with self._is_done:
            return self._is_done.wait_for(lambda: not self._claimed and not self._reserved, timeout)

    def stop(self) -> None:
        """End each thread after the row it works on."""
        self._is_stopped = True
        while thread := self._idle.take():
            thread.give(None)

    def _work(self) -> None:
        """Work on rows until this process stops. No error ends the thread, since no other thread would replace it."""
        row = None
        while not self._is_stopped:
            try:
                row = self._step(row)
            except Exception as error:
                is_bug = not isinstance(error, StoreError)
                self._logger.error("cannot %s, will retry in %g s: %s", self.task, RETRY, error, exc_info=is_bug)
                time.sleep(RETRY)
                row, self._may_be_due = None, True

    def _step(self, row: Row | None) -> Row | None:
        """Work on ``row``, or wait for a row. Return the next row if this thread has one already."""
        raise NotImplementedError

    def _wait(self, seconds: float) -> Row | None:
        """Wait for a row, a wake-up or the end of ``seconds``."""
        return self._idle.wait(seconds, lambda: self._should_claim() or self._is_stopped)

    def _wait_idle(self) -> Row | None:
        """Wait up to `IDLE` seconds. After that the thread tries to claim a row, whether it was woken or not."""
        row = self._wait(IDLE)
        if row is None:
            self._may_be_due = True
        return row

    def _should_claim(self) -> bool:
        return self.may_claim and self._may_be_due

    def _is_leader(self, db: sqlite3.Connection) -> bool:
        """Return whether this process leads by the store: a process that was suspended has an old ``may_claim``."""
        return is_leader(db, self._holder, self._store.now())

    def _add(self, id: int) -> None:
        with self._is_done:
            self._claimed.add(id)

    def _remove(self, id: int) -> None:
        with self._is_done:
            self._claimed.discard(id)
            self._is_done.notify_all()

    def _claimed_ids(self) -> list[int]:
        with self._is_done:
            return list(self._claimed)


class EventWorkers(LeaseWorkers[Event]):
    """Threads that run events; ``run`` runs one invocation, as `Dispatcher.invoke` does."""

    table = "event"
    task = "run events"
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

    def accept(self, insert: Insert) -> str:
        """Insert an event with ``insert`` and return its request id. Raises as `Store.accept`.

        An idle thread gets the event as soon as the event is on the disk. Otherwise the event is queued.
        """
        acceptance = Acceptance(self, insert)
        return self._store.accept(acceptance.insert, acceptance.settle).request_id

    def reserve(self, db: sqlite3.Connection) -> tuple[IdleThread[Event], Lease] | None:
        """Take an idle thread for an event that the transaction inserts, and return the thread and the event's lease.

        Return None if the event must be queued: no thread is idle, this process does not lead, or older events wait.
        """
        with self._is_done:
            if not self.may_claim or self._may_be_due or (thread := self._idle.take()) is None:
                return None
            self._reserved += 1
        may_run, now = False, self._store.now()
        try:
            may_run = statements.may_run_at_once(db, self._holder, now)
        finally:
            if not may_run:
                self.hand_over(thread, None)
        return (thread, Lease(self._holder, now + self._lease)) if may_run else None

    def hand_over(self, thread: IdleThread[Event], event: Event | None) -> None:
        """Give the thread its event, whose lease is on the disk now; None if there is none after all."""
        with self._is_done:
            self._reserved -= 1
            if event:
                self._claimed.add(event.id)
            self._is_done.notify_all()
        thread.give(event)

    def _step(self, row: Event | None) -> Event | None:
        event = row or self._claim() or self._wait_idle()
        return self._handle(event) if event else None

    def _claim(self) -> Event | None:
        if not self._should_claim():
            return None
        self._may_be_due = False
        try:
            event = self._store.write(self._claim_statement, may_use_reserve=True)
        except StoreError as error:
            self._logger.error("cannot claim an event, will retry in %g s: %s", RETRY, error)
            time.sleep(RETRY)
            self._may_be_due = True
            return None
        if event:
            self._add(event.id)
            self._may_be_due = True  # after one event there may be more
        return event

    def _claim_statement(self, db: sqlite3.Connection) -> Event | None:
        if not self._is_leader(db):
            return None
        return statements.claim(db, self._holder, self._store.now(), self._lease, time.time())

    def _handle(self, event: Event) -> Event | None:
        """Run one event; return the next one if this thread got one meanwhile."""
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

    def _run(self, event: Event) -> WriteResult:
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

    def _record(self, event: Event, write_result: WriteResult) -> Event | None:
        """Write an event's result, and return the next event for this thread.

        If events wait, the result shares the transaction that claims one of them. Otherwise the result waits a moment
        for the transaction of an event that is accepted.
        """
        deferred = self._store.defer(write_result)
        following = self._claim() or self._wait(LINGER)
        self._finish(event, write_result, deferred)
        return following

    def _finish(self, event: Event, write_result: WriteResult, deferred: Write) -> None:
        """Return once an event's result is on the disk. A result that failed together with others is written alone."""
        try:
            is_written = self._store.finish(deferred)
        except StoreError:
            is_written = self._written(event, write_result)
        if not is_written:
            self._logger.warning(
                "the lease of event %s ended while it ran and another worker has the event; "
                "the result of this run is discarded",
                event.request_id,
            )

    def _written(self, event: Event, write_result: WriteResult) -> bool:
        """Write an event's result, however long the store refuses, and return whether its lease was still valid."""
        while not self._is_stopped:
            try:
                return self._store.write(write_result, may_use_reserve=True)
            except StoreError as error:
                self._logger.error(
                    "cannot record the result of event %s, will retry in %g s: %s", event.request_id, RETRY, error
                )
                time.sleep(RETRY)
        return True  # another process runs the event again


class Acceptance:
    """One event on its way into the store, and the idle thread that is taken for the event."""

    def __init__(self, workers: EventWorkers, insert: Insert) -> None:
        self._workers, self._insert = workers, insert
        self._thread: IdleThread[Event] | None = None

    def insert(self, db: sqlite3.Connection) -> Accepted:
        """Insert the event in a transaction. This is called again if the transaction fails."""
        self._hand_over(None)
        self._thread, lease = self._workers.reserve(db) or (None, None)
        return self._insert(db, lease=lease)

    def settle(self, write: Write) -> None:
        """Let the event run, if it is on the disk."""
        failpoint("accepted")
        accepted: Accepted | None = write.result
        has_thread = self._thread is not None
        self._hand_over(accepted.event if accepted else None)
        if accepted and not has_thread:
            self._workers.wake()

    def _hand_over(self, event: Event | None) -> None:
        thread, self._thread = self._thread, None
        if thread:
            self._workers.hand_over(thread, event)


class DeliveryWorkers(LeaseWorkers[Record]):
    """Threads that deliver records through ``client``."""

    table = "record"
    task = "deliver records"
    thread_name = "serverfull-deliveries"

    def __init__(self, store: Store, holder: str, options: Options, client: DestinationClient) -> None:
        super().__init__(store, holder, options)
        self._client = client

    def _step(self, row: Record | None) -> Record | None:
        record = row or self._claim() or self._wait_idle()
        if record:
            self._add(record.id)
            try:
                self._handle(record)
            finally:
                self._remove(record.id)
        return None

    def _claim(self) -> Record | None:
        if not self._should_claim():
            return None
        self._may_be_due = False
        record = self._store.write(self._claim_statement, may_use_reserve=True)
        self._may_be_due = self._may_be_due or record is not None
        return record

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
