"""The fork servers and the pools of a `ProcessExecutor` in one server process, which run its invocations.

The first invocation opens them. The import of this module and of those below it takes 15 ms, so servers without
isolated functions start without it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from serverfull_wsgi.domain import Function, Invocation, Outcome, ProvisionedUse
from serverfull_wsgi.errors import ConfigurationError, ServiceException, TooManyRequestsException
from serverfull_wsgi.executors.isolated.environment import Environment, EventLost
from serverfull_wsgi.executors.isolated.execution import Execution, FailedStart, InitTimedOut, Result
from serverfull_wsgi.executors.isolated.pools import Launch, Pool, PoolManager, Reservation
from serverfull_wsgi.executors.isolated.provisioning import PATIENCE, Provisioner
from serverfull_wsgi.executors.isolated.runtimes.launch import (
    BOOTSTRAP,
    OWN_RUNTIME,
    PACKAGES,
    LaunchSpec,
    launch_spec,
)
from serverfull_wsgi.executors.isolated.sandbox.linux import remove_tree
from serverfull_wsgi.executors.isolated.snap_start import NoSnapshot, SnapshotLost, SnapStart, reasons_against
from serverfull_wsgi.executors.isolated.snapshots import RESTORE_TIMEOUT, Snapshot, SnapshotEnvironment
from serverfull_wsgi.executors.isolated.zygote.client import ZygoteDied
from serverfull_wsgi.executors.isolated.zygote.protocol import Failed
from serverfull_wsgi.executors.isolated.zygote.spawner import Spawner
from serverfull_wsgi.handlers import handler_string
from serverfull_wsgi.protocols import SharedPlaces


class OpenExecutor:
    """The open part of a `ProcessExecutor`: the fork servers and pools of one server process."""

    def __init__(
        self,
        pid: int,
        spawner: Spawner,
        pools: PoolManager,
        init_timeout: float,
        logger: logging.Logger,
        completed: Callable[[Function], Function],
        node_modules: str,
        python_modules: str,
        has_frames: bool,
    ) -> None:
        self.pid, self.spawner, self.pools = pid, spawner, pools
        self._snap_start = SnapStart(pools, logger)
        self._init_timeout, self._logger, self._completed = init_timeout, logger, completed
        self._node_modules = node_modules
        self._python_modules = python_modules
        self._has_frames = has_frames
        self._provisioner: Provisioner | None = None

    def execute(self, function: Function, invocation: Invocation) -> Outcome:
        if self._provisioner is not None:
            self._provisioner.update(function)  # first: it then makes no pool for the function as it was before
        execution, pools = Execution(function, invocation, self._logger), self.pools
        pool, failed = pools.pool(function)
        if failed:
            return execution.fail(failed)
        region = invocation.function_name.region
        launch = partial(self._launch, pool.function, region)
        outcome: Outcome | InitTimedOut | None = None
        while outcome is None:
            place = pools.acquire(pool)
            if function.provisioned:
                execution.provisioned = self._use(pool, place if isinstance(place, Environment) else None)
            if isinstance(place, Environment):
                with contextlib.suppress(EventLost):  # an earlier invocation ended it, so that another one runs this
                    return self._run(pool, place, execution).outcome
            elif pool.takes_snapshots:
                outcome = self._start_by_snapshot(place, region, execution)
            else:
                outcome = self._start_and_run(place, launch, execution)
        if isinstance(outcome, Outcome):
            return outcome
        # As on AWS, a start that timed out is repeated once, in the invocation's own time.
        while True:
            place = pools.acquire(pool)
            environment = place if isinstance(place, Environment) else pools.launch(place, launch)
            with contextlib.suppress(EventLost):
                result = self._run(pool, environment, execution)
                pools.record_start(pool, result.failed_start)
                return result.outcome

    def _use(self, pool: Pool, environment: Environment | None) -> ProvisionedUse | None:
        return None if self._provisioner is None else self._provisioner.use(pool, environment)

    @property
    def is_provisioning(self) -> bool:
        """Whether this process keeps environments initialised."""
        return self._provisioner is not None

    def provision(
        self, functions: Sequence[Function], places: SharedPlaces, region: str, processes: int, *, waits: bool
    ) -> None:
        """Start this process's share of the provisioned environments. ``waits``: wait for them, up to `PATIENCE`."""

        def launch(function: Function, directory: str | None) -> Environment:
            return self._launch(function, region, directory, is_provisioned=True)

        self._provisioner = Provisioner(self.pools, places, launch, processes, self._init_timeout, self._logger)
        self._provisioner.start(functions, PATIENCE if waits else 0.0)

    def _start_and_run(self, reservation: Reservation, launch: Launch, execution: Execution) -> Outcome | InitTimedOut:
        """Run the invocation in a new environment, and release the environment."""
        pools, pool = self.pools, reservation.pool
        environment, is_reusable = pools.launch(reservation, launch), False
        try:
            start = execution.start(environment, self._init_timeout)
            if isinstance(start, InitTimedOut):
                return start
            if isinstance(start, FailedStart):
                outcome = execution.fail(start)
                pools.record_start(pool, start)
                return outcome
            pools.record_start(pool, None)
            outcome, is_reusable, _ = execution.run(environment)
            return outcome
        finally:
            pools.release(pool, environment, is_reusable=is_reusable)

    def _start_by_snapshot(
        self, reservation: Reservation, region: str, execution: Execution
    ) -> Outcome | InitTimedOut | None:
        """Run the invocation in a new environment of a function with SnapStart, and release the environment.

        Return None if the snapshot has died before it had started the environment, so that another one is needed.
        """
        function = reservation.pool.function
        launch_snapshot = partial(self._launch_snapshot, function, region)
        snapshot = self._snap_start.acquire(reservation, launch_snapshot, execution)
        if snapshot is None:
            return self._start_and_run(reservation, partial(self._launch, function, region), execution)
        if isinstance(snapshot, FailedStart):
            return execution.fail(snapshot)
        launch = partial(self._launch_from, snapshot, function, region)
        try:
            return self._restore_and_run(reservation, launch, execution, snapshot)
        except SnapshotLost:
            return None

    def _restore_and_run(
        self, reservation: Reservation, launch: Launch, execution: Execution, snapshot: Snapshot
    ) -> Outcome:
        """Run the invocation in an environment of a snapshot, and release the environment.

        Raises `SnapshotLost` if the snapshot has died before it had started the environment.
        """
        pools, pool = self.pools, reservation.pool
        environment, is_reusable = self._snap_start.launch(reservation, launch, snapshot), False
        try:
            start = execution.restore(environment, RESTORE_TIMEOUT)
            if isinstance(start, FailedStart):
                if isinstance(start.ended, Failed) and snapshot.environment.client.has_ended():
                    raise SnapshotLost
                pools.record_start(pool, start)
                return execution.fail(start)
            pools.record_start(pool, None)
            outcome, is_reusable, _ = execution.run(environment)
            return outcome
        finally:
            pools.release(pool, environment, is_reusable=is_reusable)

    def _run(self, pool: Pool, environment: Environment, execution: Execution) -> Result:
        """Run the invocation in an environment, and release the environment."""
        is_reusable = False
        try:
            result = execution.run(environment)
            is_reusable = result.is_reusable
            return result
        finally:
            self.pools.release(pool, environment, is_reusable=is_reusable)

    def _launch(
        self, function: Function, region: str, directory: str | None, *, is_provisioned: bool = False
    ) -> Environment:
        """Start the process of a new environment, with the temporary files in ``directory`` or with none."""
        spec = self._launch_spec(function, region)
        if is_provisioned:
            spec.variables["AWS_LAMBDA_INITIALIZATION_TYPE"] = "provisioned-concurrency"
        new = None if directory else self.spawner.create_tmp()
        with self._translating(new):
            return Environment(function, spec, self.spawner, directory or str(new), self._logger, self.pools.is_stopped)

    def _launch_snapshot(self, function: Function, region: str, _: str | None) -> SnapshotEnvironment:
        """Start the process of a new snapshot. Raises `NoSnapshot` if the function can have none."""
        spec = self._launch_spec(function, region)._replace(has_frames=False)  # a snapshot runs no invocation
        is_python = (function.runtime or OWN_RUNTIME).startswith("python")
        can_fork = is_python and self.spawner.can_fork(spec.python)
        if spec.argv:
            raise NoSnapshot(
                *reasons_against(function, is_python=is_python, can_fork=can_fork, has_wrapper=bool(spec.wrapper))
            )
        folder = self.spawner.create_tmp()
        with self._translating(folder):
            return SnapshotEnvironment(
                function, spec.for_snapshot(), self.spawner, folder, self._logger, self.pools.is_stopped
            )

    def _launch_from(self, snapshot: Snapshot, function: Function, region: str, _: str | None) -> Environment:
        """Start the process of a new environment from a snapshot. Raises `SnapshotLost` if the snapshot has died."""
        spec = self._launch_spec(function, region).for_snapshot()
        tmp = self.spawner.create_tmp(snapshot.environment.tmp)
        client = snapshot.environment.client
        with self._translating(tmp):
            try:
                return Environment(function, spec, self.spawner, tmp, self._logger, self.pools.is_stopped, client)
            except ZygoteDied as error:
                raise SnapshotLost from error

    @contextlib.contextmanager
    def _translating(self, new: str | None) -> Iterator[None]:
        """Remove the new directory after an error, and raise an error of the server as one of the service."""
        try:
            yield
        except BaseException as error:
            if new:
                remove_tree(new)
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise TooManyRequestsException from error
            if not isinstance(error, ZygoteDied):
                raise
            self._logger.exception("an environment could not be started, so its invocation fails")
            raise ServiceException() from error

    def _launch_spec(self, function: Function, region: str) -> LaunchSpec:
        handler = handler_string(function)
        if handler is None:
            raise ConfigurationError(
                f"function {function.name!r}: {function.handler!r} cannot be imported by name, so it cannot run in a "
                "process of its own; define the handler at the top level of a module"
            )
        python = self.spawner.interpreter(function.runtime)
        spec = launch_spec(
            self._completed(function),
            handler,
            region=region,
            python=python,
            node_modules=self._node_modules,
            python_modules=self._python_modules,
            has_frames=self._has_frames,
            has_root=self.spawner.has_root,
        )
        if not spec.argv and (not self.spawner.can_fork(python) or spec.wrapper):
            paths = [spec.variables.get("PYTHONPATH", ""), *self.spawner.client_path]
            if any(paths):
                spec.variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
            if function.code is not None:
                spec.variables[PACKAGES] = self.spawner.packages_of(spec)
            return spec._replace(
                argv=(*spec.wrapper, python, "-u", os.path.join(spec.variables["LAMBDA_RUNTIME_DIR"], BOOTSTRAP))
            )
        return spec

    def close(self) -> None:
        if self._provisioner is not None:
            self._provisioner.stop()
        self.pools.close()
        if self._provisioner is not None:
            self._provisioner.release()
        self.spawner.close()

    def abandon(self) -> None:
        self.pools.abandon()
        self.spawner.abandon()
