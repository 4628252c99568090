"""Standard output and standard error of invocations that run at the same time in one process.

A process has one ``sys.stdout`` and one ``sys.stderr``, and handlers run in several threads. From the first invocation
on, a `RoutedStream` stands in the place of each stream:

    print ───> RoutedStream ───> the real stream: the output of the server
                    └──────────> the tail of the running invocation, if its caller requested the log

A handler may replace ``sys.stdout``, for example with `contextlib.redirect_stdout`. Python then replaces the stream for
every thread. `RunningScope` corrects this at the start and at the end of each invocation:

                     replaced while invocations run
    RoutedStream ──────────────────────────────────> Redirection, for these invocations
         ^                                                │
         └────────────────────────────────────────────────┘
                     the last of these invocations ended

- Only the invocations that ran at the time of a replacement print to it. Invocations that start later, and the
  server's log, print to the real stream.
- A replacement becomes the new real stream in four cases: an invocation starts and no other runs; the process's
  first stream (``sys.__stdout__``) is back; an earlier `RoutedStream` is back; the old real stream is closed.
- A deleted stream, or None, counts as a replacement by a stream that discards all text.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
import weakref
from collections import deque
from contextvars import Token
from typing import Any, Protocol, TextIO

from serverfull_wsgi.telemetry.bounded_output import bounded
from serverfull_wsgi.telemetry.scope import InvocationScope, current_scope

_routed: dict[str, RoutedStream | None] = {"stdout": None, "stderr": None}
_running: set[InvocationScope] = set()
# CPython's print() holds no reference to sys.stdout while it writes, and crashes if another thread frees the stream. So
# redirections are never freed. One that no variable has any more is used again. The last 16 other streams are kept.
_redirections: list[Redirection] = []
_replaced: deque[Any] = deque(maxlen=16)
_is_bounded = False
_lock = threading.RLock()  # reentrant: a signal handler may log while its own thread holds the lock


class RunningScope(InvocationScope):
    """A scope that is current in its thread, task or greenlet, with an output of its own, between two calls.

    They are no context manager, which would take 0.2 µs of each invocation, or 0.7 µs as a generator.
    """

    __slots__ = ("_token",)
    _token: Token[InvocationScope | None]

    def start(self) -> None:
        """Make the scope the current one."""
        if not _is_routed():
            with _lock:
                _route(_running, starting=True)
        _running.add(self)
        self._token = current_scope.set(self)

    def end(self) -> None:
        """Make the earlier scope current again. Called in the same thread, task or greenlet as `start`."""
        current_scope.reset(self._token)
        if self.incomplete is not None:
            _end_lines(self)
        if not _is_routed():
            with _lock:  # route before removing: an invocation that starts now must not be alone with a replacement
                _route(_running - {self}, starting=False)
                _running.discard(self)
        else:
            _running.discard(self)


class LineFormatter(Protocol):
    """The form of a server's log."""

    def printed(self, scope: InvocationScope, text: str) -> str:
        """Return the line for one line that an invocation printed."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record."""


line_formatters: dict[logging.Logger, LineFormatter] = {}  # by the logger of a server whose log has a form for output
LINE_LIMIT = 65536  # characters after which an incomplete line is written


def _end_lines(scope: InvocationScope) -> None:
    """Write the last lines of an invocation that have no line end."""
    for stream in list(scope.incomplete or ()):
        stream.write_output(scope, "\n")


def real_stream(name: str) -> TextIO:
    """Return the real stream of ``stdout`` or ``stderr``, for output of the server itself."""
    routed = _routed[name]
    is_in_place = getattr(sys, name, None) is routed
    if routed is not None and is_in_place:
        return routed.out
    with _lock:  # no invocation that replaced the stream ends meanwhile
        stream: Any = getattr(sys, name, None)
        if (routed := _routed[name]) is not None and (_running or type(stream) is Redirection):
            stream = routed
    if isinstance(stream, RoutedStream):
        return stream.out
    real: TextIO = _null_stream if stream is None else stream
    return output_of(real)


def bound_output() -> None:
    """Drop output that cannot be written, from now on, rather than wait for its reader; see `bounded_output`.

    A server calls this. A command that prints one result waits for its reader, as other programs do.
    """
    global _is_bounded
    _is_bounded = True
    for routed in _routed.values():
        if routed is not None:
            routed.out = bounded(routed.stream)


def output_of(stream: TextIO) -> TextIO:
    """Return the stream to write to for ``stream``: a bounded one for the same file, after `bound_output`."""
    return bounded(stream) if _is_bounded else stream


def flush_stdout() -> None:
    """Write what Python buffers of standard output. Lines of standard error come after it, as on AWS."""
    if (routed := _routed["stdout"]) is not None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            routed.out.flush()


