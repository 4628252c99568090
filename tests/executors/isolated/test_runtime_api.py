"""The Runtime API with correct, slow, faulty and hostile clients."""

import base64
import contextlib
import json
import resource
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi.executors.isolated.runtime_api import gil
from serverfull_wsgi.executors.isolated.runtime_api.http11 import RECEIVE_SIZE
from serverfull_wsgi.executors.isolated.runtime_api.server import BUFFER_LIMIT, RuntimeApi

ID = "8f507cfc-2a0a-4f19-9a8f-1d0f0c5a9e3b"
PREFIX = "/2018-06-01/runtime/"


class ServedClient:
    """A client, and the Runtime API that it is connected to; both in one thread."""

    def __init__(self):
        self.poll = select.poll()
        self.api = RuntimeApi(self.poll, lambda client, server: True)
        self.client = socket.create_connection(("127.0.0.1", self.api.listener.port))

    def send(self, *pieces, polls=50):
        """Send the pieces one by one, as a slow network delivers them, and return the response so far."""
        for piece in pieces:
            self.client.sendall(piece)
            self.poll_once()
        self.client.settimeout(0.05)
        received = b""
        for _ in range(polls):
            self.poll_once()
            with contextlib.suppress(TimeoutError, ConnectionError):
                data = self.client.recv(65536)
                received += data
                if data:
                    break
        return received.decode()

    def poll_once(self):
        for fd, event in self.poll.poll(5):
            self.api.handle(fd, event)

    def start_invocation(self, payload=b"{}"):
        """Request the next event, offer one, and return the client's response."""
        self.client.sendall(f"GET {PREFIX}invocation/next HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while not self.api.is_waiting:
            self.poll_once()
        self.api.offer(ID, {"Lambda-Runtime-Deadline-Ms": "5"}, payload)
        return self.client.recv(65536).decode()


@pytest.fixture
def served():
    served = ServedClient()
    yield served
    served.client.close()
    served.api.close()


def head(operation, *headers, method="POST", version="1.1"):
    lines = [f"{method} {PREFIX}{operation} HTTP/{version}", "Host: x", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


RESPONSE = f"invocation/{ID}/response"


def test_an_event_has_its_headers(served):
    response = served.start_invocation(b'{"n": 1}')
    assert response.startswith("HTTP/1.1 200 OK\r\n")
    assert f"Lambda-Runtime-Aws-Request-Id: {ID}\r\nLambda-Runtime-Deadline-Ms: 5\r\n" in response
    assert "Content-Length: 8\r\n" in response
    assert response.endswith('{"n": 1}')


def test_a_response_in_one_piece_is_accepted(served):
    served.start_invocation()
    assert served.send(head(RESPONSE, "Content-Length: 4") + b"null").startswith("HTTP/1.1 202 Accepted\r\n")
    assert served.api.answer == ("response", b"null", "application/json", False)


def test_a_response_byte_by_byte_is_accepted(served):
    served.start_invocation()
    served.send(*(bytes([byte]) for byte in head(RESPONSE, "content-length:4") + b"null"))
    assert served.api.answer.payload == b"null"


@pytest.mark.parametrize(
    "body",
    [b"4\r\nnull\r\n0\r\n\r\n", b"2\r\nnu\r\n002;x=y\r\nll\r\n0\r\n\r\n", b"4 \r\nnull\r\n0\r\nTrailer: x\r\n\r\n"],
)
def test_a_chunked_response_is_accepted(served, body):
    served.start_invocation()
    sent = head(RESPONSE, "Transfer-Encoding: chunked") + body
    assert served.send(*(sent[at : at + 7] for at in range(0, len(sent), 7))).startswith("HTTP/1.1 202")
    assert served.api.answer.payload == b"null"


def test_a_stream_with_an_error_in_its_trailers_is_an_error(served):
    served.start_invocation()
    error = base64.b64encode(b'{"errorType":"Mid"}').decode()
    trailers = f"Lambda-Runtime-Function-Error-Type: Mid\r\nLambda-Runtime-Function-Error-Body: {error}\r\n\r\n"
    body = f"2\r\nha\r\n0\r\n{trailers}"
    served.send(head(RESPONSE, "Transfer-Encoding: chunked") + body.encode())
    assert served.api.answer[:2] == ("error", b'{"errorType":"Mid"}')


def test_a_client_that_expects_100_continue_receives_it(served):
    served.start_invocation()
    assert "100 Continue" in served.send(head(RESPONSE, "Content-Length: 4", "Expect: 100-continue"))
    served.send(b"null")
    assert served.api.answer.payload == b"null"


@pytest.mark.parametrize(
    "body",
    [
        head(RESPONSE, "Content-Length: 6291557"),
        head(RESPONSE, "Transfer-Encoding: chunked") + b"600065\r\n",
        head(RESPONSE, "Content-Length: 2000000000") + b"x" * 1000,
    ],
)
def test_a_response_over_the_limit_is_refused_without_reading_it(served, body):
    served.start_invocation()
    assert "413" in served.send(body)
    assert served.api.answer.too_large


@pytest.mark.parametrize(
    "held_back",
    [
        head(RESPONSE, "Content-Length: 6000000") + b"x" * 5_000_000,
        head(RESPONSE, "Transfer-Encoding: chunked") + b"4c4b40\r\n" + b"x" * 5_000_000,
    ],
)
def test_connections_are_closed_when_their_buffers_exceed_the_limit(served, held_back):
    served.start_invocation()
    with ThreadPoolExecutor(2) as pool:
        clients = [socket.create_connection(("127.0.0.1", served.api.listener.port)) for _ in range(2)]
        sent = pool.map(_send, clients, [held_back] * 2)
        cut, deadline = False, time.monotonic() + 30
        while not cut:
            before = served.api.connection_count
            served.poll_once()
            cut = served.api.connection_count < before
            assert served.api.buffered_bytes <= BUFFER_LIMIT
            assert time.monotonic() < deadline
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        list(sent)
        for client in clients:
            client.close()
    assert served.send(head(RESPONSE, "Content-Length: 4") + b"null").startswith("HTTP/1.1 202")


def test_a_client_that_does_not_read_is_not_read_from_until_it_does(served):
    requests = 20_000
    sender = threading.Thread(target=_send, args=[served.client, head("nothing", method="GET") * requests])
    sender.start()
    for _ in range(200):
        served.poll_once()
        assert served.api.buffered_bytes < 3 * RECEIVE_SIZE
    served.client.settimeout(10)
    responses, rest = 0, b""
    while responses < requests:
        served.poll_once()
        *whole, rest = (rest + served.client.recv(RECEIVE_SIZE)).split(b"}")
        responses += len(whole)
    sender.join(10)


@pytest.mark.parametrize(
    "malformed",
    [
        b"\r\n\r\n",
        b"not-http\r\n\r\n",
        b"GET /x HTTP/1.1 more\r\n\r\n",
        head(RESPONSE, "Content-Length: -1"),
        head(RESPONSE, "Content-Length: 1, 2"),
        head(RESPONSE, "Content-Length: 1", "Content-Length: 2") + b"x",
        head(RESPONSE, "No colon"),
        head(RESPONSE, "Transfer-Encoding: chunked") + b"zz\r\n",
        head(RESPONSE, "Transfer-Encoding: chunked") + b"1\r\nxyz",
        b"x" * 2_200_000,
    ],
)
def test_a_malformed_request_closes_its_connection_only(served, malformed):
    served.start_invocation()
    sender = threading.Thread(target=_send, args=[served.client, malformed])
    sender.start()
    for _ in range(200):
        served.poll_once()
    sender.join(10)
    assert served.api.answer is None
    other = socket.create_connection(("127.0.0.1", served.api.listener.port))
    served.client.close()
    served.client = other
    assert served.send(head(RESPONSE, "Content-Length: 4") + b"null").startswith("HTTP/1.1 202")


def _send(sock, data):
    with contextlib.suppress(OSError):
        sock.sendall(data)


@pytest.mark.parametrize(
    ("request_", "status", "error_type"),
    [
        (head("invocation/other/response", "Content-Length: 0"), 400, "InvalidRequestID"),
        (head("invocation/other/error", "Content-Length: 0"), 400, "InvalidRequestID"),
        (head("invocation/next", method="GET"), 403, "InvalidStateTransition"),
        (head("init/error", "Content-Length: 2") + b"{}", 403, "InvalidStateTransition"),
        (head("restore/next", method="GET"), 404, "NotFound"),
        (head("invocation/next"), 404, "NotFound"),
    ],
)
def test_a_request_that_is_not_allowed_gets_an_error(served, request_, status, error_type):
    served.start_invocation()
    response = served.send(request_)
    assert response.startswith(f"HTTP/1.1 {status} ")
    assert json.loads(response.partition("\r\n\r\n")[2])["errorType"] == error_type
    assert served.api.answer is None


def test_a_second_response_is_refused(served):
    served.start_invocation()
    served.send(head(RESPONSE, "Content-Length: 1") + b"1")
    assert served.send(head(RESPONSE, "Content-Length: 1") + b"2").startswith("HTTP/1.1 400")
    assert served.api.answer.payload == b"1"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("application/unknown", "application/unknown"),
        ("application/x-www-form-urlencoded", "application/json"),
        ("text/x\x7f", "application/json"),
        ("", "application/json"),
    ],
)
def test_an_invalid_content_type_is_replaced_by_json(served, sent, expected):
    served.start_invocation()
    served.send(head(RESPONSE, f"Content-Type: {sent}", "Content-Length: 1") + b"1")
    assert served.api.answer.content_type == expected


