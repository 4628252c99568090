"""Pools of execution environments: one `Pool` for each function and version, and one limit over all of them.

An environment that has ended its invocation is kept for the next one. The pool hands out the environment that was used
last, so that surplus environments stay idle and end.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from bisect import insort
from collections.abc import Callable
from operator import attrgetter
from queue import Queue
from time import monotonic
from typing import NamedTuple

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ServiceException, TooManyRequestsException
from serverfull_wsgi.executors.isolated.environment import Environment
from serverfull_wsgi.executors.isolated.execution import FailedStart
from serverfull_wsgi.executors.isolated.sandbox.linux import remove_tree
from serverfull_wsgi.executors.isolated.snapshots import Snapshot, SnapshotEnvironment
from serverfull_wsgi.server_exits import STOPPING

FREE_RETRIES = 2  # failed starts in a row that delay no further start, since one or two may be transient
FIRST_BACK_OFF = 0.25  # seconds until the next start after that; doubled with each further failure
LONGEST_BACK_OFF = 10.0  # seconds: a function that works again is started after this time at the latest
CLOSE_PATIENCE = 3.0  # seconds that `close` waits until running invocations have returned
# Seconds after an answer for which a call waits for the runtime's next request, which usually takes 0.0002 s: the first
# while other environments are idle, the second before another one starts. At the limit, waiting keeps a healthy
# environment on a slow machine, which would have to end for the other one.
SHORT_PATIENCE, LONG_PATIENCE = 0.02, 0.5
SHORTEST_ROUND, LONGEST_ROUND = 0.02, 0.25  # seconds between two rounds of housekeeping

_last_use = attrgetter("used")
Launch = Callable[[str | None], Environment]  # (directory for temporary files, or None for a new one)


class Pool:
    """The idle environments of one function and version, its spare temporary files, and its failed starts.

    The caller holds the lock of the `PoolManager`.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self.key = function.name, function.version
        self.idle: list[Environment] = []  # the one used last comes last
        self.has_provisioned = False  # whether there ever was a provisioned environment
        self.snapshot: Snapshot | None = None
        self.snapshot_lock = threading.Lock()  # held while a snapshot is made
        self.takes_snapshots = function.snap_start  # False after the first one was refused
        self._directories: list[tuple[str, float]] = []  # of environments that ended, and since when
        self._failures = 0
        self._failed: FailedStart | None = None
        self._retry_at = 0.0

    def pop_idle(self) -> Environment | None:
        """Remove and return the environment used last, a provisioned one if there is one; None if none is idle."""
        if not self.idle:
            return None
        if self.has_provisioned:
            for index in reversed(range(len(self.idle))):
                if self.idle[index].is_provisioned:
                    return self.idle.pop(index)
        return self.idle.pop()

    def provisioned_idle(self) -> int:
        """Return the number of provisioned environments that are idle."""
        return sum(one.is_provisioned for one in self.idle)

    def record_start(self, failed: FailedStart | None) -> None:
        """Count a failed start, or forget the failures after a start that succeeded (``None``)."""
        self._failed = failed
        self._failures = self._failures + 1 if failed else 0
        if self._failures > FREE_RETRIES:
            doublings = min(self._failures - FREE_RETRIES - 1, 16)  # a float holds 1024, and 6 reach the longest
            self._retry_at = monotonic() + min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2**doublings)

    def recent_failure(self) -> FailedStart | None:
        """Return the last failed start during a back-off, None if a start may be attempted."""
        return self._failed if self._failures > FREE_RETRIES and monotonic() < self._retry_at else None

    def keep_directory(self, path: str) -> None:
        """Keep temporary files for the next environment. A link in the place of the directory is not kept."""
        if os.path.isdir(path) and not os.path.islink(path):
            self._directories.append((path, monotonic()))

    def pop_directory(self) -> str | None:
        """Return kept temporary files for a new environment: on AWS they outlive a process that is replaced."""
        return self._directories.pop()[0] if self._directories else None

    def remove_unused(self, since: float) -> tuple[list[Environment], list[str]]:
        """Remove and return environments and directories unused since that time, and environments that died or hang.

        Provisioned environments stay, however long they are idle, unless ``since`` is infinite.
        """
        stays = since != float("inf")
        kept = [
            one
            for one in self.idle
            if (one.used >= since or (stays and one.is_provisioned)) and one.is_alive() and not one.is_overdue()
        ]
        removed = [one for one in self.idle if one not in kept]
        self.idle = kept
        directories = [path for path, when in self._directories if when < since]
        self._directories = [(path, when) for path, when in self._directories if when >= since]
        return removed, directories


