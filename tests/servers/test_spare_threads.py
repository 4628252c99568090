"""The threads of granian that wait while one thread is enough."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi.servers.gunicorn.spare_threads import CALLS, SHORTEST_PAUSE, SpareThreads


class Clock:
    """A clock that moves in sleeps only. In the middle of each sleep the next of ``meanwhile`` is called."""

    def __init__(self):
        self.now = 100.0
        self.sleeps = 0
        self.meanwhile = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.sleeps += 1
        self.now += seconds / 2
        if self.meanwhile:
            self.meanwhile.pop()()
        self.now += seconds / 2 * 1.01  # the operating system wakes a thread later than it requested


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def threads(clock):
    return SpareThreads(clock, clock.sleep)


@pytest.fixture
def end_calls(threads, clock):
    """Return a function that ends calls in another thread, always the same one, with the seconds of each call."""
    with ThreadPoolExecutor(1) as other:

        def end_in_turn(seconds):
            for _ in range(CALLS):
                clock.now += seconds
                threads.end_call()

        yield lambda seconds=0.0: other.submit(end_in_turn, seconds).result()


def test_a_thread_waits_while_another_one_ends_short_calls(threads, clock, end_calls):
    end_calls()
    clock.meanwhile = [end_calls] * 5
    threads.end_call()
    assert clock.sleeps > 5
    assert not clock.meanwhile  # in the last intervals no calls ended


def test_no_thread_waits_beside_calls_that_take_a_millisecond(threads, clock, end_calls):
    end_calls(seconds=0.001)
    threads.end_call()
    assert clock.sleeps == 0


def test_one_thread_is_not_enough_if_its_calls_get_longer(threads, clock, end_calls):
    end_calls()
    for _ in range(20):
        end_calls(seconds=0.15 / 1000)
    threads.end_call()
    assert clock.sleeps == 0


def test_the_pause_after_failed_attempts_gets_longer(threads, clock, end_calls):
    def seconds_to_the_next_attempt():
        began, sleeps = clock.now, clock.sleeps
        while clock.sleeps == sleeps:
            assert clock.now < began + 60
            clock.now += SHORTEST_PAUSE / 10
            end_calls()  # a batch that takes as long as the step before it
            end_calls()
            threads.end_call()
        return clock.now - began

    pauses = [seconds_to_the_next_attempt() for _ in range(4)]
    assert pauses == sorted(pauses)
    assert pauses[-1] > 3 * pauses[1]


def test_the_pause_after_an_attempt_that_lasted_is_short(threads, clock, end_calls):
    def is_waiting_beside(batches):
        end_calls()
        clock.meanwhile = [end_calls]
        for _ in range(batches):
            end_calls()
        before = clock.sleeps
        threads.end_call()
        return clock.sleeps > before

    for _ in range(3):
        assert is_waiting_beside(batches=20)
        clock.now += SHORTEST_PAUSE
        end_calls()  # this batch began before the pause
