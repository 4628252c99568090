"""How answers leave a threaded gunicorn, seen from the socket."""

import json
import socket
import sys

import pytest

from serverfull_wsgi.wsgi.responses import in_one_packet
from tests.support.servers import gunicorn

GTHREAD = ("--worker-class", "gthread", "--threads", "4")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems hold nothing back")


def request(name):
    body = json.dumps({"name": name}).encode()
    head = f"POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body, body


@LINUX
def test_head_and_payload_come_in_one_piece_on_a_kept_connection(tmp_path):
    with gunicorn(tmp_path / "log", *GTHREAD) as server, socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.settimeout(30)
        for number in range(50):
            sent, payload = request(f"caller {number}")
            sock.sendall(sent)
            first = sock.recv(65_536)
            assert first.startswith(b"HTTP/1.1 200 OK\r\n")
            assert first.endswith(b"\r\n\r\n" + payload)


def test_a_socket_that_cannot_hold_back_passes_the_payload_on():
    one, other = socket.socketpair()  # no TCP
    with one, other:
        assert list(in_one_packet(one, b"payload")) == [b"payload"]
    assert list(in_one_packet(one, b"payload")) == [b"payload"]  # closed


@LINUX
def test_a_payload_that_nobody_takes_to_its_end_leaves_nothing_held_back():
    with socket.socket() as sock:
        iterable = in_one_packet(sock, b"payload")
        next(iterable)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
        del iterable
        assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
