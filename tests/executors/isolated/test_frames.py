"""The Runtime API over frames, with correct, faulty and hostile runtimes."""

import contextlib
import json
import select
import socket
import struct
import threading
import time

import pytest

from serverfull_wsgi.executors.function_errors import RESPONSE_LIMIT
from serverfull_wsgi.executors.isolated.runtime_api.frames import HEAD_LIMIT, LARGE_RECEIVE_SIZE, PREFIX, encode
from serverfull_wsgi.executors.isolated.runtime_api.server import BUFFER_LIMIT, RuntimeApi
from tests.support.waiting import wait_until

ID = "8f507cfc-2a0a-4f19-9a8f-1d0f0c5a9e3b"
NEXT = encode(b"N")
RESPONSE = encode(b"R", f"{ID}\napplication/json", b"null")


class Runtime:
    """A runtime with one end of the socket pair, and the Runtime API with the other; both in one thread."""

    def __init__(self):
        self.poll = select.poll()
        self.api = RuntimeApi(self.poll, lambda client, server: True, has_frames=True)
        with self.api.frames.runtime_end as end:
            self.client = end.dup()
        self.client.settimeout(60)

    def send(self, *pieces):
        for piece in pieces:
            self.client.sendall(piece)
            self.poll_once()

    def poll_once(self):
        for fd, event in self.poll.poll(5):
            self.api.handle(fd, event)

    def poll_until_answered(self):
        """Poll until the API has an answer. Return the most memory that its connections have held, in bytes."""
        held, deadline = 0, time.monotonic() + 60
        while not self.api.answer:
            assert time.monotonic() < deadline
            self.poll_once()
            held = max(held, self.api.buffered_bytes)
        return held

    def start_invocation(self, payload=b"{}"):
        """Request the next event, and offer one."""
        self.send(NEXT)
        self.api.offer(ID, {"Lambda-Runtime-Deadline-Ms": "5"}, payload)

    def receive(self):
        """Return the kind, head and body of the next frame from the server."""
        kind, head_size, body_size = PREFIX.unpack(self._exactly(PREFIX.size))
        return kind, json.loads(self._exactly(head_size)), self._exactly(body_size)

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            self.poll_once()
            data += self.client.recv(size - len(data))
        return data

    def request(self, method, operation):
        """Return the status of a request over HTTP, or None if there is no response."""
        with socket.create_connection(("127.0.0.1", self.api.listener.port)) as http:
            head = f"{method} /2018-06-01/runtime/{operation} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            http.sendall(head.encode())
            http.settimeout(0.05)
            for _ in range(20):
                self.poll_once()
                with contextlib.suppress(TimeoutError):
                    return http.recv(65536).split()[1].decode()
        return None


@pytest.fixture
def runtime():
    runtime = Runtime()
    yield runtime
    runtime.client.close()
    runtime.api.close()


def test_an_event_has_the_headers_of_http(runtime):
    runtime.start_invocation(b'{"n": 1}')
    kind, head, payload = runtime.receive()
    headers = {"Lambda-Runtime-Aws-Request-Id": ID, "Lambda-Runtime-Deadline-Ms": "5"}
    assert (kind, head, payload) == (b"E", {"Content-Type": "application/json", **headers}, b'{"n": 1}')


def test_a_response_is_accepted_without_an_answer(runtime):
    runtime.start_invocation()
    runtime.receive()
    runtime.send(RESPONSE)
    assert runtime.api.withdraw() == ("response", b"null", "application/json", False)
    runtime.start_invocation(b"2")
    assert runtime.receive()[2] == b"2"


def test_a_response_byte_by_byte_is_accepted(runtime):
    runtime.start_invocation()
    runtime.send(*(bytes([byte]) for byte in RESPONSE))
    assert runtime.api.answer.payload == b"null"


def test_a_response_and_the_request_for_the_next_event_may_arrive_together(runtime):
    runtime.start_invocation()
    runtime.send(RESPONSE + NEXT)
    assert (runtime.api.withdraw().payload, runtime.api.is_waiting) == (b"null", True)


@pytest.mark.parametrize(("sent", "seen"), [("text/plain", "text/plain"), ("a\nb", "application/json")])
def test_a_content_type_is_kept_if_it_is_valid(runtime, sent, seen):
    runtime.start_invocation()
    runtime.send(encode(b"R", f"{ID}\n{sent}", b"x"))
    assert runtime.api.answer.content_type == seen


def test_an_error_of_the_handler_and_one_of_the_start_are_told_apart(runtime):
    runtime.send(encode(b"I", "", b'{"errorType": "Init"}'))
    assert runtime.api.answer[:2] == ("init", b'{"errorType": "Init"}')
    runtime.api.withdraw()
    runtime.start_invocation()
    runtime.send(encode(b"X", ID, b"{}"))
    assert runtime.api.answer[:2] == ("error", b"{}")


def test_a_response_over_the_limit_is_refused_without_reading_it(runtime):
    runtime.start_invocation()
    runtime.receive()
    head = ID.encode()
    runtime.send(PREFIX.pack(b"R", len(head), 2_000_000_000) + head + b"x" * 1000)
    assert runtime.receive()[1]["errorType"] == "RequestEntityTooLarge"
    assert runtime.api.answer.too_large
    assert runtime.api.frames is None


