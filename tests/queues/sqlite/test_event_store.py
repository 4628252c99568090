"""The event store: accepts, claims, leases, results, opening, and a full disk. H1 is here."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serverfull_wsgi import (
    Application,
    ConfigurationError,
    EventConfig,
    FunctionName,
    Invocation,
    ServiceException,
    SqliteQueue,
    StaticFetcher,
)
from serverfull_wsgi.events.retry_policy import Counts
from serverfull_wsgi.events.runner import Final
from serverfull_wsgi.queues.sqlite import admin, schema, statements
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.storage import group_commit
from serverfull_wsgi.storage.group_commit import StoreError
from serverfull_wsgi.storage.liveness import LivenessLocks
from serverfull_wsgi.storage.locks import FileLock, Gate
from tests.support.battery import share
from tests.support.handlers import hello
from tests.support.servers import ROOT, clean_environ

LEASE = 30.0
SUCCEEDED = Final("succeeded", "Success", Counts(1))
NAME = FunctionName.parse("hello", region="us-east-1", account_id="123456789012")


class Time:
    """A clock that moves only when a test moves it."""

    def __init__(self):
        self.now = 1000.0


class ClockedStore(Store):
    """A store whose time is a test's `Time`."""

    def __init__(self, path, time):
        super().__init__(path, "tests")
        self._time = time

    def now(self):
        return self._time.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def store(tmp_path, time):
    with closing(ClockedStore(tmp_path / "events.sqlite3", time)) as store:
        yield store


def put(store, id, payload=b"{}", config=EventConfig(), dedupe=""):  # noqa: B008  (frozen)
    invocation = Invocation(NAME, payload, id, trace_id="Root=1")
    return store.write(lambda db: statements.insert(db, invocation, config, dedupe, store.now(), 0.0))


def claim(store, holder="one"):
    return store.write(lambda db: statements.claim(db, holder, store.now(), LEASE, 0.0))


def end(store, event, final=SUCCEEDED):
    return store.write(lambda db: statements.end(db, event, final, store.now(), 0.0))


def states(store):
    return {event["requestId"]: event["state"] for event in store.read(lambda db: admin.events(db, "", 1000, None))}


def test_events_are_claimed_in_the_order_of_their_accepts(store, time):
    for id in "abc":
        put(store, id)
        time.now += 1
    assert [claim(store).request_id for _ in range(3)] == ["a", "b", "c"]
    assert claim(store) is None


def test_a_claim_uses_the_index(store):
    plan = store.read(
        lambda db: db.execute(
            "EXPLAIN QUERY PLAN SELECT id FROM event WHERE due <= ? ORDER BY due LIMIT 1", (1,)
        ).fetchall()
    )
    assert [row[3] for row in plan] == ["SEARCH event USING COVERING INDEX event_due (due<?)"]


def test_a_late_result_is_discarded_after_another_worker_claimed_the_event(store, time):
    put(store, "a")
    late = claim(store, "one")
    time.now += LEASE + 1
    again = claim(store, "two")
    assert (again.request_id, again.lost, again.runs) == ("a", 1, 2)
    assert not end(store, late)
    assert end(store, again)
    assert not end(store, again)


def test_a_lease_that_is_renewed_does_not_run_out(store, time):
    put(store, "a")
    event = claim(store, "one")
    time.now += LEASE - 1
    store.write(lambda db: statements.renew(db, "event", [event.id], "one", store.now() + LEASE))
    time.now += LEASE - 1
    assert claim(store, "two") is None


def test_the_leases_of_a_dead_process_end_at_once_and_its_late_results_are_discarded(store):
    put(store, "a")
    put(store, "b")
    late, other = claim(store, "dead"), claim(store, "alive")
    assert store.write(lambda db: statements.expire(db, "dead", store.now())) == 1
    again = claim(store, "alive")
    assert (again.request_id, again.lost) == ("a", 1)
    assert claim(store, "alive") is None
    assert not end(store, late)
    assert end(store, again)
    assert end(store, other)


def test_events_that_lost_two_leases_run_one_at_a_time_and_do_not_delay_others(store):
    for id in "abc":
        put(store, id)
    for _ in range(2):
        assert [claim(store, "dead").request_id for _ in range(2)] == ["a", "b"]
        store.write(lambda db: statements.expire(db, "dead", store.now()))
    suspect = claim(store, "alive")
    assert (suspect.request_id, suspect.lost) == ("a", 2)
    assert claim(store, "alive").request_id == "c"
    assert claim(store, "alive") is None
    end(store, suspect)
    assert claim(store, "alive").request_id == "b"


