"""Reloads and stops: every accepted call gets a response, and every accepted event runs."""

import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from serverfull_wsgi import EventConfig, Invocation, MemoryQueue, Outcome
from tests.support.battery import WHOLE, share
from tests.support.names import function_name
from tests.support.processes import children
from tests.support.servers import STOP, Server, free_port, running
from tests.support.waiting import wait_until

# A user's folder: functions that write notes, gunicorn's configuration, and, for comparison, a WSGI application that
# uses nothing of this package.
FOLDER = {
    "functions.py": """
import os
import time

def hello(event, context):
    return "Hello!"

def note(event, context):
    write("ended", event)

def work(event, context):
    write("started", event)
    while not os.path.exists("go-" + event.partition("-")[0]):
        time.sleep(0.01)
    time.sleep(0.05)
    write("ended", event)
    return event

def write(step, event):
    with open("notes", "a") as notes:
        notes.write(f"{step} {event}\\n")
""",
    "hooks.py": """
from serverfull_wsgi.hooks import post_worker_init, worker_exit
""",
    "own_hooks.py": """
def post_worker_init(worker):
    write("started", "hook")

def worker_exit(server, worker):
    write("ended", "hook")

def write(step, event):
    with open("notes", "a") as notes:
        notes.write(f"{step} {event}\\n")
""",
    "signalled.py": """
import os

def post_fork(server, worker):
    if worker.age == 1:  # it has no signal handlers of its own yet
        os.kill(os.getpid(), int(os.environ["SIGNAL"]))
""",
    "bare.py": """
def application(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    status = "202 Accepted" if environ.get("HTTP_X_AMZ_INVOCATION_TYPE") == "Event" else "200 OK"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", "8")])
    return [b'"Hello!"']
""",
}
FUNCTIONS = "hello=functions.hello, note=functions.note, work=functions.work"


class Project:
    """A folder of functions, and the servers that serve it."""

    def __init__(self, folder):
        self.folder = folder
        self.notes = folder / "notes"
        self.notes.touch()
        for name, text in FOLDER.items():
            (folder / name).write_text(text)

    def gunicorn(self, *options, application="serverfull_wsgi:app"):
        port = free_port()
        argv = ["-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}", "--no-control-socket", *options]
        return self._server(argv, port)

    def serve(self, *options, **environ):
        port = free_port()
        return self._server(["-m", "serverfull_wsgi", "serve", *options], port, **environ)

    def _server(self, argv, port, **environ):
        settings = {
            "SERVERFULL_FUNCTIONS": FUNCTIONS,
            "SERVERFULL_EVENTS_WORKERS": "2",
            "SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS": f"127.0.0.1:{port}",
            **environ,
        }
        return running(Server(argv, self.folder / "log", port=port, env=settings, cwd=self.folder))

    def noted(self, step):
        """Return the ids of the calls and events that ``started`` or ``ended``."""
        lines = (line.split() for line in self.notes.read_text().splitlines())
        return [id for noted, id in lines if noted == step]


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


