"""granian as the HTTP server of gunicorn's workers, and the command granian."""

import http.client
import json
import socket
from contextlib import closing

import pytest

from tests.support.hosts import OverSocket
from tests.support.servers import Server, free_port, gunicorn, running, serverfull, serving
from tests.support.waiting import wait_until

WORKER = ("--worker-class", "serverfull_wsgi.workers.GranianWorker")
SITE = """
closed = []

class Pieces:
    def __init__(self):
        self.pieces = iter([b"one ", b"two ", b"three"])

    def __iter__(self):
        return self.pieces

    def close(self):
        closed.append("closed")

def late(start_response):
    start_response("201 Created", [("X-Started", "late")])
    yield b"late"

def application(environ, start_response):
    match environ["PATH_INFO"]:
        case "/late":
            return late(start_response)
        case "/raises":
            raise ValueError("of the application")
        case "/pieces":
            body = Pieces()
        case "/closed":
            body = ["".join(closed).encode()]
        case "/names":
            body = (" ".join([*environ, environ["SERVER_NAME"]]).encode(), b"")
        case _:
            body = [environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return body
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("granian")
    (folder / "site_.py").write_text(SITE)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    environ = {"REMOTE_USER": "root", "SECRET": "secret"}
    options = (*WORKER, "--threads", "2")
    with gunicorn(folder / "log", *options, application="site_:application", cwd=folder, env=environ) as server:
        yield server


@pytest.fixture
def host(server):
    return OverSocket(server)


def test_requests_have_none_of_the_processs_variables(host):
    *names, server_name = host.request("GET", "/names", headers={"Host": "example.com"}).body.decode().split(" ")
    assert not {"REMOTE_USER", "SECRET", "PATH"} & set(names)
    assert server_name == "127.0.0.1"  # as under gunicorn's own workers, not as the request names it


def test_a_body_may_have_several_pieces_and_is_closed(host):
    assert host.request("GET", "/pieces").body == b"one two three"
    assert host.request("GET", "/closed").body == b"closed"


def test_a_response_may_start_with_its_first_piece(host):
    response = host.request("GET", "/late")
    assert (response.status, response.headers["X-Started"], response.body) == (201, "late", b"late")


def test_an_exception_of_the_application_is_a_500_and_is_logged(host, server):
    assert host.request("GET", "/raises").status == 500
    wait_until(lambda: "ValueError: of the application" in server.output())


def test_a_client_that_does_not_send_its_body_leaves_other_threads_to_others(host, server):
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12")
        assert [host.request("POST", "/", b"body").body for _ in range(3)] == [b"body"] * 3
        slow.sendall(b"345")
        assert b"12345" in slow.recv(1000)


def test_serve_has_granian_as_its_server_and_lists_the_functions(tmp_path):
    with serving(
        tmp_path / "log", "--server", "granian", SERVERFULL_FUNCTIONS="hello=tests.support.handlers.hello"
    ) as it:
        response = OverSocket(it).request("POST", "/2015-03-31/functions/hello/invocations")
        assert (response.status, response.headers["Server"]) == (200, "granian")
        assert f"POST http://127.0.0.1:{it.port}/2015-03-31/functions/hello/invocations" in it.output()


def test_a_worker_leaves_nothing_open_that_the_end_of_the_interpreter_would_report(folder):
    with gunicorn(folder / "ended", *WORKER, application="site_:application", cwd=folder) as server:
        server.stop()
        assert "event loop" not in server.output()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--access-logfile", "-"],
            "granian does not support these options of gunicorn: --access-logfile; remove them",
        ),
        (["--max-requests", "9", "--keep-alive", "9"], "--max-requests, --keep-alive; remove them"),
        (["--threads", "0"], "granian needs --threads of 1 or more"),
        (["--certfile", "site_.py", "--keyfile", "site_.py"], "not a certificate and its key: "),
    ],
)
def test_options_that_granian_does_not_have_end_the_server(options, message, folder):
    with pytest.raises(RuntimeError, match="the server exited with") as caught:
        with gunicorn(folder / "refused", *WORKER, *options, application="site_:application", cwd=folder):
            pass
    assert message in str(caught.value)


def test_a_server_and_a_worker_class_exclude_each_other():
    result = serverfull("serve", "--server", "granian", "-k", "sync")
    assert result.returncode == 1
    assert "--server granian has a worker class of its own; remove --worker-class or --server" in result.stderr


# The command granian


@pytest.fixture(scope="module")
def alone(folder):
    port = free_port()
    argv = [
        "-m",
        "granian",
        "--interface",
        "wsgi",
        "--port",
        str(port),
        "--blocking-threads",
        "2",
        "serverfull_wsgi:app",
    ]
    environ = {
        "SERVERFULL_FUNCTIONS": "hello=tests.support.handlers.hello, echo=tests.support.handlers.echo",
        "SERVERFULL_ROUTES": "$default=echo",
        "SERVERFULL_FRONT": "paths",
        "REMOTE_USER": "root",
        "HTTP_PROXY": "http://user:secret@proxy.example",
    }
    with running(Server(argv, folder / "alone", port=port, env=environ)) as server:
        yield server


def test_the_command_granian_is_warned_of(alone):
    assert alone.output().count("[WARNING] the command granian has no hook for the end of a worker") == 1


def test_a_variable_of_the_process_authenticates_no_caller(alone):
    headers = {"Origin": "https://page.example", "Host": f"127.0.0.1:{alone.port}"}
    with closing(http.client.HTTPConnection("127.0.0.1", alone.port, timeout=30)) as connection:
        connection.request("POST", "/2015-03-31/functions/hello/invocations", b"", headers)
        assert connection.getresponse().status == 403


def test_no_event_has_a_variable_of_the_process(alone):
    response = OverSocket(alone).request("GET", "/_aws/execute-api/routes/$default/pets", headers={"X-Sent": "yes"})
    headers = json.loads(response.body)["headers"]
    assert headers["x-sent"] == "yes"
    assert "proxy" not in headers
