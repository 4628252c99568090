"""RabbitMQ and Redis as child processes, on free loopback ports, each with its data in a directory of a test."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.servers import free_port
from tests.support.waiting import wait_until

START_TIMEOUT = 120.0  # seconds a broker may take to respond on a busy machine
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the wrapper in PATH changes to another user


class Broker:
    """A broker with its data in ``folder``. It can be started again after a stop."""

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
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.process.poll() is not None or self._responds(), START_TIMEOUT)
        if self.process.poll() is not None or not self._responds():
            raise RuntimeError(f"the broker does not respond:\n{self.log()}")

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def environ(self):
        return dict(os.environ)

    def stop(self, number=signal.SIGKILL):
        """Kill the broker and its child processes. The folder keeps the data."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            self.process.wait(60)

    def pause(self):
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self):
        os.killpg(self.process.pid, signal.SIGCONT)


class RabbitMQ(Broker):
    """A RabbitMQ with its own epmd (Erlang's name server), cookie and node name."""

    def __init__(self, folder):
        super().__init__(folder)
        self.epmd_port, self.distribution_port = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @staticmethod
    def missing():
        return "" if RABBITMQ.exists() and shutil.which("epmd") else "needs rabbitmq-server (a Debian package)"

    def start(self):
        """Start epmd, then RabbitMQ; RabbitMQ would start an epmd that outlives it."""
        with open(self.folder / "epmd.log", "ab") as log:
            self.epmd = subprocess.Popen(["epmd"], env=self.environ(), cwd=self.folder, stdout=log, stderr=log)
        wait_until(lambda: _is_listening(self.epmd_port))
        return super().start()

    def stop(self, number=signal.SIGKILL):
        super().stop(number)
        self.epmd.kill()
        self.epmd.wait(60)

    def argv(self):
        return [str(RABBITMQ)]

    def environ(self):
        (self.folder / "rabbitmq.conf").write_text("loopback_users = none\nvm_memory_high_watermark.absolute = 1GB\n")
        (self.folder / "enabled_plugins").write_text("[].")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return {
            **inherited,
            "HOME": str(self.folder),
            "RUNNING_UNDER_SYSTEMD": "true",  # the script then becomes the server, in one process
            "RABBITMQ_NODENAME": f"serverfull{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +S 2:2",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd_port),
        }

    def _responds(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            sock.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(sock.recv(1))
        return False


def _is_listening(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


class Redis(Broker):
    """A Redis that writes to disk before it replies."""

    def __init__(self, folder):
        super().__init__(folder)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    @staticmethod
    def missing():
        return "" if shutil.which("redis-server") else "needs redis-server (a Debian package)"

    def argv(self):
        options = ["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        return ["redis-server", "--port", str(self.port), "--dir", str(self.folder), *options]

    def _responds(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(5) == b"+PONG"
        return False


@contextlib.contextmanager
def broker(kind, folder):
    """Start a broker of ``kind`` and stop it after the block. Skip the test if the broker is not installed."""
    if reason := kind.missing():
        pytest.skip(reason)
    running = kind(folder)
    try:
        yield running.start()
    finally:
        running.stop()
