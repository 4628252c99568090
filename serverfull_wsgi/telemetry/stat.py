"""The interface of a client for metrics: that of the package ``statsd``, which has no types.

`telemetry.metrics` has the clients. It imports ``statsd``, and servers without metrics do not need it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import ParamSpec, Protocol, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Stat(Protocol):
    """The client for a handler's own metrics: the interface of the package ``statsd``, which has no types.

    Its calls neither wait nor raise. ``rate`` is the share of calls that send the metric.
    """

    def incr(self, stat: str, count: float = 1, rate: float = 1) -> None:
        """Add ``count`` to a counter."""

    def decr(self, stat: str, count: float = 1, rate: float = 1) -> None:
        """Subtract ``count`` from a counter."""

    def gauge(self, stat: str, value: float, rate: float = 1, delta: bool = False) -> None:
        """Set a gauge, or change its value by ``value`` if ``delta``."""

    def timing(self, stat: str, delta: float | timedelta, rate: float = 1) -> None:
        """Send a duration: a number of milliseconds, or a `datetime.timedelta`."""

    def timer(self, stat: str, rate: float = 1) -> StatTimer:
        """Return a context manager and decorator that sends the duration of a block or of a function."""
        ...

    def set(self, stat: str, value: object, rate: float = 1) -> None:
        """Add a value to a set, of which the collector counts the different values."""

    def pipeline(self) -> StatPipeline:
        """Return a client that collects metrics, and sends them together at the end of a ``with`` block."""
        ...

    def __hash__(self) -> int: ...

    def close(self) -> None:
        """Close the client. In a handler this does nothing: the functions share one client."""


class StatPipeline(Stat, Protocol):
    """The client that `Stat.pipeline` returns."""

    def __enter__(self) -> StatPipeline: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def send(self) -> None:
        """Send the metrics that were collected."""


class StatTimer(Protocol):
    """The context manager and decorator that `Stat.timer` returns."""

    ms: float | None  # milliseconds, once the timer was stopped

    def __call__(self, f: Callable[_P, _R], /) -> Callable[_P, _R]: ...

    def __enter__(self) -> StatTimer: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def start(self) -> StatTimer:
        """Start the timer, without a ``with`` block."""
        ...

    def stop(self, send: bool = True) -> StatTimer:
        """Stop the timer, and send the duration if ``send``."""
        ...

    def send(self) -> None:
        """Send the duration of a timer that was stopped without sending it."""
