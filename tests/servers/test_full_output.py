"""Servers whose standard output nobody reads: calls are answered, and lost lines are counted."""

import http.client
import json
import os
import pty
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from tests.support.servers import ROOT, STOP, clean_environ, free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes and terminals have Linux's sizes here")
FUNCTIONS = "chat=tests.support.handlers.chat, fast=json.dumps"
LINE = "x" * 1000


def pipe():
    return os.pipe()


def terminal():
    reader, writer = pty.openpty()
    return reader, writer


def unix_socket():
    reader, writer = socket.socketpair()
    return reader.detach(), writer.detach()


OUTPUTS = {"pipe": pipe, "terminal": terminal, "socket": unix_socket}


class Unread:
    """A server that writes standard output and standard error to one file, which is read only on request."""

    def __init__(self, make, argv, **environ):
        self.port = free_port()
        self._reader, writer = make()
        self.process = subprocess.Popen(
            [sys.executable, "-m", *argv, "--bind", f"127.0.0.1:{self.port}"],
            cwd=ROOT,
            env={**clean_environ(), "SERVERFULL_FUNCTIONS": FUNCTIONS, **environ},
            stdout=writer,
            stderr=writer,
        )
        assert os.get_blocking(writer)
        self._writer = writer
        wait_until(lambda: self.request("GET", "/healthcheck"))

    def request(self, method, path, body=None):
        """Send a request, and return the status; None if no worker accepts connections yet."""
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
                connection.request(method, path, body)
                return connection.getresponse().status
        except ConnectionError:
            return None

    def call(self, name, event):
        return self.request("POST", f"/2015-03-31/functions/{name}/invocations", json.dumps(event))

    def read(self):
        """Return all that the server's output has now."""
        os.set_blocking(self._reader, False)
        parts = []
        try:
            while part := os.read(self._reader, 1 << 20):
                parts.append(part)
        except BlockingIOError:
            pass
        return b"".join(parts).decode()

    def has_blocking_descriptor(self):
        """Return whether the open file that the server shares with this process is still in blocking mode."""
        return os.get_blocking(self._writer)

    def close(self):
        self.read()
        self.process.terminate()
        try:
            assert self.process.wait(STOP) == 0
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self._reader)
            os.close(self._writer)


@contextmanager
def unread(*arguments, **environ):
    server = Unread(*arguments, **environ)
    try:
        yield server
    finally:
        server.close()


SERVE, GUNICORN = ["serverfull_wsgi", "serve"], ["gunicorn", "serverfull_wsgi:app", "--no-control-socket"]
CASES = {
    "pipe": (pipe, SERVE),
    "unbuffered": (pipe, ["-u", *SERVE]),
    "terminal": (terminal, SERVE),
    "socket": (unix_socket, SERVE),
    "gunicorn": (pipe, GUNICORN),
    "gunicorn with threads": (pipe, [*GUNICORN, "--threads=4"]),
    "access log of gunicorn": (pipe, [*GUNICORN, "--access-logfile=-"]),
    "access log": (pipe, [*SERVE, "--access-logfile=-"]),
    "workers": (pipe, [*SERVE, "--workers=3"]),
    "gevent": (pipe, [*SERVE, "--worker-class=gevent"]),
}


@pytest.mark.parametrize(("make", "argv"), CASES.values(), ids=CASES)
def test_calls_and_the_health_check_are_answered_while_the_output_is_full(make, argv):
    if "gevent" in argv[-1]:
        pytest.importorskip("gevent")
    unbuffered = {"PYTHONUNBUFFERED": "1" if argv[0] == "-u" else ""}
    with unread(make, [it for it in argv if it != "-u"], **unbuffered) as server, ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: server.call("chat", [LINE, 100]), range(16)))  # a pipe holds 64 lines
        assert set(statuses) == {200}
        assert {server.call("fast", 1) for _ in range(10)} == {200}
        assert server.request("GET", "/healthcheck") == 200
        assert server.has_blocking_descriptor()


@pytest.mark.parametrize("format", ["TEXT", "JSON"])
def test_lost_lines_are_counted_in_the_log_once_there_is_room(format):
    with unread(pipe, SERVE, SERVERFULL_RUNTIME_LOGGER_FORMAT=format) as server:
        for _ in range(3):
            server.call("chat", [LINE, 100])
        first = server.read()
        server.call("chat", ["back", 1])
        second = wait_until(lambda: server.read())
    (count,) = re.findall(r"(\d+) lines of output were dropped", second)
    assert "dropped" not in first
    assert first.count(LINE) + first.count("REPORT") + int(count) >= 303 - 1  # one line may be cut
    assert second.index("dropped") < second.index("back")
    if format == "JSON":
        (line,) = [line for line in second.splitlines() if "dropped" in line]
        assert json.loads(line)["level"] == "WARNING"


def test_a_reader_that_keeps_reading_loses_nothing():
    with unread(pipe, SERVE) as server:
        server.read()
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(server.call, "chat", [LINE, 1000])  # 16 times as much as the pipe holds
            read = []
            while not call.done():
                read.append(server.read())
            assert call.result() == 200
        wait_until(lambda: "REPORT" in (read.append(server.read()) or "".join(read)))
    assert ("".join(read).count(LINE), "dropped" in "".join(read)) == (1000, False)
