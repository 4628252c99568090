"""The file events are kept in: what it takes, what it refuses, and what becomes of leases. H1 is here."""

import json
import os
import resource
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
    """A clock that goes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def store(tmp_path, time):
    with closing(Store(tmp_path / "events.sqlite3", "tests", now=time)) as store:
        yield store


def put(store, id, payload=b"{}", config=EventConfig(), dedupe=""):  # noqa: B008  (frozen)
    invocation = Invocation(NAME, payload, id, trace_id="Root=1")
    return store.write(lambda db: statements.insert(db, invocation, config, dedupe, store.now(), 0.0))


def claim(store, owner="one"):
    return store.write(lambda db: statements.claim(db, owner, store.now(), LEASE, 0.0))


def end(store, event, ending=SUCCEEDED):
    return store.write(lambda db: statements.end(db, event, ending, store.now(), 0.0))


def states(store):
    return {one["requestId"]: one["state"] for one in store.read(lambda db: admin.events(db, "", 1000, None))}


def test_events_come_in_the_order_they_were_accepted(store, time):
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


def test_a_lease_that_ran_out_is_given_again_and_fences_the_late(store, time):
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


def test_the_leases_of_a_process_that_is_gone_end_at_once_and_fence_it_all_the_same(store):
    put(store, "a")
    put(store, "b")
    late, other = claim(store, "gone"), claim(store, "alive")
    assert store.write(lambda db: statements.bury(db, "gone", store.now())) == 1
    again = claim(store, "alive")
    assert (again.request_id, again.lost) == ("a", 1)
    assert claim(store, "alive") is None
    assert not end(store, late)
    assert end(store, again)
    assert end(store, other)


def test_what_lost_two_leases_runs_one_at_a_time_and_holds_nobody_else_up(store):
    for id in "abc":
        put(store, id)
    for _ in range(2):
        assert [claim(store, "gone").request_id for _ in range(2)] == ["a", "b"]
        store.write(lambda db: statements.bury(db, "gone", store.now()))
    suspect = claim(store, "alive")
    assert (suspect.request_id, suspect.lost) == ("a", 2)
    assert claim(store, "alive").request_id == "c"
    assert claim(store, "alive") is None
    end(store, suspect)
    assert claim(store, "alive").request_id == "b"


def test_only_a_process_that_ended_without_a_word_is_gone(tmp_path):
    code = "import sys\nfrom pathlib import Path\nfrom serverfull_wsgi.storage.liveness import LivenessLocks\n"
    code += "owners = LivenessLocks(Path(sys.argv[1]), 'killed')\nprint(flush=True)\nsys.stdin.read()"
    ours, child = LivenessLocks(tmp_path / "owners", "ours"), [sys.executable, "-c", code, str(tmp_path / "owners")]
    with subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.readline()
        assert list(ours.dead()) == []
        process.kill()
    assert list(ours.dead()) == ["killed"]
    ours.close()
    assert list(LivenessLocks(tmp_path / "owners", "another").dead()) == []


def test_a_lease_given_back_counts_as_nothing(store):
    put(store, "a")
    event = claim(store)
    store.write(lambda db: statements.release(db, [event.id], "one", store.now()))
    again = claim(store, "two")
    assert (again.request_id, again.lost, again.attempts) == ("a", 0, 0)
    assert not end(store, event)


def test_a_repeated_accept_is_known_for_ten_minutes(store, time):
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
    ending = Final("failed", "RetriesExhausted", Counts(3), "no", b"{}", [("on_failure", "next", "{}", None)])
    with pytest.raises(StoreError):  # a record without a body is none
        end(store, event, ending)
    assert states(store) == {"a": "running"}
    assert end(store, event, ending._replace(records=[("on_failure", "next", "{}", b"record")]))
    record = store.write(lambda db: statements.claim_record(db, "one", store.now(), LEASE))
    assert (record.target, record.body, record.request_id) == ("next", b"record", "a")


def test_what_is_past_its_retention_goes_unless_a_record_waits(store, time):
    for id, records in (("kept", [("on_success", "next", "{}", b"{}")]), ("gone", [])):
        put(store, id)
        end(store, claim(store), Final("succeeded", "Success", Counts(1), records=records))
    put(store, "waiting")
    time.now += 101
    assert store.write(lambda db: statements.sweep(db, store.now(), 100.0)) is False
    assert sorted(states(store)) == ["kept", "waiting"]


def test_the_file_does_not_grow_without_end(store, time):
    sizes = []
    for _ in range(6):
        for number in range(20):
            put(store, f"{time.now}-{number}", b'"' + b"x" * 50_000 + b'"')
            end(store, claim(store))
        time.now += 101
        store.write(lambda db: statements.sweep(db, store.now(), 100.0))
        store.write(lambda db: db.execute("PRAGMA incremental_vacuum(1000)").fetchall())
        sizes.append(store.path.stat().st_size)
    assert max(sizes[2:]) <= sizes[1] * 1.5 + 1_000_000


def test_a_failed_event_is_driven_again_from_the_start(store):
    put(store, "a")
    assert not store.write(lambda db: admin.redrive(db, "a", store.now()))
    end(store, claim(store), Final("failed", "RetriesExhausted", Counts(3)))
    assert store.write(lambda db: admin.redrive(db, "a", store.now()))
    assert claim(store).counts == Counts()


def test_threads_share_commits_and_each_has_its_own_answer(store):
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


def test_writes_that_cannot_begin_are_refused_and_let_others_follow(store, monkeypatch):
    monkeypatch.setattr(group_commit, "TIMEOUT", 0.2)
    assert store._gate.enter(1.0)
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
    store._gate.leave()
    assert refused == [group_commit.TOO_SLOW] * 20
    assert put(store, "after") == "after"
    assert list(states(store)) == ["after"]


def test_a_thread_that_is_ended_while_it_writes_leaves_the_others_their_turn(store):
    class Ended(BaseException):
        pass

    def ended(db):
        begun.set()
        assert waiting.wait(30)
        raise Ended

    def lead():
        with suppress(Ended):
            store.write(ended)

    def follow(number):
        put(store, str(number))

    begun, waiting = threading.Event(), threading.Event()
    threads = [threading.Thread(target=lead), *(threading.Thread(target=follow, args=[n]) for n in range(8))]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    waiting.set()
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


def test_a_store_of_an_older_version_opens(tmp_path):
    path = tmp_path / "events.sqlite3"
    fill(path, 1)
    newer = (*schema.STEPS, "ALTER TABLE event ADD COLUMN note TEXT")
    with closing(Store(path, "tests", steps=newer)) as store:
        assert store.read(lambda db: db.execute("SELECT note FROM event").fetchall()) == [(None,)]
    with pytest.raises(
        ConfigurationError, match=r"has version 3, and this serverfull-wsgi knows up to 2: run the newer"
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
        (b"", "is damaged (the file is empty), so nothing starts"),
        (b"This is a text of mine, and no database." * 100, "is damaged (file is not a database), so nothing starts"),
    ],
)
def test_what_is_no_store_is_refused_and_left_alone(tmp_path, content, message):
    path = tmp_path / "events.sqlite3"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        Store(path, "tests")
    assert message in str(caught.value)
    assert path.read_bytes() == content


def test_another_sqlite_file_is_refused(tmp_path):
    path = tmp_path / "events.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (x)")
    with pytest.raises(ConfigurationError, match="is no event store, but some other SQLite file"):
        Store(path, "tests")


def test_a_store_whose_main_file_is_gone_is_refused(tmp_path):
    (tmp_path / "events.sqlite3-wal").write_bytes(b"frames")
    with pytest.raises(ConfigurationError, match="is gone, but its -wal file is there"):
        Store(tmp_path / "events.sqlite3", "tests")


def test_a_folder_that_cannot_be_made_names_the_setting(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="SERVERFULL_DATA_DIR names a folder"):
        Store(tmp_path / "file/events.sqlite3", "tests")


# A disk that is full: a limit on the size of files stands in for it

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
assert refused, "the limit was never met"
put(store, "after")
assert sorted(states(store)) == sorted([*accepted, "after"]), "what was refused is there, or what was accepted is not"
while event := claim(store):
    assert not event.is_damaged
    assert end(store, event)
print(len(accepted), refused)
"""


