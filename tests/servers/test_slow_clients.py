"""Clients that send or read slowly, or not at all, beside ordinary callers."""

import contextlib
import http.client
import json
import resource
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serverfull_wsgi import ConfigurationError, Settings
from tests.support.servers import gunicorn, serving
from tests.support.waiting import wait_until

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc and TCP_INFO are Linux's")
PATH = "/2015-03-31/functions/{}/invocations"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n"
SHORT = {"SERVERFULL_CLIENT_TIMEOUT": "1"}
LONG = {"SERVERFULL_CLIENT_TIMEOUT": "600"}
FUNCTIONS = {
    "SERVERFULL_FUNCTIONS": ",".join(
        f"{name}=tests.support.handlers.{name}" for name in ("hello", "echo", "large", "wait_for_file")
    )
}
HOOKS = "from serverfull_wsgi.hooks import post_worker_init, worker_exit\n"


def our_class(name):
    return ("--worker-class", f"serverfull_wsgi.workers.{name}")


def by_gunicorn(*options):
    def serve(tmp_path, **environ):
        (tmp_path / "hooks.py").write_text(HOOKS)
        application = "serverfull_wsgi:app"
        return gunicorn(tmp_path / "log", *options, application=application, env={**FUNCTIONS, **environ}, cwd=tmp_path)

    return serve


THREADED = {
    "serve": lambda tmp_path, **environ: serving(tmp_path / "log", **FUNCTIONS, **environ),
    "serve, 2 threads": lambda tmp_path, **environ: serving(tmp_path / "log", "--threads", "2", **FUNCTIONS, **environ),
    "gunicorn": by_gunicorn("--threads", "2"),
    "hooks": by_gunicorn("--threads", "2", "-c", "hooks.py"),
    "hooks and preload": by_gunicorn("--threads", "2", "-c", "hooks.py", "--preload"),
    "class": by_gunicorn(*our_class("ThreadWorker"), "--threads", "2"),
}
SYNC = {
    "sync": by_gunicorn(),
    "sync with hooks": by_gunicorn("-c", "hooks.py"),
    "sync class": by_gunicorn(*our_class("SyncWorker")),
    "sync by serve": lambda tmp_path, **environ: serving(
        tmp_path / "log", "--worker-class", "sync", **FUNCTIONS, **environ
    ),
}
HOW = {**THREADED, **SYNC}
ONE_OF_EACH = ["serve", "sync class"]  # each way of serving has a worker of one of these two classes


def connect(server, receive_buffer=0):
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(60)
    sock.connect(("127.0.0.1", server.port))
    return sock


def response(sock):
    it = http.client.HTTPResponse(sock)
    it.begin()
    return it.status, dict(it.getheaders()), it.read()


HELLO = PATH.format("hello")


def call(server, method="POST", path=HELLO, body=b"{}"):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request(method, path, body if method == "POST" else None)
        answer = connection.getresponse()
        return answer.status, answer.read()


