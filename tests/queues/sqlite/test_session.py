"""The life of a `SqliteQueue` in one process: not started, started, closed."""

import json
import os
import sqlite3
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from serverfull_wsgi import EventConfig, Invocation, Outcome, ServiceException, SqliteQueue
from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.queues.sqlite import statements
from serverfull_wsgi.queues.sqlite.session import DELIVERY_THREADS
from serverfull_wsgi.queues.sqlite.workers import DAMAGED
from tests.support.names import function_name
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.quick,
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),  # from Python 3.12
]
NAME = function_name("hello")


def run(invocation, age):
    return Outcome(b"null")


def send(function, payload, trace_id, dedupe):
    raise AssertionError("these events have no destinations")


def put(queue, request_id):
    return queue.put(Invocation(NAME, b"{}", request_id), EventConfig())


@pytest.fixture
def queue(tmp_path):
    with closing(SqliteQueue(tmp_path / "events.sqlite3")) as queue:
        yield queue


def test_a_queue_that_is_not_started_refuses_events_and_queries_and_opens_no_file(queue, tmp_path):
    with pytest.raises(ServiceException):
        put(queue, "a")
    with pytest.raises(ServiceException):
        queue.events()
    with pytest.raises(RuntimeError, match=r"is not started; call start\(\) first"):
        queue.become_worker()
    assert not queue.is_leading
    queue.close()
    assert os.listdir(tmp_path) == []


def test_a_started_queue_leads_and_runs_its_events(queue):
    queue.start(run, send)
    put(queue, "a")
    wait_until(lambda: queue.event("a")["state"] == "succeeded")
    assert queue.is_leading


def test_a_queue_is_started_once_in_a_process(queue):
    queue.start(run, send)
    with pytest.raises(RuntimeError, match="was started already in this process; create another one for"):
        queue.start(run, send)
    put(queue, "a")
    wait_until(lambda: queue.event("a")["state"] == "succeeded")


def test_close_is_final(queue):
    queue.start(run, send)
    put(queue, "a")
    queue.close()
    queue.close()
    for refused in (lambda: put(queue, "b"), queue.events, lambda: queue.event("a"), lambda: queue.redrive("a")):
        with pytest.raises(ServiceException, match="The server is stopping"):
            refused()
    with pytest.raises(RuntimeError, match="was closed already in this process; create another one for"):
        queue.start(run, send)
    assert not queue.is_leading


def test_another_queue_opens_the_store_after_close(queue):
    queue.start(run, send)
    put(queue, "a")
    queue.close()
    with closing(SqliteQueue(queue.path)) as another:
        another.start(run, send)
        wait_until(lambda: another.event("a")["state"] == "succeeded")


@pytest.mark.parametrize("parent", ["started", "closed"])
def test_a_forked_child_starts_the_queue_for_itself(queue, parent):
    queue.start(run, send)
    put(queue, "from the parent")
    if parent == "closed":
        queue.close()
    pid = os.fork()
    if pid == 0:
        try:
            queue.start(run, send)
            put(queue, "from the child")
            wait_until(lambda: queue.event("from the child")["state"] == "succeeded")
            queue.close()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    if parent == "started":
        assert queue.event("from the child")["state"] == "succeeded"
        put(queue, "again from the parent")


def test_close_in_a_forked_child_leaves_the_parents_session_open(queue):
    queue.start(run, send)
    pid = os.fork()
    if pid == 0:
        try:
            queue.close()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    put(queue, "a")
    wait_until(lambda: queue.event("a")["state"] == "succeeded")


def test_an_event_of_an_idle_queue_takes_two_commits(queue, tmp_path):
    """One for its accept and its lease, one for its end. With one for the lease alone there were three."""
    queue.start(run, send)
    put(queue, "first")
    wait_until(lambda: queue.event("first")["state"] == "succeeded")
    before = commits(queue.path)
    for number in range(20):
        put(queue, str(number))
        wait_until(lambda number=number: queue.event(str(number))["state"] == "succeeded")
    assert 20 < commits(queue.path) - before < 50  # a few are the housekeeper's


FUTURE = '{"of_a_later_version": 1}'  # the configuration of an event


