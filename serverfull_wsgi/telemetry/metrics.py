"""Metrics under CloudWatch's names, sent with the statsd protocol, one UDP datagram an invocation.

Names: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from statsd.client.base import StatsClientBase
from statsd.client.udp import Pipeline, StatsClient

RESOLVE_INTERVAL = (
    30.0  # seconds between look-ups of the collector's name: spares the DNS server, and is soon enough for metrics
)
DATAGRAM_SIZE = 1432  # bytes: fits an Ethernet frame unfragmented, statsd's own advice for networks at a site


class NullStats(StatsClientBase):  # type: ignore[misc]  # statsd has no types
    """A client that sends nothing, for a server without metrics."""

    def _send(self, data: str = "") -> None:
        pass

    def _send_stat(self, stat: str, value: str, rate: float) -> None:
        pass

    def pipeline(self) -> NullStats:
        return self

    def __enter__(self) -> NullStats:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def send(self) -> None:
        pass

    def close(self) -> None:
        pass


NULL_STATS = NullStats()


class UdpStats(StatsClient):  # type: ignore[misc]
    """A statsd client that neither waits nor raises if its collector is slow, gone or unknown.

    Metrics are dropped until `start` has found the collector's address, and while the socket's buffer is full.

    Args:
        host: the collector's name or address; empty for 127.0.0.1.
        port: the collector's UDP port.
        prefix: put before the name of every metric, with a dot.
        tags: sent with every metric in DogStatsD's form, such as ``"env:prod"``; None for plain statsd without tags.
    """

    def __init__(self, host: str, port: int, prefix: str = "", tags: Sequence[str] | None = None) -> None:
        self._host, self._port = host, port
        self._prefix = prefix
        self._maxudpsize = DATAGRAM_SIZE
        self._sock: socket.socket | None = None
        self._closed: threading.Event | None = None
        self.tags = None if tags is None else tuple(tags)

    def start(self) -> None:
        """Connect to the collector: at once if ``host`` is an address, otherwise in a thread that looks up its name."""
        self._closed = threading.Event()
        if not self._connect(socket.AI_NUMERICHOST):
            threading.Thread(target=self._look_up, args=(self._closed,), name="serverfull-stats", daemon=True).start()

    def _look_up(self, closed: threading.Event) -> None:
        while not self._connect(0) and not closed.wait(RESOLVE_INTERVAL):
            pass

    def _connect(self, flags: int) -> bool:
        try:
            choices = socket.getaddrinfo(self._host or "127.0.0.1", self._port, type=socket.SOCK_DGRAM, flags=flags)
            # IPv4 first: "localhost" often resolves to ::1 first, and collectors listen on IPv4
            family, kind, _, _, address = min(choices, key=lambda choice: choice[0] != socket.AF_INET)
            self._open(socket.socket(family, kind), address)
        except (OSError, UnicodeError):  # UnicodeError: a name with an empty or an overlong label
            return False
        return True

    def _open(self, sock: socket.socket, address: Any) -> None:
        try:
            sock.setblocking(False)
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        self._sock = sock
        if self._closed is not None and self._closed.is_set():  # `close` was called during the look-up
            self.close()

    def _send(self, data: str) -> None:
        if self._sock is not None:
            with contextlib.suppress(OSError):  # no collector listens, or the buffer is full
                self._sock.send(data.encode("ascii", "replace"))

    def _prepare(self, stat: str, value: str, rate: float) -> str | None:
        line: str | None = super()._prepare(stat, value, rate)
        return f"{line}|#{','.join(self.tags)}" if line and self.tags else line

    def pipeline(self) -> _Pipeline:
        return _Pipeline(self)

    def close(self) -> None:
        if self._closed is not None:
            self._closed.set()
        if self._sock is not None:
            self._sock.close()
            self._sock = None


class _Pipeline(Pipeline):  # type: ignore[misc]
    """A pipeline that formats lines as its client does; statsd's own ignores the client's tags."""

    def __init__(self, client: StatsClientBase) -> None:
        super().__init__(client)
        self._prepare = client._prepare


class FunctionStats(StatsClientBase):  # type: ignore[misc]
    """A client for one function. The function is a tag if tags are on, otherwise a part of each metric's name."""

    def __init__(self, client: StatsClientBase, function_name: str) -> None:
        self._client = client
        self._prefix = client._prefix
        self._maxudpsize = client._maxudpsize
        name = re.sub(r"[^A-Za-z0-9_-]", "_", function_name)
        tags = getattr(client, "tags", None)
        self._name_prefix = f"{name}." if tags is None else ""
        self._line_suffix = "" if tags is None else f"{',' if tags else '|#'}functionname:{name}"

    def _prepare(self, stat: str, value: str, rate: float) -> str | None:
        line = self._client._prepare(self._name_prefix + stat, value, rate)
        return f"{line}{self._line_suffix}" if line else None

    def _send(self, data: str) -> None:
        self._client._send(data)

    def pipeline(self) -> _Pipeline:
        return _Pipeline(self)

    def close(self) -> None:
        """Do nothing: the functions share one client."""


