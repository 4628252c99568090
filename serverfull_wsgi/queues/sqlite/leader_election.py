"""The choice of the one process that runs a store's events: a lease in the store.

The table ``leader`` has at most one row, the *term* of the present leader::

              acquire                 renew, each time a third of the lease is over
    no term ----------> term of P ------------------------------------------------> term of P
       ^                  |    |
       +---- release -----+    +---- acquire, by Q ----> term of Q

Q may acquire the leadership if the term of P has ended, if P died, or if Q is a worker (``serverfull worker``) and P is
a web process. Each step is one transaction, so two processes never hold one term. Each claim of an event checks the
term in its own transaction (`is_leader`). So a process that was suspended claims nothing after another process took
over, even before its housekeeper notices.

Processes of the version before elect their leader by an exclusive lock on the file ``dispatching``. `Store` holds that
lock shared, and no process acquires the leadership without it; see `Store.excludes_older_leader`.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from typing import NamedTuple

from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.storage.group_commit import StoreError
from serverfull_wsgi.storage.liveness import LivenessLocks

RENEWED_SHARE = 2 / 3  # of the lease: a term with less time left is renewed, so two renewals may fail


class Term(NamedTuple):
    """The leadership of one process, until a point of store time."""

    holder: str
    is_worker: bool
    until: float


def term(db: sqlite3.Connection) -> Term | None:
    """Return the term of the last leader, or None if that process released the leadership."""
    row = db.execute("SELECT holder, is_worker, until FROM leader").fetchone()
    return Term(row[0], bool(row[1]), row[2]) if row else None


def is_leader(db: sqlite3.Connection, holder: str, now: float) -> bool:
    """Return whether ``holder`` has a term that has not ended."""
    query = "SELECT 1 FROM leader WHERE holder = ? AND until > ?"
    return db.execute(query, (holder, now)).fetchone() is not None


class Leader:
    """This process's part in the election, under the name ``holder``; a term lasts for ``lease`` seconds."""

    def __init__(
        self, store: Store, holder: str, lease: float, liveness: LivenessLocks, logger: logging.Logger
    ) -> None:
        self._store, self._holder, self._lease = store, holder, lease
        self._liveness, self._logger = liveness, logger
        self.is_worker = False
        self.is_leading = False
        self._is_resigned = False

    def update(self) -> bool:
        """Acquire, renew or give up the leadership, and return whether this process leads. Raises `StoreError`.

        A process that stops leading finishes its running events under their leases.
        """
        if self._is_resigned:
            self._release()
            return False
        found, now = self._store.read(term), self._store.now()
        if found is not None and found.holder == self._holder and found.until > now:
            is_fresh = found.until - now > self._lease * RENEWED_SHARE
            self.is_leading = (is_fresh and found.is_worker == self.is_worker) or self._acquire(found)
            return self.is_leading
        if self.is_leading:
            self._log_loss(found)
            self.is_leading = False
        if self._store.excludes_older_leader() and self._may_acquire(found, now):
            self.is_leading = self._acquire(found)
            if self.is_leading and found is not None and found.holder != self._holder:
                self._log_takeover(found, now)
        return self.is_leading

    def _may_acquire(self, found: Term | None, now: float) -> bool:
        return self._is_free(found, now) or (found is not None and self._liveness.is_dead(found.holder))

    def _is_free(self, found: Term | None, now: float) -> bool:
        """Return whether this process may end the term, by the term alone."""
        return (
            found is None
            or found.holder == self._holder
            or found.until <= now
            or (self.is_worker and not found.is_worker)
        )

    def _acquire(self, expected: Term | None) -> bool:
        """Start or renew this process's term; return False if the term is no longer ``expected``, and not free."""

        def operation(db: sqlite3.Connection) -> bool:
            now, found = self._store.now(), term(db)
            if found != expected and not self._is_free(found, now):
                return False
            row = (self._holder, self.is_worker, now + self._lease)
            db.execute("INSERT OR REPLACE INTO leader (one, holder, is_worker, until) VALUES (1, ?, ?, ?)", row)
            return True

        return self._store.write(operation, may_use_reserve=True)

    def _log_takeover(self, previous: Term, now: float) -> None:
        if previous.until > now and not self._liveness.is_dead(previous.holder):
            self._logger.info("this worker runs the events of %s from now on", self._store.path)
            return
        reason = "died" if previous.until > now else "does not respond: its lease ran out"
        self._logger.warning(
            "process %s, which ran the events of %s, %s; process %s runs them from now on",
            previous.holder,
            self._store.path,
            reason,
            self._holder,
        )

    def _log_loss(self, found: Term | None) -> None:
        if found is not None and found.holder != self._holder:
            self._logger.info(
                "process %s runs the events of %s now; this process finishes its running events",
                found.holder,
                self._store.path,
            )

    def resign(self) -> None:
        """Give up leadership at the next `update`, for good: another process may lead while this one stops."""
        self._is_resigned = True

    def _release(self) -> None:
        if self.is_leading:
            self._store.write(
                lambda db: db.execute("DELETE FROM leader WHERE holder = ?", (self._holder,)).rowcount,
                may_use_reserve=True,
            )
            self.is_leading = False

    def close(self) -> None:
        """Release the leadership. If the store cannot be written, the term ends in its time."""
        with contextlib.suppress(StoreError):
            self._release()
