"""Threads that deliver records: claim one, send it, and write down whether it was accepted."""

from __future__ import annotations

import json
import sqlite3
import time

from serverfull_wsgi.events import retry_policy
from serverfull_wsgi.events.destinations import Delivery, DestinationClient
from serverfull_wsgi.queues.sqlite import statements
from serverfull_wsgi.queues.sqlite.lease_workers import AGAIN, LeaseWorkers
from serverfull_wsgi.queues.sqlite.statements import Record
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.storage.group_commit import StoreError


class DeliveryWorkers(LeaseWorkers):
    """Delivers records; ``senders`` sends one."""

    table = "record"

    def __init__(self, store: Store, senders: DestinationClient, **common: object) -> None:
        super().__init__(store, **common)  # type: ignore[arg-type]
        self._senders = senders

    def work(self) -> None:
        """What each thread does until it is stopped."""
        while not self._stopped:
            try:
                record = self._store.write(self._claiming, vital=True) if self.claims else None
                if record is None:
                    self._bell.wait()
                    continue
                self._took(record.id)
                try:
                    self._deliver(record)
                finally:
                    self._finished(record.id)
            except StoreError as error:
                self._logger.error("records cannot be delivered yet: %s", error)
                time.sleep(AGAIN)

    def _claiming(self, db: sqlite3.Connection) -> Record | None:
        return statements.claim_record(db, self._name, self._store.now(), self._lease)

    def _deliver(self, record: Record) -> None:
        state, due, error = self._sent(record)
        self._mark("sent")
        self._store.write(lambda db: statements.settle_record(db, record, state, due, error), vital=True)
        self._mark("delivered")

    def _sent(self, record: Record) -> tuple[str, float | None, str]:
        """What became of one try: the record's state, when it is due again, and what went wrong."""
        parcel = Delivery(
            record.kind,
            record.target,
            record.body,
            json.loads(record.attributes),
            record.request_id,
            record.function,
            record.trace_id,
            f"{record.request_id}-{record.id}",
        )
        if error := self._senders.deliver(parcel):
            return "waiting", self._store.now() + retry_policy.redelivery_delay(record.tries, self._delays), error
        return "delivered", None, ""
