"""Events that a broker carries: real gunicorns, Celery's own workers, and a RabbitMQ and a Redis of their own."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.brokers import RabbitMQ, Redis, broker
from tests.houses import SETTINGS, House
from tests.servers import clean_environ

pytest.importorskip("celery", reason="needs Celery: pip install 'serverfull-wsgi[celery]'")
pytest_plugins = ["tests.battery"]


class Carried(House):
    """A folder with functions, servers and workers, whose events a broker carries in a queue of the folder's own."""

    def __init__(self, folder, broker):
        super().__init__(folder)
        self.broker = broker
        self.settings = {
            **SETTINGS,
            "SERVERFULL_EVENTS": broker.url,
            "SERVERFULL_EVENTS_APPLICATION": f"house-{folder.name}",
            "SERVERFULL_EVENT_RETRY_DELAYS": "1 1",
            "SERVERFULL_EVENT_THROTTLE_DELAYS": "1 2",
            "SERVERFULL_EVENT_LEASE": "6",
        }

    def _server(self, argv, environ):
        return super()._server(argv, {**self.settings, **environ})

    def start_worker(self, *options, **environ):
        """A worker that is ready, of which every process is in a group of its own."""
        return Worker(self, options, environ).wait()

    @contextlib.contextmanager
    def worker(self, *options, **environ):
        worker = self.start_worker(*options, **environ)
        try:
            yield worker
        finally:
            worker.stop()


class Worker:
    def __init__(self, house, options, environ):
        house.servers += 1
        self.log = house.folder / f"log{house.servers}"
        command = [sys.executable, "-m", "celery", "-A", "serverfull_wsgi.celery", "worker"]
        quiet = ["--without-gossip", "--without-mingle", "--loglevel", "INFO", "-n", f"w{house.servers}@{house.port}"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*command, *quiet, *(options or ("--concurrency", "2"))],
                cwd=house.folder,
                env={**clean_environ(), **house.settings, **environ},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self):
        deadline = time.monotonic() + 60
        while " ready." not in self.output():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)
        return self

    def output(self):
        return self.log.read_text(errors="replace")

    def kill(self):
        """All its processes at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """As systemd would: what runs comes to its end."""
        self.process.terminate()
        try:
            assert self.process.wait(60) == 0, self.output()
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.kill()


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    with broker(RabbitMQ, tmp_path_factory.mktemp("rabbitmq")) as running:
        yield running


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    with broker(Redis, tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["rabbitmq", "redis"])
def house(request, tmp_path):
    return Carried(tmp_path, request.getfixturevalue(request.param))


def test_an_event_runs_once_on_a_worker(house, patiently):
    with house.gunicorn(), house.worker():
        id = house.accept("note", 7)
        patiently(lambda: house.noted("ran"))
        assert house.noted("ran") == [id]
