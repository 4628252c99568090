"""Threads that write to one store at the same time."""

import threading
from contextlib import suppress
from functools import partial

import pytest

from serverfull_wsgi import (
    EventConfig,
    Invocation,
)
from serverfull_wsgi.queues.sqlite import statements
from serverfull_wsgi.queues.sqlite.store import Store
from serverfull_wsgi.storage import group_commit
from serverfull_wsgi.storage.group_commit import StoreError
from serverfull_wsgi.storage.locks import FileLock
from tests.support.battery import share
from tests.support.event_store import NAME, put, states
from tests.support.processes import open_files


def insert(db, id):
    return statements.insert(db, Invocation(NAME, b"{}", id), EventConfig(), "", 1.0, 1.0).request_id


def test_threads_share_commits_and_each_gets_its_own_result(store):
    def one(number):
        def operation(db):
            if number % 5 == 0:
                raise (ValueError if number % 10 else OverflowError)(f"{number}")
            return insert(db, str(number))

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


def test_a_deferred_write_is_on_the_disk_with_the_next_write(store):
    deferred = store.defer(lambda db: insert(db, "a"))
    assert states(store) == {}
    put(store, "b")
    assert list(states(store)) == ["b", "a"]  # the latest first
    assert store.finish(deferred) == "a"
    assert list(states(store)) == ["b", "a"]


def test_a_deferred_write_is_written_by_its_own_thread_if_no_other_write_comes(store):
    assert store.finish(store.defer(lambda db: insert(db, "a"))) == "a"
    assert list(states(store)) == ["a"]


@pytest.mark.parametrize(
    "begin",
    [
        lambda store, operation: partial(store.finish, store.defer(operation)),
        lambda store, operation: partial(store.accept, operation),
    ],
    ids=["deferred", "accept"],
)
def test_a_write_in_a_slow_transaction_waits_for_its_end(begin, store, monkeypatch):
    """An accept that returned before was refused, and its event ran."""

    def insert_slowly(db):
        threading.Timer(0.8, may_end.set).start()
        may_end.wait()
        return insert(db, "a")

    monkeypatch.setattr(group_commit, "TIMEOUT", 0.6)
    may_end, other = threading.Event(), FileLock(store.locks / "writing")
    assert other.acquire()
    leader = threading.Thread(target=put, args=[store, "b"])
    leader.start()
    threading.Timer(0.1, other.close).start()  # so that the write and the leader's share a transaction
    assert begin(store, insert_slowly)() == "a"
    leader.join()
    assert set(states(store)) == {"a", "b"}


def test_a_deferred_write_that_fails_does_not_fail_the_next_write(store):
    def fail(db):
        raise ValueError("no good")

    deferred = store.defer(fail)
    put(store, "b")
    with pytest.raises(StoreError, match="no good"):
        store.finish(deferred)
    assert list(states(store)) == ["b"]


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
    assert open_files(tmp_path) == []
