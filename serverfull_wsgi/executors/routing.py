"""Which executor runs a function: its own process for code with a directory, the server's for callables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from serverfull_wsgi.domain import Closable, Executor, Function, Invocation, Outcome, ShutdownAware, Startable
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.handlers import handler_string
from serverfull_wsgi.telemetry.scope import LOGGER


class ChoosingExecutor:
    """An `Executor` that has ``inside`` run what is in the server's process, and ``apart`` what has code of its own.

    ``isolate``: ``apart`` also runs what has no code directory, as far as its handler can be imported by name; what
    cannot stays inside, and a line in the log says so.
    """

    def __init__(
        self, inside: Executor, apart: Executor, *, isolate: bool = False, logger: logging.Logger = LOGGER
    ) -> None:
        self._inside, self._apart = inside, apart
        self._isolate, self._logger = isolate, logger
        self._told: set[tuple[str, str]] = set()

    def start(self) -> None:
        for executor in (self._inside, self._apart):
            if isinstance(executor, Startable):
                executor.start()

    def execute(self, function: Function, invocation: Invocation) -> Outcome:
        return self.choice(function).execute(function, invocation)

    def choice(self, function: Function) -> Executor:
        """The executor for ``function``.

        Raises `ConfigurationError` for one that asks for what the server's process cannot give: an environment.
        """
        if function.is_mocked:
            return self._inside
        if function.code is not None and isinstance(function.handler, str):
            return self._apart
        if self._isolate:
            if handler_string(function):
                return self._apart
            self._tell(function)
        if function.environment:
            raise ConfigurationError(
                f"function {function.name!r}: environment= needs a process of its own; give the function a code "
                "directory, or a handler that can be imported by name and SERVERFULL_EXECUTOR=process"
            )
        return self._inside

    def check(self, functions: Iterable[Function]) -> None:
        """Raises `ConfigurationError` if there is no executor for some of them, with a line for each."""
        wrong = []
        for function in functions:
            try:
                self.choice(function)
            except ConfigurationError as error:
                wrong.append(str(error))
        if wrong:
            raise ConfigurationError("\n".join(wrong))

    def _tell(self, function: Function) -> None:
        key = function.name, function.version
        if key not in self._told:
            self._told.add(key)
            self._logger.warning(
                "function %r runs in the server's own process: %r cannot be imported by name",
                function.name,
                function.handler,
            )

    def watch_shutdown(self, seconds_left: Callable[[], float | None]) -> None:
        """``seconds_left`` is asked now and then in how many seconds the server ends, and with it what runs apart."""
        if isinstance(self._apart, ShutdownAware):
            self._apart.watch_shutdown(seconds_left)

    def close(self) -> None:
        for executor in (self._inside, self._apart):
            if isinstance(executor, Closable):
                executor.close()
