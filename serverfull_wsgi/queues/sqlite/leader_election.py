"""Which process runs the events of a store: one at a time, a ``serverfull worker`` before a web process."""

from __future__ import annotations

from serverfull_wsgi.queues.sqlite.store import Store


class Leader:
    """Asks for the lead again and again, by `look`, and gives it up to a worker; a holder's death frees it at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_worker = False
        self.leads = False
        self.resigns = False  # set by a process that ends: whatever it finishes yet, another may lead

    def look(self) -> bool:
        """Whether this process leads now. What it has in work it may finish either way: leases see to that."""
        store = self._store
        if self.resigns:
            if self.leads:
                store.dispatching.release()
            self.leads = False
            return False
        if self.is_worker:
            may = store.worker.is_held or store.worker.acquire()
        else:
            may = store.worker.acquire(shared=True)  # web processes ask together, so none takes another for a worker
            store.worker.release()
        if may and not self.leads:
            self.leads = store.dispatching.acquire()
        elif not may and self.leads:
            store.dispatching.release()
            self.leads = False
        return self.leads
