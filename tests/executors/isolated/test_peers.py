"""Whose connection it is, by the kernel's answer and by the list of all sockets."""

import os
import socket
import subprocess
import sys

import pytest

from serverfull_wsgi.executors.isolated.runtime_api import peers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc and netlink are Linux's")


@pytest.fixture(params=["asked", "listed"])
def looked_up(request, monkeypatch):
    """Both ways to find a socket; the second where the kernel does not answer."""

    def refuse(port, server_port):
        raise OSError("no sock_diag here")

    if request.param == "listed":
        monkeypatch.setattr(peers, "_asked", refuse)


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")])
def test_a_connection_is_its_processs(looked_up, server, family, address):
    port = server.getsockname()[1]
    with socket.socket(family) as client, subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            client.connect((address, port))
        except OSError as error:
            pytest.skip(f"no such address here: {error}")
        mine = client.getsockname()[1]
        assert peers.connection_belongs_to(os.getpid(), 0, mine, port)
        assert not peers.connection_belongs_to(stranger.pid, 0, mine, port)
        assert not peers.connection_belongs_to(0, stranger.pid, mine, port)
        stranger.kill()


def test_a_descendant_counts_and_one_who_is_gone_does_not(looked_up, server):
    port = server.getsockname()[1]
    code = f"import socket, sys; it = socket.create_connection(('127.0.0.1', {port})); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        connection, (_, theirs) = server.accept()
        with connection:
            assert peers.connection_belongs_to(0, os.getpid(), theirs, port)
            child.stdin.close()
            child.wait()
            assert not peers.connection_belongs_to(child.pid, os.getpid(), theirs, port)