class Reservation(NamedTuple):
    """A place within the limit for one new environment of ``pool``. `PoolManager.launch` consumes it."""

    pool: Pool


class PoolManager:
    """All environments of a server process: at most ``limit``, of which an idle one ends after ``idle`` seconds.

    Args:
        limit: the most environments at once, busy and idle.
        idle: seconds without an invocation after which an environment ends.
        seconds_left: returns the seconds until running invocations are abandoned, None while the server runs.
        logger: the server's logger.
    """

    def __init__(
        self, limit: int, idle: float, seconds_left: Callable[[], float | None], logger: logging.Logger
    ) -> None:
        self._limit, self._idle, self._seconds_left, self._logger = limit, idle, seconds_left, logger
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str], Pool] = {}
        self._count = 0  # reservations and environments
        self._environments: set[Environment] = set()
        self._outdated: list[Environment] = []  # to be ended, since their function has changed
        self._snapshots: dict[Snapshot, Pool] = {}
        self._unused: Queue[str | None] = Queue()  # directories to be removed; None ends the thread
        self._stopping_at = float("inf")
        self.on_provisioned_end: Callable[[Environment], None] = lambda environment: None
        self._closing = threading.Event()

    def start(self) -> None:
        """Start the threads that end idle environments and remove temporary files."""
        threading.Thread(target=self._housekeep, name="serverfull-environments", daemon=True).start()
        threading.Thread(target=self._remove_directories, name="serverfull-temporary-files", daemon=True).start()

    # Running

    def pool(self, function: Function) -> tuple[Pool, FailedStart | None]:
        """Return the pool of this function and version. During a back-off, also return the last failed start."""
        with self._lock:
            pool = self._pool(function)
            return pool, pool.recent_failure()

    def _pool(self, function: Function) -> Pool:
        key = function.name, function.version
        pool = self._pools.get(key)
        if pool is None or (pool.function is not function and pool.function != function):
            if pool is not None:  # the function has changed: its environments and files are outdated
                environments, directories = pool.remove_unused(float("inf"))
                self._outdated += environments
                self._discard(directories)
            pool = self._pools[key] = Pool(function)
        return pool

    def acquire(self, pool: Pool) -> Environment | Reservation:
        """Return the idle environment used last whose runtime waits for an event, or a reservation for a new one.

        A runtime that has answered, but not requested the next event yet, may still work for the last invocation, or
        end through its doing. The call waits for the request a moment, then prefers other idle environments, and then
        a new one. If there is no place for a new one, the call waits until the runtime is overdue.

        Raises `TooManyRequestsException` if the limit is reached and no environment is idle, and `ServiceException` if
        the server is stopping.
        """
        late: list[Environment] = []
        try:
            while environment := self._pop_idle(pool):
                if environment.is_alive() and environment.wait_until_waiting(environment.used + SHORT_PATIENCE):
                    return environment
                late.append(environment)
            if late and self._wait_for(late[0]):
                return late.pop(0)
        finally:
            for environment in late:
                if environment.is_alive():
                    self._give_back(pool, environment)
                else:
                    self._retire(environment, pool)
        return self.reserve(pool)

    def _wait_for(self, environment: Environment) -> bool:
        """Return whether the runtime requests its next event before the time for another environment."""
        deadline = environment.used + LONG_PATIENCE
        while not environment.wait_until_waiting(deadline):
            if environment.ended or environment.is_overdue() or self._has_place():
                return False
            deadline = monotonic() + LONG_PATIENCE
        return True

    def _pop_idle(self, pool: Pool) -> Environment | None:
        with self._lock:
            if self.is_stopped():
                raise ServiceException(STOPPING)
            return pool.pop_idle()

    def reserve(self, pool: Pool) -> Reservation:
        """Return a reservation for a new environment. Raises `TooManyRequestsException` if the limit is reached."""
        with self._lock:
            ending = self._outdated + self._evict(len(self._outdated))
            self._outdated = []
            self._count += 1
        for one in ending:
            self._retire(one)
        return Reservation(pool)

    def _evict(self, ending: int) -> list[Environment]:
        """Remove and return the environment or snapshot that has been unused longest, if a new one needs its place."""
        if self._count - ending < self._limit:
            return []
        candidates = self._evictable()
        if not candidates:
            raise TooManyRequestsException
        oldest, pool = min(candidates, key=lambda pair: pair[0].used)
        if isinstance(oldest, Snapshot):
            return [self._remove_snapshot(oldest)]
        assert pool is not None  # noqa: S101
        pool.idle.remove(oldest)
        return [oldest]

    def _evictable(self) -> list[tuple[Environment | Snapshot, Pool | None]]:
        """Return the environments and snapshots without work, with the pools of the environments."""
        return [
            *((one, pool) for pool in self._pools.values() for one in pool.idle if not one.is_provisioned),
            *((snapshot, None) for snapshot in self._snapshots if not snapshot.environments),
        ]

    def _has_place(self) -> bool:
        """Return whether `reserve` would succeed now."""
        with self._lock:
            return self._count - len(self._outdated) < self._limit or bool(self._evictable())

    def give_up(self, reservation: Reservation) -> None:
        """Free the reserved place."""
        with self._lock:
            self._count -= 1

    def launch(self, reservation: Reservation, launch: Launch, *, reuses_files: bool = True) -> Environment:
        """Turn a reservation into an environment. If ``launch`` raises, the reserved place is free again.

        ``launch`` gets the temporary files of an earlier environment, if ``reuses_files`` is true and there are some.
        """
        pool = reservation.pool
        with self._lock:
            directory = pool.pop_directory() if reuses_files else None
        try:
            environment = launch(directory)
        except BaseException:
            with self._lock:
                self._count -= 1
                if directory:
                    pool.keep_directory(directory)
            raise
        with self._lock:
            self._environments.add(environment)
        return environment

    def record_start(self, pool: Pool, failed: FailedStart | None) -> None:
        """Record a start that failed, or ``None`` for a start that succeeded."""
        with self._lock:
            pool.record_start(failed)

    def release(self, pool: Pool, environment: Environment, *, is_reusable: bool) -> None:
        """Keep an environment for the next invocation, or end it."""
        if is_reusable:
            environment.used = monotonic()
            self._give_back(pool, environment)
        else:
            self._retire(environment, pool)

    def _give_back(self, pool: Pool, environment: Environment) -> None:
        """Make an environment idle again, in the order of use; end one that is outdated."""
        with self._lock:
            if is_kept := self._pools.get(pool.key) is pool and not self.is_stopped():
                insort(pool.idle, environment, key=_last_use)
        if not is_kept:
            self._retire(environment, pool)

    def release_to_function(self, environment: Environment) -> None:
        """Make a new environment idle, that no invocation waits for; end one that is outdated."""
        pool = self._pools.get((environment.function.name, environment.function.version))
        if pool is not None and pool.function is environment.function:
            pool.has_provisioned = True
            self.release(pool, environment, is_reusable=True)
        else:
            self._retire(environment)

    def end_provisioned(self, function: Function) -> bool:
        """End a provisioned environment of a function that is idle. Return False if there is none."""
        with self._lock:
            pool = self._pools.get((function.name, function.version))
            environment = next((one for one in pool.idle if one.is_provisioned), None) if pool else None
            if pool is None or environment is None:
                return False
            pool.idle.remove(environment)
        self._retire(environment, pool)
        return True

    def _retire(self, environment: Environment, pool: Pool | None = None) -> None:
        """End an environment, and keep its temporary files for the next one of ``pool``, or remove them."""
        environment.close()
        if environment.is_provisioned:
            self.on_provisioned_end(environment)
        with self._lock:
            self._environments.discard(environment)
            self._count -= 1
            if pool and self._pools.get(pool.key) is pool and not environment.is_restored:
                pool.keep_directory(environment.tmp)
            else:  # also for an environment of a snapshot: the next one starts with the snapshot's files
                self._discard([environment.tmp])

    def statistics(self) -> tuple[int, int, dict[tuple[str, str], int]]:
        """Return the numbers of reservations, of environments, and of idle ones by function name and version."""
        with self._lock:
            environments = len(self._environments)
            idle = {key: len(pool.idle) for key, pool in self._pools.items()}
            return self._count - environments, environments, idle

    # Snapshots

    def use_snapshot(self, pool: Pool) -> Snapshot | None:
        """Return the snapshot of a pool for one new environment, if the snapshot can be used."""
        snapshot = pool.snapshot
        if snapshot is None or not snapshot.environment.is_usable():
            return None
        with self._lock:
            if pool.snapshot is not snapshot:  # the housekeeping has ended it meanwhile
                return None
            snapshot.environments += 1
        return snapshot

    def leave_snapshot(self, snapshot: Snapshot) -> None:
        """Note that an environment of a snapshot has ended, or did not start."""
        with self._lock:
            snapshot.environments -= 1
            snapshot.used = monotonic()

    def reserve_for_snapshot(self, pool: Pool) -> Reservation | None:
        """Return a place for a snapshot, or None if the limit is reached."""
        try:
            return self.reserve(pool)
        except TooManyRequestsException:
            return None

    def keep_snapshot(self, pool: Pool, environment: SnapshotEnvironment) -> None:
        """Use a new snapshot for the environments of a pool. An earlier one ends with its last environment."""
        with self._lock:
            pool.snapshot = snapshot = Snapshot(environment)
            self._snapshots[snapshot] = pool

    def retire(self, environment: Environment) -> None:
        """End an environment, and remove its temporary files."""
        self._retire(environment)

    def _remove_snapshots(self, since: float) -> list[Environment]:
        """Remove and return the snapshots that have no environment, and are unused since that time, old or dead."""
        removed: list[Environment] = []
        for snapshot, pool in list(self._snapshots.items()):
            is_alive = snapshot.environment.is_alive()  # which also reads its output
            is_current = pool.snapshot is snapshot and self._pools.get(pool.key) is pool
            if not snapshot.environments and (snapshot.used < since or not is_alive or not is_current):
                removed.append(self._remove_snapshot(snapshot))
        return removed

    def _remove_snapshot(self, snapshot: Snapshot) -> Environment:
        pool = self._snapshots.pop(snapshot)
        if pool.snapshot is snapshot:
            pool.snapshot = None
        return snapshot.environment

    # Housekeeping

    def _housekeep(self) -> None:
        """In a thread: end environments that were idle too long or died, and follow the server's shutdown."""
        while not self._closing.wait(max(SHORTEST_ROUND, min(LONGEST_ROUND, self._idle / 2))):
            try:
                for environment in self._remove_unused():
                    self._retire(environment)
                if (seconds := self._seconds_left()) is not None:
                    self.stop(seconds)
            except Exception:
                self._logger.exception("housekeeping of idle environments failed; it is retried in the next round")

    def _remove_unused(self) -> list[Environment]:
        with self._lock:
            since = monotonic() - self._idle
            removed, self._outdated = self._outdated, []
            for pool in self._pools.values():
                environments, directories = pool.remove_unused(since)
                for one in pool.idle:
                    one.lower_priority()
                removed += environments
                self._discard(directories)
            return removed + self._remove_snapshots(since)

    def _discard(self, directories: list[str]) -> None:
        for path in directories:
            self._unused.put(path)

    def _remove_directories(self) -> None:
        """In a thread of its own, since a removal may take long and housekeeping must notice a shutdown meanwhile."""
        while path := self._unused.get():
            remove_tree(path)

    # Shutdown

    def is_stopped(self) -> bool:
        """Return whether running invocations are to be abandoned now."""
        return monotonic() >= self._stopping_at

    def stop(self, seconds: float) -> None:
        """Abandon running invocations after that time: each then fails with a `ServiceException`."""
        self._stopping_at = min(self._stopping_at, monotonic() + seconds)

    def close(self) -> None:
        """End idle environments, abandon running invocations, and wait up to `CLOSE_PATIENCE` until they returned."""
        self._stopping_at = 0.0
        self._closing.set()
        self._unused.put(None)
        with self._lock:
            idle = [environment for pool in self._pools.values() for environment in pool.idle]
            for pool in self._pools.values():
                pool.idle = []
        for environment in idle:
            self._retire(environment)
        deadline = monotonic() + CLOSE_PATIENCE
        while self._count > len(self._snapshots) and monotonic() < deadline:
            time.sleep(0.01)
        with self._lock:
            snapshots = [self._remove_snapshot(snapshot) for snapshot in list(self._snapshots)]
        for environment in snapshots:
            self._retire(environment)

    def abandon(self) -> None:
        """In a fork of the server: close this process's copies of the parent's descriptors, and end nothing."""
        for environment in list(self._environments):
            environment.abandon()
