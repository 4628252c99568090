"""AWS's own runtime client as the reference: a child process, a Lambda Runtime API for it, and handlers to compare."""

import asyncio  # noqa: F401  (names for the expressions of `evaluate`)
import collections
import contextlib
import dataclasses
import datetime
import enum
import json
import logging
import os
import queue
import re
import socket
import subprocess
import sys
import threading
import time
import uuid  # noqa: F401
from decimal import Decimal  # noqa: F401
from typing import NamedTuple

from pytest_httpserver import HTTPServer
from werkzeug import Response

from serverfull_wsgi.executors.isolated.runtime_api import frames
from serverfull_wsgi.executors.isolated.runtimes import launch
from tests.support import handlers
from tests.support.servers import ROOT, clean_environ

API = "/2018-06-01/runtime"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:compared"
PATIENCE = 30.0  # seconds a child may take to answer


class Answer(NamedTuple):
    """A post of the runtime client to the Runtime API; ``kind`` is ``response``, ``error`` or ``init``."""

    kind: str
    payload: bytes
    content_type: str


class QuickServer(HTTPServer):
    """An `HTTPServer` that stops within 20 ms in the place of half a second."""

    def thread_target(self):
        self.server.serve_forever(poll_interval=0.02)


class RuntimeApi:
    """A Lambda Runtime API: serve invocations one at a time and keep the answers."""

    descriptors, variables = (), {}  # that the process inherits

    def __init__(self):
        self.answers, self._waiting = queue.SimpleQueue(), queue.SimpleQueue()
        self._server = QuickServer(threaded=True)
        self._server.expect_request(f"{API}/invocation/next").respond_with_handler(self._next)
        for kind, path in {
            "response": re.compile(f"{API}/invocation/[^/]+/response"),
            "error": re.compile(f"{API}/invocation/[^/]+/error"),
            "init": f"{API}/init/error",
        }.items():
            self._server.expect_request(path, method="POST").respond_with_handler(self._keep(kind))
        self._server.start()
        self.address = f"127.0.0.1:{self._server.port}"

    def put(self, payload, request_id, *, timeout=60.0, client_context=None, trace_id=None):
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
        }
        if client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = client_context
        if trace_id is not None:
            headers["Lambda-Runtime-Trace-Id"] = trace_id
        self._waiting.put(Response(payload, headers=headers))

    def _next(self, request):
        return self._waiting.get()

    def _keep(self, kind):
        def keep(request):
            self.answers.put(Answer(kind, request.get_data(), request.headers.get("Content-Type", "")))
            return Response("{}", 202)

        return keep

    def started(self):
        """Note that the process has inherited the descriptors."""

    def ended(self):
        """Note that the process has ended."""

    def close(self):
        self._waiting.put(Response("closed", 410))  # releases a client that still waits for an event
        self._server.stop()


class FramesApi(RuntimeApi):
    """A Lambda Runtime API over frames; ``variables`` name the descriptor of the runtime's end."""

    KINDS = {b"R": "response", b"X": "error", b"I": "init"}

    def __init__(self):
        super().__init__()
        self._end, self._runtime_end = socket.socketpair()
        self.descriptors = [self._runtime_end.fileno()]
        inode = os.fstat(self.descriptors[0]).st_ino
        self.variables = {launch.FRAMES: f"{self.descriptors[0]} {inode} {self.address}"}
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def started(self):
        self._runtime_end.close()

    def ended(self):
        self._thread.join(1)  # it reads all that the process has sent

    def _serve(self):
        with self._end, self._end.makefile("rb") as file, contextlib.suppress(OSError):  # the process has ended
            while prefix := file.read(frames.PREFIX.size):
                kind, head_size, body_size = frames.PREFIX.unpack(prefix)
                head, body = file.read(head_size).decode(), file.read(body_size)
                if kind != b"N":
                    self.answers.put(Answer(self.KINDS[kind], body, head.partition("\n")[2]))
                    continue
                event = self._waiting.get()
                if event.status_code != 200:
                    return
                headers = {name: value.encode("latin-1").decode() for name, value in event.headers.items()}
                self._end.sendall(frames.encode(frames.EVENT, json.dumps(headers), event.get_data()))