@pytest.mark.parametrize("limit", [300_000, 500_000, 800_000])
def test_a_disk_without_room_accepts_nothing_and_loses_nothing(tmp_path, limit, battery):
    argv = [sys.executable, "-c", FULL, str(tmp_path / "events.sqlite3"), str(limit)]
    child = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=clean_environ(), check=False)
    assert child.returncode == 0, child.stderr
    accepted, refused = map(int, child.stdout.split())
    battery.record(f"A4 no file over {limit} bytes", accepted=accepted, refused=refused, false_202=0, lost=0)


def test_space_is_reserved_and_given_back_for_what_is_vital(store):
    assert store.reserve.is_held()
    tries = []

    def full(db):
        tries.append(store.reserve.is_held())
        if store.reserve.is_held():
            raise sqlite3.OperationalError("database or disk is full")
        return "written"

    with pytest.raises(StoreError, match="full"):
        store.write(full)
    assert store.write(full, vital=True) == "written"
    assert tries == [True, True, False]
    store.reserve.acquire()
    assert store.reserve.is_held()


def test_a_folder_that_is_gone_takes_no_event_and_the_log_says_so(tmp_path, caplog):
    queue = SqliteQueue(tmp_path / "data/events.sqlite3")
    application = Application(StaticFetcher({"hello": hello}), queue=queue)
    application.start()
    shutil.rmtree(tmp_path / "data")
    with closing(application), pytest.raises(ServiceException, match="could not be stored"):
        application.dispatcher.accept(Invocation(NAME, b"1", "an id"))
    assert f"or {queue.path} is gone" in caplog.text


