"""Standard output and error, of which a process has one each, for invocations that run at the same time.

`sys.stdout` and `sys.stderr` are each replaced by a proxy that asks, at every write, which invocation it comes from.
Text goes on to the stream that was there, and into the invocation's tail if it has one.

A handler may put something else in their place: `contextlib.redirect_stdout` swaps the one global under all threads.
That is for those who run at that moment, and as long as one of them does. Whoever begins later prints where all print,
and what the server has to say goes there in any case. What is put there while nothing runs is the new place for all.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from typing import Any, TextIO

from serverfull_wsgi.telemetry.scope import Scope, current


class RoutedStream(io.TextIOBase):
    """A text stream that also writes to the tail of the invocation that writes."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.retired = False  # another proxy has been put in front of this one

    def write(self, text: str) -> int:
        scope = current.get()
        if scope is None:
            return self.stream.write(text)
        if not isinstance(text, str):
            return self.stream.write(text)  # raises, in the words of streams
        text.encode()  # fails for a lone surrogate, as it does on AWS
        if scope.tail is not None and not self.retired:
            scope.tail.write(text)
        put(self.stream, text)
        return len(text)

    @property
    def buffer(self) -> RoutedBuffer:
        return RoutedBuffer(self)

    def flush(self) -> None:
        self.stream.flush()

    def close(self) -> None:
        """A handler that closes its output closes nobody else's."""

    def __del__(self) -> None:
        """io.IOBase would close and flush here, at a time when the stream may be gone."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.stream.errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class RoutedBuffer(io.RawIOBase):
    """The binary layer of a `RoutedStream`."""

    def __init__(self, text: RoutedStream) -> None:
        self._text = text

    def write(self, data: Any) -> int:
        scope = current.get()
        if scope is not None and scope.tail is not None and not self._text.retired:
            scope.tail.write_bytes(bytes(data))
        with contextlib.suppress(OSError, ValueError, AttributeError):  # AttributeError: a stream of text alone
            self._text.stream.flush()  # what was written as text comes first
            self._text.stream.buffer.write(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def flush(self) -> None:
        with contextlib.suppress(AttributeError):
            self._text.stream.buffer.flush()

    def close(self) -> None:
        """As the text layer's."""


class Borrowed:
    """What some handler has put in the place of ``own``, for ``whose`` invocations, and ``own`` for all others."""

    def __init__(self, stream: Any, own: RoutedStream, whose: frozenset[Scope]) -> None:
        self._stream, self._own, self.whose = stream, own, whose

    def __getattr__(self, name: str) -> Any:
        scope = current.get()
        return getattr(self._stream if scope is None or scope in self.whose else self._own, name)


_own: dict[str, RoutedStream | None] = {"stdout": None, "stderr": None}
_running: set[Scope] = set()
_arranging = threading.Lock()


def begin(scope: Scope) -> None:
    """From here on an invocation runs in this process, to `end`; cheap enough to be asked each time."""
    if sys.stdout is not _own["stdout"] or sys.stderr is not _own["stderr"]:
        _arrange(beginning=True)
    _running.add(scope)


def end(scope: Scope) -> None:
    """It runs no longer, and what it has put in the place of the output goes with it."""
    _running.discard(scope)
    if sys.stdout is not _own["stdout"] or sys.stderr is not _own["stderr"]:
        _arrange(beginning=False)


def standard(name: str) -> TextIO:
    """The stream behind the proxies of ``stdout`` or ``stderr``: for what is none of a handler's."""
    stream, own = getattr(sys, name), _own[name]
    if own is not None and (stream is own or _running or type(stream) is Borrowed):
        return own.stream
    return stream.stream if type(stream) is RoutedStream else stream


def put(stream: TextIO, text: str) -> None:
    """Writes what has to fail nobody: the stream may be closed, have no reader any more, or not know a character."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        with contextlib.suppress(OSError, ValueError):
            stream.write(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
    except (OSError, ValueError, AttributeError):
        pass


def _arrange(*, beginning: bool) -> None:
    with _arranging:
        for name in ("stdout", "stderr"):
            if (stream := getattr(sys, name)) is not _own[name]:
                setattr(sys, name, _arranged(name, stream, beginning))


def _arranged(name: str, stream: Any, beginning: bool) -> Any:
    """What belongs in the place where ``stream`` was found, when an invocation begins or has ended."""
    own = _own[name]
    if type(stream) is Borrowed:
        return stream if stream.whose & _running else own
    if own is None or type(stream) is RoutedStream or (beginning and not _running):
        return stream if stream is None else _adopted(name, stream)
    return Borrowed(stream, own, frozenset(_running)) if _running and stream is not None else own


def _adopted(name: str, stream: Any) -> RoutedStream:
    """From here on this is where all print."""
    old, new = _own[name], stream if type(stream) is RoutedStream else RoutedStream(stream)
    if old:
        old.retired = new is not stream
    new.retired = False  # what had been put in front of it is gone again
    _own[name] = new
    return new
