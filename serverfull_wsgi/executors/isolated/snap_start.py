"""The decision how an environment of a function with SnapStart starts: from a snapshot, or as other functions do."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ServiceException
from serverfull_wsgi.executors.isolated.environment import Environment
from serverfull_wsgi.executors.isolated.execution import Execution, FailedStart
from serverfull_wsgi.executors.isolated.pools import Pool, PoolManager, Reservation
from serverfull_wsgi.executors.isolated.snapshots import INIT_TIMEOUT, Snapshot, SnapshotEnvironment
from serverfull_wsgi.server_exits import STOPPING

_LOCK_SLICE = 0.1  # seconds between two checks for the server's shutdown


class NoSnapshot(Exception):
    """No snapshot of a function can be taken. ``reasons`` are for the operator."""

    def __init__(self, *reasons: str) -> None:
        super().__init__()
        self.reasons = reasons


class SnapshotLost(Exception):
    """A snapshot has died before it had started an environment."""


class SnapStart:
    """The snapshots of a server process."""

    def __init__(self, pools: PoolManager, logger: logging.Logger) -> None:
        self._pools, self._logger = pools, logger

    def acquire(
        self,
        reservation: Reservation,
        launch: Callable[[str | None], SnapshotEnvironment],
        execution: Execution,
    ) -> Snapshot | FailedStart | None:
        """Return the snapshot for a new environment, made by ``launch`` if there is none.

        Return None if the environment is to start without one, or the failure of the init phase. Then, and if this
        method raises, the reservation has been given up, except with None.
        """
        pool = reservation.pool
        try:
            found = self._acquire(pool, launch, execution)
        except BaseException:
            self._pools.give_up(reservation)
            raise
        if isinstance(found, FailedStart):
            self._pools.give_up(reservation)
        return found

    def _acquire(
        self, pool: Pool, launch: Callable[[str | None], SnapshotEnvironment], execution: Execution
    ) -> Snapshot | FailedStart | None:
        with self._locked(pool):
            while pool.takes_snapshots:
                if snapshot := self._pools.use_snapshot(pool):
                    return snapshot
                place = self._pools.reserve_for_snapshot(pool)
                if place is None:
                    return None
                try:
                    failed = self._take(place, launch, execution)
                except NoSnapshot as error:
                    self._refuse(pool, error.reasons)
                else:
                    self._pools.record_start(pool, failed)
                    if failed:
                        return failed
        return None

    @contextlib.contextmanager
    def _locked(self, pool: Pool) -> Iterator[None]:
        """Hold the pool's lock: while one call makes a snapshot, others wait for it."""
        while not pool.snapshot_lock.acquire(timeout=_LOCK_SLICE):
            if self._pools.is_stopped():
                raise ServiceException(STOPPING)
        try:
            yield
        finally:
            pool.snapshot_lock.release()

    def _take(
        self, place: Reservation, launch: Callable[[str | None], SnapshotEnvironment], execution: Execution
    ) -> FailedStart | None:
        """Make a snapshot. Raises `NoSnapshot` if it is refused."""
        environment = self._pools.launch(place, launch, reuses_files=False)
        is_kept = False
        try:
            timeout = max(INIT_TIMEOUT, environment.function.timeout)
            if failed := execution.take_snapshot(environment, timeout):
                return failed
            if environment.refused:  # type: ignore[attr-defined]
                raise NoSnapshot(*environment.refused)  # type: ignore[attr-defined]
            self._pools.keep_snapshot(place.pool, environment)  # type: ignore[arg-type]
            is_kept = True
            return None
        finally:
            if not is_kept:
                self._pools.retire(environment)

    def _refuse(self, pool: Pool, reasons: Sequence[str]) -> None:
        pool.takes_snapshots = False
        name = pool.function.name
        self._logger.warning(
            "function %s has SnapStart, and starts without a snapshot, as other functions do: %s",
            name,
            "; ".join(reasons),
            extra={"function_name": name},
        )

    def launch(
        self, reservation: Reservation, launch: Callable[[str | None], Environment], snapshot: Snapshot
    ) -> Environment:
        """Start an environment from a snapshot that `acquire` returned. Raises as ``launch``."""
        try:
            environment = self._pools.launch(reservation, launch, reuses_files=False)
        except BaseException:
            self._pools.leave_snapshot(snapshot)
            raise
        environment.on_close = lambda: self._pools.leave_snapshot(snapshot)
        return environment


def reasons_against(function: Function, *, is_python: bool, can_fork: bool, has_wrapper: bool) -> list[str]:
    """Return why no snapshot of a function is possible here, whatever its code does."""
    by_exec = "environments start by exec and not by fork; one of the server's first log lines has the reason"
    checks = (
        (not is_python, f"the runtime {function.runtime} has no snapshots here; Python has"),
        (has_wrapper, "AWS_LAMBDA_EXEC_WRAPPER starts a new interpreter"),
        (is_python and not can_fork, by_exec),
    )
    return [reason for applies, reason in checks if applies]
