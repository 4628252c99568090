"""Calls of functions for which the gateway waits for a limited time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context

from serverfull_wsgi.dispatcher import Dispatcher
from serverfull_wsgi.domain import Function, Invocation, Outcome


def run_for(
    dispatcher: Dispatcher, function: Function, invocation: Invocation, timeout: float | None
) -> Outcome | None:
    """Run a function, and return None if it takes longer than ``timeout`` seconds; None and 0 are no limit.

    Only a function in a process of its own can be left alone: then the call runs on, and its result is dropped. A
    handler in this process holds this thread. Raises as `Dispatcher.run`.
    """
    if not timeout or function.timeout <= timeout or not dispatcher.is_isolated(function):
        return dispatcher.run(function, invocation)
    return _Call(lambda: dispatcher.run(function, invocation)).result(timeout)


class _Call:
    """A call in a thread of its own, whose caller may stop waiting."""

    def __init__(self, call: Callable[[], Outcome]) -> None:
        self._call = call
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._run,), name="serverfull-gateway", daemon=True
        )

    def _run(self) -> None:
        try:
            self._outcome = self._call()
        except BaseException as error:
            self._error = error

    def result(self, timeout: float) -> Outcome | None:
        """Start the call, and return its outcome, or None after ``timeout`` seconds. Raises what the call raises."""
        self._thread.start()
        self._thread.join(timeout)
        if self._error is not None:
            raise self._error
        return self._outcome