def test_a_response_of_the_largest_size_is_accepted_within_bounded_memory(runtime):
    runtime.start_invocation()
    response = encode(b"R", ID, b"x" * RESPONSE_LIMIT)
    sender = threading.Thread(target=runtime.client.sendall, args=[response])
    sender.start()
    assert runtime.poll_until_answered() <= RESPONSE_LIMIT + HEAD_LIMIT + PREFIX.size + LARGE_RECEIVE_SIZE
    sender.join()
    assert len(runtime.api.answer.payload) == RESPONSE_LIMIT


def test_a_large_response_has_precedence_over_what_other_clients_hold_in_memory(runtime):
    runtime.start_invocation()
    with socket.create_connection(("127.0.0.1", runtime.api.listener.port)) as other:
        head = f"POST /2018-06-01/runtime/invocation/{ID}/response HTTP/1.1\r\nContent-Length: {RESPONSE_LIMIT}\r\n\r\n"
        flood = threading.Thread(target=send_all, args=[other, head.encode() + b"x" * (RESPONSE_LIMIT - 1)])
        flood.start()
        wait_until(lambda: runtime.poll_once() or runtime.api.buffered_bytes >= RESPONSE_LIMIT - 1)
        sender = threading.Thread(target=send_all, args=[runtime.client, encode(b"R", ID, b"y" * RESPONSE_LIMIT)])
        sender.start()
        assert runtime.poll_until_answered() <= BUFFER_LIMIT
        flood.join()
        sender.join()
    assert runtime.api.answer.payload == b"y" * RESPONSE_LIMIT
    assert runtime.api.connection_count == 0


def send_all(sock, data):
    with contextlib.suppress(ConnectionError):
        sock.sendall(data)


def test_a_large_event_arrives_although_the_socket_holds_less(runtime):
    runtime.start_invocation(b"x" * 3_000_000)
    assert len(runtime.receive()[2]) == 3_000_000
    runtime.send(RESPONSE)
    assert runtime.api.answer.payload == b"null"


@pytest.mark.parametrize(
    "malformed",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">cII", b"?", 0, 0),
        struct.pack(">cII", b"R", HEAD_LIMIT + 1, 0),
        struct.pack(">cII", b"E", 0, 0),
        struct.pack(">cII", b"R", 2, 0) + b"\xff\xfe",
        RESPONSE + NEXT + NEXT,
    ],
    ids=["HTTP", "kind", "head", "from server", "no text", "twice"],
)
def test_bytes_that_are_no_frame_end_the_connection(runtime, malformed):
    runtime.start_invocation()
    runtime.send(malformed)
    assert (runtime.api.frames, runtime.api.is_broken, runtime.api.is_waiting) == (None, True, False)


@pytest.mark.parametrize(
    ("frame", "error_type"),
    [
        (encode(b"R", "other", b"1"), "InvalidRequestID"),
        (encode(b"X", "", b"1"), "InvalidRequestID"),
        (NEXT, "InvalidStateTransition"),
        (encode(b"I", "", b"{}"), "InvalidStateTransition"),
    ],
    ids=["response", "error", "next", "init error"],
)
def test_a_frame_at_the_wrong_time_is_refused(runtime, frame, error_type):
    runtime.start_invocation()
    runtime.receive()
    runtime.send(frame)
    assert runtime.receive()[1]["errorType"] == error_type
    assert (runtime.api.answer, runtime.api.frames, runtime.api.is_broken) == (None, None, False)


def test_a_runtime_that_ends_before_it_reads_its_event_has_lost_it(runtime):
    runtime.start_invocation()
    runtime.client.close()
    runtime.poll_once()
    assert runtime.api.is_event_lost


def test_a_runtime_that_ends_after_it_has_read_its_event_has_not_lost_it(runtime):
    runtime.start_invocation()
    runtime.receive()
    runtime.client.close()
    runtime.poll_once()
    assert not runtime.api.is_event_lost


def test_a_runtime_that_ended_while_it_waited_gets_no_event(runtime):
    runtime.send(NEXT)
    runtime.client.close()
    runtime.api.offer(ID, {}, b"{}")
    assert runtime.api.is_event_lost


def test_no_client_over_http_takes_an_event_of_the_runtime(runtime):
    runtime.send(NEXT)
    assert runtime.request("GET", "invocation/next") == "403"
    runtime.api.offer(ID, {}, b"{}")
    assert runtime.receive()[1]["Lambda-Runtime-Aws-Request-Id"] == ID


def test_a_client_over_http_may_answer_in_place_of_the_runtime(runtime):
    runtime.start_invocation()
    runtime.receive()
    assert runtime.request("POST", f"invocation/{ID}/response") == "202"
    runtime.send(RESPONSE)
    assert runtime.receive()[1]["status"] == "400"


def test_the_runtime_may_go_on_over_http_when_the_descriptor_is_closed(runtime):
    runtime.start_invocation()
    runtime.receive()
    runtime.client.close()
    runtime.poll_once()
    assert runtime.request("POST", f"invocation/{ID}/response") == "202"
    runtime.api.withdraw()
    assert runtime.request("GET", "invocation/next") is None
    assert runtime.api.has_started