class Client:
    """An HTTP/1.1 client that keeps its connection, as AWS's clients do, and retries in one case only.

    A server may close a kept connection at any time (RFC 9112, section 9.5). If the client sees that before a request,
    it opens a new connection. If the close crosses a request, so that no byte of a response arrives, the client sends
    the request once more on a new connection (section 9.3.1) and counts it in ``retries``. On a new connection a
    missing response is a failure.
    """

    def __init__(self, port, *, keep=20):
        self._port, self._keep = port, keep
        self._socket, self._used = None, 0
        self.retries = 0

    def invoke(self, name, event=None, kind="RequestResponse"):
        """Return the status and the body of the response."""
        body = json.dumps(event).encode() if event is not None else b""
        head = (
            f"POST /2015-03-31/functions/{name}/invocations HTTP/1.1\r\nHost: localhost\r\n"
            f"X-Amz-Invocation-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return self.send(head.encode() + body)

    def send(self, request):
        if self._used == self._keep or (self._socket and select.select([self._socket], [], [], 0)[0]):
            self.close()
        reused = self._socket is not None
        try:
            return self._exchange(request)
        except NoResponse:
            self.close()
            if not reused:
                raise
            self.retries += 1
            return self._exchange(request)

    def _exchange(self, request):
        if self._socket is None:
            self._socket, self._used = socket.create_connection(("127.0.0.1", self._port), timeout=60), 0
        self._used += 1
        received = b""
        try:
            self._socket.sendall(request)
            while b"\r\n\r\n" not in received:
                received += self._more()
        except ConnectionError as error:
            if received:
                raise
            raise NoResponse from error
        head, _, body = received.partition(b"\r\n\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(headers.get(b"content-length", 0)):
            body += self._more()
        if headers.get(b"connection") == b"close":
            self.close()
        return int(head.split()[1]), body

    def _more(self):
        if piece := self._socket.recv(65536):
            return piece
        raise ConnectionResetError("closed by the server")

    def close(self):
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class NoResponse(Exception):
    """The connection ended before the first byte of a response."""


STARTS = {
    "gunicorn": lambda project, options: project.gunicorn("-c", "hooks.py", *options),
    "serve": lambda project, options: project.serve(*options),
    "serve with hooks": lambda project, options: project.serve("-c", "hooks.py", *options),
}


# B1

CLIENTS = 4
WORKERS = {
    "gthread": ["--worker-class", "gthread", "--threads", "8"],
    "sync": ["--worker-class", "sync"],
    "granian": ["--worker-class", "serverfull_wsgi.workers.GranianWorker", "--threads", "8"],
}


class Load:
    """Calls from several clients at once; every twentieth is an event. Failures are kept with their numbers."""

    def __init__(self, port):
        self._port = port
        self._numbers = itertools.count()
        self.calls, self.retries, self.accepted, self.failed = 0, 0, [], []

    def run(self, count):
        with ThreadPoolExecutor(CLIENTS) as pool:
            for retries in pool.map(self._client, [count // CLIENTS] * CLIENTS):
                self.retries += retries
        self.calls += count

    def _client(self, count):
        with closing(Client(self._port)) as client:
            for _ in range(count):
                self._call(client, str(next(self._numbers)))
            return client.retries

    def _call(self, client, id):
        kind = "RequestResponse" if int(id) % 20 else "Event"
        function, expected = ("hello", 200) if kind != "Event" else ("note", 202)
        try:
            response = client.invoke(function, id, kind)
        except Exception as error:
            client.close()
            self.failed.append((id, repr(error)))
            return
        if response[0] != expected:
            self.failed.append((id, response))
        elif kind == "Event":
            self.accepted.append(id)


class Reloads(threading.Thread):
    """A thread that sends SIGHUP every half second until `stop`, once the worker of the last one has started."""

    def __init__(self, server):
        super().__init__()
        self._server, self._stopped, self.count = server, threading.Event(), 0

    def run(self):
        while not self._stopped.wait(0.5):
            booted = self._booted()
            self._server.process.send_signal(signal.SIGHUP)
            self.count += 1
            wait_until(lambda booted=booted: self._booted() > booted or self._stopped.is_set())

    def _booted(self):
        return self._server.output().count("Booting worker")

    def stop(self):
        self._stopped.set()
        self.join()


def under_reloads(server, count):
    """Make at least ``count`` calls, during at least three reloads."""
    load, reloads, started = Load(server.port), Reloads(server), time.monotonic()
    reloads.start()
    try:
        while load.calls < count or reloads.count < 3:
            load.run(1000)
    finally:
        reloads.stop()
    return load, {
        "calls": load.calls,
        "failed": len(load.failed),
        "sent_again": load.retries,
        "accepted_events": len(load.accepted),
        "reloads": reloads.count,
        "seconds": round(time.monotonic() - started, 1),
    }


RELOADED = [("gunicorn", "gthread"), ("gunicorn", "sync"), ("serve", "gthread"), ("serve", "granian")]


@pytest.mark.parametrize(("start", "worker"), RELOADED)
def test_reloads_lose_no_call_and_no_event(start, worker, project, battery):
    with STARTS[start](project, WORKERS[worker]) as server:
        load, figures = under_reloads(server, share(50_000, 2_000))
        status = server.stop()
    workers = (project.folder / "log").read_text().count("Booting worker")
    lost = set(load.accepted) - set(project.noted("ended"))
    battery.record(f"B1 {start}, {worker}", **figures, events_lost=len(lost), workers_booted=workers)
    assert (load.failed, lost, status) == ([], set(), 0)
    assert load.retries <= CLIENTS * workers  # a reload closes a client's connection once
    assert workers > 1


@pytest.mark.battery
@pytest.mark.skipif(not WHOLE, reason="for comparison, in the battery only")
@pytest.mark.parametrize("worker", WORKERS)
def test_reloads_of_gunicorn_alone_for_comparison(worker, project, battery):
    with project.gunicorn(*WORKERS[worker], application="bare:application") as server:
        load, figures = under_reloads(server, share(50_000, 2_000))
    battery.record(f"B1 a bare application, {worker}", **figures)
    assert not [error for _, error in load.failed if not isinstance(error, str)]  # each failure is a missing response


# B2

STOPS = [
    ("gunicorn", "gthread", signal.SIGTERM),
    ("gunicorn", "sync", signal.SIGTERM),
    ("serve", "gthread", signal.SIGTERM),
    ("serve", "gthread", signal.SIGINT),
    ("serve", "sync", signal.SIGTERM),
    ("serve", "sync", signal.SIGINT),
    ("serve with hooks", "sync", signal.SIGINT),
    ("serve", "granian", signal.SIGTERM),
]
# A sync worker accepts only the call that it runs. Further calls wait in the kernel's queue, which no application can
# see, and are reset when gunicorn exits. A gthread worker also accepts calls for which no thread is free yet.
OPTIONS = {
    "gthread": (["--worker-class", "gthread", "--threads", "2"], 5),
    "sync": (["--worker-class", "sync", "--workers", "2"], 2),
    "granian": (["--server", "granian", "--threads", "2"], 5),
}
EVENTS = [f"event-{number}" for number in range(8)]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("start", "worker", "number"), STOPS, ids=[f"{start}-{worker}-{number.name}" for start, worker, number in STOPS]
)
def test_a_stop_lets_accepted_calls_and_events_finish(start, worker, number, project, battery):
    options, count = OPTIONS[worker]
    calls = [f"call-{number}" for number in range(count)]
    with STARTS[start](project, options) as server, ThreadPoolExecutor(count) as pool:
        accept(server.port, EVENTS)
        responses = [pool.submit(call, server.port, id) for id in calls]
        wait_until(lambda: len(set(calls) & set(project.noted("started"))) == 2 and not backlog(server.port))
        running = project.noted("started")
        signal_to(server, number)
        wait_until(lambda: "Handling signal" in server.output())
        (project.folder / "go-call").touch()
        responses = [response.result() for response in responses]
        (project.folder / "go-event").touch()  # from here on only the drain keeps the workers alive
        status = server.process.wait(STOP)
    ended = project.noted("ended")
    battery.record(
        f"B2 {start}, {worker}, {number.name}",
        calls=count,
        answered=sum(response[0] == 200 for response in responses),
        events=len(EVENTS),
        ran=len(set(EVENTS) & set(ended)),
        running_at_the_signal=len(running),
        queued_at_the_signal=count + len(EVENTS) - len(running),
    )
    assert responses == [(200, json.dumps(id).encode()) for id in calls]
    assert sorted(ended) == sorted(EVENTS + calls)
    assert status == 0


def test_a_users_hooks_run_beside_the_hooks_of_the_command(project):
    (project.folder / "go-event").touch()
    with project.serve("-c", "own_hooks.py") as server:
        accept(server.port, EVENTS)
        server.stop()
    assert project.noted("started").count("hook") == 1
    assert sorted(project.noted("ended")) == sorted([*EVENTS, "hook"])


@pytest.mark.parametrize("options", [[], ["--preload"], ["--reload"]], ids=" ".join)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_worker_that_is_stopped_before_it_has_signal_handlers_ends(number, options, project):
    with project.serve("-c", "signalled.py", *options, SIGNAL=str(int(number))) as server:
        wait_until(lambda: server.output().count("Booting worker") == 2)
        assert server.output().count("Worker exiting") == 1


def accept(port, ids):
    """Send events, each on a new connection, so that every worker may get some."""
    for id in ids:
        with closing(Client(port)) as client:
            assert client.invoke("work", id, "Event") == (202, b"")


def call(port, id):
    with closing(Client(port)) as client:
        return client.invoke("work", id)


def signal_to(server, number):
    """Send a signal to the server. As Ctrl-C does, send SIGINT to its workers too."""
    workers = children(server.process.pid) if number == signal.SIGINT else []
    for pid in [server.process.pid, *workers]:
        os.kill(pid, number)


def backlog(port):
    """Return the number of connections that wait to be accepted at ``port``."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    listening = [row for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"]
    return int(listening[0][4].partition(":")[2], 16)


def test_an_event_that_raises_system_exit_does_not_end_its_worker_thread():
    def run(invocation, age):
        if invocation.request_id == "first":
            sys.exit(3)  # as a fetcher may: its code does not run inside the executor
        ran.append(invocation.request_id)
        return Outcome(b"null")

    ran, queue = [], MemoryQueue(workers=1, drain=5.0)
    queue.start(run, send=None)
    for id in ("first", "second"):
        name = function_name("hello")
        queue.put(Invocation(name, b"{}", id), EventConfig())
    queue.close()
    assert ran == ["second"]


UNDER_GEVENT = """
from gevent import monkey
monkey.patch_all()
import time
from serverfull_wsgi import EventConfig, FunctionName, Invocation, MemoryQueue, Outcome

name = FunctionName.parse("f", region="us-east-1", account_id="123456789012")
queue = MemoryQueue(workers=2)
queue.start(lambda invocation, age: time.sleep(0.1) or print(invocation.request_id) or Outcome(b""), None)
for number in range(6):
    queue.put(Invocation(name, b"{}", f"event {number}"), EventConfig())
queue.close()
"""


def test_a_stop_drains_the_events_in_memory_under_gevent():
    pytest.importorskip("gevent")
    ran = subprocess.run([sys.executable, "-c", UNDER_GEVENT], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, sorted(ran.stdout.splitlines())) == (0, [f"event {n}" for n in range(6)]), ran.stderr
