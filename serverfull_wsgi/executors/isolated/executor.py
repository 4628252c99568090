"""Runs functions in execution environments, as Lambda does: in processes of their own, one invocation at a time."""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from serverfull_wsgi.domain import Function, Invocation, Outcome
from serverfull_wsgi.errors import ConfigurationError, ServiceException
from serverfull_wsgi.executors.isolated.descriptors import environments_that_fit, limit_for, raise_limit
from serverfull_wsgi.protocols import SharedPlaces
from serverfull_wsgi.server_exits import STOPPING
from serverfull_wsgi.telemetry.scope import LOGGER

if TYPE_CHECKING:
    from serverfull_wsgi.executors.isolated.open_executor import OpenExecutor
    from serverfull_wsgi.executors.isolated.roots import Roots
    from serverfull_wsgi.executors.isolated.zygote.spawner import Spawner


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
        python_transport: ``socket``, frames on a descriptor, or ``http``, AWS's own client, for Python functions.
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
        python_transport: str = "socket",
    ) -> None:
        self._environment, self._overrides = environment or {}, overrides or {}
        self._node_modules = node_modules
        self._python_modules = python_modules
        self._has_frames = python_transport == "socket"
        self._hidden, self._mounts, self._layer_cache = hidden, mounts, layer_cache
        self._network = network
        self._max_concurrency, self._idle, self._eager = max_concurrency, idle, eager
        self._sandbox, self._preload, self._logger = sandbox, preload, logger
        self._init_timeout, self._drain = init_timeout, drain
        self._seconds_left: Callable[[], float | None] = lambda: None
        self._places: SharedPlaces | None = None
        self._provisioned: Sequence[Function] = ()
        self._region, self._processes = "", 1
        self._is_started = False
        self._opened: OpenExecutor | None = None
        self._closed_by = 0  # process id
        _executors.add(self)
        if mounts:
            self._roots  # noqa: B018  (raises ConfigurationError)

    @cached_property
    def _roots(self) -> Roots:
        """The mounts of root directories."""
        from serverfull_wsgi.executors.isolated.roots import Roots  # with the sandbox: see `open_executor`
        from serverfull_wsgi.storage.package_cache import PackageCache

        cache = PackageCache(Path(self._layer_cache).absolute()) if self._layer_cache else None
        return Roots(self._hidden, self._mounts, self._logger, cache)

    def start(self) -> None:
        self._is_started = True
        if self._provisioned:
            self._provision(self._provisioned, self._region, waits=True)
        elif self._eager:
            self._open()

    def _provision(self, functions: Sequence[Function], region: str, *, waits: bool) -> None:
        """Keep environments initialised, unless this process does so already or has no places."""
        opened = self._open()
        with self._lock():
            if self._places is not None and not opened.is_provisioning:
                opened.provision(functions, self._places, region, self._processes, waits=waits)

    def check_sandbox(self, functions: Iterable[Function]) -> None:
        """Raise `ConfigurationError` if `start` would raise it; see `SandboxCheckable`."""
        from serverfull_wsgi.executors.isolated.root_checks import root_warnings

        spawner = self._create_spawner()
        functions = list(functions)
        self.check_mounts(functions)
        if not spawner.check().root:
            for line in (line for function in functions for line in root_warnings(function)):
                self._logger.warning("%s", line)

    def check_mounts(self, functions: Iterable[Function]) -> None:
        """Raise `ConfigurationError` if a function mounts a path that the settings do not have or cannot show."""
        for function in functions:
            if function.mounts:
                self._roots.check(function, self._sandbox)

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
            self._provision([function], invocation.function_name.region, waits=False)
        return opened.execute(function, invocation)

    def _open(self) -> OpenExecutor:
        with self._lock():
            pid = os.getpid()
            if self._closed_by == pid:
                raise ServiceException(STOPPING)
            if self._opened is None or self._opened.pid != pid:
                self._opened = self._open_in_process(pid)
            return self._opened

    def _open_in_process(self, pid: int) -> OpenExecutor:
        """Start the first fork server and the threads of this process."""
        from serverfull_wsgi.executors.isolated.open_executor import OpenExecutor
        from serverfull_wsgi.executors.isolated.pools import PoolManager

        spawner = self._create_spawner()
        pools = PoolManager(self._limit(), self._idle, self._shutdown_in, self._logger)
        spawner.start()
        try:
            pools.start()
        except BaseException:  # no more threads can be made
            pools.close()
            spawner.close()
            raise
        return OpenExecutor(
            pid,
            spawner,
            pools,
            self._init_timeout,
            self._logger,
            self._completed,
            self._node_modules,
            self._python_modules,
            self._has_frames,
        )

    def _create_spawner(self) -> Spawner:
        if sys.platform == "linux":
            from serverfull_wsgi.executors.isolated.zygote.spawner import Spawner as SystemSpawner
        else:
            from serverfull_wsgi.executors.isolated.portable.spawner import PortableSpawner as SystemSpawner
        return SystemSpawner(
            sandbox=self._sandbox,
            preload=self._preload,
            logger=self._logger,
            inherited=self._places.descriptors if self._places else tuple,
            roots=self._roots,
            network=self._network,
        )

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


_executors: weakref.WeakSet[ProcessExecutor] = weakref.WeakSet()


def _abandon() -> None:
    for executor in _executors:
        executor.abandon()


os.register_at_fork(after_in_child=_abandon)
