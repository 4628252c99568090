"""APIs under real servers: the SAM project among the examples, and an application built in code."""

import http.client
import json
from contextlib import closing

import pytest

from tests.support.isolated import needs_client
from tests.support.servers import ROOT, Server, free_port

PROJECT = ROOT / "examples/sam_project"
COMMANDS = {
    "serve": ["-m", "serverfull_wsgi", "serve", "--api", "--bind", "127.0.0.1:{port}"],
    "gunicorn": ["-m", "gunicorn", "serverfull_wsgi.front:app", "--bind", "127.0.0.1:{port}"],
}
APP = """
import json, threading
from serverfull_wsgi import Application, Function, StaticFetcher
from serverfull_wsgi.front import Front, Route

def echo(event, context):
    return {"statusCode": 200, "body": json.dumps(event), "cookies": ["a=1", "b=2"]}

application = Application(StaticFetcher({"echo": echo}))
front = Front(application, [Route("ANY /echo/{proxy+}", "echo")])
"""
SERVERS = {
    "gthread": ["-m", "gunicorn", "site_:front", "--threads", "2", "--bind", "127.0.0.1:{port}"],
    "sync": ["-m", "gunicorn", "site_:front", "--bind", "127.0.0.1:{port}"],
    "gevent": ["-m", "gunicorn", "site_:front", "-k", "gevent", "--bind", "127.0.0.1:{port}"],
    "waitress": ["-m", "waitress", "--listen", "127.0.0.1:{port}", "site_:front"],
    "granian": ["-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}", "site_:front"],
}
NO_RAW_PATH = ("granian",)  # passes on the decoded path only


def call(port, method, path, body=None, headers=None):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read(), response.headers


@needs_client
@pytest.mark.parametrize("command", COMMANDS)
def test_the_sam_project_answers_under_the_url_of_its_route(command, tmp_path):
    pytest.importorskip("yaml")
    port = free_port()
    argv = [part.format(port=port) for part in COMMANDS[command]]
    server = Server(argv, tmp_path / "log", port=port, cwd=PROJECT, env={"SERVERFULL_DATA_DIR": str(tmp_path / "data")})
    try:
        server.wait()
        assert call(port, "GET", "/hello/Ada%20L")[:2] == (200, b"Hello Ada L!")
        assert call(port, "GET", "/nothing")[:2] == (404, b'{"message":"Not Found"}')
        assert call(port, "POST", "/2015-03-31/functions/hello/invocations", b"{}")[0] == 404
        assert call(port, "GET", "/healthcheck")[:2] == (200, b".")
    finally:
        assert server.stop() == 0
    if command == "serve":
        assert f"GET http://127.0.0.1:{port}/hello/{{name}}" in server.output()
        assert "/2015-03-31/functions/" not in server.output()  # those URLs are not served


@pytest.mark.parametrize("name", SERVERS)
def test_each_server_passes_on_what_the_event_needs(name, tmp_path):
    if name in ("gevent", "waitress", "granian"):
        pytest.importorskip(name)
    (tmp_path / "site_.py").write_text(APP)
    port = free_port()
    argv = [part.format(port=port) for part in SERVERS[name]]
    server = Server(argv, tmp_path / "log", port=port, cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    try:
        server.wait()
        headers = {"X-Many": "a", "Cookie": "c=1; d=2", "Content-Type": "text/plain"}
        status, body, answered = call(port, "POST", "/echo/a%2Fb?x=1&x=2&y=%20z", b"text", headers)
        event = json.loads(body)
        assert status == 200
        assert answered.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert (event["body"], event["cookies"], event["headers"]["x-many"]) == ("text", ["c=1", "d=2"], "a")
        assert (event["rawQueryString"], event["queryStringParameters"]) == ("x=1&x=2&y=%20z", {"x": "1,2", "y": " z"})
        assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
        assert event["pathParameters"] == {"proxy": "a/b"}
        double = json.loads(call(port, "GET", "/echo/a%252Fb")[1])["rawPath"]
        assert double == "/echo/a/b" or name in NO_RAW_PATH  # an HTTP API decodes twice
        status, body, answered = call(port, "HEAD", "/echo/x")
        assert (status, body) == (200, b"")
        assert int(answered["Content-Length"]) > 0
    finally:
        server.stop()
