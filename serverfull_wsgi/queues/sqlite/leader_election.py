"""The choice of the one process that runs a store's events."""

from __future__ import annotations

from pathlib import Path

from serverfull_wsgi.storage.locks import FileLock


class Leader:
    """This process's part in the election: two file locks below ``directory``.

    The leader holds the lock ``dispatching``. A worker (``serverfull worker``) also holds the lock ``worker``, and a
    web process leads only while no process holds that one. The kernel releases the locks of a process that dies.
    """

    def __init__(self, directory: Path) -> None:
        self._leadership, self._worker = FileLock(directory / "dispatching"), FileLock(directory / "worker")
        self.is_worker = False
        self.is_leading = False
        self._is_resigned = False

    def update(self) -> bool:
        """Acquire or give up leadership, as the locks allow now, and return whether this process leads.

        A process that stops leading finishes its running events under their leases.
        """
        may_lead = not self._is_resigned and self._may_lead()
        if may_lead and not self.is_leading:
            self.is_leading = self._leadership.acquire()
        elif not may_lead and self.is_leading:
            self._leadership.release()
            self.is_leading = False
        return self.is_leading

    def _may_lead(self) -> bool:
        if self.is_worker:
            return self._worker.is_held or self._worker.acquire()
        # shared, so that two web processes that test the lock at the same time do not take each other for a worker
        may_lead = self._worker.acquire(shared=True)
        self._worker.release()
        return may_lead

    def resign(self) -> None:
        """Give up leadership at the next `update`, for good: another process may lead while this one stops."""
        self._is_resigned = True

    def close(self) -> None:
        self._leadership.close()
        self._worker.close()
