"""A folder with functions for events, and the servers and workers that accept and run these events.

Each handler appends a line to the file ``notes``: a word such as ``ran``, the request id, and the event.
"""

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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.servers import Server, clean_environ, free_port, running, serverfull
from tests.support.waiting import wait_until

FUNCTIONS = """
import ctypes, json, os, signal, time
from serverfull_wsgi import EventConfig, Function

def write(word, event, context):
    with open("notes", "a") as notes:
        notes.write(f"{word} {context.aws_request_id} {event}\\n")

def note(event, context):
    write("ran", event, context)
    return event

def work(event, context):
    write("began", event, context)
    time.sleep(event)
    write("ended", event, context)

def hold(event, context):
    write("began", event, context)
    ctypes.PyDLL(None).sleep(event)  # holds the interpreter: no other thread of the process runs

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

def receiver(event, context):
    write("received", json.dumps(event), context)

def config(**values):
    return EventConfig(**values)

broken_to_receiver = Function(
    broken, event_config=config(maximum_retry_attempts=0, on_failure="receiver", dead_letter="note")
)
note_to_receiver = Function(note, event_config=config(on_success="receiver"))

def again(event, context):
    write("ran", 0, context)

again_and_again = Function(again, event_config=config(on_success="loop", on_failure="loop"))
one_at_a_time = Function(work, reserved=1)
stopped_to_receiver = Function(note, reserved=0, event_config=config(on_failure="receiver"))
retried_to_receiver = Function(broken, event_config=config(on_failure="receiver"))
poison_to_receiver = Function(poison, event_config=config(on_failure="receiver"))
broken_to_webhook = Function(
    broken, event_config=config(maximum_retry_attempts=0, on_failure=os.environ.get("WEBHOOK"))
)
AWS = "arn:aws:{}:us-east-1:123456789012:{}"
to_sqs = Function(note, event_config=config(on_success=AWS.format("sqs", "jobs")))
to_bus = Function(note, event_config=config(on_success=AWS.format("events", "event-bus/default")))
to_sns = Function(broken, event_config=config(maximum_retry_attempts=0, dead_letter=AWS.format("sns", "topic")))
"""
NAMES = (
    "note work hold broken flaky poison receiver retried_to_receiver broken_to_receiver note_to_receiver "
    "poison_to_receiver broken_to_webhook to_sqs to_bus to_sns one_at_a_time stopped_to_receiver"
).split()
SETTINGS = {
    "SERVERFULL_EVENTS": "",
    "SERVERFULL_FUNCTIONS": ", ".join(f"{name}=functions.{name}" for name in NAMES)
    + ", loop=functions.again_and_again",
    "SERVERFULL_EVENTS_RETRY_DELAYS": "0.1 0.2",
    "SERVERFULL_EVENTS_THROTTLE_DELAYS": "0.1 0.5",
    "SERVERFULL_EVENTS_LEASE": "10",  # longer than any pause of a busy machine
    "SERVERFULL_ADMIN": "true",
    "SERVERFULL_RUNTIME_LOGGER_LEVEL": "WARNING",
}
GTHREAD = ("--worker-class", "gthread", "--threads", "8", "-c", "hooks.py")


