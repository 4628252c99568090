"""Standard output and error, of which a process has one each, for invocations that run at the same time.

A proxy stands in the place of each, so that every invocation's tail has what it prints.

A handler may put something else in their place: `contextlib.redirect_stdout` swaps the one global under all threads.
That is for those who run at that moment, and as long as one of them does. Whoever begins later prints where all print,
and what the server has to say goes there in any case. Where that is, is what an invocation finds that begins alone; and
in any case the process's first standard output if that is back, or whatever is there once the old place is closed.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import deque
from typing import Any, TextIO

from serverfull_wsgi.telemetry.proxies import RoutedStream, nowhere
from serverfull_wsgi.telemetry.scope import InvocationScope, current_scope


class Redirection:
    """What some handler has put in the place of ``own``: for those who ``ran`` then, as long as one of them does."""

    def __init__(self, stream: Any, own: RoutedStream, ran: tuple[InvocationScope, ...]) -> None:
        self.stream, self._own = stream, own
        self._ran = weakref.WeakSet(ran)

    def is_over(self, running: set[InvocationScope]) -> bool:
        return not any(scope in running for scope in tuple(self._ran))

    def __getattr__(self, name: str) -> Any:
        scope = current_scope.get()
        theirs = scope in self._ran if scope else not self.is_over(_running)
        return getattr(self.stream if theirs else self._own, name)


_own: dict[str, RoutedStream | None] = {"stdout": None, "stderr": None}
_running: set[InvocationScope] = set()
_kept: deque[Any] = deque(maxlen=16)  # what was taken out of `sys`: `print` may be at it, and holds no reference
_arranging = threading.RLock()  # a signal's handler may log while its thread is at it


def begin(scope: InvocationScope) -> None:
    """From here on an invocation runs in this process, to `end`; cheap enough to be asked each time."""
    try:
        arranged = sys.stdout is _own["stdout"] and sys.stderr is _own["stderr"]
    except AttributeError:  # somebody has deleted one
        arranged = False
    if not arranged:
        with _arranging:
            _arrange(_running, beginning=True)
    _running.add(scope)


def end(scope: InvocationScope) -> None:
    """It runs no longer, and what it has put in the place of the output goes with it."""
    try:
        arranged = sys.stdout is _own["stdout"] and sys.stderr is _own["stderr"]
    except AttributeError:
        arranged = False
    if not arranged:
        with _arranging:  # before it is gone: nobody may find what it has left, and begin alone
            _arrange(_running - {scope}, beginning=False)
            _running.discard(scope)
    _running.discard(scope)


def standard(name: str) -> TextIO:
    """The stream behind the proxies of ``stdout`` or ``stderr``: for what is none of a handler's."""
    own = _own[name]
    in_place = getattr(sys, name, None) is own
    if own is not None and in_place:
        return own.stream
    with _arranging:  # in which no handler that has put something there counts as gone
        found: Any = getattr(sys, name, None)
        if (own := _own[name]) is not None and (_running or type(found) is Redirection):
            found = own
    if isinstance(found, RoutedStream):
        return found.stream
    behind: TextIO = nowhere if found is None else found
    return behind


def _arrange(running: set[InvocationScope], *, beginning: bool) -> None:
    """Puts what belongs there in the place of both, where only those run, and one more if it is ``beginning``."""
    for name in ("stdout", "stderr"):
        stream, own = getattr(sys, name, None), _own[name]
        if own is not None and stream is own:
            continue
        if own is None or _is_for_all(stream, own, alone=beginning and not running):
            new = _adopted(name, stream)
        else:
            new = _borrowed(stream, own, running)
        _kept.extend((stream, new))
        setattr(sys, name, new)


def _is_for_all(stream: Any, own: RoutedStream, *, alone: bool) -> bool:
    if type(stream) is Redirection:
        return False
    return (
        alone
        or type(stream) is RoutedStream  # an older one: what had been put in front of it is gone again
        or stream in (sys.__stdout__, sys.__stderr__)
        or getattr(own.stream, "closed", False)
    )


def _borrowed(stream: Any, own: RoutedStream, running: set[InvocationScope]) -> Any:
    if type(stream) is Redirection:
        return own if stream.is_over(running) else stream
    return Redirection(nowhere if stream is None else stream, own, tuple(running)) if running else own


def _adopted(name: str, stream: Any) -> RoutedStream:
    """From here on this is where all print."""
    old = _own[name]
    if old and stream is old.stream:
        return old
    new = stream if type(stream) is RoutedStream else RoutedStream(nowhere if stream is None else stream)
    if old:
        old.retired = new is not stream
    new.retired = False
    _own[name] = new
    return new


def _forget() -> None:
    """In the child of a fork, where none of its parent's other threads go on."""
    global _arranging
    _arranging = threading.RLock()
    _running.clear()


os.register_at_fork(after_in_child=_forget)
