"""Threads that wait for rows."""

import threading

from serverfull_wsgi.queues.sqlite.idle_threads import IdleThreads
from tests.support.battery import share
from tests.support.waiting import wait_until


def nothing():
    return False


def started(target):
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def test_a_thread_gets_the_row_that_it_is_given():
    idle, rows = IdleThreads(), []
    thread = started(lambda: rows.append(idle.wait(30, nothing)))
    taken = wait_until(idle.take)
    assert idle.take() is None
    taken.give("row")
    thread.join(30)
    assert rows == ["row"]


def test_the_thread_that_began_to_wait_last_is_taken_first():
    idle, rows, begun = IdleThreads(), [], {"first": threading.Event(), "second": threading.Event()}
    threads = {}
    for name in begun:
        threads[name] = started(lambda name=name: rows.append((name, idle.wait(30, begun[name].set))))
        assert begun[name].wait(30)
    for row, name in [("a", "second"), ("b", "first")]:
        idle.take().give(row)
        threads[name].join(30)
    assert rows == [("second", "a"), ("first", "b")]


def test_a_wait_ends_after_its_time_and_its_thread_cannot_be_taken():
    idle = IdleThreads()
    assert idle.wait(0.01, nothing) is None
    assert idle.take() is None


def test_a_thread_with_work_does_not_wait():
    idle = IdleThreads()
    assert idle.wait(30, lambda: True) is None
    assert idle.take() is None


def test_a_thread_that_is_taken_at_the_end_of_its_wait_still_gets_its_row():
    idle = IdleThreads()

    def has_work():
        taken = idle.take()
        threading.Timer(0.05, taken.give, ["row"]).start()
        return True

    assert idle.wait(30, has_work) == "row"


def test_no_row_is_lost_and_none_arrives_twice():
    idle, rows, count = IdleThreads(), [], share(5000, 500)
    is_over = threading.Event()

    def work():
        while not is_over.is_set():
            if (row := idle.wait(0.0005, nothing)) is not None:
                rows.append(row)

    threads = [started(work) for _ in range(4)]
    for number in range(count):
        wait_until(idle.take).give(number)
    wait_until(lambda: len(rows) == count)
    is_over.set()
    for thread in threads:
        thread.join(30)
    assert sorted(rows) == list(range(count))
