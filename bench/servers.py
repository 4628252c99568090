"""Servers as child processes on free ports, and the CPU time of their processes."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATH = "/2015-03-31/functions/echo/invocations"  # the bare applications ignore the path, but have to read it
COMMON = ["--no-control-socket"]
START_TIMEOUT = 30.0  # seconds a server may take to respond
TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds


class Server:
    """A server process. Its standard error is stored, its standard output goes to /dev/null.

    Args:
        command: returns the program with its arguments, and further variables, for a port.
        path: the path to which an event is posted.
        cwd: the working directory.
        prepare: called with the port, once, when the server listens. It may return further header fields.
        headers: further header fields of each request.
    """

    def __init__(self, command, *, path=PATH, cwd=ROOT, prepare=None, headers=None):
        self.port = free_port()
        self._path, self._prepare, self.headers = path, prepare, headers or {}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by stop)
        argv, environ = command(self.port)
        self._process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**clean_environ(), **environ},
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{self._path}"

    def wait(self, event):
        """Return once the server responds with ``event``.

        Raises:
            RuntimeError: if the server responds with something else, or not in time.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self._listen()
                status, body = self._post(event)
            except ConnectionRefusedError:
                time.sleep(0.05)
                continue
            if status == 200 and json.loads(body) == json.loads(event):
                return
            raise RuntimeError(f"{self.url} responds with {status}: {body[:200]!r}")
        raise RuntimeError(f"{self.url} does not respond:\n{self.errors()}")

    def _listen(self):
        """Prepare the server once it listens. Raise ConnectionRefusedError before."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10):
            prepare, self._prepare = self._prepare, None
        if prepare:
            self.headers = {**self.headers, **(prepare(self.port) or {})}

    def _post(self, event):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("POST", self._path, event, {"Content-Type": "application/json", **self.headers})
            response = connection.getresponse()
            return response.status, response.read()

    def errors(self):
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def cpu(self):
        """Return the CPU seconds of the process and of those below it so far, in user and system mode."""
        return sum(_cpu(pid) for pid in family(self._process.pid))

    def stop(self):
        self._process.terminate()
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def serving(application, options, environ):
    """Run gunicorn with ``application`` until the block ends."""
    argv = [sys.executable, "-m", "gunicorn", application, *COMMON, *options, "--bind"]
    return running(lambda port: ([*argv, f"127.0.0.1:{port}"], environ))


@contextlib.contextmanager
def running(command, **options):
    """Run a `Server` until the block ends."""
    server = Server(command, **options)
    try:
        yield server
    finally:
        server.stop()


def _cpu(pid):
    try:
        utime, stime = _stat(pid)[11:13]
    except (FileNotFoundError, ProcessLookupError):  # the process has ended
        return 0.0
    return (int(utime) + int(stime)) * TICK


def family(pid):
    """Return a process id and the ids of all processes below it."""
    parents = {int(path.name): _parent(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
    family = [pid]
    for parent in family:
        family += [child for child, its_parent in parents.items() if its_parent == parent]
    return family


def _parent(pid):
    try:
        return int(_stat(pid)[1])
    except (FileNotFoundError, ProcessLookupError):  # the process has ended
        return None


def _stat(pid):
    """Return the fields of /proc/PID/stat from the third on. The second, the program's name, may contain spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def clean_environ():
    """Return the environment without variables that would configure one of the servers."""
    prefixes = ("SERVERFULL_", "GUNICORN_", "FUNCTION_", "ENTRY_POINT", "LOG_EXECUTION_ID")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
