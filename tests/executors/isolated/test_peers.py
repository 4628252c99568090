"""The owner of a TCP connection, found by the kernel's answer and by the list of all sockets."""

import os
import socket
import subprocess
import sys

import pytest

from serverfull_wsgi.executors.isolated.runtime_api import peers
from serverfull_wsgi.executors.isolated.runtime_api.peers import connection_belongs_to

pytestmark = [pytest.mark.quick, pytest.mark.skipif(sys.platform != "linux", reason="/proc and netlink are Linux's")]


@pytest.fixture(params=["query", "list"])
def lookup(request, monkeypatch):
    """Run the test with each way to find a socket; the second serves kernels without sock_diag."""

    def fail(port, server_port):
        raise OSError("no sock_diag here")

    if request.param == "list":
        monkeypatch.setattr(peers, "_query_inode", fail)


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")])
def test_a_connection_belongs_to_the_process_that_opened_it(lookup, server, family, address):
    port = server.getsockname()[1]
    with socket.socket(family) as client, subprocess.Popen(["sleep", "60"]) as other:
        try:
            client.connect((address, port))
        except OSError as error:
            pytest.skip(f"no such address here: {error}")
        client_port = client.getsockname()[1]
        assert connection_belongs_to(os.getpid(), 0, client_port, port)
        assert not connection_belongs_to(other.pid, 0, client_port, port)
        assert not connection_belongs_to(0, other.pid, client_port, port)
        other.kill()


def test_a_connection_belongs_to_the_ancestors_of_its_process_until_that_ends(lookup, server):
    port = server.getsockname()[1]
    code = f"import socket, sys; client = socket.create_connection(('127.0.0.1', {port})); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        connection, (_, client_port) = server.accept()
        with connection:
            assert connection_belongs_to(0, os.getpid(), client_port, port)
            child.stdin.close()
            child.wait()
            assert not connection_belongs_to(child.pid, os.getpid(), client_port, port)
