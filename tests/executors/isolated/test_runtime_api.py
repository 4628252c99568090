"""The Runtime API, spoken to by clients of every manner."""

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
from serverfull_wsgi.executors.isolated.runtime_api.http11 import PIECE
from serverfull_wsgi.executors.isolated.runtime_api.server import HELD, RuntimeApi

ID = "8f507cfc-2a0a-4f19-9a8f-1d0f0c5a9e3b"
PREFIX = "/2018-06-01/runtime/"


class Attended:
    """A Runtime API, and somebody who attends to it until there is an answer."""

    def __init__(self):
        self.poll = select.poll()
        self.api = RuntimeApi(self.poll, lambda client, server: True)
        self.client = socket.create_connection(("127.0.0.1", self.api.listener.port))

    def send(self, *pieces, turns=50):
        """Sends them one by one, as a slow network would bring them; returns what came back meanwhile."""
        for piece in pieces:
            self.client.sendall(piece)
            self.turn()
        self.client.settimeout(0.05)
        received = b""
        for _ in range(turns):
            self.turn()
            with contextlib.suppress(TimeoutError, ConnectionError):
                data = self.client.recv(65536)
                received += data
                if data:
                    break
        return received.decode()

    def turn(self):
        for fd, event in self.poll.poll(5):
            self.api.handle(fd, event)

    def begin(self, payload=b"{}"):
        """Has an invocation handed out to a client that asks for it."""
        self.client.sendall(f"GET {PREFIX}invocation/next HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while not self.api.is_waiting:
            self.turn()
        self.api.offer(ID, {"Lambda-Runtime-Deadline-Ms": "5"}, payload)
        return self.client.recv(65536).decode()


@pytest.fixture
def attended():
    it = Attended()
    yield it
    it.client.close()
    it.api.close()


def head(operation, *headers, method="POST", version="1.1"):
    lines = [f"{method} {PREFIX}{operation} HTTP/{version}", "Host: x", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


RESPONSE = f"invocation/{ID}/response"


def test_an_event_is_handed_out_with_its_headers(attended):
    answer = attended.begin(b'{"n": 1}')
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert f"Lambda-Runtime-Aws-Request-Id: {ID}\r\nLambda-Runtime-Deadline-Ms: 5\r\n" in answer
    assert "Content-Length: 8\r\n" in answer
    assert answer.endswith('{"n": 1}')


def test_a_response_in_one_piece_is_taken(attended):
    attended.begin()
    assert attended.send(head(RESPONSE, "Content-Length: 4") + b"null").startswith("HTTP/1.1 202 Accepted\r\n")
    assert attended.api.answer == ("response", b"null", "application/json", False)


def test_a_response_byte_by_byte_is_taken(attended):
    attended.begin()
    attended.send(*(bytes([byte]) for byte in head(RESPONSE, "content-length:4") + b"null"))
    assert attended.api.answer.payload == b"null"


@pytest.mark.parametrize(
    "body",
    [b"4\r\nnull\r\n0\r\n\r\n", b"2\r\nnu\r\n002;x=y\r\nll\r\n0\r\n\r\n", b"4 \r\nnull\r\n0\r\nTrailer: x\r\n\r\n"],
)
def test_a_response_in_chunks_is_taken(attended, body):
    attended.begin()
    sent = head(RESPONSE, "Transfer-Encoding: chunked") + body
    assert attended.send(*(sent[at : at + 7] for at in range(0, len(sent), 7))).startswith("HTTP/1.1 202")
    assert attended.api.answer.payload == b"null"


def test_a_stream_that_ends_in_an_error_is_one(attended):
    attended.begin()
    error = base64.b64encode(b'{"errorType":"Mid"}').decode()
    trailers = f"Lambda-Runtime-Function-Error-Type: Mid\r\nLambda-Runtime-Function-Error-Body: {error}\r\n\r\n"
    body = f"2\r\nha\r\n0\r\n{trailers}"
    attended.send(head(RESPONSE, "Transfer-Encoding: chunked") + body.encode())
    assert attended.api.answer[:2] == ("error", b'{"errorType":"Mid"}')


def test_a_client_that_waits_to_continue_is_told_to(attended):
    attended.begin()
    assert "100 Continue" in attended.send(head(RESPONSE, "Content-Length: 4", "Expect: 100-continue"))
    attended.send(b"null")
    assert attended.api.answer.payload == b"null"


@pytest.mark.parametrize(
    "body",
    [
        head(RESPONSE, "Content-Length: 6291557"),
        head(RESPONSE, "Transfer-Encoding: chunked") + b"600065\r\n",
        head(RESPONSE, "Content-Length: 2000000000") + b"x" * 1000,
    ],
)
def test_a_response_over_the_limit_is_refused_before_it_is_read(attended, body):
    attended.begin()
    assert "413" in attended.send(body)
    assert attended.api.answer.too_large


@pytest.mark.parametrize(
    "held_back",
    [
        head(RESPONSE, "Content-Length: 6000000") + b"x" * 5_000_000,
        head(RESPONSE, "Transfer-Encoding: chunked") + b"4c4b40\r\n" + b"x" * 5_000_000,
    ],
)
def test_what_is_held_in_memory_has_an_end(attended, held_back):
    attended.begin()
    with ThreadPoolExecutor(2) as pool:
        clients = [socket.create_connection(("127.0.0.1", attended.api.listener.port)) for _ in range(2)]
        sent = pool.map(_send, clients, [held_back] * 2)
        cut, deadline = False, time.monotonic() + 30
        while not cut:
            before = len(attended.api._connections)
            attended.turn()
            cut = len(attended.api._connections) < before
            assert sum(connection.held for connection in attended.api._connections.values()) <= HELD
            assert time.monotonic() < deadline
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        list(sent)
        for client in clients:
            client.close()
    assert attended.send(head(RESPONSE, "Content-Length: 4") + b"null").startswith("HTTP/1.1 202")


def test_who_does_not_listen_is_not_listened_to_until_then(attended):
    questions = 20_000
    sender = threading.Thread(target=_send, args=[attended.client, head("nothing", method="GET") * questions])
    sender.start()
    for _ in range(200):
        attended.turn()
        assert sum(connection.held for connection in attended.api._connections.values()) < 3 * PIECE
    attended.client.settimeout(10)
    answers, rest = 0, b""
    while answers < questions:
        attended.turn()
        *whole, rest = (rest + attended.client.recv(PIECE)).split(b"}")
        answers += len(whole)
    sender.join(10)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
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
def test_nonsense_ends_its_connection_and_answers_nothing(attended, nonsense):
    attended.begin()
    sender = threading.Thread(target=_send, args=[attended.client, nonsense])
    sender.start()
    for _ in range(200):
        attended.turn()
    sender.join(10)
    assert attended.api.answer is None
    other = socket.create_connection(("127.0.0.1", attended.api.listener.port))
    attended.client.close()
    attended.client = other
    assert attended.send(head(RESPONSE, "Content-Length: 4") + b"null").startswith("HTTP/1.1 202")


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
def test_what_may_not_be_asked_gets_the_apis_error(attended, request_, status, error_type):
    attended.begin()
    answer = attended.send(request_)
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert json.loads(answer.partition("\r\n\r\n")[2])["errorType"] == error_type
    assert attended.api.answer is None


def test_a_second_answer_is_refused(attended):
    attended.begin()
    attended.send(head(RESPONSE, "Content-Length: 1") + b"1")
    assert attended.send(head(RESPONSE, "Content-Length: 1") + b"2").startswith("HTTP/1.1 400")
    assert attended.api.answer.payload == b"1"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("application/unknown", "application/unknown"),
        ("application/x-www-form-urlencoded", "application/json"),
        ("text/x\x7f", "application/json"),
        ("", "application/json"),
    ],
)
def test_a_content_type_that_is_none_is_not_passed_on(attended, given, kept):
    attended.begin()
    attended.send(head(RESPONSE, f"Content-Type: {given}", "Content-Length: 1") + b"1")
    assert attended.api.answer.content_type == kept