def test_a_process_is_dead_if_it_ended_without_close(tmp_path):
    code = "import sys\nfrom pathlib import Path\nfrom serverfull_wsgi.storage.liveness import LivenessLocks\n"
    code += "locks = LivenessLocks(Path(sys.argv[1]), 'killed')\nprint(flush=True)\nsys.stdin.read()"
    ours, child = LivenessLocks(tmp_path / "locks", "ours"), [sys.executable, "-c", code, str(tmp_path / "locks")]
    with subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.readline()
        assert list(ours.dead()) == []
        process.kill()
    assert list(ours.dead()) == ["killed"]
    ours.close()
    assert list(LivenessLocks(tmp_path / "locks", "another").dead()) == []


def test_a_released_lease_does_not_count_as_lost(store):
    put(store, "a")
    event = claim(store)
    store.write(lambda db: statements.release(db, [event.id], "one", store.now()))
    again = claim(store, "two")
    assert (again.request_id, again.lost, again.attempts) == ("a", 0, 0)
    assert not end(store, event)


def test_a_repeated_accept_is_recognised_for_ten_minutes(store, time):
    assert put(store, "a", dedupe="key") == "a"
    time.now += 599
    assert put(store, "b", dedupe="key") == "a"
    assert put(store, "c", dedupe="another") == "c"
    time.now += 2
    assert put(store, "d", dedupe="key") == "d"
    assert sorted(states(store)) == ["a", "c", "d"]


def test_an_end_and_its_records_are_one_transaction(store):
    put(store, "a")
    event = claim(store)
    final = Final("failed", "RetriesExhausted", Counts(3), "no", b"{}", [("on_failure", "next", "{}", None)])
    with pytest.raises(StoreError):  # the body of a record may not be NULL
        end(store, event, final)
    assert states(store) == {"a": "running"}
    assert end(store, event, final._replace(records=[("on_failure", "next", "{}", b"record")]))
    record = store.write(lambda db: statements.claim_record(db, "one", store.now(), LEASE))
    assert (record.target, record.body, record.request_id) == ("next", b"record", "a")


def test_an_event_past_its_retention_is_removed_unless_a_record_waits(store, time):
    for id, records in (("kept", [("on_success", "next", "{}", b"{}")]), ("removed", [])):
        put(store, id)
        end(store, claim(store), Final("succeeded", "Success", Counts(1), records=records))
    put(store, "waiting")
    time.now += 101
    assert store.write(lambda db: statements.remove_expired(db, store.now(), 100.0)) is False
    assert sorted(states(store)) == ["kept", "waiting"]


def test_the_file_stops_growing_when_events_are_removed(store, time):
    sizes = []
    for _ in range(6):
        for number in range(20):
            put(store, f"{time.now}-{number}", b'"' + b"x" * 50_000 + b'"')
            end(store, claim(store))
        time.now += 101
        store.write(lambda db: statements.remove_expired(db, store.now(), 100.0))
        store.write(lambda db: db.execute("PRAGMA incremental_vacuum(1000)").fetchall())
        sizes.append(store.path.stat().st_size)
    assert max(sizes[2:]) <= sizes[1] * 1.5 + 1_000_000


def test_a_failed_event_is_redriven_with_all_its_attempts(store):
    put(store, "a")
    assert not store.write(lambda db: admin.redrive(db, "a", store.now()))
    end(store, claim(store), Final("failed", "RetriesExhausted", Counts(3)))
    assert store.write(lambda db: admin.redrive(db, "a", store.now()))
    assert claim(store).counts == Counts()


def test_threads_share_commits_and_each_gets_its_own_result(store):
    commits = []

    def one(number):
        def operation(db):
            commits.append(db.total_changes)
            if number % 5 == 0:
                raise ValueError(f"{number}")
            return statements.insert(db, Invocation(NAME, b"{}", str(number)), EventConfig(), "", 1.0, 1.0)

        try:
            results[number] = store.write(operation)
        except StoreError as error:
            results[number] = error

    results = {}
    threads = [threading.Thread(target=one, args=[number]) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number for number, result in results.items() if isinstance(result, StoreError)} == set(range(0, 40, 5))
    assert len(states(store)) == 32


