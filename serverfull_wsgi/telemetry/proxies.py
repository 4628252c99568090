"""What stands in the place of `sys.stdout` and `sys.stderr`, and asks at every write which invocation it comes from.

Text goes on to the stream that was there, and into the invocation's tail if it has one.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any, TextIO

from serverfull_wsgi.telemetry.scope import current_scope


class Nowhere(io.TextIOBase):
    """Stands for a standard output that is None: what is printed is lost, as `print` loses it."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)


nowhere: Any = Nowhere()


class RoutedStream(io.TextIOBase):
    """A text stream that also writes to the tail of the invocation that writes."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.retired = False  # another proxy has been put in front of this one

    def write(self, text: str) -> int:
        scope = current_scope.get()
        if scope is None or not isinstance(text, str):  # which raises, in the words of streams
            return self.stream.write(text)
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
        scope = current_scope.get()
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


def put(stream: TextIO, text: str) -> bool:
    """Writes what has to fail nobody, if there is nobody to read it; False if the stream is closed."""
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