def rewrite(store, change):
    """Queue the only event of a store again after ``change``, so that the event is the first one to run."""
    with closing(sqlite3.connect(store)) as db:
        db.execute(f"UPDATE event SET state = 'queued', due = 0, ended = NULL, {change}")
        row = db.execute("SELECT request_id, function, trace_id, config, payload FROM event").fetchone()
        if isinstance(row[1], str):
            db.execute("UPDATE event SET checksum = ?", [statements.checksum(*row[:4], payload=row[4])])
        db.commit()


@pytest.mark.parametrize(
    ("change", "state", "error"),
    [
        (f"config = '{FUTURE}'", "queued", "TypeError: EventConfig.__init__() got an unexpected keyword argument"),
        ("function = CAST(function AS BLOB)", "failed", DAMAGED),
    ],
    ids=["written by a later version", "a text that became a blob"],
)
def test_an_event_that_cannot_be_read_does_not_stop_the_others(change, state, error, tmp_path):
    """The exception ended a thread that runs events, and then each other one when the lease had run out."""
    path = tmp_path / "events.sqlite3"
    with closing(SqliteQueue(path)) as queue:
        queue.start(run, send)
        put(queue, "odd")
        wait_until(lambda: queue.event("odd")["state"] == "succeeded")
    rewrite(path, change)
    with closing(SqliteQueue(path, workers=1, delays=Delays(throttle=60.0))) as queue:
        queue.start(run, send)
        wait_until(lambda: queue.event("odd")["lastError"])
        put(queue, "next")
        wait_until(lambda: queue.event("next")["state"] == "succeeded")
        assert queue.event("odd")["state"] == state
        assert queue.event("odd")["lastError"].startswith(error)


def test_a_record_that_cannot_be_read_does_not_stop_the_others(tmp_path):
    def receive(function, payload, trace_id, dedupe):
        received.append(json.loads(payload)["requestContext"]["requestId"])

    def end(id):
        queue.put(Invocation(NAME, b"{}", id), EventConfig(on_success="receiver"))
        wait_until(lambda: queue.event(id)["records"])

    received, path = [], tmp_path / "events.sqlite3"
    with closing(SqliteQueue(path)) as queue:
        queue.start(run, receive)
        for number in range(DELIVERY_THREADS):
            end(f"odd {number}")
        wait_until(lambda: len(received) == DELIVERY_THREADS)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE record SET state = 'waiting', due = 0, attributes = '{'")
        db.commit()
    with closing(SqliteQueue(path)) as queue:
        queue.start(run, receive)
        wait_until(lambda: {record["tries"] for record in queue.event("odd 1")["records"]} == {2})
        end("next")
        wait_until(lambda: received[DELIVERY_THREADS:] == ["next"])


def test_threads_that_cannot_start_are_started_later(tmp_path, monkeypatch):
    """A machine without room for more threads left the process leading, and no event ran."""

    def start(thread):
        if thread.name.startswith("serverfull-events-") and refusals and refusals.pop():
            raise RuntimeError("can't start new thread")
        start_thread(thread)

    start_thread, refusals = threading.Thread.start, [True, False]  # the last one is for the housekeeper
    monkeypatch.setattr(threading.Thread, "start", start)
    with closing(SqliteQueue(tmp_path / "events.sqlite3", workers=2)) as queue:
        queue.start(run, send)
        wait_until(lambda: not refusals)
        put(queue, "a")
        wait_until(lambda: queue.event("a")["state"] == "succeeded")
        names = {thread.name for thread in threading.enumerate()}
        assert {"serverfull-events-0", "serverfull-events-1"} <= names


def commits(store):
    """Return the number of commits in the write-ahead log: each one's last frame has the size of the file."""
    data = store.with_name(f"{store.name}-wal").read_bytes()
    (page,) = struct.unpack_from(">I", data, 8)
    return sum(struct.unpack_from(">I", data, start + 4)[0] != 0 for start in range(32, len(data), 24 + page))


def test_no_thread_begins_an_event_before_the_end_of_its_last_event_is_stored(tmp_path):
    def run_and_count(invocation, age):
        running.append(len(queue.events("running")))
        return Outcome(b"null")

    running = []
    with closing(SqliteQueue(tmp_path / "events.sqlite3", workers=2)) as queue:
        queue.start(run_and_count, send)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: put(queue, str(number)), range(200)))
        wait_until(lambda: len(queue.events("succeeded", limit=200)) == 200)
    assert len(running) == 200
    assert max(running) <= 2