def write_quietly(stream: TextIO, text: str) -> bool:
    """Write text. Escape characters outside the stream's encoding, ignore I/O errors, return False if it is closed."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        with contextlib.suppress(OSError, ValueError):
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    except OSError:
        pass
    except ValueError:
        return False
    return True


def _is_routed() -> bool:
    try:
        return sys.stdout is _routed["stdout"] and sys.stderr is _routed["stderr"]
    except AttributeError:  # a handler deleted one of them
        return False


def _route(running: set[InvocationScope], *, starting: bool) -> None:
    """Put the right stream in the place of both; ``running`` is without the invocation that is starting or ending."""
    for name in ("stdout", "stderr"):
        stream, routed = getattr(sys, name, None), _routed[name]
        if routed is not None and stream is routed:
            continue
        if routed is None or _is_for_all(stream, routed, alone=starting and not running):
            new = _route_all(name, stream)
        else:
            new = _route_some(stream, routed, running)
        _replaced.extend(it for it in (stream, new) if type(it) is not Redirection)
        setattr(sys, name, new)


def _is_for_all(stream: Any, routed: RoutedStream, *, alone: bool) -> bool:
    if type(stream) is Redirection:
        return False
    return (
        alone
        or type(stream) is RoutedStream  # an earlier one: the stream that had replaced it is removed again
        or stream in (sys.__stdout__, sys.__stderr__)
        or getattr(routed.stream, "closed", False)
    )


def _route_all(name: str, stream: Any) -> RoutedStream:
    """Make ``stream`` the real stream and return the `RoutedStream` over it."""
    old = _routed[name]
    if old and stream is old.stream:
        return old
    new = stream if type(stream) is RoutedStream else RoutedStream(_null_stream if stream is None else stream)
    if old:
        old.retired = new is not stream
    new.retired = False
    _routed[name] = new
    return new


def _route_some(stream: Any, routed: RoutedStream, running: set[InvocationScope]) -> Any:
    """Return ``stream`` for the running invocations only, or ``routed`` if none of them runs any more."""
    if type(stream) is Redirection:
        return routed if stream.is_over(running) else stream
    if not running:
        return routed
    redirection = _unused_redirection()
    redirection.begin(_null_stream if stream is None else stream, routed, running)
    return redirection


def _unused_redirection() -> Redirection:
    """Return a redirection that no variable has, such as a log handler's stream or the target of an open `with`."""
    for index in range(len(_redirections)):
        if sys.getrefcount(_redirections[index]) == 2:  # the list's reference and the argument's
            return _redirections[index]
    _redirections.append(redirection := Redirection())
    return redirection


class Redirection:
    """A stream that replaces a `RoutedStream` for some invocations, until the last of them ends."""

    _streams: tuple[Any, RoutedStream | None, weakref.WeakSet[InvocationScope]] = (None, None, weakref.WeakSet())

    def begin(self, stream: Any, routed: RoutedStream, scopes: set[InvocationScope]) -> None:
        """Put ``stream`` in the place of ``routed`` for the invocations."""
        self._streams = stream, routed, weakref.WeakSet(scopes)

    def is_over(self, running: set[InvocationScope]) -> bool:
        """Return True if none of the invocations runs any more."""
        return not any(scope in running for scope in tuple(self._streams[2]))

    def __getattr__(self, name: str) -> Any:
        stream, routed, scopes = self._streams
        scope = current_scope.get()
        applies = scope in scopes if scope else any(scope in _running for scope in tuple(scopes))
        return getattr(stream if applies else routed, name)


class RoutedStream(io.TextIOBase):
    """A text stream that also writes to the tail of the current invocation."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.out = output_of(stream)  # the same file; its writes may be bounded
        self.retired = False  # another `RoutedStream` was put in front of this one and writes the tail

    def write(self, text: str) -> int:
        scope = current_scope.get()
        if scope is None or not isinstance(text, str):  # the stream raises its own TypeError
            return self.out.write(text)
        text.encode()  # raises UnicodeEncodeError for a lone surrogate, as on AWS
        if scope.tail is not None and not self.retired:
            scope.tail.write(text)
        self.write_output(scope, text)
        return len(text)

    def write_output(self, scope: InvocationScope, text: str) -> None:
        """Write text of an invocation to the server's output, unchanged or in the form of the server's log."""
        if self is _routed["stderr"]:
            flush_stdout()
        formatter = None if self.retired else line_formatters.get(scope.logger)
        if formatter is None:
            write_quietly(self.out, text)
            return
        incomplete = scope.incomplete = scope.incomplete or {}
        *lines, rest = (incomplete.pop(self, "") + text).split("\n")
        if len(rest) > LINE_LIMIT:
            lines, rest = [*lines, rest], ""
        incomplete[self] = rest
        for line in lines:
            if line:
                write_quietly(self.out, formatter.printed(scope, line) + "\n")

    @property
    def buffer(self) -> RoutedBuffer:
        return RoutedBuffer(self)

    def flush(self) -> None:
        self.out.flush()

    def close(self) -> None:
        """Do nothing: other handlers and the server go on printing."""

    def __del__(self) -> None:
        """Do nothing: io.IOBase would flush and close, when the real stream may be gone."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.out.isatty()

    def fileno(self) -> int:
        return self.out.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.out.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.out.errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self.out, name)


class RoutedBuffer(io.RawIOBase):
    """The binary layer of a `RoutedStream`."""

    def __init__(self, text: RoutedStream) -> None:
        self._text = text

    def write(self, data: Any) -> int:
        scope = current_scope.get()
        if scope is not None and scope.tail is not None and not self._text.retired:
            scope.tail.write_bytes(bytes(data))
        if scope is not None and scope.logger in line_formatters:
            self._text.write_output(scope, bytes(data).decode("utf-8", "backslashreplace"))
            return len(data)
        if scope is not None and self._text is _routed["stderr"]:
            flush_stdout()
        with contextlib.suppress(OSError, ValueError, AttributeError):  # AttributeError: the stream has no binary layer
            self._text.out.flush()  # earlier text comes first
            self._text.out.buffer.write(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def flush(self) -> None:
        with contextlib.suppress(AttributeError):
            self._text.out.buffer.flush()

    def close(self) -> None:
        """Do nothing, as `RoutedStream.close`."""


class _NullStream(io.TextIOBase):
    """A stream that discards text, as `print` does if ``sys.stdout`` is None."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)


_null_stream: Any = _NullStream()


def _reset_after_fork() -> None:
    """Forget the parent's invocations: their threads do not exist in the child, and one may hold the lock."""
    global _lock
    _lock = threading.RLock()
    _running.clear()


os.register_at_fork(after_in_child=_reset_after_fork)
