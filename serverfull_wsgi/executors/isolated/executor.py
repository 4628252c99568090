"""Runs functions in execution environments, as Lambda does: processes of their own, each for one invocation at a time.

Limits hold for one server process.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial

from serverfull_wsgi.domain import Function, Invocation, Outcome
from serverfull_wsgi.errors import ConfigurationError, ServiceException
from serverfull_wsgi.executors.isolated.environment import Environment
from serverfull_wsgi.executors.isolated.execution import Execution
from serverfull_wsgi.executors.isolated.pool_manager import STOPPING, PoolManager
from serverfull_wsgi.executors.isolated.runtimes.launch import LaunchSpec, launch_spec
from serverfull_wsgi.executors.isolated.sandbox.linux import remove_tree
from serverfull_wsgi.executors.isolated.zygote.client import ZygoteDied
from serverfull_wsgi.executors.isolated.zygote.spawner import Spawner
from serverfull_wsgi.handlers import handler_string
from serverfull_wsgi.telemetry.scope import LOGGER

SANDBOXES = ("auto", "process", "namespaces")


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
        self._seconds_left: Callable[[], float | None] = lambda: None
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
            self._fleet = PoolManager(self._max, self._idle, self._time_left, self._logger)
            self._fleet.start()
            _executors.add(self)
            self._pid = os.getpid()

    # Running

    def execute(self, function: Function, invocation: Invocation) -> Outcome:
        if self._pid != os.getpid():
            self._open()
        fleet, attempt = self._fleet, Execution(function, invocation, self._logger)
        pool, failed = fleet.pool(function)
        if failed:
            attempt.fail(failed)
            return attempt.outcome()
        start = partial(self._begin, pool.function, invocation)
        environment = fleet.take(pool)
        try:
            if environment is None:
                environment = fleet.begin(pool, start)
                attempt.start(environment, self._init_limit)
                if not attempt.overslept:
                    fleet.started(pool, attempt.failed_start)
            if attempt.overslept:  # as on AWS it is begun once more, in the invocation's own time
                late, environment = environment, None
                fleet.give_back(pool, late, reusable=False)
                environment = fleet.take(pool) or fleet.begin(pool, start)
            if not (attempt.stopped or attempt.failed_start):
                attempt.run(environment)
            if attempt.overslept:
                fleet.started(pool, attempt.failed_start)
        finally:
            if environment is not None:
                fleet.give_back(pool, environment, attempt.reusable)
        if attempt.stopped:
            raise ServiceException(STOPPING)
        return attempt.outcome()

    def _begin(self, function: Function, invocation: Invocation, tmp: str | None) -> Environment:
        spawner, beginning = self._spawner, self._beginning(function, invocation)
        new = None if tmp else spawner.create_tmp()
        try:
            return Environment(function, beginning, spawner, tmp or str(new), self._logger, self._fleet.gives_up)
        except BaseException as error:
            if new:
                remove_tree(new)
            if not isinstance(error, ZygoteDied):
                raise
            self._logger.exception("no environment could be started")
            raise ServiceException("The service failed; its log has the reason.") from error

    def _beginning(self, function: Function, invocation: Invocation) -> LaunchSpec:
        handler = handler_string(function)
        if handler is None:
            raise ConfigurationError(
                f"function {function.name!r}: {function.handler!r} cannot be imported by name, so it cannot run in a "
                "process of its own"
            )
        python = self._spawner.interpreter(function.runtime)
        found = launch_spec(function, handler, region=invocation.function_name.region, python=python)
        if not found.argv and not self._spawner.can_fork(python):
            paths = [found.variables.get("PYTHONPATH", ""), *self._spawner.client_path]
            if any(paths):
                found.variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
            return found._replace(argv=(python, "-u", "-m", "awslambdaric", handler))
        return found

    # Final

    def watch_shutdown(self, seconds_left: Callable[[], float | None]) -> None:
        """Keep ``seconds_left()``: the seconds for responses after a stop, None while the server runs."""
        self._seconds_left = seconds_left

    def _time_left(self) -> float | None:
        seconds = self._seconds_left()
        return None if seconds is None else min(seconds, self._drain)

    def stop(self, seconds: float) -> None:
        """Lets what runs go on for at most that long; its callers are told then that the server stops."""
        if self._pid == os.getpid():
            self._fleet.stop(seconds)

    def close(self) -> None:
        if self._pid != os.getpid():
            return
        self._fleet.close()
        self._spawner.close()
        self._pid = 0

    def abandon(self) -> None:
        """In a fork of the server: what the parent has open is the parent's."""
        if self._pid:
            self._pid = 0
            self._fleet.abandon()
            self._spawner.abandon()


_executors: weakref.WeakSet[ProcessExecutor] = weakref.WeakSet()


def _abandon() -> None:
    for executor in _executors:
        executor.abandon()


os.register_at_fork(after_in_child=_abandon)