class EventServers:
    """A folder with functions, an event store, and the servers and workers that use them.

    ``port`` is the port of the server that was started last; `send` and `request` connect to it.
    """

    backend = "sqlite"

    def __init__(self, folder):
        self.folder, self.notes, self._logs = folder, folder / "notes", 0
        self.port = free_port()
        self.notes.touch()
        (folder / "functions.py").write_text(FUNCTIONS)
        (folder / "hooks.py").write_text("from serverfull_wsgi.hooks import post_worker_init, worker_exit\n")

    # Processes

    def gunicorn(self, *options, **environ):
        self.port = free_port()
        bind = f"127.0.0.1:{self.port}"
        argv = ["-m", "gunicorn", "serverfull_wsgi:app", "--bind", bind, "--no-control-socket", *(options or GTHREAD)]
        return running(self._server(argv, environ))

    def _server(self, argv, environ):
        settings = {**SETTINGS, **environ}
        return Server(argv, self.new_log(), port=self.port, env=settings, cwd=self.folder)

    def new_log(self):
        """Return the path of a log file for one more process."""
        self._logs += 1
        return self.folder / f"log{self._logs}"

    @contextlib.contextmanager
    def worker(self, statuses=(0,), **environ):
        """Run ``serverfull worker``; the block starts once the worker accepts its role.

        At the end the exit status is one of ``statuses``.
        """
        environ = {"SERVERFULL_RUNTIME_LOGGER_LEVEL": "INFO", **environ}
        server = self._server(["-m", "serverfull_wsgi", "worker"], environ)
        try:
            wait_until(lambda: "running the events of" in server.output())
            yield server
        finally:
            status = server.stop()
        assert status in statuses, server.output()

    def runner(self, **environ):
        """Start the processes that run events, if the web processes do not run them."""
        return contextlib.nullcontext()

    def command(self, *argv, **environ):
        return serverfull(*argv, cwd=self.folder, **{**SETTINGS, **environ})

    def output(self):
        """Return the logs of all servers and workers."""
        return "".join(log.read_text(errors="replace") for log in self.folder.glob("log*"))

    # Requests

    def send(self, name, event=None, **headers):
        """Send an event; return the status and the request id, or None if the connection was lost."""
        headers = {header.replace("_", "-"): value for header, value in headers.items()}
        answer = self.request(
            "POST",
            f"/2015-03-31/functions/{name}/invocations",
            json.dumps(event).encode(),
            {"X-Amz-Invocation-Type": "Event", **headers},
        )
        return answer and (answer[0], answer[1]["x-amzn-RequestId"])

    def accept(self, name, event=None, **headers):
        """Send an event, check that the server accepts the event, and return its request id."""
        status, id = self.send(name, event, **headers)
        assert status == 202
        return id

    def send_poison(self):
        """Send an event that kills its process, and return its request id.

        The notes have the id. The process may die before it sends the 202.
        """
        self.send("poison")
        wait_until(lambda: self.noted("ran"))
        return self.noted("ran")[0]

    def request(self, method, target, body=None, headers=None):
        """Return the status, headers and body of the answer, or None if the connection was lost."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            try:
                connection.request(method, target, body, headers or {})
                response = connection.getresponse()
                return response.status, response.headers, response.read()
            except (OSError, http.client.HTTPException):
                return None

    def event(self, id):
        """Return the server's report on one event."""
        return json.loads(self.request("GET", f"/serverfull/events/{id}")[2])

    # Results

    def noted(self, word):
        """Return the request ids of all notes that start with ``word``: ``ran``, ``began`` or ``ended``."""
        lines = [line.split() for line in self.notes.read_text().splitlines()]
        return [line[1] for line in lines if len(line) > 1 and line[0] == word]

    def received(self):
        """Return the records that the function ``receiver`` was called with."""
        lines = self.notes.read_text().splitlines()
        return [json.loads(line.split(" ", 2)[2]) for line in lines if line.startswith("received ")]

    def rows(self, query="SELECT request_id, state FROM event"):
        path = self.folder / ".serverfull/events.sqlite3"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
            return db.execute(query).fetchall()

    def pending(self):
        """Return the number of events in the store that have not ended."""
        return self.rows("SELECT count(*) FROM event WHERE due IS NOT NULL")[0][0]


class BrokerServers(EventServers):
    """A folder with functions, servers and Celery workers; a broker holds the events in a queue for this folder."""

    def __init__(self, folder, broker):
        super().__init__(folder)
        self.broker, self.backend = broker, type(broker).__name__
        self.settings = {
            **SETTINGS,
            "SERVERFULL_EVENTS": broker.url,
            "SERVERFULL_EVENTS_QUEUE_NAME": f"queue-{folder.name}",
            "SERVERFULL_EVENTS_RETRY_DELAYS": "1 1",
            "SERVERFULL_EVENTS_THROTTLE_DELAYS": "1 2",
            "SERVERFULL_EVENTS_LEASE": "6",
        }

    def _server(self, argv, environ):
        return super()._server(argv, {**self.settings, **environ})

    def start_worker(self, *options, **environ):
        """Start a Celery worker and return the worker once it is ready."""
        return CeleryWorker(self, options, environ).wait()

    runner = property(lambda self: self.worker)

    @contextlib.contextmanager
    def worker(self, *options, **environ):
        worker = self.start_worker(*options, **environ)
        try:
            yield worker
        finally:
            worker.stop()


class CeleryWorker:
    """A ``celery worker`` with all its child processes in one process group."""

    def __init__(self, servers, options, environ):
        self.log = servers.new_log()
        command = [Path(sys.executable).parent / "celery", "-A", "serverfull_wsgi.celery", "worker"]
        name = f"{self.log.name}@{servers.port}"
        quiet = ["--without-gossip", "--without-mingle", "--loglevel", "INFO", "-n", name]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*command, *quiet, *(options or ("--concurrency", "2"))],
                cwd=servers.folder,
                env={**clean_environ(), **servers.settings, **environ},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self):
        """Return the worker once it is ready."""
        wait_until(lambda: self.process.poll() is not None or " ready." in self.output())
        assert self.process.poll() is None, self.output()
        return self

    def output(self):
        return self.log.read_text(errors="replace")

    def kill(self):
        """Kill all processes of the worker at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Stop the worker as systemd does; running events finish."""
        self.process.terminate()
        try:
            assert self.process.wait(60) == 0, self.output()
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.kill()


class Webhook:
    """A webhook with one scripted response for each request; ``accepted`` has the requests it accepted.

    A response is a status, ``"wait"`` (200 once ``may_respond`` is set) or ``"disconnect"``. After the script, each
    request gets a 200.
    """

    def __init__(self, *responses, port=0):
        webhook, self.accepted, self.attempts, self.responses = self, [], 0, list(responses)
        self.may_respond = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                webhook.attempts += 1
                response = webhook.responses.pop(0) if webhook.responses else 200
                if response == "wait":
                    response = webhook.may_respond.wait(30) and 200
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if response == "disconnect":
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                if 200 <= response < 300:
                    webhook.accepted.append((self.headers, body))
                self.send_response(response)
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
