"""The client of the Runtime API over frames, in the place of ``runtime_client``, the C module of AWS's Python client.

AWS's client, or the fallback client, keeps all that handlers can see; only the bytes on the wire differ. Three system
calls serve an invocation, where the C module makes 38. ``runtime_api`` has the form and the order of frames.

It falls back to the C module, and so to HTTP, where it cannot use the socket: in a fork of the process, which
must not write into its parent's stream, and after the function has closed the descriptor. The function may then have a
file of the same number. Calls for sockets only fail there, where ``write`` would change the file.
"""

from __future__ import annotations

import _socket  # (the module socket's class may be replaced)
import _thread
import contextlib
import errno
import json
import os
import struct
import types
from collections.abc import Callable, Iterable
from time import sleep
from typing import Any

PREFIX = struct.Struct(">cII")  # kind, length of the head, length of the body
NEXT, RESPONSE, ERROR, EVENT = b"N", b"R", b"X", b"E"
RECEIVE_SIZE, LARGE_RECEIVE_SIZE = 65536, 262144  # bytes; a socket of Linux holds 208 KiB
_DEADLINE = "Lambda-Runtime-Deadline-Ms"
PAUSE = 0.0003  # seconds before the request for an event; AWS's client takes about as long
_loads = json.loads  # a function may replace the module's


class FrameClient(types.ModuleType):
    """A module with the functions of ``runtime_client``.

    Args:
        fd: the descriptor of the connection for frames.
        client: the module ``awslambdaric.lambda_runtime_client``.
        load_http: returns the C module, or that of the fallback client, ready to be used.
    """

    def __init__(self, fd: int, client: Any, load_http: Callable[[], Any]) -> None:
        super().__init__("runtime_client")
        self._client, self._load_http = client, load_http
        self._socket = _socket.socket(fileno=os.dup(fd))  # the lowest number, as of the C module; closed by an exec
        self._socket.settimeout(None)  # a function can set another default
        self._inode = os.fstat(fd).st_ino
        os.close(fd)
        os.register_at_fork(after_in_child=self._close)
        _poll_in_main_thread(client.LambdaRuntimeClient)

    def initialize_client(self, user_agent: str) -> None:
        """Do nothing: the connection is open."""

    def next(self) -> tuple[bytes, dict[str, Any]]:
        """Request the next event, and return its payload and headers.

        A thread of the function may be about to end the process. It then does so before the request, so that no
        invocation fails: a thread that waits for the interpreter gets it in a pause.
        """
        if _thread._count():
            sleep(PAUSE)
        if not self._send(NEXT):
            return self._http().next()  # type: ignore[no-any-return]
        kind, head, body = self._receive()
        headers = _loads(head.decode())
        if kind != EVENT:
            raise RuntimeError(f"The Runtime API has refused a request with {headers}")
        headers[_DEADLINE] = int(headers.get(_DEADLINE, 0))
        return body, headers

    def post_invocation_result(
        self, request_id: str, data: bytes, content_type: str = "application/json", *more: Any
    ) -> None:
        """Send the response to an invocation. The API answers if it refuses the response, before the next event."""
        if not self._send(RESPONSE, f"{request_id}\n{content_type}", data):
            self._http().post_invocation_result(request_id, data, content_type, *more)

    def post_error(self, request_id: str, error: str, xray_cause: str, *more: Any) -> None:
        """Send the error of an invocation. The cause is for X-Ray, which is not there."""
        if not self._send(ERROR, f"{request_id}\napplication/json", error.encode()):
            self._http().post_error(request_id, error, xray_cause, *more)

    def _send(self, kind: bytes, head: str = "", body: bytes = b"") -> bool:
        """Send a frame. Return False if this process has no connection."""
        encoded = head.encode()
        first = PREFIX.pack(kind, len(encoded), len(body)) + encoded
        try:
            sent = self._socket.sendmsg((first, body)) - len(first)
        except OSError as error:
            if error.errno in (errno.EBADF, errno.ENOTSOCK):
                return False
            raise
        while sent < 0:
            sent += self._socket.send(first[sent:])
        with memoryview(body) as view:
            while sent < len(body):
                sent += self._socket.send(view[sent:])
        return True

    def _receive(self) -> tuple[bytes, bytes, bytes]:
        """Return the kind, head and body of the next frame."""
        data = self._read(PREFIX.size)
        kind, head_size, body_size = PREFIX.unpack_from(data)
        body_at = PREFIX.size + head_size
        size = body_at + body_size
        if len(data) < size:
            data = self._read(size, data)
        return kind, data[PREFIX.size : body_at], data[body_at:size]

    def _read(self, size: int, first: bytes = b"") -> bytes:
        """Return at least ``size`` bytes, which begin with ``first``."""
        pieces, count = [first], len(first)
        while count < size:
            piece = self._socket.recv(LARGE_RECEIVE_SIZE if size > RECEIVE_SIZE else RECEIVE_SIZE)
            if not piece:
                raise RuntimeError("The Runtime API has closed the connection")
            pieces.append(piece)
            count += len(piece)
        return b"".join(pieces)

    def _http(self) -> Any:
        """Return the C module, which AWS's client uses from now on."""
        self._close()
        self._client.runtime_client = self._load_http()
        return self._client.runtime_client

    def __getattr__(self, name: str) -> Any:
        """Return what the replaced module has beside, such as the fallback client's requests at a failed start."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._load_http(), name)

    def _close(self) -> None:
        """Close the socket, but no file of the function that has its number."""
        fd = self._socket.detach()
        with contextlib.suppress(OSError):
            if os.fstat(fd).st_ino == self._inode:
                os.close(fd)


def belongs_to(client: types.ModuleType, folders: Iterable[str]) -> bool:
    """Return whether a client's module is in one of these folders."""
    package = os.path.dirname(os.path.abspath(str(client.__file__)))
    return os.path.dirname(package) in map(os.path.abspath, folders)


def _poll_in_main_thread(client: Any) -> None:
    """Have AWS's client start no thread for each event, since reading the socket runs signal handlers meanwhile."""
    wait = client.wait_next_invocation

    def wait_next_invocation(self: Any) -> Any:
        self.use_thread_for_polling_next = False
        return wait(self)

    client.wait_next_invocation = wait_next_invocation
