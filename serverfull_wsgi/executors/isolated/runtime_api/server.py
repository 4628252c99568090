"""The operations of the Lambda Runtime API, version 2018-06-01; the package's docstring has their states.

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
from typing import NamedTuple, Protocol

from serverfull_wsgi.executors.function_errors import RESPONSE_LIMIT
from serverfull_wsgi.executors.isolated.runtime_api import frames
from serverfull_wsgi.executors.isolated.runtime_api.frames import Frame, FrameConnection, MalformedFrame
from serverfull_wsgi.executors.isolated.runtime_api.gil import yield_gil
from serverfull_wsgi.executors.isolated.runtime_api.http11 import (
    HEAD_LIMIT,
    RECEIVE_SIZE,
    ApiRequest,
    Connection,
    Malformed,
)
from serverfull_wsgi.executors.isolated.runtime_api.listener import Listener

CONNECTION_LIMIT = 32  # a runtime has one or two; the rest is for a function's own attempts
BUFFER_LIMIT = RESPONSE_LIMIT + HEAD_LIMIT + RECEIVE_SIZE  # bytes, of all connections: one response of the largest size
PREFIX = "/2018-06-01/runtime/"
_result_path = re.compile(r"invocation/([^/]+)/(response|error)")
_content_type = re.compile(r"[\w!#$&^.+*/;=\" -]{1,128}", re.ASCII)
_FORM = "application/x-www-form-urlencoded"  # curl's default for any body, so that it states nothing


class Answer(NamedTuple):
    """A runtime's answer to an invocation, or the error of its start."""

    kind: str  # "response", "error" or "init"
    payload: bytes
    content_type: str = "application/json"
    too_large: bool = False  # the payload was over the limit, and has not been read


class RuntimeConnection(Protocol):
    """A connection of the runtime, over HTTP or over frames: `Connection` and `FrameConnection` have the meaning."""

    fd: int
    accepted: bytes

    def send(self, data: bytes) -> bool: ...
    def is_unread(self) -> bool: ...
    def close(self) -> None: ...
    def event(self, request_id: str, headers: Mapping[str, str], payload: bytes) -> bytes: ...
    def refusal(self, status: HTTPStatus, error_type: str, message: str) -> bytes: ...