def test_a_connection_of_another_process_is_closed():
    poll = select.poll()
    api = RuntimeApi(poll, lambda client, server: False)
    with socket.create_connection(("127.0.0.1", api.listener.port)) as client:
        client.settimeout(10)
        for fd, event in poll.poll(1000):
            api.handle(fd, event)
        with contextlib.suppress(ConnectionError):
            assert client.recv(1) == b""
    api.close()


def test_without_free_descriptors_a_client_waits_and_the_server_does_not_spin(served):
    served.start_invocation()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(("127.0.0.1", served.api.listener.port), timeout=10) as client:
        with contextlib.ExitStack() as stack:
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limit)
            spare = stack.enter_context(socket.socket())
            resource.setrlimit(resource.RLIMIT_NOFILE, (spare.fileno() + 1, limit[1]))
            served.poll_once()
            assert served.poll.poll(0) == []
            assert served.api.listener.seconds_until_due() > 0
        time.sleep(served.api.listener.seconds_until_due())
        served.api.listener.resume_if_due()
        served.poll_once()
        client.sendall(head("invocation/none", "Content-Length: 0"))
        served.poll_once()
        assert client.recv(65536).startswith(b"HTTP/1.1 404")


def test_many_requests_in_one_piece_yield_to_other_threads(served, monkeypatch):
    pauses = []
    monkeypatch.setattr(gil.time, "sleep", pauses.append)
    served.start_invocation()
    served.send(head("invocation/none", "Content-Length: 0") * 300, polls=1)
    assert len(pauses) >= 300 // gil.PIECES


