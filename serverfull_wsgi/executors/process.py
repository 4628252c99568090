"""Runs functions in execution environments, as Lambda does: processes of their own, each for one invocation at a time.

Environments are started when they are needed, kept, and used again most recent first, so that those too many grow idle
and end. Limits hold for one server process.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from time import monotonic

from serverfull_wsgi.domain import Function, Invocation, Outcome
from serverfull_wsgi.errors import ConfigurationError, ServiceException, TooManyRequestsException
from serverfull_wsgi.executors.attempt import Attempt
from serverfull_wsgi.executors.environment import Environment
from serverfull_wsgi.executors.naming import handler_string
from serverfull_wsgi.executors.pools import Pool
from serverfull_wsgi.executors.runtimes import Beginning, beginning
from serverfull_wsgi.executors.spawning import Spawner, ZygoteGone
from serverfull_wsgi.telemetry.scope import LOGGER

SANDBOXES = ("auto", "process", "namespaces")
PATIENCE = 3.0  # seconds that `close` waits for what runs to be told
STOPPING = "The server is stopping, and does not wait for this invocation any longer."


class ProcessExecutor:
    """An `Executor` for functions that can be run by their Handler string.

    ``max_concurrency`` is how many environments there may be at once; one that waits gives way to a function that has
    none. ``idle`` is after how many seconds without work an environment ends. ``sandbox`` is the protection level:
    ``namespaces``, ``process`` (without), or ``auto``, the most that works. ``preload`` are modules that Python
    environments have imported before they start; ``init_timeout`` is how many seconds a start may take; ``drain`` is
    how many seconds what runs has to end once the server stops; ``eager`` starts what is needed with the executor,
    not with the first invocation.

    Raises `ConfigurationError` from `start` where processes cannot be had as asked for.
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
    ) -> None:
        self._max, self._idle, self._eager = max_concurrency, idle, eager
        self._sandbox, self._preload, self._logger = sandbox, preload, logger
        self._init_limit, self._drain = init_timeout, drain
        self._ends: Callable[[], float | None] = lambda: None
        self._pid = 0

    def start(self) -> None:
        if self._eager:
            self._open()

    def _open(self) -> None:
        """Once in a process; a fork of the server begins anew."""
        with self.__dict__.setdefault("_opening", threading.Lock()):
            if self._pid == os.getpid():
                return
            spawner = Spawner(sandbox=self._sandbox, preload=self._preload, logger=self._logger)
            spawner.start()
            self._spawner = spawner
            self._pools: dict[tuple[str, str], Pool] = {}
            self._lock = threading.Lock()
            self._count = 0  # environments there are, busy or not
            self._all: set[Environment] = set()
            self._outdated: list[Environment] = []  # to be ended: their function has changed
            self._rubbish: list[str] = []  # directories to be removed
            self._stopping_at = float("inf")
            self._closing = threading.Event()
            threading.Thread(
                target=self._keep, args=[self._closing], name="serverfull-environments", daemon=True
            ).start()
            _executors.add(self)
            self._pid = os.getpid()

    # Running

    def execute(self, function: Function, invocation: Invocation) -> Outcome:
        if self._pid != os.getpid():
            self._open()
        attempt = Attempt(function, invocation, self._logger)
        with self._lock:
            pool = self._pool(function)
            if failed := pool.recent_failure():
                attempt.fail(failed)
                return attempt.outcome()
        environment = self._idle_one(pool)
        try:
            if environment is None:
                environment = self._begin(pool, invocation)
                attempt.start(environment, self._init_limit)
                with self._lock:
                    pool.started(attempt.failed_start)
            if not (attempt.stopped or attempt.failed_start):
                attempt.run(environment)
        finally:
            if environment is not None:
                self._give_back(pool, environment, attempt.reusable)
        if attempt.stopped:
            raise ServiceException(STOPPING)
        return attempt.outcome()

    def _pool(self, function: Function) -> Pool:
        """The pool of this function and version; a new one where the function has changed."""
        key = function.name, function.version
        pool = self._pools.get(key)
        if pool is None or (pool.function is not function and pool.function != function):
            if pool is not None:
                gone, files = pool.leaving(float("inf"))
                self._outdated += gone
                self._rubbish += files
            pool = self._pools[key] = Pool(function)
        return pool

    def _idle_one(self, pool: Pool) -> Environment | None:
        """An environment that waits, the most recent; None: one is to be started, and there is room for it."""
        while True:
            with self._lock:
                if monotonic() >= self._stopping_at:
                    raise ServiceException(STOPPING)
                outdated, self._outdated = self._outdated, []
                environment = pool.idle.pop() if pool.idle else None
                if environment is None:
                    outdated += self._make_room(len(outdated))
                    self._count += 1
            for one in outdated:
                self._retire(one)
            if environment is None or environment.is_alive():
                return environment
            self._retire(environment, pool)

    def _make_room(self, going: int) -> list[Environment]:
        """Which environment has to go for a new one; the one that waits longest. Raises `TooManyRequestsException`."""
        if self._count - going < self._max:
            return []
        waiting = [(pool.idle[0].used, pool) for pool in self._pools.values() if pool.idle]
        if not waiting:
            raise TooManyRequestsException
        return [min(waiting, key=lambda pair: pair[0])[1].idle.pop(0)]

    def _begin(self, pool: Pool, invocation: Invocation) -> Environment:
        function = pool.function
        with self._lock:
            tmp = pool.take_tmp()
        try:
            environment = Environment(
                function,
                self._beginning(function, invocation),
                self._spawner,
                tmp or self._spawner.make_tmp(),
                self._logger,
                self._gives_up,
            )
        except BaseException as error:
            with self._lock:
                self._count -= 1
            if isinstance(error, ZygoteGone):
                self._logger.exception("no environment could be started")
                raise ServiceException("The service failed; its log has the reason.") from error
            raise
        self._all.add(environment)
        return environment

    def _beginning(self, function: Function, invocation: Invocation) -> Beginning:
        handler = handler_string(function.handler)
        if handler is None:
            raise ConfigurationError(
                f"function {function.name!r}: {function.handler!r} cannot be imported by name, so it cannot run in a "
                "process of its own"
            )
        python = self._spawner.python(function.runtime)
        found = beginning(function, handler, region=invocation.function_name.region, python=python)
        if not found.argv and not self._spawner.can_fork(python):
            paths = [found.variables.get("PYTHONPATH", ""), *self._spawner.client_path]
            if any(paths):
                found.variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
            return found._replace(argv=(python, "-u", "-m", "awslambdaric", handler))
        return found

    def _give_back(self, pool: Pool, environment: Environment, reusable: bool) -> None:
        if reusable:
            with self._lock:
                if self._pools.get(pool.key) is pool and monotonic() < self._stopping_at:
                    environment.used = monotonic()
                    pool.idle.append(environment)
                    return
        self._retire(environment, pool)

    def _retire(self, environment: Environment, pool: Pool | None = None) -> None:
        """Ends an environment. The next one of ``pool`` finds its temporary files; without a pool nobody does."""
        environment.close()
        with self._lock:
            self._all.discard(environment)
            self._count -= 1
            if pool:
                pool.keep_tmp(environment.tmp)
            else:
                self._rubbish.append(environment.tmp)

    def _gives_up(self) -> bool:
        return monotonic() >= self._stopping_at

    # Keeping

    def _keep(self, closing: threading.Event) -> None:
        """In a thread: ends what was idle for too long, or has died, and removes the files of what has gone."""
        while not closing.wait(max(0.02, min(0.25, self._idle / 2))):
            if (seconds := self._ends()) is not None:
                self.stop(min(seconds, self._drain))
            with self._lock:
                since = monotonic() - self._idle
                gone, self._outdated = self._outdated, []
                for pool in self._pools.values():
                    environments, files = pool.leaving(since)
                    gone += environments
                    self._rubbish += files
            for environment in gone:
                self._retire(environment)
            with self._lock:
                rubbish, self._rubbish = self._rubbish, []
            for path in rubbish:
                shutil.rmtree(path, ignore_errors=True)

    def follow(self, ends: Callable[[], float | None]) -> None:
        """``ends`` is asked now and then in how many seconds the server ends; None: not, infinity: once all is done."""
        self._ends = ends

    def stop(self, seconds: float) -> None:
        """Lets what runs go on for at most that long; its callers are told then that the server stops."""
        if self._pid == os.getpid():
            self._stopping_at = min(self._stopping_at, monotonic() + seconds)

    def close(self) -> None:
        if self._pid != os.getpid():
            return
        self._stopping_at = 0.0
        self._closing.set()
        with self._lock:
            idle = [environment for pool in self._pools.values() for environment in pool.idle]
            for pool in self._pools.values():
                pool.idle = []
        for environment in idle:
            self._retire(environment)
        deadline = monotonic() + PATIENCE
        while self._count and monotonic() < deadline:
            time.sleep(0.01)
        self._spawner.close()
        self._pid = 0

    def abandon(self) -> None:
        """In a fork of the server: what the parent has open is the parent's."""
        if self._pid:
            self._pid = 0
            for environment in list(self._all):
                environment.abandon()
            self._spawner.abandon()


_executors: weakref.WeakSet[ProcessExecutor] = weakref.WeakSet()


def _abandon() -> None:
    for executor in _executors:
        executor.abandon()


os.register_at_fork(after_in_child=_abandon)
