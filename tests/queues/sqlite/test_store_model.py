"""H1: the store of several processes that start, stop and crash, compared with a model."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serverfull_wsgi.queues.sqlite import statements
from tests.support.battery import share
from tests.support.event_store import LEASE, ClockedStore, Time, accept_and_run, claim, end, put, states


class Model(RuleBasedStateMachine):
    """The store of several processes that start and stop, compared with dictionaries."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.time, self.count, self.process = Time(), 0, 0
        self.due, self.leases, self.ended, self.lost = {}, {}, {}, {}

    @initialize()
    def open(self):
        self.path = Path(self.folder.name, "events.sqlite3")
        self.store = ClockedStore(self.path, self.time)

    @rule()
    def accept(self):
        self.count += 1
        self.time.now += 0.001  # no two at the same time, so that the order is certain
        put(self.store, str(self.count))
        self.due[str(self.count)] = self.time.now

    @rule(is_leading=st.booleans())
    def accept_and_run(self, is_leading):
        """A process with an idle thread accepts an event. The event runs at once, unless older events are due."""
        self.count += 1
        self.time.now += 0.001
        id, is_due = str(self.count), any(due <= self.time.now for due in self.due.values())
        event = accept_and_run(self.store, id, f"process-{self.process}", is_leading)
        assert (event is not None) == (is_leading and not is_due)
        self.due[id] = self.time.now + LEASE if event else self.time.now
        if event:
            assert not event.is_damaged
            self.leases[id] = event
            self.late = [*getattr(self, "late", []), event]

    @rule()
    def claim(self):
        self.time.now += 0.001
        event = claim(self.store, f"process-{self.process}")
        suspected = {id for id in self.due if self.lost.get(id, 0) + (id in self.leases) >= 2}
        alone = any(self.lost.get(id, 0) >= 2 and self.due[id] > self.time.now for id in self.leases)
        ready = {id: due for id, due in self.due.items() if due <= self.time.now and not (alone and id in suspected)}
        if event is None:
            assert not ready
            return
        id = event.request_id
        assert ready[id] == min(ready.values())
        if id in self.leases:
            self.lost[id] = self.lost.get(id, 0) + 1
        assert event.lost == self.lost.get(id, 0)
        self.leases[id] = event
        self.due[id] = self.time.now + LEASE
        self.late = [*getattr(self, "late", []), event]

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def acknowledge(self, data):
        id = data.draw(st.sampled_from(sorted(self.leases)))
        assert end(self.store, self.leases.pop(id))
        del self.due[id]
        self.ended[id] = "succeeded"

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), delay=st.sampled_from([0.0, 1.0, 60.0]))
    def fail(self, data, delay):
        id = data.draw(st.sampled_from(sorted(self.leases)))
        event, due = self.leases.pop(id), self.time.now + delay
        assert self.store.write(lambda db: statements.postpone(db, event, event.counts, due, "no"))
        self.due[id] = due

    @precondition(lambda self: getattr(self, "late", []))
    @rule(data=st.data())
    def acknowledge_late(self, data):
        event = data.draw(st.sampled_from(self.late))
        if self.leases.get(event.request_id) is not event:
            assert not end(self.store, event)

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, 121.0]))
    def wait(self, seconds):
        self.time.now += seconds

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def renew(self, data):
        event = self.leases[data.draw(st.sampled_from(sorted(self.leases)))]
        until = self.time.now + LEASE
        self.store.write(lambda db: statements.renew(db, "event", [event.id], event.holder, until))
        self.due[event.request_id] = until

    @precondition(lambda self: self.leases)
    @rule()
    def expire(self):
        """All leases run out; `claim` then counts them as lost."""
        self.time.now = max(self.time.now, *(self.due[id] + 0.001 for id in self.leases), 0.0)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def find_dead(self, data):
        """The process that holds a lease is found to be dead."""
        holder = data.draw(st.sampled_from(sorted({event.holder for event in self.leases.values()})))
        self.store.write(lambda db: statements.expire(db, holder, self.time.now))
        for id, event in self.leases.items():
            if event.holder == holder:
                self.due[id] = min(self.due[id], self.time.now)

    @rule()
    def crash(self):
        """Another process takes over, and the leases stay as they are."""
        self.store.close()
        self.process += 1
        self.store = ClockedStore(self.path, self.time)

    @precondition(lambda self: self.leases)
    @rule()
    def restart(self):
        """A process stops in order, and gives its leases back."""
        ids = [event.id for event in self.leases.values()]
        for holder in {event.holder for event in self.leases.values()}:
            self.store.write(lambda db, holder=holder: statements.release(db, ids, holder, self.time.now))
        self.due.update(dict.fromkeys(self.leases, self.time.now))
        self.leases = {}
        self.store.close()
        self.process += 1
        self.store = ClockedStore(self.path, self.time)

    @invariant()
    def no_event_is_lost(self):
        if hasattr(self, "store"):
            expected = dict.fromkeys(self.due, "queued") | dict.fromkeys(self.leases, "running") | self.ended
            assert states(self.store) == expected

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
        self.folder.cleanup()


RUNS = share(3000, 25)
TestH1 = Model.TestCase
TestH1.pytestmark = pytest.mark.battery
TestH1.settings = settings(
    max_examples=RUNS, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
