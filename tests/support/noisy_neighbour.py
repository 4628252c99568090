"""Well-behaved functions that run beside a hostile one, and the times of their calls (a noisy-neighbour test)."""

import contextlib
import os
import select
import statistics
import struct
import threading
import time

from tests.support.isolated import function, result, task_root

COUNT = 4


class LivenessPipe:
    """A named pipe that all processes of an environment have open: it hangs up when the last of them ends."""

    def __init__(self, path):
        os.mkfifo(path)
        self._name = os.path.basename(path)
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def path(self, executor, code):
        """Return the pipe's path as functions of ``executor`` with this code directory see it."""
        return os.path.join(task_root(executor, code), self._name)

    def wait_for_end(self, seconds=30.0):
        """Wait for the last end, and return its time by `time.monotonic`. Fail after ``seconds``."""
        poll = select.poll()
        poll.register(self._fd, 0)  # poll always reports a hang-up
        assert poll.poll(seconds * 1000), f"a process is alive after {seconds:g} s"
        return time.monotonic()

    def end_started_at(self):
        """Return the time that the function wrote last, before it ended itself; None if it wrote nothing."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._fd, 65536)
        return struct.unpack("d", data[-8:])[0] if data else None

    def close(self):
        os.close(self._fd)


class Neighbours:
    """`COUNT` functions, each called ``rate`` times a second by a thread of its own, until the block ends.

    ``errors`` are the calls with a wrong result, or with the result of another environment than the first call's.
    """

    def __init__(self, executor, code, rate):
        self._executor, self._period = executor, 1 / rate
        self._pipe = LivenessPipe(code / "neighbours")
        self._functions = [
            function(
                "neighbour.handler",
                code=code,
                name=f"neighbour{number}",
                environment={"LIVENESS_PIPE": self._pipe.path(executor, code)},
            )
            for number in range(COUNT)
        ]
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=[one]) for one in self._functions]
        self.answers = [0] * COUNT
        self.errors = []
        self._latencies = []  # (time at which a call was due, seconds until its response)

    def __enter__(self):
        self.first = [result(self._executor, one, 0) for one in self._functions]
        self.addresses = [first["address"] for first in self.first]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _call(self, one):
        number = self._functions.index(one)
        due = time.monotonic() + number * self._period / COUNT
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            try:
                answer = result(self._executor, one, self.answers[number] + 1)
            except Exception as error:
                self.errors.append(f"{one.name}: {error!r}")
            else:
                self._latencies.append((due, time.monotonic() - due))
                self._check(number, answer)
            due = max(due + self._period, time.monotonic() - 1)

    def _check(self, number, answer):
        self.answers[number] += 1
        calls = self.answers[number]
        expected = {**self.first[number], "event": calls, "calls": calls + 1}
        if answer != expected:
            self.errors.append(f"{answer} instead of {expected}")

    def wait_for_responses(self):
        """Wait for one more response of each function."""
        before, deadline = self.answers[:], time.monotonic() + 30
        while any(now == then for now, then in zip(self.answers, before, strict=True)) and not self.errors:
            assert time.monotonic() < deadline, "the neighbours do not answer"
            time.sleep(0.005)

    def latencies(self, phases):
        """Return the seconds of all calls that were due in one of ``phases``, pairs of `time.monotonic`."""
        return [seconds for due, seconds in self._latencies if any(begin <= due < end for begin, end in phases)]


def percentiles(seconds):
    """Return the median and the 99th percentile."""
    ordered = sorted(seconds)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def compared(quiet, beside):
    """Return the report: call times without and beside a hostile function, in milliseconds."""
    (p50, p99), (p50_beside, p99_beside) = percentiles(quiet), percentiles(beside)
    return {
        "calls": len(beside),
        "p50": f"{p50 * 1000:.2f} → {p50_beside * 1000:.2f} ms",
        "p99": f"{p99 * 1000:.2f} → {p99_beside * 1000:.2f} ms",
        "p99_change": f"{(p99_beside - p99) / p50:+.0%} of the median",
    }
