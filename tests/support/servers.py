"""Real servers: child processes on free ports of the loopback."""

import contextlib
import functools
import http.client
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
START = 120.0  # seconds a server may take to answer on a busy machine
STOP = 120.0  # seconds a server may take to end: gunicorn's graceful timeout is 30, and a busy machine adds to it


class Server:
    """A child process that serves HTTP on ``port`` and writes its output to ``log``."""

    def __init__(self, argv, log, *, port, env=None, cwd=ROOT, ready="/healthcheck"):
        self.port, self.log, self._ready = port, log, ready
        self._file = open(log, "wb")  # noqa: SIM115  (closed by stop)
        self.process = subprocess.Popen(
            [sys.executable, *argv],
            cwd=cwd,
            env={**clean_environ(), **(env or {})},
            stdout=self._file,
            stderr=self._file,
        )

    def wait(self):
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server exited with {self.process.returncode}:\n{self.output()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
                    connection.request("GET", self._ready)
                    if connection.getresponse().status < 500:
                        return self
            time.sleep(0.02)
        raise RuntimeError(f"the server did not answer within {START:g} s:\n{self.output()}")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def output(self):
        return self.log.read_text(errors="replace")

    def stop(self, number=signal.SIGTERM):
        """Send a signal, wait for the end, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._file.close()


class Ports:
    """A block of ports that belongs to one test process.

    tox and pytest-xdist run several processes side by side. A port that is free now may be taken by another process a
    moment later, and then the tests of one would call the server of another. The block's first port stays bound and so
    marks the block.
    """

    BLOCKS = range(10_000, 32_000, 200)  # below the ports that Linux gives to outgoing connections

    def free(self):
        with socket.socket() as sock:
            return next(port for port in self._ports if _bound(sock, port))

    @functools.cached_property
    def _ports(self):
        """The ports of a block that no other process has. The first one stays bound until this process ends."""
        held = socket.socket()
        block = next(port for port in self.BLOCKS if _bound(held, port))
        held.detach()
        return itertools.cycle(range(block + 1, block + self.BLOCKS.step))


def _bound(sock, port):
    try:
        sock.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


free_port = Ports().free


def clean_environ():
    """Return the environment without variables that configure the server or an AWS client."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("SERVERFULL_", "AWS_", "GUNICORN_"))
    }
    return {
        **kept,
        "PYTHONWARNINGS": "default",
        "PYTHONPATH": str(ROOT),
        "SERVERFULL_EVENTS": "memory",  # tests of durable events set a folder of their own
        "SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS": "127.0.0.1:0",  # any free port: 8080 may be in use
    }


def serverfull(*argv, stdin="", cwd=ROOT, **environ):
    """Run the command to its end and return the completed process."""
    return subprocess.run(
        [sys.executable, "-m", "serverfull_wsgi", *argv],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**clean_environ(), **environ},
        timeout=120,
        check=False,
    )


@contextlib.contextmanager
def gunicorn(log, *options, application="tests.support.site:application", **server):
    """Run gunicorn with ``options`` over ``application`` until the block ends."""
    port = free_port()
    argv = ["-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}", "--no-control-socket", *options]
    with running(Server(argv, log, port=port, **server)) as it:
        yield it


@contextlib.contextmanager
def serving(log, *options, **environ):
    """Run ``serverfull serve`` with ``options``, on a free port of the loopback, until the block ends."""
    address = environ.setdefault("SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS", f"127.0.0.1:{free_port()}")
    argv = ["-m", "serverfull_wsgi", "serve", *options]
    with running(Server(argv, log, port=int(address.rpartition(":")[2]), env=environ)) as it:
        yield it


@contextlib.contextmanager
def running(server):
    try:
        yield server.wait()
    finally:
        server.stop()
