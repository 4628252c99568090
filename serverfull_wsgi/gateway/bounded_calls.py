"""Calls of functions for which the gateway waits for a limited time.

Such a call needs a second thread, which stays with the call if the gateway stops waiting. A thread that has ended a
call takes another one, since to start a thread takes 45 µs more::

    start ──▶ call ──▶ idle ──▶ call ──▶ idle for `IDLE` seconds ──▶ end
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial

from serverfull_wsgi.dispatcher import Dispatcher
from serverfull_wsgi.domain import Function, Invocation, Outcome

IDLE = 30.0  # seconds


def run_for(
    dispatcher: Dispatcher, function: Function, invocation: Invocation, timeout: float | None
) -> Outcome | None:
    """Run a function, and return None if it takes longer than ``timeout`` seconds; None and 0 are no limit.

    Only a function in a process of its own can be left alone: then the call runs on, and its result is dropped. A
    handler in this process holds this thread. Raises as `Dispatcher.run`.
    """
    if not timeout or function.timeout <= timeout or not dispatcher.is_isolated(function):
        return dispatcher.run(function, invocation)
    call = _Call(partial(copy_context().run, dispatcher.run, function, invocation))
    _idle_thread().give(call)
    return call.result(timeout)


class _Call:
    """A call in another thread. Its caller may stop waiting."""

    def __init__(self, call: Callable[[], Outcome]) -> None:
        self._call = call
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._is_over = threading.Lock()
        self._is_over.acquire()

    def run(self) -> None:
        try:
            self._outcome = self._call()
        except BaseException as error:
            self._error = error

    def end(self) -> None:
        """Let the caller go on."""
        self._is_over.release()

    def result(self, timeout: float) -> Outcome | None:
        """Return the outcome, or None after ``timeout`` seconds. Raises what the call raises."""
        if not self._is_over.acquire(timeout=timeout):
            return None
        if self._error is not None:
            raise self._error
        return self._outcome


class _Thread:
    """A thread that runs one call after the other, until none comes for `IDLE` seconds."""

    _call: _Call

    def __init__(self) -> None:
        self._has_call = threading.Lock()
        self._has_call.acquire()
        threading.Thread(target=self._work, name="serverfull-gateway", daemon=True).start()

    def give(self, call: _Call) -> None:
        self._call = call
        self._has_call.release()

    def _work(self) -> None:
        while self._wait():
            call = self._call
            del self._call
            call.run()
            _idle.append(self)  # first, so that the caller's next call finds this thread
            call.end()
            del call  # with its outcome, which may have 6 MiB

    def _wait(self) -> bool:
        """Wait for a call. Return False if none comes."""
        if self._has_call.acquire(timeout=IDLE):
            return True
        try:
            _idle.remove(self)
        except ValueError:  # the thread was taken in this moment
            return self._has_call.acquire()
        return False


def _idle_thread() -> _Thread:
    """Return the thread that was idle last, or a new one."""
    try:
        return _idle.pop()
    except IndexError:
        return _Thread()


_idle: deque[_Thread] = deque()
os.register_at_fork(after_in_child=_idle.clear)  # a forked child has none of these threads
