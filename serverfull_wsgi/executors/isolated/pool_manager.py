"""All environments of a server process: those that work, and those that wait in the pools of their functions.

They are kept, and used again most recent first, so that those too many grow idle and end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from queue import Queue
from time import monotonic

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ServiceException, TooManyRequestsException
from serverfull_wsgi.executors.isolated.environment import Environment
from serverfull_wsgi.executors.isolated.execution import FailedStart
from serverfull_wsgi.executors.isolated.pools import Pool
from serverfull_wsgi.executors.isolated.sandbox.linux import remove_tree

PATIENCE = 3.0  # seconds that `close` waits for what runs to be told
STOPPING = "The server is stopping, and does not wait for this invocation any longer."

Start = Callable[[str | None], Environment]  # (a directory of temporary files, or None for a new one)


class PoolManager:
    """At most ``most`` environments, of which those that did nothing for ``idle`` seconds end.

    ``ends`` says in how many seconds the server ends; None: it does not.
    """

    def __init__(self, most: int, idle: float, ends: Callable[[], float | None], logger: logging.Logger) -> None:
        self._most, self._idle, self._ends, self._logger = most, idle, ends, logger
        self.pools: dict[tuple[str, str], Pool] = {}
        self._lock = threading.Lock()
        self.count = 0  # environments there are, busy or not
        self._all: set[Environment] = set()
        self._outdated: list[Environment] = []  # to be ended: their function has changed
        self._rubbish: Queue[str | None] = Queue()  # directories to be removed; None: no more
        self._stopping_at = float("inf")
        self._closing = threading.Event()

    def start(self) -> None:
        """Begins to look after what waits."""
        threading.Thread(target=self._keep, name="serverfull-environments", daemon=True).start()
        threading.Thread(target=self._remove, name="serverfull-temporary-files", daemon=True).start()

    # Running

    def pool(self, function: Function) -> tuple[Pool, FailedStart | None]:
        """The pool of this function and version, and what a start would come to, where that is known."""
        with self._lock:
            pool = self._pool(function)
            return pool, pool.recent_failure()

    def _pool(self, function: Function) -> Pool:
        """A new pool where the function has changed."""
        key = function.name, function.version
        pool = self.pools.get(key)
        if pool is None or (pool.function is not function and pool.function != function):
            if pool is not None:
                gone, files = pool.leaving(float("inf"))
                self._outdated += gone
                self._throw_away(files)
            pool = self.pools[key] = Pool(function)
        return pool

    def take(self, pool: Pool) -> Environment | None:
        """An environment that waits, the most recent; None: one is to be started, and there is room for it."""
        while True:
            with self._lock:
                if self.gives_up():
                    raise ServiceException(STOPPING)
                environment, going = pool.idle.pop() if pool.idle else None, self._outdated
                if environment is None:
                    going = going + self._make_room(len(going))
                    self.count += 1
                self._outdated = []
            for one in going:
                self._retire(one)
            if environment is None or environment.is_alive():
                return environment
            self._retire(environment, pool)

    def _make_room(self, going: int) -> list[Environment]:
        """Which environment has to go for a new one; the one that waits longest. Raises `TooManyRequestsException`."""
        if self.count - going < self._most:
            return []
        waiting = [(pool.idle[0].used, pool) for pool in self.pools.values() if pool.idle]
        if not waiting:
            raise TooManyRequestsException
        return [min(waiting, key=lambda pair: pair[0])[1].idle.pop(0)]

    def begin(self, pool: Pool, start: Start) -> Environment:
        """Has an environment started in the room that was made for it."""
        with self._lock:
            tmp = pool.take_tmp()
        try:
            environment = start(tmp)
        except BaseException:
            with self._lock:
                self.count -= 1
                if tmp:
                    pool.keep_tmp(tmp)
            raise
        self._all.add(environment)
        return environment

    def started(self, pool: Pool, failed: FailedStart | None) -> None:
        """What a start has come to."""
        with self._lock:
            pool.started(failed)

    def give_back(self, pool: Pool, environment: Environment, reusable: bool) -> None:
        """Keeps an environment for the next invocation, or ends it."""
        if reusable:
            with self._lock:
                if self.pools.get(pool.key) is pool and not self.gives_up():
                    environment.used = monotonic()
                    pool.idle.append(environment)
                    return
        self._retire(environment, pool)

    def _retire(self, environment: Environment, pool: Pool | None = None) -> None:
        """Ends an environment. The next one of ``pool`` finds its temporary files; if it has none, nobody does."""
        environment.close()
        with self._lock:
            self._all.discard(environment)
            self.count -= 1
            if pool and self.pools.get(pool.key) is pool:
                pool.keep_tmp(environment.tmp)
            else:
                self._throw_away([environment.tmp])

    # Keeping

    def _keep(self) -> None:
        """In a thread: ends what was idle for too long, or has died, and notices that the server stops."""
        while not self._closing.wait(max(0.02, min(0.25, self._idle / 2))):
            try:
                for environment in self._leaving():
                    self._retire(environment)
                if (seconds := self._ends()) is not None:
                    self.stop(seconds)
            except Exception:
                self._logger.exception("environments that wait could not all be looked after")

    def _leaving(self) -> list[Environment]:
        with self._lock:
            since = monotonic() - self._idle
            gone, self._outdated = self._outdated, []
            for pool in self.pools.values():
                environments, files = pool.leaving(since)
                for one in pool.idle:
                    one.rest()
                gone += environments
                self._throw_away(files)
            return gone

    def _throw_away(self, files: list[str]) -> None:
        for path in files:
            self._rubbish.put(path)

    def _remove(self) -> None:
        """In a thread, since it may take long: removes the files of what has gone."""
        while path := self._rubbish.get():
            remove_tree(path)

    # Final

    def gives_up(self) -> bool:
        """Whether nobody waits any longer for what runs."""
        return monotonic() >= self._stopping_at

    def stop(self, seconds: float) -> None:
        """Lets what runs go on for at most that long; its callers are told then that the server stops."""
        self._stopping_at = min(self._stopping_at, monotonic() + seconds)

    def close(self) -> None:
        """Ends what waits, and waits itself, for a while, for what runs to be given up."""
        self._stopping_at = 0.0
        self._closing.set()
        self._rubbish.put(None)
        with self._lock:
            idle = [environment for pool in self.pools.values() for environment in pool.idle]
            for pool in self.pools.values():
                pool.idle = []
        for environment in idle:
            self._retire(environment)
        deadline = monotonic() + PATIENCE
        while self.count and monotonic() < deadline:
            time.sleep(0.01)

    def abandon(self) -> None:
        """In a fork of the server: what the parent has open is the parent's."""
        for environment in list(self._all):
            environment.abandon()