def test_strangers_are_turned_away():
    poll = select.poll()
    api = RuntimeApi(poll, lambda client, server: False)
    with socket.create_connection(("127.0.0.1", api.listener.port)) as client:
        client.settimeout(10)
        for fd, event in poll.poll(1000):
            api.handle(fd, event)
        with contextlib.suppress(ConnectionError):
            assert client.recv(1) == b""
    api.close()


def test_where_no_more_files_can_be_opened_a_client_waits_and_nobody_spins(attended):
    attended.begin()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(("127.0.0.1", attended.api.listener.port), timeout=10) as client:
        with contextlib.ExitStack() as stack:
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limit)
            spare = stack.enter_context(socket.socket())
            resource.setrlimit(resource.RLIMIT_NOFILE, (spare.fileno() + 1, limit[1]))
            attended.turn()
            assert attended.poll.poll(0) == []
            assert attended.api.listener.seconds_until_due() > 0
        time.sleep(attended.api.listener.seconds_until_due())
        attended.api.listener.resume_if_due()
        attended.turn()
        client.sendall(head("invocation/none", "Content-Length: 0"))
        attended.turn()
        assert client.recv(65536).startswith(b"HTTP/1.1 404")


def test_many_requests_in_one_piece_let_others_run(attended, monkeypatch):
    pauses = []
    monkeypatch.setattr(gil.time, "sleep", pauses.append)
    attended.begin()
    attended.send(head("invocation/none", "Content-Length: 0") * 300, turns=1)
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
def test_very_many_lines_are_no_request(attended, request_):
    attended.begin()
    assert attended.send(request_, turns=5) == ""
    assert attended.client.recv(1) == b""  # the connection is closed
    assert attended.api.answer is None


@pytest.mark.parametrize("beginning", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_heads_whose_bodies_never_come_count_as_memory(attended, beginning):
    big = head("init/error", beginning, "X: " + "x" * 1_900_000)
    clients = [socket.create_connection(("127.0.0.1", attended.api.listener.port)) for _ in range(6)]
    with contextlib.ExitStack() as stack:
        for client in clients:
            stack.callback(client.close)
            client.setblocking(False)
            rest = memoryview(big)
            while rest:
                attended.turn()
                with contextlib.suppress(BlockingIOError):
                    rest = rest[client.send(rest) :]
            for _ in range(50):
                attended.turn()
        held = sum(one.held for one in attended.api._connections.values())
        assert 1_900_000 < held <= HELD
        assert len(attended.api._connections) < len(clients)