def test_writes_that_wait_too_long_are_refused_and_later_writes_succeed(store, monkeypatch):
    monkeypatch.setattr(group_commit, "TIMEOUT", 0.2)
    other = FileLock(store.locks / "writing")
    assert other.acquire()
    refused = []

    def one(number):
        try:
            put(store, str(number))
        except StoreError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=one, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert refused == [group_commit.TOO_SLOW] * 20
    assert put(store, "after") == "after"
    assert list(states(store)) == ["after"]


def test_a_thread_that_is_ended_while_it_writes_does_not_block_the_others(store):
    class Ended(BaseException):
        pass

    def ended(db):
        begun.set()
        assert may_end.wait(30)
        raise Ended

    def lead():
        with suppress(Ended):
            store.write(ended)

    def follow(number):
        put(store, str(number))

    begun, may_end = threading.Event(), threading.Event()
    threads = [threading.Thread(target=lead), *(threading.Thread(target=follow, args=[n]) for n in range(8))]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    may_end.set()
    for thread in threads:
        thread.join()
    assert len(states(store)) == 8


# Opening


def fill(path, count=20):
    with closing(Store(path, "tests")) as store:
        for number in range(count):
            put(store, f"id-{number}", payload(number))


def payload(number):
    return json.dumps({"number": number, "text": "x" * 200}).encode()


def test_a_store_of_an_older_version_is_migrated_and_one_of_a_newer_version_refused(tmp_path, monkeypatch):
    path = tmp_path / "events.sqlite3"
    fill(path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE event ADD COLUMN note TEXT"))
        with closing(Store(path, "tests")) as store:
            assert store.read(lambda db: db.execute("SELECT note FROM event").fetchall()) == [(None,)]
    with pytest.raises(
        ConfigurationError,
        match=r"has version 3, and this serverfull-wsgi reads versions up to 2; run the serverfull-wsgi",
    ):
        Store(path, "tests")


def test_a_store_of_another_application_is_refused_while_it_has_events_or_is_in_use(tmp_path):
    path = tmp_path / "events.sqlite3"
    fill(path, 1)
    with pytest.raises(ConfigurationError, match=r"belongs to the application 'tests' and has 1 of its events"):
        Store(path, "another")
    with closing(Store(path, "tests")) as store:
        end(store, claim(store))
        with pytest.raises(ConfigurationError, match=r"belongs to the application 'tests' and is in use"):
            Store(path, "another")
    Store(path, "another").close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged (the file is empty). Nothing was started"),
        (b"This is a text and not a database. " * 100, "is damaged (file is not a database). Nothing was started"),
    ],
)
def test_a_file_that_is_not_a_store_is_refused_and_not_changed(tmp_path, content, message):
    path = tmp_path / "events.sqlite3"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        Store(path, "tests")
    assert message in str(caught.value)
    assert path.read_bytes() == content


def test_an_sqlite_file_that_is_not_a_store_is_refused(tmp_path):
    path = tmp_path / "events.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (x)")
    with pytest.raises(ConfigurationError, match="is an SQLite file, but not an event store"):
        Store(path, "tests")


def test_a_store_without_its_main_file_is_refused(tmp_path):
    (tmp_path / "events.sqlite3-wal").write_bytes(b"frames")
    with pytest.raises(ConfigurationError, match="does not exist, but its -wal file does"):
        Store(tmp_path / "events.sqlite3", "tests")


def test_the_error_for_a_directory_that_cannot_be_created_names_the_setting(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="set SERVERFULL_DATA_DIR to a directory"):
        Store(tmp_path / "file/events.sqlite3", "tests")


# A full disk: a limit on the size of files simulates one

FULL = """
import resource, signal, sys
from pathlib import Path
from tests.queues.sqlite.test_event_store import put, claim, end, states
from serverfull_wsgi.storage.group_commit import StoreError
from serverfull_wsgi.queues.sqlite.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(Path(sys.argv[1]), "tests")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
accepted, refused = [], 0
for number in range(60):
    try:
        accepted.append(put(store, f"id-{number}", b'"' + b"x" * 20_000 + b'"'))
    except StoreError:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert refused, "the limit was never reached"
put(store, "after")
assert sorted(states(store)) == sorted([*accepted, "after"]), "not the accepted events"
while event := claim(store):
    assert not event.is_damaged
    assert end(store, event)
print(len(accepted), refused)
"""