class Child:
    """A process that takes its invocations from a `RuntimeApi` and writes its output to the file ``log``."""

    def __init__(self, argv, log, env, *, program=sys.executable, cwd=ROOT, api=RuntimeApi):
        self.log, self._read = log, 0
        self.api = api()
        self._file = open(log, "ab")  # noqa: SIM115  (closed by stop)
        self.process = subprocess.Popen(
            [program, *argv],
            cwd=cwd,
            env={**clean_environ(), **env(self.api.address, self._file.fileno()), **self.api.variables},
            stdout=self._file,
            stderr=self._file,
            pass_fds=[self._file.fileno(), *self.api.descriptors],
        )
        self.api.started()

    def answer(self):
        """Return the next `Answer`, or the exit status of a process that ended without one."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                return self.api.answers.get(timeout=0.1)
            if self.process.poll() is not None:
                self.api.ended()
                with contextlib.suppress(queue.Empty):
                    return self.api.answers.get_nowait()
                return self.process.returncode
        raise RuntimeError(f"no answer after {PATIENCE:g} s:\n{self.output()}")

    def output(self):
        """Return the output since the last call."""
        log = self.log.read_bytes()
        start, self._read = self._read, len(log)
        return text_of(log[start:])

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.api.close()
        self._file.close()


_frame = re.compile(rb"\xa5\x5a\x00(.)(.{4}).{8}", re.DOTALL)
_ERROR = 0x17  # as text
_JSON = 2  # the last two bits of a frame in JSON


def text_of(log):
    """Return the text of standard output, standard error and telemetry frames, in the order of writing.

    A frame ends where its length says. The report of an error and records in JSON have no line end of their own.
    """
    text = b""
    while frame := _frame.search(log):
        end = frame.end() + int.from_bytes(frame[2], "big")
        has_line_end = frame[1][0] != _ERROR and frame[1][0] & 3 != _JSON
        text += log[: frame.start()] + log[frame.end() : end] + (b"" if has_line_end else b"\n")
        log = log[end:]
    return (text + log).decode()


class Reference(NamedTuple):
    """The result of an invocation under AWS's client: answer, log, and exit status if the process ended."""

    payload: bytes = b""
    content_type: str = ""
    failed: bool = False
    log: str = ""
    ended: int | None = None


class ReferenceRuntime:
    """AWS's runtime client: one process for each handler, and a new process after an exit, as on AWS."""

    def __init__(self, folder, environ):
        self._folder, self._environ = folder, environ
        self._children = {}

    def run(self, handler, payload, request_id, **more):
        child = self._child(handler)
        child.api.put(payload, request_id, **more)
        answer = child.answer()
        if isinstance(answer, int) or answer.kind == "init":
            self._children.pop(handler).stop()
        if isinstance(answer, int):
            return Reference(log=child.output(), ended=answer)
        return Reference(answer.payload, answer.content_type, answer.kind != "response", child.output())

    def _child(self, handler):
        if handler not in self._children:
            log = self._folder / f"log{len(list(self._folder.iterdir()))}"
            self._children[handler] = Child(["-m", "awslambdaric", handler], log, self._surroundings)
        return self._children[handler]

    def _surroundings(self, address, log):
        return {
            **self._environ,
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "_LAMBDA_TELEMETRY_LOG_FD": str(log),
            "PYTHONUNBUFFERED": "1",  # keeps bytes and text in the order of writing
            "PYTHONUTF8": "1",
            "PYTHONWARNINGS": "ignore",
        }

    def close(self):
        for child in self._children.values():
            child.stop()


# Handlers that both sides run. All are called through `handler`, so that one child process serves every test.


def handler(event, context):
    """Call the handler that the event names, from this module or tests/support/handlers.py."""
    named = globals().get(event["handler"]) or getattr(handlers, event["handler"])
    return named(event.get("event"), context)


def evaluate(event, context):
    return eval(event, {**globals(), "context": context})


def execute(event, context):
    exec(event, {**globals(), "context": context})


def endless(event, context):
    """Recurse without end. AWS's client sends every frame in a header, so a lower limit keeps it under 64 KB."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    try:
        recurse(event)
    finally:
        sys.setrecursionlimit(limit)


def recurse(event):
    recurse(event)


def indirectly(event, context):
    """Fail a few calls further down, in code that is not the user's."""
    return sorted([1, 2], key=lambda number: datetime.date.fromisoformat(f"no date {number}"))


def multi_line(event, context):
    raise ValueError("first ƛ\n  second é\n\n\tthird 漢")


def group(event, context):
    raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])  # noqa: F821  (from Python 3.11 on)


def noted(event, context):
    error = ValueError("noted")
    error.add_note("a note")
    raise error


def suppressed(event, context):
    try:
        return {}["absent"]
    except KeyError:
        raise RuntimeError("outer") from None


class Textless(Exception):
    """An exception whose ``str()`` raises."""

    def __str__(self):
        raise RuntimeError("no text")


def textless(event, context):
    raise Textless


class Uncaught(BaseException):
    """An exception that no ``except Exception`` catches."""


def uncaught(event, context):
    raise Uncaught("far away")


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")


async def asynchronous(event, context):
    return 1


def no_parameters():
    return 1


not_callable = "text"

Pair = collections.namedtuple("Pair", "left right")


class Text(str):
    pass


class Number(int):
    def __str__(self):
        return "seven"


class Plain(enum.Enum):
    ONE = 1


class Mixed(str, enum.Enum):
    ONE = "one"


@dataclasses.dataclass
class Record:
    number: int = 1


class ForJson:
    def for_json(self):
        return "for_json"


class AsDict:
    def _asdict(self):
        return {"as": "dict"}


class Callable:
    def __call__(self, event, context):
        raise ValueError("called")


class Handlers:
    def method(self, event, context):
        raise ValueError("a method's")


an_object = Callable()
a_method = Handlers().method
log = logging.getLogger("tests.support.aws_runtime_client")
