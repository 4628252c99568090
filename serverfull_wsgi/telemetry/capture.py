"""What a handler prints and logs, kept apart from what others print and log at the same time.

`sys.stdout` and `sys.stderr` are each replaced once by a proxy that asks, at every write, which invocation it comes
from (`contextlib.redirect_stdout` swaps one global under all threads and mixes them up). Text goes on to the stream
that was there, and into the invocation's `Tail` if it has one.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import time
from typing import Any, TextIO

from serverfull_wsgi.telemetry.scope import current

TAIL_SIZE = 4096  # bytes: what X-Amz-Log-Result holds on AWS
_KEPT = 16 * TAIL_SIZE  # what a tail may grow to before it is cut back


class Tail:
    """The last bytes written to it, at most 4,096."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, text: str) -> None:
        self.write_bytes(text[-_KEPT:].encode("utf-8", "backslashreplace"))

    def write_bytes(self, data: bytes) -> None:
        self._bytes += data[-TAIL_SIZE:]
        if len(self._bytes) > _KEPT:
            del self._bytes[:-TAIL_SIZE]

    def __bytes__(self) -> bytes:
        return bytes(self._bytes[-TAIL_SIZE:])


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
        return _pass_on(self.stream, text)

    @property
    def buffer(self) -> RoutedBuffer:
        return RoutedBuffer(self)

    def flush(self) -> None:
        self.stream.flush()

    def close(self) -> None:
        """A handler that closes its output closes nobody else's."""

    def __del__(self) -> None:
        """io.IOBase would close and flush here, at a time when the stream may be gone."""

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

    def flush(self) -> None:
        self._text.stream.buffer.flush()

    def close(self) -> None:
        """As the text layer's."""


class TailHandler(logging.Handler):
    """Log records in the form AWS's Python runtime gives them, into the tail of the invocation that logs.

    It stands on the root logger, as AWS's does, and where the server's passes nothing on to it. Where it stands alone
    it also does what its logger would have done without it: inside an invocation the line goes to standard output,
    elsewhere warnings go to standard error.
    """

    def __init__(self, place: logging.Logger) -> None:
        super().__init__()
        self._place = place
        formatter = logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n", "%Y-%m-%dT%H:%M:%S"
        )
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock of handlers, and with nothing to do for the REPORT lines that a busy server logs."""
        if record.levelno >= logging.WARNING or current.get() is not None:
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        scope = current.get()
        alone = self._place.handlers == [self]
        if scope is None:
            if alone and not _is_handled_below(self._place, record):
                _handle_at_last(record)
            return
        if scope.tail is None and not alone:
            return
        record.aws_request_id = scope.request_id
        line = self.format(record)  # raises for arguments that do not fit the message: so it is on AWS
        if scope.tail is not None:
            scope.tail.write(line)
        if alone:
            _pass_on(unrouted(sys.stdout), line)


def _is_handled_below(place: logging.Logger, record: logging.LogRecord) -> bool:
    """Whether the record has met a handler on its way up to ``place``."""
    logger = _root.manager.loggerDict.get(record.name)
    while isinstance(logger, logging.Logger) and logger is not place:
        if logger.handlers:
            return True
        logger = logger.parent
    return False


def _handle_at_last(record: logging.LogRecord) -> None:
    if logging.lastResort and record.levelno >= logging.lastResort.level:
        logging.lastResort.handle(record)


_installing = threading.Lock()
_root = logging.getLogger()
_handler = TailHandler(_root)


def install(logger: logging.Logger) -> None:
    """Puts the proxies and the log handler in place, unless they are; cheap enough to ask before each invocation.

    ``logger`` is the server's, which handlers reach through `logger_from_context`. That of a second server in this
    process is not looked at here: `listen` is for its start.
    """
    out, err = sys.stdout, sys.stderr
    if (
        type(out) is RoutedStream
        and type(err) is RoutedStream
        and not (out.retired or err.retired)
        and _handler in _root.handlers
    ):
        return
    with _installing:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if type(stream) is RoutedStream and stream.retired:  # what had been put in front of it is gone again
                stream.retired = False
                _installed[name] = stream
            elif stream is not None and type(stream) is not RoutedStream:
                if (old := _installed.get(name)) is not None:
                    old.retired = True
                _installed[name] = RoutedStream(stream)
                setattr(sys, name, _installed[name])
        if _handler not in _root.handlers:
            _root.addHandler(_handler)
    listen(logger)


def listen(logger: logging.Logger) -> None:
    """Puts the log handler where ``logger`` passes its records on no further, unless that is the root logger."""
    while logger.propagate and logger.parent:
        logger = logger.parent
    with _installing:
        if logger is not _root and not any(isinstance(it, TailHandler) for it in logger.handlers):
            logger.addHandler(TailHandler(logger))


_installed: dict[str, RoutedStream] = {}


def _pass_on(stream: TextIO, text: str) -> int:
    """Writes for a handler: a standard output that nobody reads any more, or that was closed, is not its failure."""
    with contextlib.suppress(OSError, ValueError):
        stream.write(text)
    return len(text)


def unrouted(stream: TextIO) -> TextIO:
    """The stream behind the proxy, for what must not count as the handler's output."""
    return stream.stream if isinstance(stream, RoutedStream) else stream