class HttpConnection(Connection):
    """A connection over HTTP, and the API's messages in its form."""

    accepted = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'

    @staticmethod
    def event(request_id: str, headers: Mapping[str, str], payload: bytes) -> bytes:
        """Return the response that has an event."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {request_id}\r\n{lines}\r\n"
        )
        return head.encode("utf-8", "surrogateescape") + payload

    @staticmethod
    def refusal(status: HTTPStatus, error_type: str, message: str) -> bytes:
        """Return the response that refuses a request."""
        body = json.dumps({"errorMessage": message, "errorType": error_type})
        return (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


class RuntimeApi:
    """The server of one runtime, on a free port of 127.0.0.1, and over frames if the runtime can use them.

    Args:
        poll: watches the API's descriptors; the caller passes those that are ready to `handle`.
        is_own_peer: returns whether a connection comes from the environment, given the client's and the server's port.
        has_frames: whether the runtime gets a descriptor for frames. That descriptor is the first in ``poll``, so that
            all output that was written before an answer is ready together with the answer.

    Attributes:
        frames: the connection for frames; None without one, or after its end.
        listener: the listening socket.
        is_broken: whether the runtime has sent bytes that are no frames, so that it can do nothing any more.
        has_started: whether the runtime has ever requested an event, so that its start is over.
        is_event_lost: whether the connection broke before the runtime had read the whole event.
        answer: the answer to the running invocation, or the error of the start; None until then.
    """

    def __init__(self, poll: select.poll, is_own_peer: Callable[[int, int], bool], *, has_frames: bool = False) -> None:
        self._poll = poll
        self.frames = FrameConnection(RESPONSE_LIMIT) if has_frames else None
        if self.frames:
            poll.register(self.frames.fd, select.POLLIN)
        try:
            self.listener = Listener(poll, is_own_peer)
        except OSError:
            if self.frames:
                self.frames.close()
            raise
        self._connections: dict[int, HttpConnection] = {}  # by descriptor
        self._waiting: RuntimeConnection | None = None  # has requested the next event
        self._request_id: str | None = None  # of the running invocation
        self._offered: RuntimeConnection | None = None  # has the running invocation's event
        self._uses_frames = False  # a request for an event has arrived as a frame
        self.has_started = self.is_event_lost = self.is_broken = False
        self.answer: Answer | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the runtime waits for an event."""
        return self._waiting is not None

    @property
    def connection_count(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    @property
    def buffered_bytes(self) -> int:
        """The memory that all connections hold."""
        of_frames = self.frames.buffered_bytes if self.frames else 0
        return of_frames + sum(connection.buffered_bytes for connection in self._connections.values())

    def offer(self, request_id: str, headers: Mapping[str, str], payload: bytes) -> None:
        """Send an event to the runtime, which must be waiting. From now on only this invocation can be answered."""
        assert self._waiting is not None  # noqa: S101
        self._request_id, self.answer = request_id, None
        connection, self._waiting = self._waiting, None
        self._offered, self.is_event_lost = connection, False
        self._send(connection, connection.event(request_id, headers, payload))

    def withdraw(self) -> Answer | None:
        """End the invocation, so that it can no longer be answered. Return its answer, if there is one."""
        answer, self._request_id, self.answer = self.answer, None, None
        return answer

    def handle(self, fd: int, event: int) -> None:
        """Handle an event of `select.poll` on a descriptor; ignore descriptors that are not the API's."""
        if self.frames and fd == self.frames.fd:
            self._handle_frames(self.frames, event)
        elif fd == self.listener.fd:
            self._accept()
        elif connection := self._connections.get(fd):
            try:
                self._serve(connection, event)
            except (ConnectionError, Malformed):
                self._drop(connection)
            if self.buffered_bytes > BUFFER_LIMIT:
                self._drop(connection)

    def _accept(self) -> None:
        if sock := self.listener.accept(has_room=len(self._connections) < CONNECTION_LIMIT):
            connection = HttpConnection(sock, RESPONSE_LIMIT)
            self._connections[connection.fd] = connection
            self._poll.register(connection.fd, select.POLLIN)

    # Frames

    def _handle_frames(self, connection: FrameConnection, event: int) -> None:
        try:
            if event & select.POLLOUT and connection.flush():
                self._poll.modify(connection.fd, select.POLLIN)
            if event & ~select.POLLOUT:
                connection.receive()
                while self.frames and (frame := connection.next_frame()):
                    self._respond_to_frame(connection, frame)
        except ConnectionError:
            self._drop(connection)
        except MalformedFrame:
            self.is_broken = True
            self._drop(connection)
        if self._connections and self.buffered_bytes > BUFFER_LIMIT:
            for other in list(self._connections.values()):  # the runtime has precedence over other clients
                self._drop(other)

    def _respond_to_frame(self, connection: FrameConnection, frame: Frame) -> None:
        match frame.kind:
            case frames.NEXT if self._waiting is connection:
                raise MalformedFrame
            case frames.NEXT:
                self._uses_frames = True
                self._next(connection)
            case frames.INIT_ERROR:
                self._accept_start_error(connection, "init", _answer_in_frame("init", frame))
            case _:
                kind = "response" if frame.kind == frames.RESPONSE else "error"
                self._accept_result(connection, frame.request_id, _answer_in_frame(kind, frame))
        if frame.oversized:
            self._drop(connection)

    # HTTP

    def _serve(self, connection: HttpConnection, event: int) -> None:
        request = None
        if event & select.POLLOUT and connection.flush():
            self._poll.modify(connection.fd, select.POLLIN)
            request = connection.next_request()
        elif event & ~select.POLLOUT:
            with contextlib.suppress(BlockingIOError):
                request = connection.receive()
        count = 0
        while request:
            self._respond(connection, request)
            yield_gil(count := count + 1)
            request = connection.next_request()

    def _respond(self, connection: HttpConnection, request: ApiRequest) -> None:
        operation = request.path.removeprefix(PREFIX) if request.path.startswith(PREFIX) else ""
        if operation == "invocation/next" and request.method == "GET":
            self._next(connection)
        elif (match := _result_path.fullmatch(operation)) and request.method == "POST":
            request_id, kind = match.groups()
            self._accept_result(connection, request_id, _answer(kind, request))
        elif operation in ("init/error", "restore/error") and request.method == "POST":
            kind = operation.partition("/")[0]
            self._accept_start_error(connection, kind, _answer(kind, request))
        else:
            message = "The Runtime API has no such operation"
            self._refuse(connection, HTTPStatus.NOT_FOUND, "NotFound", message)
        if (request.oversized or not request.keep_alive) and connection is not self._waiting:
            self._drop(connection)

    # Operations

    def _next(self, connection: RuntimeConnection) -> None:
        if self._request_id:
            message = "The running invocation has not been answered"
            self._refuse(connection, HTTPStatus.FORBIDDEN, "InvalidStateTransition", message)
            return
        if self._uses_frames and connection is not self.frames:
            message = "The runtime requests its events by other means"
            self._refuse(connection, HTTPStatus.FORBIDDEN, "InvalidStateTransition", message)
            return
        if self._waiting not in (None, connection):
            self._drop(self._waiting)  # the runtime has reconnected, so that nothing reads the older connection
        self._waiting, self.has_started = connection, True

    def _accept_result(self, connection: RuntimeConnection, request_id: str, answer: Answer) -> None:
        if request_id != self._request_id:
            self._refuse(connection, HTTPStatus.BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
            return
        self._request_id = None
        self.answer = answer
        if answer.too_large:
            message = f"Exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes)."
            self._refuse(connection, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLarge", message)
        else:
            self._send(connection, connection.accepted)

    def _accept_start_error(self, connection: RuntimeConnection, kind: str, answer: Answer) -> None:
        if self.has_started or self.answer:
            message = "The runtime has started already"
            self._refuse(connection, HTTPStatus.FORBIDDEN, "InvalidStateTransition", message)
            return
        self.answer = answer
        self._send(connection, connection.accepted)

    def _refuse(self, connection: RuntimeConnection, status: HTTPStatus, error_type: str, message: str) -> None:
        self._send(connection, connection.refusal(status, error_type, message))
        if connection is self.frames:
            self._drop(connection)  # the runtime ends, as AWS's client does

    # Connections

    def _send(self, connection: RuntimeConnection, data: bytes) -> None:
        try:
            if data and not connection.send(data):
                self._poll.modify(connection.fd, select.POLLOUT)  # read no request until the client reads its responses
        except OSError:
            self._drop(connection)

    def _drop(self, connection: RuntimeConnection | None) -> None:
        if connection and self._remove(connection):
            if connection is self._offered and self._request_id:
                self.is_event_lost = connection.is_unread()
            self._poll.unregister(connection.fd)
            connection.close()
        if connection is self._waiting:
            self._waiting = None

    def _remove(self, connection: RuntimeConnection) -> bool:
        """Forget a connection. Return False if it has been forgotten already."""
        if connection is not self.frames:
            return self._connections.pop(connection.fd, None) is not None
        self.frames, self._uses_frames = None, False
        return True

    def close(self) -> None:
        """Close all connections and the listening socket."""
        for connection in self._connections.values():
            connection.close()
        if self.frames:
            self.frames.close()
        self.listener.close()


def _answer(kind: str, request: ApiRequest) -> Answer:
    """Return the answer in a request. A stream that failed midway has its error in the trailers."""
    if request.oversized:
        return Answer(kind, b"", too_large=True)
    if kind == "response" and request.headers.get("lambda-runtime-function-error-type"):
        return Answer("error", _stream_error(request))
    content_type = request.headers.get("content-type", "")
    if not _content_type.fullmatch(content_type) or content_type.startswith(_FORM):
        return Answer(kind, request.body)
    return Answer(kind, request.body, content_type)


def _stream_error(request: ApiRequest) -> bytes:
    """Return the error object that the runtime sent, or one with the error's type only."""
    with contextlib.suppress(binascii.Error, ValueError):
        if body := base64.b64decode(request.headers.get("lambda-runtime-function-error-body", ""), validate=True):
            return body
    error_type = request.headers["lambda-runtime-function-error-type"]
    return json.dumps({"errorMessage": "", "errorType": error_type}).encode()


def _answer_in_frame(kind: str, frame: Frame) -> Answer:
    """Return the answer in a frame."""
    if frame.oversized:
        return Answer(kind, b"", too_large=True)
    if _content_type.fullmatch(frame.content_type):
        return Answer(kind, frame.body, frame.content_type)
    return Answer(kind, frame.body)