def test_a_fork_leaves_the_store_alone(store):
    assert store.dispatching.acquire()
    pid = os.fork()
    if pid == 0:
        refused = False
        try:
            put(store, "from the child")
        except StoreError:
            refused = not store.dispatching.is_held
        os._exit(0 if refused else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert store.dispatching.is_held


# H1


class Model(RuleBasedStateMachine):
    """A queue of several processes that come and go, against dictionaries."""

    def __init__(self):
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.time, self.count, self.owner = Time(), 0, 0
        self.due, self.leases, self.ended, self.lost = {}, {}, {}, {}

    @initialize()
    def open(self):
        from pathlib import Path

        self.path = Path(self.folder.name, "events.sqlite3")
        self.store = Store(self.path, "tests", now=self.time)

    @rule()
    def accept(self):
        self.count += 1
        self.time.now += 0.001  # no two at once, so that the order is certain
        put(self.store, str(self.count))
        self.due[str(self.count)] = self.time.now

    @rule()
    def claim(self):
        self.time.now += 0.001
        event = claim(self.store, f"owner-{self.owner}")
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
        self.store.write(lambda db: statements.renew(db, "event", [event.id], event.owner, until))
        self.due[event.request_id] = until

    @precondition(lambda self: self.leases)
    @rule()
    def expire(self):
        """All leases there are run out; `claim` then finds them lost."""
        self.time.now = max(self.time.now, *(self.due[id] + 0.001 for id in self.leases), 0.0)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def bury(self, data):
        """The owner of a lease is found to be gone."""
        owner = data.draw(st.sampled_from(sorted({event.owner for event in self.leases.values()})))
        self.store.write(lambda db: statements.bury(db, owner, self.time.now))
        for id, event in self.leases.items():
            if event.owner == owner:
                self.due[id] = min(self.due[id], self.time.now)

    @rule()
    def crash(self):
        """Another process comes, and leases stay as they were."""
        self.store._close_locks()
        self.store._db.close()
        self.owner += 1
        self.store = Store(self.path, "tests", now=self.time)

    @precondition(lambda self: self.leases)
    @rule()
    def restart(self):
        """A process that ends well gives its leases back."""
        ids = [event.id for event in self.leases.values()]
        owners = {event.owner for event in self.leases.values()}
        for owner in owners:
            self.store.write(lambda db, owner=owner: statements.release(db, ids, owner, self.time.now))
        self.due.update(dict.fromkeys(self.leases, self.time.now))
        self.leases = {}
        self.store.close()
        self.owner += 1
        self.store = Store(self.path, "tests", now=self.time)

    @invariant()
    def nothing_is_lost(self):
        if hasattr(self, "store"):
            found = states(self.store)
            expected = dict.fromkeys(self.due, "queued") | dict.fromkeys(self.leases, "running") | self.ended
            assert found == expected

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
assert resource  # used in the child's text


def test_writes_that_meet_the_close_are_refused_and_leave_no_file_open(tmp_path):
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


def test_a_gate_that_is_closed_while_somebody_waits_before_it_leaves_no_file_open(tmp_path):
    """Another process has the lock, so that the one who waits is inside for its threads and before it for processes."""
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


def test_a_gate_that_is_closed_from_inside_opens_no_more(tmp_path):
    gate = Gate(tmp_path / "gate")
    before = os.listdir("/proc/self/fd")
    assert gate.enter(1)
    gate.close()
    gate.leave()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert not gate.enter(0)
