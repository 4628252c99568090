"""Reserved and provisioned concurrency over the processes of a machine: web processes, workers, environments."""

import contextlib
import json
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi.executors.isolated.sandbox.linux import descendants
from serverfull_wsgi.storage.place_locks import PlaceLocks
from serverfull_wsgi.telemetry.scope import LOGGER
from tests.support.battery import SEED, share
from tests.support.event_servers import GTHREAD, EventServers
from tests.support.gauge import Gauge
from tests.support.isolated import needs_client
from tests.support.waiting import wait_until

RESERVED = share(10, 4)
FOR_EVER = 3600.0
INVOKE = "/2015-03-31/functions/{}/invocations"
FUNCTION = """
from serverfull_wsgi import Function

held = Function("gauged.held_", timeout=60, reserved={reserved})
"""


@pytest.fixture
def gauge():
    with contextlib.closing(Gauge(RESERVED)) as gauge:
        yield gauge


@pytest.fixture
def servers(tmp_path, gauge):
    (tmp_path / "gauged.py").write_text(gauge.source("held_") + FUNCTION.format(reserved=RESERVED))
    return EventServers(tmp_path)


def settings(executor):
    return {"SERVERFULL_FUNCTIONS": "held=gauged.held, held_=gauged.held_", "SERVERFULL_EXECUTOR": executor}


def web_processes(server, count):
    """Return the worker processes of gunicorn, once there are ``count``."""

    def found():
        master = server.process.pid
        pids = [pid for pid in descendants(master) if parent(pid) == master and is_gunicorn(pid)]
        return pids if len(pids) == count else None

    return wait_until(found)


def parent(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])
    return 0


def is_gunicorn(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
        return "gunicorn" in file.read()
    return False


class Clients:
    """Threads that call the function ``held`` without a pause, until the block ends."""

    def __init__(self, servers, count):
        self._servers, self._count, self._stop = servers, count, threading.Event()
        self.statuses = {}

    def _call(self):
        while not self._stop.is_set():
            answer = self._servers.request("POST", INVOKE.format("held"), b"{}")
            status = answer and answer[0]
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status != 200:
                time.sleep(0.25)  # 64 clients are enough to fill a machine
            if status == 429:
                assert json.loads(answer[2])["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"

    def __enter__(self):
        self._pool = ThreadPoolExecutor(self._count)
        self._calls = [self._pool.submit(self._call) for _ in range(self._count)]
        return self

    def __exit__(self, *exc_info):
        self._stop.set()
        self._pool.shutdown()
        for call in self._calls:
            call.result()


@pytest.mark.parametrize("executor", ["auto", pytest.param("process", marks=needs_client)])
def test_the_limit_holds_while_workers_are_killed(servers, gauge, executor, battery):
    """64 clients of 4 web processes; events too, which `serverfull worker` runs."""
    workers, rng = share(4, 2), random.Random(SEED)
    threads = ("--workers", str(workers), *GTHREAD, "--threads", "32")
    with servers.gunicorn(*threads, **settings(executor)) as server, servers.worker(**settings(executor)):
        with Clients(servers, share(64, 10)) as clients:
            for _ in range(share(15, 1)):
                for _ in range(3):
                    servers.send("held")
                gauge.hold = FOR_EVER
                wait_until(lambda: gauge.running == RESERVED)
                os.kill(rng.choice(web_processes(server, workers)), signal.SIGKILL)
                gauge.rounds = 0
                wait_until(lambda: gauge.rounds > 20 and gauge.running == RESERVED)  # not stuck below
                gauge.hold = 0.02
            gauge.hold = FOR_EVER
            wait_until(lambda: gauge.running == RESERVED)
            before = clients.statuses.get(429, 0)
            wait_until(lambda: clients.statuses.get(429, 0) > before + 5)
            gauge.hold = 0.0
        wait_until(lambda: not servers.pending())
    figures = {str(status): count for status, count in clients.statuses.items()}
    battery.record(
        f"reserved concurrency {RESERVED} under kills, {executor}", most=gauge.most, ran=gauge.total, answers=figures
    )
    assert gauge.most == RESERVED


@needs_client
def test_an_environment_that_outlives_its_server_counts_until_it_has_ended(servers, gauge):
    gauge.hold = FOR_EVER
    file = servers.folder / ".serverfull/concurrency"
    with (
        servers.gunicorn(*GTHREAD, **settings("process")) as server,
        ThreadPoolExecutor(1) as pool,
        contextlib.closing(PlaceLocks(file, LOGGER)) as places,
    ):
        pool.submit(servers.request, "POST", INVOKE.format("held"), b"{}")
        wait_until(lambda: gauge.running)
        [web] = web_processes(server, 1)
        environment = descendants(web)
        for pid in environment:
            os.kill(pid, signal.SIGSTOP)
        try:
            os.kill(web, signal.SIGKILL)
            wait_until(lambda: web not in web_processes(server, 1))
            assert places.acquire("held", 1) is None
            assert gauge.running == 1
        finally:
            for pid in environment:  # one that runs again ends the others
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        wait_until(lambda: places.acquire("held", 1))
        wait_until(lambda: not gauge.running)


INITIALISED = """
import os, socket
from serverfull_wsgi import Function

if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "provisioned-concurrency":
    connection = socket.create_connection(("127.0.0.1", {port}))  # the gauge counts it until this process ends

def _handler(event, context):
    return os.getpid()

held = Function(_handler, provisioned={number})
"""


def wait_for_rest(gauge):
    """Wait until as many as reserved run, half a second from now."""
    gauge.rounds = 0
    wait_until(lambda: gauge.rounds > 100 and gauge.running == RESERVED, 30)


@needs_client
def test_as_many_environments_as_provisioned_stand_ready_while_workers_are_killed(servers, gauge, battery):
    gauge.hold, workers, rng = FOR_EVER, share(4, 2), random.Random(SEED)
    (servers.folder / "gauged.py").write_text(INITIALISED.format(port=gauge.port, number=RESERVED))
    environ = {"SERVERFULL_FUNCTIONS": "held=gauged.held", "SERVERFULL_EXECUTOR": "process"}
    with servers.gunicorn("--workers", str(workers), *GTHREAD, **environ) as server:
        wait_until(lambda: gauge.running == RESERVED)
        for _ in range(share(10, 1)):
            wait_for_rest(gauge)
            os.kill(rng.choice(web_processes(server, workers)), signal.SIGKILL)
            wait_for_rest(gauge)
            assert servers.request("POST", INVOKE.format("held"), b"{}")[0] == 200
    battery.record(f"provisioned concurrency {RESERVED} under kills", most=gauge.most, started=gauge.total)
    assert gauge.most == RESERVED
