"""TCP packets of a response from gunicorn with threads."""

import json
import socket
import sys

import pytest

from serverfull_wsgi.wsgi.responses import in_one_packet
from tests.support.servers import gunicorn

pytestmark = pytest.mark.quick

GTHREAD = ("--worker-class", "gthread", "--threads", "4")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="TCP_CORK is an option of Linux")


def request(name):
    body = json.dumps({"name": name}).encode()
    lines = ["POST /2015-03-31/functions/echo/invocations HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body, body


@LINUX
def test_head_and_payload_arrive_in_one_packet_on_a_kept_connection(tmp_path):
    with gunicorn(tmp_path / "log", *GTHREAD) as server, socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.settimeout(30)
        for number in range(50):
            sent, payload = request(f"caller {number}")
            sock.sendall(sent)
            first = sock.recv(65_536)
            assert first.startswith(b"HTTP/1.1 200 OK\r\n")
            assert first.endswith(b"\r\n\r\n" + payload)


def test_a_socket_without_tcp_cork_sends_the_payload():
    one, other = socket.socketpair()  # Unix sockets, which have no TCP_CORK
    with one, other:
        assert list(in_one_packet(one, b"payload")) == [b"payload"]
    assert list(in_one_packet(one, b"payload")) == [b"payload"]  # closed


@LINUX
def test_an_abandoned_response_uncorks_its_socket():
    with socket.socket() as sock:
        iterable = in_one_packet(sock, b"payload")
        next(iterable)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
        del iterable
        assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
