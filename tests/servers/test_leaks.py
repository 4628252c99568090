"""Invocations leak no memory, files, threads or processes.

``python -m tests.servers.test_leaks COUNT WARM_UP FILE`` is the process that is measured.
"""

import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serverfull_wsgi import Settings, StaticFetcher, create_app
from tests.support import handlers
from tests.support.battery import share
from tests.support.processes import children
from tests.support.servers import ROOT, clean_environ

SLOPE = 25  # bytes per invocation: one leaked object per invocation is at least about this (a float has 24)
STEP = 500  # invocations between two measurements of memory
THREADS = 4
INVOKE = "/2015-03-31/functions/{}/invocations"
TAIL = {"HTTP_X_AMZ_LOG_TYPE": "Tail"}
EVENT = {"HTTP_X_AMZ_INVOCATION_TYPE": "Event"}
CONTEXT = {"HTTP_X_AMZ_CLIENT_CONTEXT": "eyJjdXN0b20iOnsiYSI6MX19"}
MIX = [  # (status, path, body, headers); each # is replaced by a number, a new one every time
    (200, INVOKE.format("hello"), "{}", {}),
    (200, INVOKE.format("hello"), "", {}),
    (200, INVOKE.format("hello"), '{"number": #}', {}),
    (200, INVOKE.format("echo"), json.dumps({"text": "x" * 1000}), {}),
    (200, INVOKE.format("echo"), json.dumps(list(range(100))), TAIL),
    (200, INVOKE.format("describe"), "{}", {**TAIL, **CONTEXT}),
    (200, INVOKE.format("noisy"), "{}", TAIL),
    (200, INVOKE.format("broken"), "{}", {}),
    (200, INVOKE.format("broken"), '{"message": "number #"}', TAIL),
    (200, INVOKE.format("caused"), "{}", {}),
    (200, INVOKE.format("leave"), '{"how": 3}', {}),
    (200, INVOKE.format("leave"), '{"how": "interrupt"}', TAIL),
    (200, INVOKE.format("unserialisable"), "{}", {}),
    (200, INVOKE.format("no-module"), "{}", {}),
    (200, INVOKE.format("hello:prod"), "{}", {"HTTP_X_AMZN_TRACE_ID": "Root=1-64f7ba59-40378aa81e4eecc34002f96a"}),
    (202, INVOKE.format("event"), "{}", EVENT),
    (202, INVOKE.format("event"), '{"fail": #}', EVENT),
    (202, "/2014-11-13/functions/event/invoke-async/", '{"number": #}', {}),
    (204, INVOKE.format("hello"), "{}", {"HTTP_X_AMZ_INVOCATION_TYPE": "DryRun"}),
    (400, INVOKE.format("hello"), "[1, #", {}),
    (400, INVOKE.format("no such name #"), "", {}),
    (404, INVOKE.format("unknown-#"), "{}", {}),
    (404, INVOKE.format("hello:unknown-#"), "{}", EVENT),
    (404, "/nothing/#", "", {}),
    (413, INVOKE.format("hello"), "", {"CONTENT_LENGTH": "7000000"}),
]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_invocations_leak_nothing(tmp_path, battery):
    count, warm_up = share(200_000, 20_000), share(40_000, 10_000)
    figures = measured(tmp_path, count, warm_up)
    battery.record("G1", invokes=count, warm_up=warm_up, threads_calling=THREADS, **figures)
    assert figures["wrong"] == 0
    assert figures["slope"] <= SLOPE
    assert [figures[name] for name in ("fds", "threads", "children", "files")] == [0, 0, 0, 0]


def measured(tmp_path, count, warm_up):
    """Return the measurements of a child process, which has its own directory of temporary files."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with open(tmp_path / "errors", "wb") as errors:
        subprocess.run(
            [sys.executable, "-m", "tests.servers.test_leaks", str(count), str(warm_up), str(tmp_path / "figures")],
            cwd=ROOT,
            env={**clean_environ(), "TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=errors,
            check=True,
        )
    return {**json.loads((tmp_path / "figures").read_text()), "files": len(list(temporary.iterdir()))}


def main(count, warm_up, path):
    """Measure this process while several threads call an application of `create_app` with metrics."""
    settings = {
        "SERVERFULL_EVENTS": "memory",
        "SERVERFULL_RUNTIME_STATS_OUTPUT": "STATSD",
        "SERVERFULL_RUNTIME_STATS_ADDRESS": "127.0.0.1:9",
    }
    application = create_app(Settings.from_mapping(settings), StaticFetcher(functions(), aliases={"hello:prod": "1"}))
    with ThreadPoolExecutor(THREADS) as pool:
        callers = Callers(application, pool)
        for _ in range(warm_up // STEP):
            callers.call(STEP)
        before, sizes = Resources(), []
        for _ in range(count // STEP):
            callers.call(STEP)
            sizes.append(resident())
        left = Resources() - before
    figures = {"wrong": callers.wrong, "slope": round(slope(sizes, STEP), 2), "rss": sizes[-1], **left}
    Path(path).write_text(json.dumps(figures))
    application.close()


def functions():
    names = "hello echo describe noisy broken caused leave unserialisable".split()
    served = {name: getattr(handlers, name) for name in names}
    return {**served, "hello:1": handlers.hello, "no-module": "no_such_module.handler", "event": ran}


_ran = threading.Semaphore(0)


def ran(event, context):
    _ran.release()
    if "fail" in event:
        raise ValueError(event)


class Callers:
    """Threads that share `MIX`; ``wrong`` counts the responses with another status than expected."""

    def __init__(self, application, pool):
        self._application, self._pool = application, pool
        self._numbers = itertools.count()
        self.wrong = 0

    def call(self, count):
        """Make ``count`` calls, and return when all accepted events have run."""
        for wrong, accepted in self._pool.map(self._some, [count // THREADS] * THREADS):
            self.wrong += wrong
            for _ in range(accepted):
                _ran.acquire()

    def _some(self, count):
        wrong = accepted = 0
        for number in itertools.islice(self._numbers, count):
            expected, status = call(self._application, number)
            wrong += expected != status
            accepted += status == 202
        return wrong, accepted


def call(application, number):
    """Make one call, and return the expected and the received status."""
    expected, path, body, headers = MIX[number % len(MIX)]
    payload = body.replace("#", str(number)).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path.replace("#", str(number)),
        "CONTENT_LENGTH": str(len(payload)),
        "wsgi.input": io.BytesIO(payload),
        **headers,
    }
    started = []
    b"".join(application(environ, lambda status, headers, exc_info=None: started.append(status)))
    return expected, int(started[0][:3])


class Resources:
    """Counts of this process's resources other than memory."""

    def __init__(self):
        self.fds = len(os.listdir("/proc/self/fd"))
        self.threads = len(os.listdir("/proc/self/task"))
        self.children = len(children(os.getpid()))

    def __sub__(self, other):
        return {name: number - getattr(other, name) for name, number in vars(self).items()}


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def slope(sizes, step):
    """Return the growth in bytes per invocation, from samples that are ``step`` invocations apart.

    This is the Theil-Sen estimate, the median slope of all pairs of samples: it shows steady growth, and ignores a
    single step of the allocator.
    """
    pairs = itertools.combinations(enumerate(sizes), 2)
    return statistics.median((later - earlier) / ((j - i) * step) for (i, earlier), (j, later) in pairs)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
