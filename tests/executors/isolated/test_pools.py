"""Pools of environments: the limit, idle environments, and changed functions."""

import contextlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi import ServiceError, TooManyRequestsException
from serverfull_wsgi.executors.isolated import pools
from serverfull_wsgi.executors.isolated.execution import FailedStart
from serverfull_wsgi.executors.isolated.pools import Pool, PoolManager, Reservation
from tests.support.isolated import (
    executing,
    function,
    invocation,
    needs_client,
    result,
    temporary_folders,
)
from tests.support.waiting import wait_until

pytestmark = needs_client
ADDRESS = "os.environ['AWS_LAMBDA_RUNTIME_API']"  # another one in each environment


def test_beyond_the_limit_invocations_are_refused_and_idle_environments_are_evicted():
    with executing(max_concurrency=2) as executor, ThreadPoolExecutor(2) as pool:
        result(executor, function(name="waits"))
        running = [pool.submit(result, executor, function("sleep", name=f"busy{n}"), 1.5) for n in range(2)]
        wait_until(lambda: executor.statistics().environments == 2 and not any(executor.statistics().idle.values()))
        with pytest.raises(TooManyRequestsException) as refusal:
            executor.execute(function(name="waits"), invocation(name="waits"))
        assert [type(future.result()) for future in running] == [int, int]
        assert result(executor, function(name="waits"))["calls"] == 1
    assert refusal.value.reason == "ConcurrentInvocationLimitExceeded"
    assert refusal.value.retry_after == 1


def test_the_environment_used_last_serves_the_next_invocation_and_idle_ones_end():
    with executing(idle=3.0) as executor, ThreadPoolExecutor(3) as pool:
        recent = function("evaluate", name="recent")
        list(pool.map(lambda _: result(executor, recent, f"time.sleep(0.5) or {ADDRESS}"), range(3)))
        assert executor.statistics().idle == {("recent", "$LATEST"): 3}
        assert len({result(executor, recent, ADDRESS) for _ in range(10)}) == 1
        wait_until(lambda: executor.statistics().environments == 0)
        wait_until(lambda: temporary_folders(executor) == [])


def test_idle_environments_end_even_if_the_shutdown_watch_raises(caplog):
    with executing(idle=0.1) as executor:
        executor.watch_shutdown(lambda: 1 // 0)
        result(executor, function())
        wait_until(lambda: executor.statistics().environments == 0)
    assert "housekeeping of idle environments failed" in caplog.text


def test_a_slow_removal_of_files_delays_no_shutdown(monkeypatch):
    removing, may_end = threading.Event(), threading.Event()

    def remove_slowly(path):
        removing.set()
        assert may_end.wait(30)

    monkeypatch.setattr(pools, "remove_tree", remove_slowly)
    with executing() as executor:
        result(executor, function())
        result(executor, function("evaluate"), "1")  # a changed function: the old environment and its files go
        assert removing.wait(30)
        executor.watch_shutdown(lambda: 0.0)
        try:
            wait_until(lambda: is_refused(executor))
        finally:
            may_end.set()


def is_refused(executor):
    try:
        result(executor, function("evaluate"), "1")
    except ServiceError:
        return True
    return False


class Process:
    """An environment without a process. Its end waits for ``may_close``."""

    is_provisioned = is_restored = False

    def __init__(self, directory):
        self.tmp, self.used = directory or "/nowhere", 0.0
        self.may_close = threading.Event()
        self.may_close.set()

    def is_alive(self):
        return True

    def lower_priority(self):
        pass

    def close(self):
        assert self.may_close.wait(30)


@pytest.fixture
def manage():
    """Return a function that starts a `PoolManager` with a limit, and ends it after the test."""
    with contextlib.ExitStack() as stack:

        def manage(limit):
            manager = PoolManager(limit, 300.0, lambda: None, logging.getLogger("pools"))
            manager.start()
            stack.callback(manager.close)
            return manager

        yield manage


def idle(manager, function):
    """Return a new environment that is idle in the pool of ``function``."""
    pool, _ = manager.pool(function)
    environment = manager.launch(manager.acquire(pool), Process)
    manager.release(pool, environment, is_reusable=True)
    return environment


def test_a_start_that_raises_gives_its_reservation_back(manage):
    manager = manage(1)
    pool, _ = manager.pool(function())
    for _ in range(3):
        reservation = manager.acquire(pool)
        assert isinstance(reservation, Reservation)
        with pytest.raises(OSError, match="no more processes"):
            manager.launch(reservation, fail_to_start)
    assert manager.statistics() == (0, 0, {pool.key: 0})


def fail_to_start(directory):
    raise OSError("no more processes")


def test_a_reservation_counts_against_the_limit(manage):
    manager = manage(1)
    pool, _ = manager.pool(function())
    manager.acquire(pool)
    assert manager.statistics() == (1, 0, {pool.key: 0})
    with pytest.raises(TooManyRequestsException):
        manager.acquire(pool)


def test_an_outdated_environment_ends_even_if_the_next_start_is_refused(manage):
    manager = manage(2)
    evicted, outdated = idle(manager, function(name="evicted")), idle(manager, function(name="changing"))
    evicted.may_close.clear()
    with ThreadPoolExecutor(1) as threads:
        pool, _ = manager.pool(function(name="new"))
        reservation = threads.submit(manager.acquire, pool)  # it waits until the evicted environment has ended
        wait_until(lambda: sum(manager.statistics()[:2]) == 3)
        changed, _ = manager.pool(function(name="changing", description="changed"))
        with pytest.raises(TooManyRequestsException):
            manager.acquire(changed)
        wait_until(lambda: sum(manager.statistics()[:2]) == 2)  # the outdated one has ended
        evicted.may_close.set()
        assert isinstance(reservation.result(30), Reservation)
    assert outdated.used
    assert manager.statistics()[:2] == (1, 0)


def test_the_back_off_goes_on_after_thousands_of_failed_starts():
    pool, failed = Pool(function()), FailedStart(None, None, 0)
    for _ in range(3000):
        pool.record_start(failed)
    assert pool.recent_failure() is failed
