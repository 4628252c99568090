"""Folders with functions that are told of in ``notes``, and the servers that run their events."""

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.servers import Server, clean_environ, free_port, running, serverfull
from tests.support.waiting import wait_until

FUNCTIONS = """
import os, signal, time
from serverfull_wsgi import EventConfig, Function

def write(what, event, context):
    with open("notes", "a") as notes:
        notes.write(f"{what} {context.aws_request_id} {event}\\n")

def note(event, context):
    write("ran", event, context)
    return event

def work(event, context):
    write("began", event, context)
    time.sleep(event)
    write("ended", event, context)

def broken(event, context):
    write("ran", event, context)
    raise ValueError("no good")

def flaky(event, context):
    write("ran", event, context)
    if not os.path.exists("healed"):
        raise ValueError("not yet")

def poison(event, context):
    write("ran", event, context)
    os.kill(os.getpid(), signal.SIGKILL)

def told(event, context):
    write("told", __import__("json").dumps(event), context)

def config(**values):
    return EventConfig(**values)

broken_to_told = Function(broken, event_config=config(maximum_retry_attempts=0, on_failure="told", dead_letter="note"))
note_to_told = Function(note, event_config=config(on_success="told"))
def again(event, context):
    write("ran", 0, context)

again_and_again = Function(again, event_config=config(on_success="loop", on_failure="loop"))
tired = Function(broken, event_config=config(on_failure="told"))
poison_to_told = Function(poison, event_config=config(on_failure="told"))
broken_to_hook = Function(broken, event_config=config(maximum_retry_attempts=0, on_failure=os.environ.get("HOOK")))
AWS = "arn:aws:{}:us-east-1:123456789012:{}"
to_sqs = Function(note, event_config=config(on_success=AWS.format("sqs", "jobs")))
to_bus = Function(note, event_config=config(on_success=AWS.format("events", "event-bus/default")))
to_sns = Function(broken, event_config=config(maximum_retry_attempts=0, dead_letter=AWS.format("sns", "topic")))
"""
NAMES = (
    "note work broken flaky poison told tired broken_to_told note_to_told poison_to_told broken_to_hook "
    "to_sqs to_bus to_sns"
).split()
SETTINGS = {
    "SERVERFULL_EVENTS": "",
    "SERVERFULL_FUNCTIONS": ", ".join(f"{name}=functions.{name}" for name in NAMES)
    + ", loop=functions.again_and_again",
    "SERVERFULL_EVENT_RETRY_DELAYS": "0.1 0.2",
    "SERVERFULL_EVENT_THROTTLE_DELAYS": "0.1 0.5",
    "SERVERFULL_EVENT_LEASE": "10",  # no pause of a busy machine is as long
    "SERVERFULL_ADMIN": "true",
    "SERVERFULL_RUNTIME_LOGGER_LEVEL": "WARNING",
}
GTHREAD = ("--worker-class", "gthread", "--threads", "8", "-c", "hooks.py")


class House:
    """A folder with functions, their events, and servers."""

    engine = "sqlite"

    def __init__(self, folder):
        self.folder, self.notes, self.servers = folder, folder / "notes", 0
        self.port = free_port()
        self.notes.touch()
        (folder / "functions.py").write_text(FUNCTIONS)
        (folder / "hooks.py").write_text("from serverfull_wsgi.hooks import post_worker_init, worker_exit\n")

    def gunicorn(self, *options, **environ):
        self.port = free_port()
        bind = f"127.0.0.1:{self.port}"
        argv = ["-m", "gunicorn", "serverfull_wsgi:app", "--bind", bind, "--no-control-socket", *(options or GTHREAD)]
        return running(self._server(argv, environ))

    def _server(self, argv, environ):
        self.servers += 1
        settings = {**SETTINGS, **environ}
        return Server(argv, self.folder / f"log{self.servers}", port=self.port, env=settings, cwd=self.folder)

    @contextlib.contextmanager
    def worker(self):
        """A worker that has begun its work."""
        server = self._server(["-m", "serverfull_wsgi", "worker"], {"SERVERFULL_RUNTIME_LOGGER_LEVEL": "INFO"})
        try:
            deadline = time.monotonic() + 60
            while "running the events of" not in server.output():
                assert time.monotonic() < deadline, server.output()
                time.sleep(0.05)
            yield server
        finally:
            status = server.stop()
        assert status == 0, server.output()

    def command(self, *argv, **environ):
        return serverfull(*argv, cwd=self.folder, **{**SETTINGS, **environ})

    def send(self, name, event=None, **headers):
        """The status and the request id of an accept; None where the server went away."""
        headers = {header.replace("_", "-"): value for header, value in headers.items()}
        answer = self.request(
            "POST",
            f"/2015-03-31/functions/{name}/invocations",
            json.dumps(event).encode(),
            {"X-Amz-Invocation-Type": "Event", **headers},
        )
        return answer and (answer[0], answer[1]["x-amzn-RequestId"])

    def accept(self, name, event=None, **headers):
        status, id = self.send(name, event, **headers)
        assert status == 202
        return id

    def poisoned(self):
        """The request id of an event that kills its process, at times before its accept is answered."""
        self.send("poison")
        wait_until(lambda: self.noted("ran"))
        return self.noted("ran")[0]

    def request(self, method, target, body=None, headers=None):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            try:
                connection.request(method, target, body, headers or {})
                response = connection.getresponse()
                return response.status, response.headers, response.read()
            except (OSError, http.client.HTTPException):
                return None

    def runner(self, **environ):
        """What runs the events beside the servers: here they do so themselves."""
        return contextlib.nullcontext()

    def event(self, id):
        return json.loads(self.request("GET", f"/serverfull/events/{id}")[2])

    def outputs(self):
        """What all servers and workers have written."""
        return "".join(log.read_text(errors="replace") for log in self.folder.glob("log*"))

    def noted(self, what):
        """The request ids of what ``ran``, ``began`` or ``ended``, each as often as it did."""
        lines = [line.split() for line in self.notes.read_text().splitlines()]
        return [line[1] for line in lines if len(line) > 1 and line[0] == what]

    def told(self):
        """The records that a function was told, parsed."""
        lines = self.notes.read_text().splitlines()
        return [json.loads(line.split(" ", 2)[2]) for line in lines if line.startswith("told ")]

    def rows(self, query="SELECT request_id, state FROM event"):
        path = self.folder / ".serverfull/events.sqlite3"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
            return db.execute(query).fetchall()

    def waiting(self):
        return self.rows("SELECT count(*) FROM event WHERE due IS NOT NULL")[0][0]


class Carried(House):
    """A folder with functions, servers and workers, whose events a broker carries in a queue of the folder's own."""

    def __init__(self, folder, broker):
        super().__init__(folder)
        self.broker, self.engine = broker, type(broker).__name__
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

    runner = property(lambda self: self.worker)

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
        command = [Path(sys.executable).parent / "celery", "-A", "serverfull_wsgi.celery", "worker"]
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


class Hook:
    """A webhook that does what it is told to for each request, and keeps what it accepted."""

    def __init__(self, *ways, port=0):
        hook, self.accepted, self.tries, self.ways = self, [], 0, list(ways)
        self.may_answer = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                hook.tries += 1
                way = hook.ways.pop(0) if hook.ways else 200
                if way == "take your time":
                    way = hook.may_answer.wait(30) and 200
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if way == "hang up":
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                if 200 <= way < 300:
                    hook.accepted.append((self.headers, body))
                self.send_response(way)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?x=1"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def children(parent):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found
