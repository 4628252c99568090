"""Runs functions in execution environments, as Lambda does: in processes of their own, one invocation at a time."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from serverfull_wsgi.domain import Function, Invocation, Outcome, ProvisionedUse
from serverfull_wsgi.errors import ConfigurationError, ServiceException, TooManyRequestsException
from serverfull_wsgi.executors.isolated.descriptors import environments_that_fit, limit_for, raise_limit
from serverfull_wsgi.executors.isolated.environment import STOPPING, Environment, EventLost
from serverfull_wsgi.executors.isolated.execution import Execution, FailedStart, InitTimedOut, Result
from serverfull_wsgi.executors.isolated.pools import Launch, Pool, PoolManager, Reservation
from serverfull_wsgi.executors.isolated.provisioning import PATIENCE, Provisioner
from serverfull_wsgi.executors.isolated.root_checks import root_warnings
from serverfull_wsgi.executors.isolated.roots import Roots, refuse_mounts
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
from serverfull_wsgi.storage.package_cache import PackageCache
from serverfull_wsgi.telemetry.scope import LOGGER

SANDBOXES = ("auto", "process", "namespaces", "root")


class Statistics(NamedTuple):
    """The environments of one server process."""

    reserved: int = 0  # places within the limit for environments that have no process yet
    environments: int = 0  # starting, running or idle
    idle: Mapping[tuple[str, str], int] = MappingProxyType({})  # by function name and version
    fork_servers: Sequence[int] = ()  # process ids
    directory: str = ""  # the parent of all directories of temporary files
    sandbox: str = ""  # the isolation in effect: ``root``, ``namespaces`` or ``process``


class ProcessExecutor:
    """An `Executor` for functions that can be run by their Handler string, each in an environment of its own.

    Limits hold for one server process. A fork of the server process opens an executor of its own.

    Args:
        max_concurrency: the most environments at once. An idle one ends if a function without one needs its place.
        idle: seconds without an invocation after which an environment ends.
        sandbox: ``namespaces``, ``process`` (no namespaces), or ``auto``: as much protection as the machine allows.
        preload: modules that Python environments have imported before they start.
        init_timeout: seconds that a start may take (AWS: 10).
        drain: seconds that running invocations have to end after the server stops.
        eager: open with `start`, not with the first invocation.
        logger: the server's logger.
        environment: variables of all functions; a function's own variables win over them.
        overrides: variables by function name, which win over the function's own.
        node_modules: a folder of packages for all Node.js functions, after their own and those of layers.
        python_modules: the same for Python functions with a code directory.
        hidden: files and directories of the server that functions with a root directory of their own never see.
        mounts: folders that functions share, in the format of SERVERFULL_MOUNTS.
        network: ``host`` or ``none``, for functions that do not decide themselves.
        layer_cache: a directory for layers that the kernel does not merge by a mount, and that are merged into one
            folder; an empty text to merge them for each server process.

    `start`, or the first `execute`, raises `ConfigurationError` if the machine cannot provide the sandbox.
    """

    def __init__(
        self,
        *,
        max_concurrency: int = 64,
        idle: float = 300.0,
        sandbox: str = "auto",
        preload: Sequence[str] = (),
        init_timeout: float = 10.0,
        drain: float = 25.0,
        eager: bool = False,
        logger: logging.Logger = LOGGER,
        environment: Mapping[str, str] | None = None,
        overrides: Mapping[str, Mapping[str, str]] | None = None,
        node_modules: str = "",
        python_modules: str = "",
        hidden: Sequence[str] = (),
        mounts: str = "",
        network: str = "host",
        layer_cache: str = "",
    ) -> None:
        self._environment, self._overrides = environment or {}, overrides or {}
        self._node_modules = node_modules
        self._python_modules = python_modules
        cache = PackageCache(Path(layer_cache).absolute()) if layer_cache else None
        self._roots = Roots(hidden, mounts, logger, cache)
        self._network = network
        self._max_concurrency, self._idle, self._eager = max_concurrency, idle, eager
        self._sandbox, self._preload, self._logger = sandbox, preload, logger
        self._init_timeout, self._drain = init_timeout, drain
        self._seconds_left: Callable[[], float | None] = lambda: None
        self._places: SharedPlaces | None = None
        self._provisioned: Sequence[Function] = ()
        self._region, self._processes = "", 1
        self._is_started = False
        self._opened: _OpenExecutor | None = None
        self._closed_by = 0  # process id
        _executors.add(self)

    def start(self) -> None:
        self._is_started = True
        if self._provisioned:
            self._provision(self._provisioned, self._region, PATIENCE)
        elif self._eager:
            self._open()

    def _provision(self, functions: Sequence[Function], region: str, patience: float) -> None:
        """Keep environments initialised, unless this process does so already or has no places."""
        opened = self._open()
        with self._lock():
            if self._places is not None and not opened.is_provisioning:
                opened.provision(functions, self._places, region, self._processes, patience)

    def check_sandbox(self, functions: Iterable[Function]) -> None:
        """Raise `ConfigurationError` if `start` would raise it; see `SandboxCheckable`."""
        spawner = Spawner(
            sandbox=self._sandbox, preload=self._preload, logger=self._logger, roots=self._roots, network=self._network
        )
        functions = list(functions)
        self.check_mounts(functions)
        if not spawner.check().root:
            for line in (line for function in functions for line in root_warnings(function)):
                self._logger.warning("%s", line)

    def check_mounts(self, functions: Iterable[Function]) -> None:
        """Raise `ConfigurationError` if a function mounts a path that the settings do not have or cannot show."""
        for function in functions:
            if self._sandbox not in ("auto", "root"):
                refuse_mounts(function, f"SERVERFULL_SANDBOX={self._sandbox}")
            self._roots.check(function)

    def is_isolated(self, function: Function) -> bool:
        return True

    def share_places(self, places: SharedPlaces) -> None:
        """See `PlaceSharing`: an environment of a server that was killed ends some milliseconds after it."""
        self._places = places

    def provision(self, functions: Sequence[Function], region: str, processes: int | None) -> None:
        """See `ProvisioningExecutor`: `start` then starts this process's share of the environments."""
        wanted = sum(function.provisioned or 0 for function in functions)
        if processes is not None and wanted > self._max_concurrency * processes:
            raise ConfigurationError(
                f"provisioned concurrency of {wanted} environments is more than SERVERFULL_MAX_CONCURRENCY="
                f"{self._max_concurrency} allows in {processes} process{'es' * (processes != 1)}; raise "
                f"the setting to at least {-(-wanted // processes)}, or lower the provisioned concurrency"
            )
        self._provisioned, self._region, self._processes = functions, region, processes or 1

    def execute(self, function: Function, invocation: Invocation) -> Outcome:
        opened = self._opened
        if opened is None or opened.pid != os.getpid():
            opened = self._open()
        if function.provisioned and self._is_started and not opened.is_provisioning:  # it was deployed after the start
            self._provision([function], invocation.function_name.region, 0.0)
        return opened.execute(function, invocation)

    def _open(self) -> _OpenExecutor:
        with self._lock():
            pid = os.getpid()
            if self._closed_by == pid:
                raise ServiceException(STOPPING)
            if self._opened is None or self._opened.pid != pid:
                limit = self._limit()
                spawner = Spawner(
                    sandbox=self._sandbox,
                    preload=self._preload,
                    logger=self._logger,
                    inherited=self._places.descriptors if self._places else tuple,
                    roots=self._roots,
                    network=self._network,
                )
                spawner.start()
                pools = PoolManager(limit, self._idle, self._shutdown_in, self._logger)
                try:
                    pools.start()
                except BaseException:  # no more threads can be made
                    pools.close()
                    spawner.close()
                    raise
                self._opened = _OpenExecutor(
                    pid,
                    spawner,
                    pools,
                    self._init_timeout,
                    self._logger,
                    self._completed,
                    self._node_modules,
                    self._python_modules,
                )
            return self._opened

    def _completed(self, function: Function) -> Function:
        """Return the function with all variables of its environments."""
        overrides = self._overrides.get(function.name)
        if not self._environment and not overrides:
            return function
        return replace(function, environment={**self._environment, **function.environment, **(overrides or {})})

    def _limit(self) -> int:
        """Return the most environments that the settings and the limit of descriptors allow."""
        raise_limit()
        fitting = environments_that_fit()
        if fitting < self._max_concurrency:
            self._logger.warning(
                "SERVERFULL_MAX_CONCURRENCY=%d is more than the limit of open files (ulimit -n) has room for: calls "
                "beyond %d at the same time get 429; raise the limit to at least %d",
                self._max_concurrency,
                fitting,
                limit_for(self._max_concurrency),
            )
        return min(fitting, self._max_concurrency)

    def _lock(self) -> threading.Lock:
        """Return the lock. Its first use creates it, since gevent replaces `threading.Lock` after the constructor."""
        lock: threading.Lock = self.__dict__.setdefault("_opening", threading.Lock())
        return lock

    def statistics(self) -> Statistics:
        """Return the numbers of this process's environments; all are 0 before the first invocation."""
        opened = self._opened
        if opened is None or opened.pid != os.getpid():
            return Statistics()
        fork_servers = [zygote.process.pid for zygote in list(opened.spawner.zygotes.values())]
        return Statistics(*opened.pools.statistics(), fork_servers, opened.spawner.base, opened.spawner.level)

    # Shutdown

    def watch_shutdown(self, seconds_left: Callable[[], float | None]) -> None:
        """Keep ``seconds_left()``: the seconds for responses after a stop, None while the server runs."""
        self._seconds_left = seconds_left

    def _shutdown_in(self) -> float | None:
        seconds = self._seconds_left()
        return None if seconds is None else min(seconds, self._drain)

    def stop(self, seconds: float) -> None:
        """Let running invocations go on for at most that long. The others fail with a `ServiceException`."""
        opened = self._opened
        if opened is not None and opened.pid == os.getpid():
            opened.pools.stop(seconds)

    def close(self) -> None:
        """End all environments. Later calls of `execute` in this process raise `ServiceException`."""
        with self._lock():
            opened, self._opened, self._closed_by = self._opened, None, os.getpid()
        if opened is not None and opened.pid == os.getpid():
            opened.close()

    def abandon(self) -> None:
        """In a fork of the server: leave the parent's environments alone, so that the next `execute` opens anew."""
        self.__dict__.pop("_opening", None)  # a thread that does not exist in the fork may hold it
        opened, self._opened, self._is_started = self._opened, None, False
        if opened is not None:
            opened.abandon()


class _OpenExecutor:
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
    ) -> None:
        self.pid, self.spawner, self.pools = pid, spawner, pools
        self._snap_start = SnapStart(pools, logger)
        self._init_timeout, self._logger, self._completed = init_timeout, logger, completed
        self._node_modules = node_modules
        self._python_modules = python_modules
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
        self, functions: Sequence[Function], places: SharedPlaces, region: str, processes: int, patience: float
    ) -> None:
        """Start this process's share of the provisioned environments, and wait up to ``patience`` seconds for them."""

        def launch(function: Function, directory: str | None) -> Environment:
            return self._launch(function, region, directory, is_provisioned=True)

        self._provisioner = Provisioner(self.pools, places, launch, processes, self._init_timeout, self._logger)
        self._provisioner.start(functions, patience)

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
        spec = self._launch_spec(function, region)
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


_executors: weakref.WeakSet[ProcessExecutor] = weakref.WeakSet()


def _abandon() -> None:
    for executor in _executors:
        executor.abandon()


os.register_at_fork(after_in_child=_abandon)
