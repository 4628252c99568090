"""The Lambda Runtime API of one environment, version 2018-06-01: where its runtime fetches events and leaves results.

It has no thread: whoever runs an invocation polls, and hands ready descriptors to `RuntimeApi.handle`.
Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
import select
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from serverfull_wsgi.executors.function_errors import RESPONSE_LIMIT
from serverfull_wsgi.executors.isolated.runtime_api.gil import yield_gil
from serverfull_wsgi.executors.isolated.runtime_api.http11 import HEAD_LIMIT, PIECE, ApiRequest, Connection, Malformed
from serverfull_wsgi.executors.isolated.runtime_api.listener import Listener

CONNECTIONS = 32  # at once; a runtime has one or two
HELD = RESPONSE_LIMIT + HEAD_LIMIT + PIECE  # bytes that they may keep in memory, all together
PREFIX = "/2018-06-01/runtime/"
_ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
_answered = re.compile(r"invocation/([^/]+)/(response|error)")
_content_type = re.compile(r"[\w!#$&^.+*/;=\" -]{1,128}", re.ASCII)
_FORM = "application/x-www-form-urlencoded"  # what curl says of any body, when nothing else was said


class Answer(NamedTuple):
    """What the runtime left: ``kind`` is ``response``, ``error`` or ``init``; ``too_large``: more than may be."""

    kind: str
    payload: bytes
    content_type: str = "application/json"
    too_large: bool = False


class RuntimeApi:
    """Serves one runtime on a free port of 127.0.0.1; ``poll`` is told which descriptors to watch.

    ``belongs`` says whether a connection, by the ports of its client and its server, comes from the environment.
    """

    def __init__(self, poll: select.poll, belongs: Callable[[int, int], bool]) -> None:
        self._poll = poll
        self.listener = Listener(poll, belongs)
        self._connections: dict[int, Connection] = {}
        self._asking: Connection | None = None  # who waits for the next event
        self._current: str | None = None  # the request id of the invocation that was handed out
        self.has_started = False  # whether the runtime ever asked: its start is over
        self.answer: Answer | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the runtime waits for an event."""
        return self._asking is not None

    def offer(self, request_id: str, headers: Mapping[str, str], payload: bytes) -> None:
        """Gives the runtime that waits its next event; from here on it can answer, and nothing but, this one."""
        assert self._asking is not None  # noqa: S101
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._current, self.answer = request_id, None
        asking, self._asking = self._asking, None
        self._send(
            asking,
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {request_id}\r\n{head}\r\n".encode("utf-8", "surrogateescape")
            + payload,
        )

    def withdraw(self) -> Answer | None:
        """The invocation is over: nobody can answer it any more. Returns what it was answered with."""
        answer, self._current, self.answer = self.answer, None, None
        return answer

    def handle(self, fd: int, event: int) -> None:
        """Something has happened to a descriptor of this API's; others are ignored."""
        if fd == self.listener.fd:
            self._accept()
        elif connection := self._connections.get(fd):
            try:
                self._serve(connection, event)
            except (ConnectionError, Malformed):
                self._drop(connection)
            if sum(one.held for one in self._connections.values()) > HELD:
                self._drop(connection)  # a runtime that reads its answers, and has one response at a time, keeps less

    def _accept(self) -> None:
        if sock := self.listener.accept(room=len(self._connections) < CONNECTIONS):
            connection = Connection(sock, RESPONSE_LIMIT)
            self._connections[connection.fd] = connection
            self._poll.register(connection.fd, select.POLLIN)

    def _serve(self, connection: Connection, event: int) -> None:
        request = None
        if event & select.POLLOUT and connection.flush():
            self._poll.modify(connection.fd, select.POLLIN)
            request = connection.waiting()
        elif event & ~select.POLLOUT:
            with contextlib.suppress(BlockingIOError):
                request = connection.receive()
        number = 0
        while request:
            self._respond(connection, request)
            yield_gil(number := number + 1)
            request = connection.waiting()

    def _respond(self, connection: Connection, request: ApiRequest) -> None:
        operation = request.path.removeprefix(PREFIX) if request.path.startswith(PREFIX) else ""
        if operation == "invocation/next" and request.method == "GET":
            self._next(connection)
        elif (match := _answered.fullmatch(operation)) and request.method == "POST":
            self._take(connection, request, *match.groups())
        elif operation == "init/error" and request.method == "POST":
            self._take_init_error(connection, request)
        else:
            self._refuse(connection, HTTPStatus.NOT_FOUND, "NotFound", "No such operation of the Runtime API")
        if (request.oversized or not request.keep_alive) and connection is not self._asking:
            self._drop(connection)

    def _next(self, connection: Connection) -> None:
        if self._current:
            message = "The invocation at hand has not been answered"
            self._refuse(connection, HTTPStatus.FORBIDDEN, "InvalidStateTransition", message)
            return
        if self._asking not in (None, connection):
            self._drop(self._asking)  # it asks anew, so it has given up that one
        self._asking, self.has_started = connection, True

    def _take(self, connection: Connection, request: ApiRequest, request_id: str, kind: str) -> None:
        if request_id != self._current:
            self._refuse(connection, HTTPStatus.BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
            return
        self._current = None
        self.answer = _answer(kind, request)
        if request.oversized:
            message = f"Exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes)."
            self._refuse(connection, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLarge", message)
        else:
            self._send(connection, _ACCEPTED)

    def _take_init_error(self, connection: Connection, request: ApiRequest) -> None:
        if self.has_started or self.answer:
            message = "The runtime has started already"
            self._refuse(connection, HTTPStatus.FORBIDDEN, "InvalidStateTransition", message)
            return
        self.answer = _answer("init", request)
        self._send(connection, _ACCEPTED)

    def _refuse(self, connection: Connection, status: HTTPStatus, error_type: str, message: str) -> None:
        body = json.dumps({"errorMessage": message, "errorType": error_type})
        self._send(
            connection,
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode(),
        )

    def _send(self, connection: Connection, data: bytes) -> None:
        try:
            if not connection.send(data):
                self._poll.modify(connection.fd, select.POLLOUT)  # who does not listen is not listened to
        except OSError:
            self._drop(connection)

    def _drop(self, connection: Connection | None) -> None:
        if connection and self._connections.pop(connection.fd, None):
            self._poll.unregister(connection.fd)
            connection.close()
        if connection is self._asking:
            self._asking = None

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self.listener.close()


def _answer(kind: str, request: ApiRequest) -> Answer:
    """What the runtime left; a stream that ended in an error has that in its trailers (or, if empty, headers)."""
    if request.oversized:
        return Answer(kind, b"", too_large=True)
    if kind == "response" and request.headers.get("lambda-runtime-function-error-type"):
        return Answer("error", _error_of(request))
    content_type = request.headers.get("content-type", "")
    if not _content_type.fullmatch(content_type) or content_type.startswith(_FORM):
        return Answer(kind, request.body)
    return Answer(kind, request.body, content_type)


def _error_of(request: ApiRequest) -> bytes:
    with contextlib.suppress(binascii.Error, ValueError):
        if body := base64.b64decode(request.headers.get("lambda-runtime-function-error-body", ""), validate=True):
            return body
    error_type = request.headers["lambda-runtime-function-error-type"]
    return json.dumps({"errorMessage": "", "errorType": error_type}).encode()
