"""An open store with the threads of one process that work on it, from `SqliteQueue.start` to `SqliteQueue.close`."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import socket
import threading
import time

from serverfull_wsgi.events.destinations import DestinationClient
from serverfull_wsgi.protocols import Run, Send
from serverfull_wsgi.queues.sqlite import statements
from serverfull_wsgi.queues.sqlite.leader_election import Leader
from serverfull_wsgi.queues.sqlite.options import Options
from serverfull_wsgi.queues.sqlite.store import Store, StoreLostError, exposure
from serverfull_wsgi.queues.sqlite.workers import DeliveryWorkers, EventWorkers
from serverfull_wsgi.storage.group_commit import StoreError
from serverfull_wsgi.storage.liveness import LivenessLocks

TICK = 0.1  # seconds between two rounds of the housekeeper: the longest an event of another process waits for its start
DELIVERY_THREADS = 2  # so that a destination that hangs does not hold up the others
RETENTION_PERIOD = 60.0  # seconds between two removals of old events
HANG_CHECK_PERIOD = 0.5  # seconds between two looks at the process that holds the store's gate
DEATHS_PERIOD = 0.5  # seconds between two checks for processes that died
RESERVE_PERIOD = 1.0  # seconds between two attempts to reserve disk space again
RENEWALS = 3  # of a lease within its length, so that two may fail
AGE_PERIOD = 10.0  # seconds between two reports of the oldest event's age: statsd's own period
FREED_PAGES = 1000  # that one vacuum gives back to the file system: 4 MB, since the store is locked meanwhile
JOIN = 5.0  # seconds to wait for the housekeeper's last round


class Timer:
    """A deadline that is ``period`` seconds after its last restart."""

    def __init__(self, period: float, *, first: float | None = None) -> None:
        self._period = period
        self.restart(first)

    def restart(self, seconds: float | None = None) -> None:
        self._deadline = time.monotonic() + (self._period if seconds is None else seconds)

    def is_over(self) -> bool:
        return time.monotonic() >= self._deadline


class Session:
    """An open store, the workers and the housekeeper of this process.

    Opening one starts the housekeeper; worker threads start when this process first becomes the leader. A forked child
    must not use its parent's session: the store refuses it, and `close` does nothing there.

    Raises `ConfigurationError` if the store cannot be used.
    """

    def __init__(self, options: Options, run: Run, send: Send) -> None:
        self.pid = os.getpid()
        self._options, self._logger = options, options.logger
        self.store = store = Store(options.path, options.owner, options.logger)
        if store.is_first and (warning := exposure(options.path)):
            self._logger.warning("%s", warning)
        holder = f"{socket.gethostname()}:{self.pid}:{os.urandom(6).hex()}"
        self._liveness = LivenessLocks(store.locks / "owners", holder)
        self._hung_holder, self._hang_check = store.hung_holder(options.lease), Timer(HANG_CHECK_PERIOD)
        self.leader = Leader(store, holder, options.lease, self._liveness, options.logger)
        self.events = EventWorkers(store, holder, options, run)
        client = DestinationClient(send, options.endpoint, options.logger, options.metrics)
        self._deliveries = DeliveryWorkers(store, holder, options, client)
        self.is_closing = self.is_closed = False
        self._stopped = threading.Event()
        self._renewal, self._reserve = Timer(options.lease / RENEWALS), Timer(RESERVE_PERIOD)
        self._deaths, self._retention = Timer(DEATHS_PERIOD, first=0.0), Timer(RETENTION_PERIOD)
        self._removed: statements.Position | None = None  # the last event that retention examined in this round
        self._age = Timer(AGE_PERIOD, first=0.0)
        self._last_error = ""
        atexit.register(self.close)
        self._thread = threading.Thread(target=self._housekeeper, name="serverfull-events-housekeeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait up to the drain time for running events and deliveries, give back the leases that remain, and close."""
        if self.is_closing or self.pid != os.getpid():
            return
        self.is_closing = True
        self.leader.resign()
        self.events.may_claim = self._deliveries.may_claim = False
        self._drain(self._options.drain)
        self._stopped.set()
        try:
            self.events.release()
        except StoreError as error:
            self._logger.error("cannot give leases back, so their events run again when the leases end: %s", error)
        self.events.stop()
        self._deliveries.stop()
        self._thread.join(timeout=JOIN)
        self.is_closed = True
        self.leader.close()
        self._liveness.close()
        self.store.close()
        atexit.unregister(self.close)

    def _drain(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        if not self.events.drain(seconds):
            self._logger.warning(
                "events still run after the drain time of %g s; another process runs them again", seconds
            )
        if not self._deliveries.drain(deadline - time.monotonic()):
            self._logger.warning(
                "records are still being delivered after the drain time of %g s; another process delivers them again",
                seconds,
            )

    def _housekeeper(self) -> None:
        while not self._stopped.wait(TICK):
            try:
                if self._hang_check.is_over():
                    self._hang_check.restart()
                    self._end_hung_holder()
                self._tick()
                self._last_error = ""
            except StoreLostError:  # it is logged once
                pass
            except Exception as error:  # the disk may work again later, and the leases must be renewed then
                if str(error) != self._last_error:
                    self._logger.error("the event store %s failed, will retry: %s", self.store.path, error)
                self._last_error = str(error)

    def _end_hung_holder(self) -> None:
        """Kill the process that holds the store's gate, if it has shown no sign of life for the length of a lease."""
        pid = self._hung_holder.observe()
        if pid is not None and self._hung_holder.end(pid):
            self._logger.error(
                "process %d held the lock of the event store %s for %g s without a sign of life, so that no event "
                "could be accepted or run; it was killed",
                pid,
                self.store.path,
                self._hung_holder.seconds,
            )

    def _tick(self) -> None:
        """Keep the reserve, the leases and the leadership of this process."""
        if self._reserve.is_over():
            self._reserve.restart()
            with contextlib.suppress(OSError):
                self.store.reserve_space()
        if self._renewal.is_over():
            self._renewal.restart()
            self.events.renew()
            self._deliveries.renew()
        is_leading = self.leader.update()
        self.events.may_claim = self._deliveries.may_claim = is_leading
        if is_leading:
            self._lead_tick()
        if self._options.metrics and self._age.is_over():
            self._age.restart()
            age = self.store.read(lambda db: statements.oldest_due_age(db, self.store.now()))
            self._options.metrics.set_gauge("OldestDueEventAge", age * 1000)

    def _lead_tick(self) -> None:
        """Do the leader's share: wake workers for due rows, expire the leases of dead processes, remove old events."""
        store = self.store
        self.events.start(self._options.workers)
        self._deliveries.start(DELIVERY_THREADS)
        if self._deaths.is_over():
            self._deaths.restart()
            self._expire_dead_leases()
        due = store.read(statements.next_due)
        if due is not None and due <= store.now():
            self.events.wake_all()
            self._deliveries.wake_all()
        if self._retention.is_over():
            self._retention.restart()
            self._remove_expired()

    def _remove_expired(self) -> None:
        """Remove a page of old events and one of old keys of accepts; the next tick goes on if there are more."""
        store, after = self.store, self._removed or statements.Position()
        self._removed = store.write(
            lambda db: statements.remove_expired(db, after, store.now(), self._options.retention)
        )
        has_more_keys = store.write(lambda db: statements.remove_expired_keys(db, store.now()))
        store.write(lambda db: db.execute(f"PRAGMA incremental_vacuum({FREED_PAGES})").fetchall())
        if self._removed or has_more_keys:
            self._retention.restart(TICK)

    def _expire_dead_leases(self) -> None:
        """End the leases of processes that died, so that their events run again at once."""
        for holder in self._liveness.dead():
            expire = functools.partial(statements.expire, holder=holder, now=self.store.now())
            if self.store.write(expire, may_use_reserve=True):
                self._logger.warning("process %s died; its running events will be retried", holder)
