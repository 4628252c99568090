"""Provisioned concurrency: environments that are initialised before the first call, and replaced when they end.

A function's N environments are spread over the server's processes. Each of the N is a place, a lock that all processes
of the machine share (`storage.place_locks`). A process that holds a place keeps one environment for it::

    function f, provisioned=4     process A: places 0, 1     process B: places 2, 3
                                  process B is killed: the kernel releases 2 and 3, and A takes them

Each process also holds a place as a member. So all processes know how many they are, and each takes N divided by that
number, rounded up, as its share. A process with more than its share, since another process has joined, gives places
back and ends their environments.

Invariants, for each function:

- The processes together hold at most N places. A process has at most one environment, or one start, for each place.
- A place is given back after its environment has ended, or has become an ordinary environment.
- The places of a process that was killed are free once its environments have ended.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from serverfull_wsgi.domain import Function, ProvisionedUse
from serverfull_wsgi.errors import ServerfullError, TooManyRequestsException
from serverfull_wsgi.executors.isolated.environment import Environment, TimedOut
from serverfull_wsgi.executors.isolated.execution import FailedStart
from serverfull_wsgi.executors.isolated.pools import Pool, PoolManager
from serverfull_wsgi.protocols import SharedPlaces

ROUND = 1.0  # seconds between two looks at the other processes' places
JOINING = 5.0  # seconds after the start in which this process expects as many processes as the server will start
STARTS = 4  # environments that start at once
PATIENCE = 10.0  # seconds that the server's start waits for the first environments
_MEMBERS, _MOST_MEMBERS = "provisioned concurrency: processes", 4096  # not the name of a function

Launch = Callable[[Function, str | None], Environment]  # (function, directory for temporary files, or None)
Key = tuple[str, str]  # function name and version


class _Wanted:
    """A function with its places and environments in this process."""

    def __init__(self, function: Function) -> None:
        self.function = function  # the latest
        self.places: list[Any] = []
        self.environments: set[Environment] = set()
        self.starting = 0
        self.failed_at = 0.0
        self.reported = ""  # why the last start failed, if the log has it

    @property
    def key(self) -> str:
        return f"provisioned {self.function.name}:{self.function.version}"

    def missing(self) -> int:
        """Return the number of places without an environment or a start."""
        return len(self.places) - len(self.environments) - self.starting


class Provisioner:
    """The provisioned environments of one server process.

    Args:
        pools: the environments of the process.
        places: the places that the processes share.
        launch: starts an environment.
        processes: the number of processes that the server starts with.
        init_timeout: seconds that a start may take.
        logger: receives a line for each start that fails.
    """

    def __init__(
        self,
        pools: PoolManager,
        places: SharedPlaces,
        launch: Launch,
        processes: int,
        init_timeout: float,
        logger: logging.Logger,
    ) -> None:
        self._pools, self._places, self._launch = pools, places, launch
        self._processes, self._init_timeout, self._logger = processes, init_timeout, logger
        self._wanted: dict[Key, _Wanted] = {}
        self._lock = threading.Lock()
        self._wakeup = threading.Event()
        self._is_settled = threading.Event()  # the first environments are ready, or have failed
        self._is_closed = False
        self._member: Any = None
        self._started_at = monotonic()
        self._thread = threading.Thread(target=self._run, name="serverfull-provisioned", daemon=True)
        pools.on_provisioned_end = self._forget

    def start(self, functions: Iterable[Function], patience: float) -> None:
        """Start this process's share of these functions' environments, and wait up to ``patience`` seconds for it."""
        for function in functions:
            self.update(function)
        self._thread.start()
        self._is_settled.wait(patience)

    def update(self, function: Function) -> None:
        """Use the provisioned concurrency of ``function`` from now on. None ends its provisioned environments."""
        key = function.name, function.version
        wanted = self._wanted.get(key)
        if wanted is None:
            if not function.provisioned:
                return
            with self._lock:
                wanted = self._wanted.setdefault(key, _Wanted(function))
        previous = wanted.function
        if previous is not function:
            wanted.function = function
            if previous.provisioned != function.provisioned or previous != function:
                self._wakeup.set()

    def use(self, pool: Pool, environment: Environment | None) -> ProvisionedUse:
        """Return the figures of an invocation that runs in ``environment``; None for a new environment."""
        wanted = self._wanted.get(pool.key)
        allocated = len(wanted.environments) if wanted else 0
        busy = max(0, allocated - pool.provisioned_idle())
        is_spillover = environment is None or not environment.is_provisioned
        return ProvisionedUse(is_spillover, busy, allocated)

    def _forget(self, environment: Environment) -> None:
        """Have a provisioned environment that has ended replaced. The place stays with this process."""
        function = environment.function
        if wanted := self._wanted.get((function.name, function.version)):
            with self._lock:
                wanted.environments.discard(environment)
        self._wakeup.set()

    # In the thread

    def _run(self) -> None:
        while not self._is_closed:
            self._wakeup.clear()
            try:
                if self._member is None:
                    self._member = self._places.acquire(_MEMBERS, _MOST_MEMBERS)
                for wanted in list(self._wanted.values()):
                    self._balance(wanted)
                    self._start_missing(wanted)
                self._note_settled()
            except Exception:
                self._logger.exception("cannot keep provisioned environments; this is retried in the next round")
            self._wakeup.wait(ROUND)

    def _balance(self, wanted: _Wanted) -> None:
        """Take places up to this process's share, and give back those above it."""
        number = wanted.function.provisioned or 0
        share = -(-number // self._members())
        while len(wanted.places) < share and (place := self._places.acquire(wanted.key, number)) is not None:
            wanted.places.append(place)
        while len(wanted.places) > share:
            with self._lock:
                is_unused = wanted.missing() > 0
            if not is_unused and not self._end_one(wanted):
                break  # all are starting
            self._places.release(wanted.places.pop())

    def _members(self) -> int:
        members = self._places.count(_MEMBERS)
        return max(1, members, self._processes if monotonic() - self._started_at < JOINING else 1)

    def _end_one(self, wanted: _Wanted) -> bool:
        """End an idle provisioned environment, or make a busy one ordinary. Return False if there is none."""
        if self._pools.end_provisioned(wanted.function):
            return True
        with self._lock:
            if not wanted.environments:
                return False
            wanted.environments.pop().is_provisioned = False
            return True

    def _start_missing(self, wanted: _Wanted) -> None:
        if monotonic() - wanted.failed_at < ROUND:
            return
        while True:
            with self._lock:
                if not wanted.missing() > 0 or wanted.starting >= STARTS or self._is_closed:
                    return
                wanted.starting += 1
            threading.Thread(target=self._start_one, args=[wanted], name="serverfull-provisioned", daemon=True).start()

    def _start_one(self, wanted: _Wanted) -> None:
        environment, reason = None, ""
        try:
            environment, reason = self._started(wanted)
        except TooManyRequestsException:
            reason = "the limit SERVERFULL_MAX_CONCURRENCY is reached, or no descriptor is left"
        except ServerfullError as error:
            reason = str(error)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        if environment:
            environment.is_provisioned = True
        with self._lock:
            wanted.starting -= 1
            if environment:
                wanted.environments.add(environment)
                is_new, wanted.reported = False, ""
            else:
                wanted.failed_at = monotonic()
                is_new = bool(reason) and reason != wanted.reported
                wanted.reported = reason or wanted.reported
        if environment:
            self._pools.release_to_function(environment)
        elif is_new and not self._is_closed:
            self._logger.error(
                "function %r: a provisioned environment cannot start, will retry: %s", wanted.function.name, reason
            )
        self._wakeup.set()

    def _started(self, wanted: _Wanted) -> tuple[Environment | None, str]:
        """Return a new environment that is ready, or None and the reason; the reason is empty during a back-off."""
        function = wanted.function
        pool, failed = self._pools.pool(function)
        if failed:
            return None, ""
        environment = self._pools.launch(
            self._pools.reserve(pool), lambda directory: self._launch(pool.function, directory)
        )
        is_ready, reason = False, f"its start took longer than {self._init_timeout:g} s"
        try:
            environment.output.start_invocation({"function_name": function.name}, None)
            answer = environment.wait_until_ready(monotonic() + self._init_timeout)
            environment.output.end_invocation()
            is_ready = not answer and not environment.ended
            if not is_ready:
                failure = FailedStart(answer, environment.ended, environment.exec_error)
                self._pools.record_start(pool, failure)
                reason = "its init phase failed; the log has its output"
            else:
                self._pools.record_start(pool, None)
        except TimedOut:
            environment.kill()
        finally:
            if not is_ready:
                self._pools.release(pool, environment, is_reusable=False)
        return (environment, "") if is_ready else (None, reason)

    def _note_settled(self) -> None:
        with self._lock:
            wanted = list(self._wanted.values())
            if all((one.missing() <= 0 and not one.starting) or one.failed_at for one in wanted):
                self._is_settled.set()

    def stop(self) -> None:
        """Start no more environments."""
        self._is_closed = True
        self._wakeup.set()
        self._thread.join(self._init_timeout)

    def release(self) -> None:
        """Give all places back, once the environments have ended."""
        for wanted in self._wanted.values():
            while wanted.places:
                self._places.release(wanted.places.pop())
        if self._member is not None:
            self._places.release(self._member)
            self._member = None
