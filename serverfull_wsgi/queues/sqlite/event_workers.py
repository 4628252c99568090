"""Threads that run events: claim one, try it, and write down what came of it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from serverfull_wsgi.domain import Run
from serverfull_wsgi.events.runner import EventRunner, Final, Retry
from serverfull_wsgi.queues.sqlite import statements
from serverfull_wsgi.queues.sqlite.lease_workers import AGAIN, LeaseWorkers
from serverfull_wsgi.queues.sqlite.statements import Event
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.storage.group_commit import StoreError


class EventWorkers(LeaseWorkers):
    """Runs events; `run` is what runs one."""

    table = "event"

    def __init__(self, store: Store, run: Run, **common: object) -> None:
        super().__init__(store, **common)  # type: ignore[arg-type]
        self._try = EventRunner(run, self._delays, self._logger, self._metrics)

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
        return statements.claim(db, self._name, self._store.now(), self._lease, time.time())

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
            self._store.write(lambda db: statements.release(db, ids, self._name, self._store.now()), vital=True)

    def _attempt(self, event: Event) -> Callable[[sqlite3.Connection], bool]:
        """What is to be written once the event was run, or not run."""
        now, came = self._store.now, self._tried(event)
        if isinstance(came, Retry):
            return lambda db: statements.postpone(db, event, came.counts, now() + came.delay, came.error)
        return lambda db: statements.end(db, event, came, now(), time.time())

    def _tried(self, event: Event) -> Retry | Final:
        if event.is_damaged:
            self._logger.error("event %s is not what was accepted: the store is damaged", event.id)
            return Final("failed", "", event.counts, "the store was damaged, and this is not what was accepted")
        return self._try.run(event, lambda: self._store.now() - event.accepted)

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
