"""HTTP/1.1 to the Runtime API, over one connection that stays open.

The module `socket` would import further modules of the standard library, and a function may have others of their names.
"""

from __future__ import annotations

import _socket
import os

API = "/2018-06-01/runtime"
_RECEIVE_SIZE = 65536
_HEADER_LIMIT = 1 << 20  # bytes of an X-Ray cause, as of AWS's client


class Response:
    """A response of the Runtime API. Names of headers are in lower case."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


class _Connection:
    """A connection to ``host:port``. It opens with the first request, and again after the server has closed it."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._socket: _socket.socket | None = None
        self._received = b""

    def request(self, method: str, path: str, body: bytes | None = None, headers: str = "") -> Response:
        """Send a request and return the response. Raise OSError if the connection breaks."""
        length = "" if body is None else f"Content-Length: {len(body)}\r\n"
        head = f"{method} {API}{path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n{headers}{length}\r\n"
        data = head.encode("utf-8", "surrogateescape") + (body or b"")
        if self._socket is not None:
            try:
                return self._exchange(self._socket, data)
            except ConnectionError:  # the server has closed the connection since the last response
                self.close()
        return self._exchange(self._open(), data)

    def _open(self) -> _socket.socket:
        self._socket = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self._socket.setblocking(True)  # a function can set another default by `socket.setdefaulttimeout`
        self._socket.connect((self._host, self._port))
        self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        return self._socket

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._received = None, b""

    def _exchange(self, sock: _socket.socket, data: bytes) -> Response:
        sock.sendall(data)
        head = self._read_until(sock, b"\r\n\r\n").decode("utf-8", "surrogateescape")
        status_line, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._read_chunks(sock)
        else:
            body = self._read(sock, int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Response(int(status_line.split(" ")[1]), headers, body)

    def _read_chunks(self, sock: _socket.socket) -> bytes:
        body = b""
        while size := int(self._read_until(sock, b"\r\n").partition(b";")[0], 16):
            body += self._read(sock, size)
            self._read(sock, 2)
        while self._read_until(sock, b"\r\n"):  # trailers
            pass
        return body

    def _read_until(self, sock: _socket.socket, end: bytes) -> bytes:
        while end not in self._received:
            self._receive(sock)
        part, _, self._received = self._received.partition(end)
        return part

    def _read(self, sock: _socket.socket, size: int) -> bytes:
        if size <= len(self._received):
            body, self._received = self._received[:size], self._received[size:]
            return body
        buffer, received = bytearray(size), len(self._received)
        buffer[:received], self._received = self._received, b""
        view = memoryview(buffer)
        while received < size:
            count = sock.recv_into(view[received:])
            if not count:
                raise ConnectionResetError("the Runtime API has closed the connection")
            received += count
        return bytes(buffer)

    def _receive(self, sock: _socket.socket) -> None:
        piece = sock.recv(_RECEIVE_SIZE)
        if not piece:
            raise ConnectionResetError("the Runtime API has closed the connection")
        self._received += piece


_connection: _Connection | None = None


def initialize_client(user_agent: str = "") -> None:
    """Close the connection, and use the address in AWS_LAMBDA_RUNTIME_API from now on."""
    global _connection
    if _connection is not None:
        _connection.close()
    _connection = _Connection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def request(method: str, path: str, body: bytes | None = None, headers: str = "") -> Response:
    """Send a request to the Runtime API. ``headers`` are lines that end in CR LF."""
    if _connection is None:
        initialize_client()
    assert _connection is not None  # noqa: S101
    return _connection.request(method, path, body, headers)


def next() -> tuple[bytes, dict[str, str]]:
    """Return the next event, and the headers of the response with names as in AWS's documentation. Wait for it."""
    response = request("GET", "/invocation/next")
    if response.status != 200:
        raise RuntimeError(f"Failed to get next: HTTP status {response.status}")
    return response.body, {name.title(): value for name, value in response.headers.items()}


def post_invocation_result(
    invoke_id: str, result: bytes, content_type: str | None = None, invocation_id: str | None = None
) -> None:
    """Send the result of an invocation."""
    headers = f"Content-Type: {content_type or 'text/html'}\r\n{_invocation(invocation_id)}"
    _post(f"/invocation/{invoke_id}/response", result, headers, "response")


def post_error(invoke_id: str, error: str, xray_cause: str, invocation_id: str | None = None) -> None:
    """Send the error of an invocation, as JSON, and its cause for X-Ray."""
    headers = f"Content-Type: application/json\r\n{_invocation(invocation_id)}"
    headers += "Lambda-Runtime-Function-Error-Type: Unhandled\r\n"
    if xray_cause and len(xray_cause) < _HEADER_LIMIT:
        headers += f"Lambda-Runtime-Function-XRay-Error-Cause: {xray_cause}\r\n"
    _post(f"/invocation/{invoke_id}/error", error.encode(), headers, "error")


def _invocation(invocation_id: str | None) -> str:
    return f"Lambda-Runtime-Invocation-Id: {invocation_id}\r\n" if invocation_id else ""


def _post(path: str, body: bytes, headers: str, kind: str) -> None:
    status = request("POST", path, body, headers).status
    if not 200 <= status < 300:
        raise RuntimeError(f"Failed to post invocation {kind}: HTTP status {status}")