@lru_cache(maxsize=1024)
def for_function(client: StatsClientBase, function_name: str) -> StatsClientBase:
    """Return a client for the metrics of one function."""
    return client if isinstance(client, NullStats) else FunctionStats(client, function_name)


class _Datagrams:
    """The metrics of one function's invocations, formatted once with gaps for the figures.

    A pipeline would format them at each invocation, which takes 6 µs more.
    """

    def __init__(self, client: StatsClientBase, function_name: str) -> None:
        self._stats = for_function(client, function_name)
        self._invocation = self._stats._prepare("Invocations", "1|c", 1)
        self._error = "\n" + self._stats._prepare("Errors", "1|c", 1)
        self._overrun = "\n" + self._stats._prepare("TimeoutOverruns", "1|c", 1)
        self._duration = self._around_figure("Duration", "ms")
        self._concurrent = self._around_figure("ConcurrentExecutions", "g")
        self._age = self._around_figure("AsyncEventAge", "ms")

    def _around_figure(self, metric: str, kind: str) -> tuple[str, str]:
        """Return a metric's line before and after its figure."""
        before, _, after = self._stats._prepare(metric, f"\0|{kind}", 1).partition("\0")
        return before, after

    def send(self, duration: float, failed: bool, concurrent: int, age: float | None, overran: bool) -> None:
        """Send one datagram; see `Metrics.record_invocation`."""
        before, after = self._duration
        gauge, end = self._concurrent
        lines = f"{self._invocation}\n{before}{duration * 1000:.6f}{after}\n{gauge}{concurrent}{end}"
        if failed:
            lines += self._error
        if overran:
            lines += self._overrun
        if age is not None:
            before, after = self._age
            lines += f"\n{before}{age * 1000:.6f}{after}"
        self._stats._send(lines)


@lru_cache(maxsize=1024)
def _datagrams(client: StatsClientBase, function_name: str) -> _Datagrams:
    return _Datagrams(client, function_name)


class Metrics:
    """The server's metrics: those of the CloudWatch namespace AWS/Lambda that apply to a server of one's own.

    Durations and ages are sent in milliseconds.
    """

    def __init__(self, client: StatsClientBase) -> None:
        self.client = client
        self._running: set[object] = set()

    def start(self) -> None:
        """Connect the client. Called once in each server process."""
        self._running.clear()  # after a fork: the parent's invocations do not run here
        if isinstance(self.client, UdpStats):
            self.client.start()

    def mark_started(self, invocation: object) -> int:
        """Add a running invocation and return the number of invocations that run in this process."""
        self._running.add(invocation)  # a set's methods are atomic, so this takes no lock
        return len(self._running)

    def mark_ended(self, invocation: object) -> None:
        """Remove a running invocation."""
        self._running.discard(invocation)

    def record_invocation(
        self, function_name: str, duration: float, failed: bool, concurrent: int, age: float | None, overran: bool
    ) -> None:
        """Send the metrics of one invocation: Invocations, Duration, ConcurrentExecutions, and others that apply.

        Args:
            function_name: the function's name, without its version.
            duration: the handler's time, in seconds.
            failed: whether there was a function error (sends Errors).
            concurrent: the number of running invocations, as `mark_started` returned it.
            age: seconds since an event was accepted (sends AsyncEventAge); None for a synchronous call.
            overran: whether the handler took longer than the function's timeout (sends TimeoutOverruns, our own name).
        """
        _datagrams(self.client, function_name).send(duration, failed, concurrent, age, overran)

    def record_provisioned(self, function_name: str, is_spillover: bool, busy: int, allocated: int) -> None:
        """Send the metrics of an invocation of a function with provisioned concurrency.

        Args:
            function_name: the function's name, without its version.
            is_spillover: whether the invocation runs in an environment that is not provisioned.
            busy: the provisioned environments of this process that run an invocation.
            allocated: the provisioned environments of this process.
        """
        kind = "SpilloverInvocations" if is_spillover else "Invocations"
        with for_function(self.client, function_name).pipeline() as pipeline:
            pipeline.incr(f"ProvisionedConcurrency{kind}")
            pipeline.gauge("ProvisionedConcurrentExecutions", busy)
            pipeline.gauge("ProvisionedConcurrencyUtilization", round(busy / allocated, 3) if allocated else 0)

    def count(self, function_name: str, metric: str) -> None:
        """Add 1 to a function's counter, such as ``Throttles`` or ``AsyncEventsReceived``."""
        for_function(self.client, function_name).incr(metric)

    def set_gauge(self, metric: str, value: float) -> None:
        """Set a gauge of the server, which belongs to no function."""
        self.client.gauge(metric, round(value, 3))

    def close(self) -> None:
        """Close the client."""
        self.client.close()
