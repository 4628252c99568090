"""Threads that run events: claim one, run it, and write down what came of it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import NamedTuple

from serverfull_wsgi.domain import Invocation, Outcome, Run
from serverfull_wsgi.errors import ServiceError, TooManyRequestsException, ZeroReservedConcurrency
from serverfull_wsgi.lineage import hops
from serverfull_wsgi.names import FunctionName
from serverfull_wsgi.queues import delivery, events
from serverfull_wsgi.queues.delivery import Counts, Limits
from serverfull_wsgi.queues.destinations import Ended, error_message, records
from serverfull_wsgi.queues.events import Ending, Event
from serverfull_wsgi.queues.store import Store, StoreError
from serverfull_wsgi.queues.threads import AGAIN, Threads
from serverfull_wsgi.shield import is_the_servers


class Attempts(Threads):
    """Runs events; `run` is what runs one."""

    table = "event"

    def __init__(self, store: Store, run: Run, **common: object) -> None:
        super().__init__(store, **common)  # type: ignore[arg-type]
        self._run = run

    def work(self) -> None:
        """What each thread does until it is stopped."""
        event = None
        while not self._stopped:
            event = event or self._claim()
            if event is None:
                self._bell.wait()
                continue
            event = self._handle(event)

    def _claim(self) -> Event | None:
        if not self.claims:
            return None
        try:
            event = self._store.write(self._claiming, vital=True)
        except StoreError as error:
            self._logger.error("no event can be taken: %s", error)
            time.sleep(AGAIN)
            return None
        if event:
            self._took(event.id)
        return event

    def _claiming(self, db: sqlite3.Connection) -> Event | None:
        return events.claim(db, self._name, self._store.now(), self._lease, time.time())

    def _handle(self, event: Event) -> Event | None:
        """Runs one event and returns the next, which was claimed as this one's end was written."""
        following = None
        try:
            self._mark("claimed")
            settle = self._attempt(event)
            self._mark("ran")
            following = self._settle(event, settle)
            self._mark("recorded")
        finally:
            self._finished(event.id)
        return following

    def release(self) -> None:
        """Gives back what is still in work. Raises `StoreError`."""
        if ids := self._ids():
            self._store.write(lambda db: events.release(db, ids, self._name, self._store.now()), vital=True)

    def _attempt(self, event: Event) -> Callable[[sqlite3.Connection], bool]:
        """What is to be written once the event was run, or not run."""
        if event.is_damaged:
            self._logger.error("event %s is not what was accepted: the store is damaged", event.id)
            ending = Ending("failed", "", event.counts, "the store was damaged, and this is not what was accepted")
            return lambda db: events.end(db, event, ending, self._store.now(), time.time())
        name = FunctionName.parse(event.function, region="us-east-1", account_id="0" * 12)  # the ARN has its own
        age, limits = self._store.now() - event.accepted, Limits.of(event.config)
        if condition := delivery.before(event.counts, age, hops(event.trace_id, name.lineage), limits):
            return self._ending(event, name, condition, event.counts, None)
        tried = self._try(event, name, age)
        counts = Counts(event.attempts + tried.counts, event.throttles + tried.throttled, event.lost)
        if not tried.failure:
            return self._ending(event, name, delivery.SUCCESS, counts, tried.outcome)
        step = delivery.after(tried.failure, counts, self._store.now() - event.accepted, limits, self._delays)
        if step.condition:
            return self._ending(event, name, step.condition, counts, tried.outcome, tried.error)
        return lambda db: events.postpone(db, event, counts, self._store.now() + step.delay, tried.error)

    def _try(self, event: Event, name: FunctionName, age: float) -> _Tried:
        invocation = Invocation(name, event.payload, event.request_id, trace_id=event.trace_id)
        try:
            outcome = self._run(invocation, age)
        except ZeroReservedConcurrency as error:
            return _Tried(delivery.NEVER, None, str(error))
        except TooManyRequestsException as error:
            return _Tried(delivery.THROTTLED, None, str(error))
        except BaseException as error:  # the function has gone since, or its fetcher fails, or leaves by an exit
            if is_the_servers(error):
                raise
            self._logger.error("an event could not be run: %s", error, extra=_fields(event, name))
            return _Tried(delivery.THROTTLED, None, f"{type(error).__name__}: {error}"[:1024])
        if outcome.function_error is None:
            return _Tried("", outcome)
        return _Tried(delivery.ATTEMPT_FAILED, outcome, error_message(outcome))

    def _ending(
        self,
        event: Event,
        name: FunctionName,
        condition: str,
        counts: Counts,
        outcome: Outcome | None,
        error: str = "",
    ) -> Callable[[sqlite3.Connection], bool]:
        wall, succeeded = time.time(), condition == delivery.SUCCESS
        count = counts.attempts + counts.lost
        ended = Ended(event.request_id, name, event.payload, condition, count, wall, outcome)
        told = [record for record in records(ended, event.config) if not _goes_round(record[1], event, name)]
        ending = Ending(
            "succeeded" if succeeded else "failed",
            condition,
            counts,
            error,
            outcome.payload if outcome else None,
            told,
        )

        def end(db: sqlite3.Connection) -> bool:
            return events.end(db, event, ending, self._store.now(), wall)

        if not succeeded:
            self._gave_up(event, name, condition)
        return end

    def _gave_up(self, event: Event, name: FunctionName, condition: str) -> None:
        self._logger.error("an event was given up: %s", condition, extra=_fields(event, name))
        self._count(name.name, "AsyncEventsDropped")
        if condition == delivery.LOOP:
            self._count(name.name, "RecursiveInvocationsDropped")

    def _settle(self, event: Event, settle: Callable[[sqlite3.Connection], bool]) -> Event | None:
        """Writes what came of an event and claims the next in one transaction; tries for as long as it takes."""

        def operation(db: sqlite3.Connection) -> tuple[bool, Event | None]:
            return settle(db), self._claiming(db) if self.claims else None

        while not self._stopped:
            try:
                kept, following = self._store.write(operation, vital=True)
            except StoreError as error:
                self._logger.error("what became of an event cannot be written yet: %s", error)
                time.sleep(AGAIN)
                continue
            if not kept:
                self._logger.warning("event %s was run elsewhere meanwhile; this end of it does not count", event.id)
            if following:
                self._took(following.id)
            return following
        return None


class _Tried(NamedTuple):
    """What an attempt came to; ``failure`` is empty for a success."""

    failure: str
    outcome: Outcome | None
    error: str = ""

    @property
    def counts(self) -> int:
        return int(self.failure in ("", delivery.ATTEMPT_FAILED))

    @property
    def throttled(self) -> int:
        return int(self.failure == delivery.THROTTLED)


def _goes_round(target: str, event: Event, name: FunctionName) -> bool:
    """Whether a record's target is a function that this chain has come through too often to be called again."""
    if target.startswith(("http://", "https://")):
        return False
    try:
        function = FunctionName.parse(target, region=name.region, account_id=name.account_id)
    except ServiceError:  # an ARN of something else
        return False
    return hops(event.trace_id, function.lineage) >= delivery.MOST_HOPS


def _fields(event: Event, name: FunctionName) -> dict[str, str]:
    return {"request_id": event.request_id, "function_name": name.name}