@pytest.mark.parametrize("limit", [300_000, 500_000, 800_000])
def test_events_on_a_full_disk_are_refused_and_accepted_ones_are_kept(tmp_path, limit, battery):
    argv = [sys.executable, "-c", FULL, str(tmp_path / "events.sqlite3"), str(limit)]
    child = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=clean_environ(), check=False)
    assert child.returncode == 0, child.stderr
    accepted, refused = map(int, child.stdout.split())
    battery.record(f"A4 no file over {limit} bytes", accepted=accepted, refused=refused, false_202=0, lost=0)


def test_the_reserve_is_released_for_results_only(store):
    attempts = []

    def write_on_full_disk(db):
        attempts.append(store.reserve.is_held())
        if store.reserve.is_held():
            db.execute("PRAGMA max_page_count=1")  # SQLite then reports a full disk
        else:
            db.execute("PRAGMA max_page_count=4294967294")
        return statements.insert(db, Invocation(NAME, b"x" * 100_000, "a"), EventConfig(), "", 1.0, 1.0)

    with pytest.raises(StoreError, match="full"):
        store.write(write_on_full_disk)
    assert store.write(write_on_full_disk, may_use_reserve=True) == "a"
    assert attempts == [True, True, False]
    store.reserve.acquire()
    assert store.reserve.is_held()


def test_a_directory_that_was_deleted_refuses_events_with_a_line_in_the_log(tmp_path, caplog):
    queue = SqliteQueue(tmp_path / "data/events.sqlite3")
    application = Application(StaticFetcher({"hello": hello}), queue=queue)
    application.start()
    shutil.rmtree(tmp_path / "data")
    with closing(application), pytest.raises(ServiceException, match="could not be stored"):
        application.dispatcher.accept(Invocation(NAME, b"1", "an id"))
    assert f"the disk is full, or the directory of {queue.path} is gone" in caplog.text


def test_a_fork_can_neither_write_nor_keep_a_lock(store):
    lock = FileLock(store.locks / "dispatching")
    assert lock.acquire()
    pid = os.fork()
    if pid == 0:
        is_refused = False
        try:
            put(store, "from the child")
        except StoreError:
            is_refused = not lock.is_held
        os._exit(0 if is_refused else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert lock.is_held
    lock.close()


# H1


class Model(RuleBasedStateMachine):
    """The store of several processes that start and stop, compared with dictionaries."""

    def __init__(self):
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.time, self.count, self.process = Time(), 0, 0
        self.due, self.leases, self.ended, self.lost = {}, {}, {}, {}

    @initialize()
    def open(self):
        from pathlib import Path

        self.path = Path(self.folder.name, "events.sqlite3")
        self.store = ClockedStore(self.path, self.time)

    @rule()
    def accept(self):
        self.count += 1
        self.time.now += 0.001  # no two at the same time, so that the order is certain
        put(self.store, str(self.count))
        self.due[str(self.count)] = self.time.now

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


def test_writes_during_close_are_refused_and_leave_no_file_open(tmp_path):
    refused, others = [], []

    def write_until_refused(store):
        try:
            while True:
                store.write(lambda db: None)
        except StoreError as error:
            refused.append(str(error))
        except Exception as error:
            others.append(error)

    before = len(os.listdir("/proc/self/fd"))
    for _ in range(share(1000, 100)):
        store = Store(tmp_path / "events.sqlite3", "tests")
        writers = [threading.Thread(target=write_until_refused, args=(store,)) for _ in range(3)]
        for writer in writers:
            writer.start()
        store.close()
        for writer in writers:
            writer.join()
    assert not others
    assert len(refused) == share(1000, 100) * 3
    with pytest.raises(StoreError):
        store.write(lambda db: None)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_gate_that_is_closed_while_a_thread_waits_at_it_leaves_no_file_open(tmp_path):
    """Another process holds the file lock, so the waiting thread holds the threads' lock only."""
    gate, other = Gate(tmp_path / "gate"), FileLock(tmp_path / "gate")
    assert other.acquire()
    before = os.listdir("/proc/self/fd")
    waiter = threading.Thread(target=gate.enter, args=[0.5])
    waiter.start()
    while len(os.listdir("/proc/self/fd")) == len(before):
        pass
    gate.close()
    waiter.join()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert not gate.enter(0)
    other.close()


def test_a_gate_that_is_closed_from_inside_cannot_be_entered_again(tmp_path):
    gate = Gate(tmp_path / "gate")
    before = os.listdir("/proc/self/fd")
    assert gate.enter(1)
    gate.close()
    gate.leave()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert not gate.enter(0)