MANY = "".join(f"A{number}: x\r\n" for number in range(300))


@pytest.mark.parametrize(
    "request_",
    [
        f"GET {PREFIX}invocation/next HTTP/1.1\r\n{MANY}\r\n".encode(),
        head(RESPONSE, "Transfer-Encoding: chunked") + f"1\r\n1\r\n0\r\n{MANY}\r\n".encode(),
    ],
    ids=["headers", "trailers"],
)
def test_a_request_with_too_many_lines_closes_the_connection(served, request_):
    served.start_invocation()
    assert served.send(request_, polls=5) == ""
    assert served.client.recv(1) == b""
    assert served.api.answer is None


@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_heads_count_as_memory_until_their_bodies_arrive(served, framing):
    big = head("init/error", framing, "X: " + "x" * 1_900_000)
    clients = [socket.create_connection(("127.0.0.1", served.api.listener.port)) for _ in range(6)]
    with contextlib.ExitStack() as stack:
        for client in clients:
            stack.callback(client.close)
            client.setblocking(False)
            rest = memoryview(big)
            while rest:
                served.poll_once()
                with contextlib.suppress(BlockingIOError):
                    rest = rest[client.send(rest) :]
            for _ in range(50):
                served.poll_once()
        assert 1_900_000 < served.api.buffered_bytes <= BUFFER_LIMIT
        assert served.api.connection_count < len(clients)
