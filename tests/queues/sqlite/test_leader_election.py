"""The choice of the process that runs events: a lease in the store."""

import gzip
import logging
import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from serverfull_wsgi import Outcome, SqliteQueue
from serverfull_wsgi.queues.sqlite import schema
from serverfull_wsgi.queues.sqlite.leader_election import Leader, is_leader
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.storage.liveness import LivenessLocks
from serverfull_wsgi.storage.locks import FileLock
from tests.support.event_store import LEASE
from tests.support.waiting import wait_until

VERSION_2 = Path(__file__).with_name("version_2.sqlite3.gz")
LOGGER = logging.getLogger("tests.leader_election")


@pytest.fixture
def process(store):
    """Return a function that makes the `Leader` of one more process."""
    opened = []

    def process(name, *, is_worker=False):
        liveness = LivenessLocks(store.locks / "owners", name)
        opened.append(liveness)
        leader = Leader(store, name, LEASE, liveness, LOGGER)
        leader.is_worker = is_worker
        return leader

    yield process
    for liveness in opened:
        liveness.close()


def leads(store, name):
    return store.read(lambda db: is_leader(db, name, store.now()))


def test_one_process_leads_until_it_resigns(store, process):
    one, two = process("one"), process("two")
    assert [one.update(), two.update(), one.update()] == [True, False, True]
    one.resign()
    assert [one.update(), two.update(), one.update()] == [False, True, False]


def test_a_leader_that_renews_its_lease_leads_for_as_long_as_it_runs(store, process, time):
    one, two = process("one"), process("two")
    for _ in range(10):
        assert one.update()
        time.now += LEASE * 0.9
        assert one.update()
        assert not two.update()


def test_another_process_leads_after_the_lease_of_a_leader_ran_out(store, process, time, caplog):
    one, two = process("one"), process("two")
    one.update()
    time.now += LEASE - 1
    assert not two.update()
    time.now += 1
    assert two.update()
    assert not leads(store, "one")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "process one, which ran the events of" in caplog.text
    assert "does not respond: its lease ran out; process two runs them from now on" in caplog.text
    assert [one.update(), two.update()] == [False, True]


def test_a_leader_whose_lease_ran_out_leads_again_if_no_other_process_does(process, time, caplog):
    one = process("one")
    one.update()
    time.now += LEASE + 1
    assert one.update()
    assert not caplog.records


def test_another_process_leads_at_once_after_the_death_of_a_leader(store, process, caplog):
    one, two = process("one"), process("two")
    one.update()
    assert not two.update()
    file = store.locks / "owners" / "one"
    file.unlink()
    file.touch()  # without a lock, as the kernel leaves the file of a dead process
    assert two.update()
    assert "process one, which ran the events of" in caplog.text
    assert "died; process two runs them from now on" in caplog.text


def test_a_worker_leads_in_place_of_a_web_process_at_once_and_not_of_another_worker(store, process):
    web, worker, second = process("web"), process("worker", is_worker=True), process("second", is_worker=True)
    assert web.update()
    assert worker.update()
    assert not leads(store, "web")
    assert [web.update(), second.update(), worker.update()] == [False, False, True]
    worker.resign()
    assert [worker.update(), second.update(), web.update()] == [False, True, False]


def test_a_leading_web_process_that_becomes_a_worker_leads_as_a_worker(process):
    first, second = process("first"), process("second", is_worker=True)
    first.update()
    first.is_worker = True
    first.update()
    assert [second.update(), first.update()] == [False, True]


@pytest.fixture
def old_store(tmp_path):
    """Return the path of a store of version 2 with events in each state."""
    path = tmp_path / "old/events.sqlite3"
    path.parent.mkdir()
    path.write_bytes(gzip.decompress(VERSION_2.read_bytes()))
    return path


def start(queue, ran):
    def run(invocation, age):
        ran.append(invocation.request_id)
        return Outcome(b"null")

    queue.start(run, lambda *_: ran.append("the record"))


def test_a_store_of_version_2_is_upgraded_and_its_events_run(old_store, caplog):
    caplog.set_level("INFO")
    ran = []
    with closing(SqliteQueue(old_store)) as queue:
        start(queue, ran)
        wait_until(lambda: len(ran) == 8)  # seven events and a record
        wait_until(lambda: len(queue.events("succeeded")) == 8)
        assert [event["requestId"] for event in queue.events("failed")] == ["failed"]
        assert queue.event("succeeded")["result"] == '"done"'
        assert queue.event("postponed")["state"] == "succeeded"
        assert queue.event("running")["lostLeases"] == 1
    assert schema.version(old_store) == len(schema.MIGRATIONS)
    assert f"upgrading the event store {old_store} with 9 events to version {len(schema.MIGRATIONS)}" in caplog.text
    assert f"upgraded the event store {old_store} in " in caplog.text


def test_the_progress_of_an_upgrade_is_logged(old_store, caplog, monkeypatch):
    caplog.set_level("INFO")
    with closing(sqlite3.connect(old_store)) as db:
        columns = "function, trace_id, config, checksum, payload, accepted, accepted_at"
        db.executemany(
            f"INSERT INTO event (request_id, {columns}) SELECT ?, {columns} FROM event WHERE id = 1",
            ((f"copy-{number}",) for number in range(20_000)),
        )
        db.commit()
    monkeypatch.setattr(schema, "PROGRESS_PERIOD", 0)
    Store(old_store).close()
    percents = [int(percent) for percent in re.findall(r"about (\d+) % done", caplog.text)]
    assert percents == sorted(percents)
    assert percents[0] < 50 < percents[-1] <= 99


def test_the_upgrade_of_a_store_waits_for_a_leader_of_an_older_version(old_store, caplog):
    locks = old_store.with_name(f"{old_store.name}.locks")
    locks.mkdir()
    older, ran = FileLock(locks / "dispatching"), []
    assert older.acquire()
    with closing(SqliteQueue(old_store)) as queue:
        starting = threading.Thread(target=start, args=(queue, ran))
        starting.start()
        wait_until(lambda: "is run by a process of an older version" in caplog.text)
        assert schema.version(old_store) == 2
        assert not queue.is_leading
        older.close()
        starting.join()
        wait_until(lambda: queue.is_leading and ran)
        assert not FileLock(locks / "dispatching").acquire()  # so that no older process leads from now on


def test_a_process_does_not_lead_while_a_leader_of_an_older_version_runs(tmp_path):
    path = tmp_path / "events.sqlite3"
    with closing(SqliteQueue(path)) as queue:
        start(queue, [])
        wait_until(lambda: queue.is_leading)
    older = FileLock(tmp_path / "events.sqlite3.locks" / "dispatching")
    assert older.acquire()
    with closing(SqliteQueue(path)) as first, closing(older):
        start(first, [])
        assert first.oldest_due_age() == 0
        assert not first.is_leading
        older.close()
        wait_until(lambda: first.is_leading)
