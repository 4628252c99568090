"""Real brokers, each a child process: RabbitMQ and Redis on free ports of the loopback, in folders of their own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.servers import free_port

START = 120.0  # seconds a broker may take to answer on a busy machine
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the wrapper in PATH would change to a user of its own


class Broker:
    """A broker that runs in ``folder``; `stop` and `start` may follow each other."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.argv(), env=self.environ(), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()
        return self

    def _wait(self):
        deadline = time.monotonic() + START
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the broker does not answer:\n{self.log()}")
            time.sleep(0.1)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def environ(self):
        return dict(os.environ)

    def stop(self, number=signal.SIGKILL):
        """Ends it with all that it started; the folder keeps what it was told."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            self.process.wait(60)

    def pause(self):
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.killpg(self.process.pid, signal.SIGCONT)


class RabbitMQ(Broker):
    """With an epmd, a cookie and a node name that no other has."""

    def __init__(self, folder):
        super().__init__(folder)
        self.epmd, self.dist = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @staticmethod
    def missing():
        return "" if RABBITMQ.exists() and shutil.which("epmd") else "needs rabbitmq-server (a Debian package)"

    def start(self):
        """With its epmd first, or it would start one that stays."""
        with open(self.folder / "epmd.log", "ab") as log:
            self.names = subprocess.Popen(["epmd"], env=self.environ(), cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + START
        while not _listens(self.epmd):
            assert time.monotonic() < deadline, "epmd does not answer"
            time.sleep(0.02)
        return super().start()

    def stop(self, number=signal.SIGKILL):
        super().stop(number)
        self.names.kill()
        self.names.wait(60)

    def argv(self):
        return [str(RABBITMQ)]

    def environ(self):
        (self.folder / "rabbitmq.conf").write_text("loopback_users = none\nvm_memory_high_watermark.absolute = 1GB\n")
        (self.folder / "enabled_plugins").write_text("[].")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return {
            **kept,
            "HOME": str(self.folder),
            "RUNNING_UNDER_SYSTEMD": "true",  # so that it is one process, and the one we know
            "RABBITMQ_NODENAME": f"serverfull{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +S 2:2",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd),
        }

    def _answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            sock.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(sock.recv(1))
        return False


def _listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


class Redis(Broker):
    """With each write on the disk before it is answered."""

    def __init__(self, folder):
        super().__init__(folder)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    @staticmethod
    def missing():
        return "" if shutil.which("redis-server") else "needs redis-server (a Debian package)"

    def argv(self):
        options = ["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        return ["redis-server", "--port", str(self.port), "--dir", str(self.folder), *options]

    def _answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(5) == b"+PONG"
        return False


@contextlib.contextmanager
def broker(kind, folder):
    """One that runs until the block ends; skips where it is not installed."""
    if why := kind.missing():
        pytest.skip(why)
    running = kind(folder)
    try:
        yield running.start()
    finally:
        running.stop()