SLOW = {
    "nothing": b"",
    "half a head": HEAD.format("hello").encode(),
    "no body": HEAD.format("hello").encode() + b"Content-Length: 100\r\n\r\n",
    "half a body": HEAD.format("hello").encode() + b"Content-Length: 100\r\n\r\n[",
    "half a chunk": HEAD.format("hello").encode() + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[",
    "no last chunk": HEAD.format("hello").encode() + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "a body over the limit": HEAD.format("hello").encode() + b"Content-Length: 99999999\r\n\r\n[",
    "an unanswered 100-continue": HEAD.format("hello").encode() + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
}
TOO_SLOW = SLOW.keys() - {"nothing", "an unanswered 100-continue"}


@pytest.mark.parametrize("how", THREADED)
def test_slow_clients_delay_no_caller(how, tmp_path):
    with THREADED[how](tmp_path, **LONG) as server, contextlib.ExitStack() as clients:
        for number in range(80):
            sock = clients.enter_context(connect(server, 4096))
            sock.sendall(list(SLOW.values())[number % len(SLOW)])
        for _ in range(5):  # answers that are not read: over twice the number of threads
            sock = clients.enter_context(connect(server, 4096))
            sock.sendall(HEAD.format("large").encode() + b"Content-Length: 7\r\n\r\n6000000")
        assert [call(server)[0] for _ in range(10)] == [200] * 10
        assert call(server, "GET", "/healthcheck") == (200, b".")


@pytest.mark.parametrize("how", HOW)
def test_a_request_that_is_not_sent_in_time_is_a_408(how, tmp_path):
    with HOW[how](tmp_path, **SHORT) as server, contextlib.ExitStack() as clients:
        slow = [clients.enter_context(connect(server)) for _ in TOO_SLOW]
        for sock, name in zip(slow, TOO_SLOW, strict=True):
            sock.sendall(SLOW[name])
        for sock in slow:
            status, headers, body = response(sock)
            assert status == 408
            assert (headers["x-amzn-ErrorType"], headers["Connection"]) == ("RequestTimeoutException", "close")
            assert "within 1 s" in json.loads(body)["message"]
            assert sock.recv(1) == b""
            sock.close()
            assert f"RequestTimeoutException: {json.loads(body)['message']}" in server.output()
            assert headers["x-amzn-RequestId"] in server.output()
        assert call(server)[0] == 200


@pytest.mark.parametrize("how", ONE_OF_EACH)
def test_a_client_that_sends_nothing_is_disconnected(how, tmp_path):
    with HOW[how](tmp_path, **SHORT) as server, connect(server) as sock:
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""
        assert "Traceback" not in server.output()


@pytest.mark.parametrize("how", ONE_OF_EACH)
def test_a_client_that_sends_a_byte_at_a_time_is_disconnected(how, tmp_path):
    with HOW[how](tmp_path, **SHORT) as server, connect(server) as sock:
        sock.sendall(HEAD.format("hello").encode())
        sock.settimeout(0.1)

        def is_answered():
            sock.sendall(b"X")
            with contextlib.suppress(TimeoutError):
                return sock.recv(12)

        assert wait_until(is_answered) == b"HTTP/1.1 408"


@LINUX
@pytest.mark.parametrize("how", ONE_OF_EACH)
def test_a_client_that_does_not_read_is_disconnected(how, tmp_path):
    with HOW[how](tmp_path, **SHORT) as server, connect(server, 4096) as sock:
        sock.sendall(HEAD.format("large").encode() + b"Content-Length: 7\r\n\r\n6000000")
        assert sock.recv(12) == b"HTTP/1.1 200"
        poll_hangup(sock)
        assert call(server)[0] == 200
        assert "Traceback" not in server.output()


def poll_hangup(sock):
    """Wait until the server has disconnected the client, without reading."""
    wait_until(lambda: sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 1)  # 1: established


@pytest.mark.parametrize("how", ONE_OF_EACH)
def test_a_client_that_reads_slowly_gets_its_whole_answer(how, tmp_path):
    with HOW[how](tmp_path, SERVERFULL_CLIENT_TIMEOUT="4") as server, connect(server, 65_536) as sock:
        sock.sendall(HEAD.format("large").encode() + b"Content-Length: 7\r\n\r\n6000000")
        received, started = bytearray(), time.monotonic()
        while len(received) < 6_000_000 and (piece := sock.recv(20_000)):
            received += piece
            time.sleep(0.02)  # slower than the server, and faster than its limit
        assert len(received) > 6_000_000
        assert time.monotonic() - started > 4  # longer than the time for one piece


@pytest.mark.parametrize("how", ONE_OF_EACH)
def test_a_body_that_comes_in_pieces_is_read_for_longer_than_the_timeout(how, tmp_path):
    body = b'"' + b"x" * 2_000_000 + b'"'
    with HOW[how](tmp_path, **SHORT) as server, connect(server) as sock:
        sock.sendall(HEAD.format("echo").encode() + f"Content-Length: {len(body)}\r\n\r\n".encode())
        for start in range(0, len(body), 100_000):
            sock.sendall(body[start : start + 100_000])
            time.sleep(0.1)
        assert response(sock)[::2] == (200, body)


@pytest.mark.parametrize("how", THREADED)
def test_the_health_check_answers_while_all_threads_run_handlers(how, tmp_path):
    threads = 64 if how == "serve" else 2
    release = tmp_path / "release"
    with THREADED[how](tmp_path) as server, ThreadPoolExecutor(threads) as pool:
        calls = [
            pool.submit(call, server, "POST", PATH.format("wait_for_file"), json.dumps(f"{release} {n}").encode())
            for n in range(threads)
        ]
        wait_until(lambda: len(list(tmp_path.glob("release.*"))) == threads)
        try:
            assert call(server, "GET", "/healthcheck") == (200, b".")
            assert call(server, "HEAD", "/healthcheck?x=1") == (200, b"")
        finally:
            release.touch()
        assert [it.result()[0] for it in calls] == [200] * threads


def test_the_health_check_has_the_path_of_the_setting(tmp_path):
    release = tmp_path / "release"
    with ThreadPoolExecutor(1) as pool:
        environ = {**FUNCTIONS, "SERVERFULL_HEALTHCHECK": "/alive"}
        with gunicorn(
            tmp_path / "log",
            "--threads",
            "1",
            *our_class("ThreadWorker"),
            application="serverfull_wsgi:app",
            env=environ,
        ) as server:
            held = pool.submit(call, server, "POST", PATH.format("wait_for_file"), json.dumps(f"{release} 0").encode())
            wait_until(lambda: list(tmp_path.glob("release.*")))
            try:
                assert call(server, "GET", "/alive") == (200, b".")
            finally:
                release.touch()
            assert held.result()[0] == 200


def test_an_idle_client_makes_room_for_the_next_one(tmp_path):
    options = ("--threads", "2", "--worker-connections", "20")
    with THREADED["serve"](tmp_path, **LONG, GUNICORN_CMD_ARGS=" ".join(options)) as server:
        with contextlib.ExitStack() as clients:
            for _ in range(60):
                clients.enter_context(connect(server))
            assert [call(server)[0] for _ in range(5)] == [200] * 5


def test_a_stop_is_not_delayed_by_silent_clients(tmp_path):
    with THREADED["serve"](tmp_path, **LONG) as server, connect(server):
        call(server)
        started = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - started < 25  # gunicorn's graceful timeout is 30


# HTTP/1.1, as before


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with THREADED["serve"](tmp_path_factory.mktemp("serve"), **LONG) as server:
        yield server


class TestProtocol:
    def test_pipelined_requests_are_answered_in_order(self, server):
        with connect(server) as sock:
            bodies = [json.dumps(number).encode() for number in range(30)]
            head = HEAD.format("echo") + "Content-Length: {}\r\n\r\n"
            sock.sendall(b"".join(head.format(len(body)).encode() + body for body in bodies))
            received = b""
            while received.count(b"HTTP/1.1 200") < 30 or not received.endswith(b"\r\n\r\n29"):
                received += sock.recv(65_536)
            assert [part.rpartition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200")[1:]] == bodies

    def test_a_client_that_sends_its_request_byte_by_byte_is_answered(self, server):
        request = HEAD.format("echo").encode() + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        with connect(server) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(2):
                for number in range(len(request)):
                    sock.sendall(request[number : number + 1])
                assert response(sock)[::2] == (200, b"{}")

    def test_a_client_that_waits_for_continue_is_answered(self, server):
        with connect(server) as sock:
            sock.sendall(HEAD.format("echo").encode() + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert sock.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"{}")
            assert response(sock)[::2] == (200, b"{}")

    @pytest.mark.parametrize("size", [6_291_456 - 2, 6_291_456, 20_000_000])
    def test_a_body_of_any_size_is_answered(self, server, size):
        status, _ = call(server, body=b'"' + b"x" * size + b'"')
        assert status == (200 if size + 2 <= 6_291_456 else 413)
        assert call(server)[0] == 200

    def test_a_half_closed_connection_is_answered(self, server):
        with connect(server) as sock:
            sock.sendall(HEAD.format("hello").encode() + b"Content-Length: 2\r\n\r\n{}")
            sock.shutdown(socket.SHUT_WR)
            assert response(sock)[0] == 200

    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (b"nonsense\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nX: " + b"x" * 11_000 + b"\r\n\r\n", 431),
            (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
            (HEAD.format("hello").encode() + b"Content-Length: x\r\n\r\n", 400),
            (HEAD.format("hello").encode() + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
            (HEAD.format("hello").encode() + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ],
    )
    def test_a_malformed_request_is_refused_at_once(self, server, request_, status):
        with connect(server) as sock:
            sock.sendall(request_)
            assert response(sock)[0] == status


@pytest.mark.parametrize("how", ONE_OF_EACH)
@pytest.mark.parametrize("line", [f"{'x' * 4000}", f"X{'(' * 3000}: 1"], ids=["request line", "header"])
def test_a_malformed_request_adds_little_to_the_log(how, line, tmp_path):
    with HOW[how](tmp_path) as server, connect(server) as sock:
        before = len(server.output())
        head = f"{line}\r\n\r\n" if "(" not in line else f"{HEAD.format('hello')}{line}\r\n\r\n"
        sock.sendall(head.encode())
        assert response(sock)[0] == 400
        wait_until(lambda: "Invalid request" in server.output())
        assert len(server.output()) - before < 500


@LINUX
def test_a_worker_without_descriptors_drops_idle_clients(tmp_path):
    with THREADED["serve"](tmp_path, **LONG) as server, contextlib.ExitStack() as clients:
        (worker,) = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        resource.prlimit(int(worker), resource.RLIMIT_NOFILE, (60, 60))
        for _ in range(200):
            clients.enter_context(connect(server))
        assert [call(server)[0] for _ in range(5)] == [200] * 5


def test_a_streaming_application_sends_each_piece_at_once(tmp_path):
    application = "tests.support.streaming:application"
    with gunicorn(tmp_path / "log", *our_class("ThreadWorker"), "--threads", "2", application=application) as server:
        with connect(server, 4096) as sock:
            sock.sendall(b"GET /steps HTTP/1.0\r\n\r\n")
            with sock.makefile("rb") as answer:
                while answer.readline().strip():
                    pass
                for number in range(3):  # the application waits for this call after each piece
                    assert len(answer.read(8_000_000)) == 8_000_000
                    assert call(server, "GET", f"/next?{number}")[0] == 200
                assert answer.read() == b""


def test_an_upload_longer_than_the_memory_limit_reaches_the_application(tmp_path):
    application = "tests.support.streaming:application"
    with gunicorn(tmp_path / "log", *our_class("ThreadWorker"), "--threads", "2", application=application) as server:
        assert call(server, "POST", "/count", b"x" * 40_000_000) == (200, b"40000000")


@pytest.mark.quick
def test_the_setting_is_a_number_of_seconds():
    assert Settings.from_mapping(SHORT).client_timeout == 1.0
    assert Settings().client_timeout == 15.0
    with pytest.raises(ConfigurationError):
        Settings.from_mapping({"SERVERFULL_CLIENT_TIMEOUT": "0"})
