"""The choice of an executor for each function."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from serverfull_wsgi.domain import Function, Invocation, Outcome
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.handlers import handler_string
from serverfull_wsgi.protocols import (
    Closable,
    Executor,
    PlaceSharing,
    ProvisioningExecutor,
    SandboxCheckable,
    SharedPlaces,
    ShutdownAware,
    Startable,
)
from serverfull_wsgi.telemetry.scope import LOGGER


class ChoosingExecutor:
    """An `Executor` that runs functions with a code directory isolated, and all others in the server's process.

    Args:
        in_process: runs functions in the server's own process.
        isolated: runs functions in processes of their own.
        isolate: also run a function without a code directory isolated, if its handler can be imported by name. A
            warning in the log names each function whose handler cannot.
        logger: receives the warnings.
    """

    def __init__(
        self, in_process: Executor, isolated: Executor, *, isolate: bool = False, logger: logging.Logger = LOGGER
    ) -> None:
        self._in_process, self._isolated = in_process, isolated
        self._isolate, self._logger = isolate, logger
        self._warned: set[tuple[str, str]] = set()  # name and version

    def start(self) -> None:
        for executor in (self._in_process, self._isolated):
            if isinstance(executor, Startable):
                executor.start()

    def execute(self, function: Function, invocation: Invocation) -> Outcome:
        return self.choice(function).execute(function, invocation)

    def is_isolated(self, function: Function) -> bool:
        return self.choice(function) is self._isolated

    def choice(self, function: Function) -> Executor:
        """Return the executor for ``function``.

        Raises `ConfigurationError` for a function with variables of its own that would run in the server's process:
        a process has one set of variables.
        """
        if function.is_mocked:
            return self._in_process
        if function.code is not None and isinstance(function.handler, str):
            return self._isolated
        if self._isolate:
            if handler_string(function):
                return self._isolated
            self._warn_once(function)
        if function.environment:
            raise ConfigurationError(
                f"function {function.name!r}: environment= needs a process of its own; give the function a code "
                "directory, or a handler that can be imported by name and SERVERFULL_EXECUTOR=process"
            )
        return self._in_process

    def check(self, functions: Iterable[Function]) -> None:
        """Raise `ConfigurationError`, with a line for each function that has no executor, if there are any."""
        problems = []
        for function in functions:
            try:
                self.choice(function)
            except ConfigurationError as error:
                problems.append(str(error))
        if problems:
            raise ConfigurationError("\n".join(problems))

    def check_sandbox(self, functions: Iterable[Function]) -> None:
        """Raise `ConfigurationError` if functions run isolated and the machine cannot; see `SandboxCheckable`."""
        isolated = [function for function in functions if self.choice(function) is self._isolated]
        if isolated and isinstance(self._isolated, SandboxCheckable):
            self._isolated.check_sandbox(isolated)

    def _warn_once(self, function: Function) -> None:
        key = function.name, function.version
        if key not in self._warned:
            self._warned.add(key)
            self._logger.warning(
                "function %r runs in the server's own process: %r cannot be imported by name",
                function.name,
                function.handler,
            )

    def watch_shutdown(self, seconds_left: Callable[[], float | None]) -> None:
        """Pass ``seconds_left`` on: isolated invocations end before the server does."""
        if isinstance(self._isolated, ShutdownAware):
            self._isolated.watch_shutdown(seconds_left)

    def share_places(self, places: SharedPlaces) -> None:
        """Pass ``places`` on: isolated functions run in processes of their own."""
        if isinstance(self._isolated, PlaceSharing):
            self._isolated.share_places(places)

    def provision(self, functions: Sequence[Function], region: str, processes: int | None) -> None:
        """Pass the isolated functions on, and log a warning with the others, for which nothing can start in advance."""
        isolated = [function for function in functions if self.choice(function) is self._isolated]
        if others := sorted({function.name for function in functions} - {function.name for function in isolated}):
            self._logger.warning(
                "provisioned concurrency has no effect on functions in the server's process: %s", ", ".join(others)
            )
        if isolated and isinstance(self._isolated, ProvisioningExecutor):
            self._isolated.provision(isolated, region, processes)

    def close(self) -> None:
        for executor in (self._in_process, self._isolated):
            if isinstance(executor, Closable):
                executor.close()
