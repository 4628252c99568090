"""nginx in front of a server, with the configuration in the folder deploy."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.gateway_site import PNG
from tests.support.servers import ROOT, free_port, serving

pytestmark = pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")

ARN = "arn:aws:lambda:us-east-1:123456789012:function:"
HEAD = "POST /2015-03-31/functions/{}/invocations HTTP/1.1\r\nHost: localhost\r\n"
MAIN = """
daemon off; {user} pid {folder}/pid; error_log stderr; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies; proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/1; uwsgi_temp_path {folder}/2; scgi_temp_path {folder}/3;
    include {folder}/serverfull.conf;
}}
"""


@contextlib.contextmanager
def nginx(folder, server):
    """Run nginx in front of a server, and return nginx's port."""
    folder.mkdir()
    port = free_port()
    text = (ROOT / "deploy/nginx.conf").read_text()
    for line, here in (
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{server.port};"),
        ("listen 80;", f"listen {port};"),
    ):
        assert line in text
        text = text.replace(line, here)
    (folder / "serverfull.conf").write_text(text)
    user = "" if os.geteuid() else "user root;"  # the folder is readable for this user only
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
    argv = ["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    with open(folder / "log", "wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            for _ in range(500):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys"
    path.touch(0o600)
    path.write_text("[ada]\naws_access_key_id = AKIDADA\naws_secret_access_key = a-long-random-secret\n")
    return path


def client(port, **options):
    return boto3.client(
        "lambda",
        endpoint_url=f"http://localhost:{port}",
        region_name="us-east-1",
        aws_access_key_id="AKIDADA",
        aws_secret_access_key="a-long-random-secret",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30, **options),
    )


def test_signed_calls_by_arn_with_the_largest_payloads_pass(keys, tmp_path):
    functions = "echo=tests.support.handlers.echo,large=tests.support.handlers.large"
    environ = {"SERVERFULL_FUNCTIONS": functions, "SERVERFULL_CREDENTIALS_FILE": str(keys)}
    with serving(tmp_path / "log", **environ) as server, nginx(tmp_path / "nginx", server) as port:
        lambda_ = client(port)
        event = json.dumps("x" * (6_291_456 - 2)).encode()
        assert lambda_.invoke(FunctionName=ARN + "echo", Payload=event)["Payload"].read() == event
        answer = lambda_.invoke(FunctionName="large", Payload=b"6291556")["Payload"].read()
        assert len(answer) == 6_291_556
        with pytest.raises(ClientError) as refused:
            lambda_.invoke(FunctionName="echo", Payload=event + b" ")
        assert refused.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
        with pytest.raises(ClientError) as refused:
            lambda_.invoke(FunctionName="nobody")
        assert (
            refused.value.response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-errortype"] == "ResourceNotFoundException"
        )


# APIs and function URLs


APIS = {
    "SERVERFULL_FUNCTIONS": "web=tests.support.gateway_site.web,show=tests.support.gateway_site.show",
    "SERVERFULL_ROUTES": "ANY /show/{proxy+}=show, $default=web",
    "SERVERFULL_FRONT": "hosts,paths",
    "SERVERFULL_TRUSTED_PROXIES": "127.0.0.1",
}
PLACES = {  # the Host of a request, and the beginning of its path
    "host": ("routes.execute-api.example.com", ""),
    "path": ("lambda.example.com", "/_aws/execute-api/routes/$default"),
}


@pytest.fixture(scope="module")
def apis(tmp_path_factory):
    """Return the port of nginx in front of an API."""
    folder = tmp_path_factory.mktemp("apis")
    with serving(folder / "log", "--worker-class", "sync", **APIS) as server, nginx(folder / "nginx", server) as port:
        yield port


@pytest.fixture(params=PLACES)
def call(request, apis):
    """Return a function that sends a request to the API from the address 127.0.0.2."""
    host, start = PLACES[request.param]

    def call(method, path, body=None, **headers):
        source = ("127.0.0.2", 0)
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", apis, timeout=30, source_address=source)
        ) as connection:
            connection.request(method, start + path, body, {"Host": host, **headers})
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    return call


def test_the_client_of_a_proxy_is_the_source_of_a_request(call):
    headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"}
    status, _, body = call("GET", "/show/a%2Fb%20c?x=%2F", **headers)
    event = json.loads(body)
    assert (status, event["requestContext"]["http"]["sourceIp"]) == (200, "127.0.0.2")
    assert event["headers"]["x-forwarded-for"] == "192.0.2.1, 127.0.0.2"
    assert event["headers"]["x-forwarded-proto"] == "http"  # nginx's own, and not the client's
    assert (event["rawPath"], event["rawQueryString"]) == ("/show/a/b c", "x=%2F")


def test_files_reach_an_application_and_limits_are_the_servers(call):
    form = requests.Request("POST", "http://x", files={"file": ("dog.png", bytes(4_000_000))}, data={"note": "ƛ"})
    sent = form.prepare()
    status, _, body = call("POST", "/upload", sent.body, **{"Content-Type": sent.headers["Content-Type"]})
    assert (status, json.loads(body)) == (200, {"name": "dog.png", "size": 4_000_000, "note": "ƛ"})
    status, headers, body = call("POST", "/upload", bytes(10_485_761))
    assert (status, json.loads(body)) == (413, {"message": "Request Entity Too Large"})
    assert "Apigw-Requestid" in headers


def test_cookies_images_and_redirects_come_back(call):
    status, headers, _ = call("POST", "/pets", b"{}", **{"Content-Type": "application/json"})
    assert (status, headers.get_all("Set-Cookie")) == (201, ["a=1; Path=/", "b=2; Path=/"])
    status, headers, body = call("GET", "/image", Accept="image/png")
    assert (status, headers["Content-Type"], body) == (200, "image/png", PNG)
    status, headers, _ = call("GET", "/old")
    assert (status, headers["Location"]) == (302, "/pets/1")


def test_a_long_query_and_a_long_header_reach_the_function(call):
    status, _, body = call("GET", "/show/x?a=" + "b" * 8000, **{"X-Long": "c" * 10_000})
    event = json.loads(body)
    assert (status, len(event["rawQueryString"]), len(event["headers"]["x-long"])) == (200, 8002, 10_000)


def test_slow_clients_of_an_api_stop_no_sync_worker(apis, call):
    head = "POST /show/x HTTP/1.1\r\nHost: routes.execute-api.example.com\r\n"
    requests = [b"", head.encode(), head.encode() + b"Content-Length: 9\r\n\r\n1"]
    with contextlib.ExitStack() as clients:
        for number in range(30):
            sock = clients.enter_context(socket.create_connection(("127.0.0.1", apis)))
            sock.sendall(requests[number % 3])
        assert call("GET", "/show/x")[0] == 200


# Slow clients


def test_slow_clients_stop_no_sync_worker(tmp_path):
    functions = "hello=tests.support.handlers.hello,large=tests.support.handlers.large"
    options = ["--worker-class", "sync", "--workers", "1"]
    environ = {"SERVERFULL_FUNCTIONS": functions, "SERVERFULL_ALLOWED_HOSTS": "lambda.example.com"}
    with (
        serving(tmp_path / "log", *options, **environ) as server,
        nginx(tmp_path / "nginx", server) as port,
        contextlib.ExitStack() as clients,
    ):
        requests = [
            b"",
            HEAD.format("hello").encode(),
            HEAD.format("hello").encode() + b"Content-Length: 9\r\n\r\n1",
            HEAD.format("large").encode() + b"Content-Length: 7\r\n\r\n6000000",
        ]
        for number in range(40):
            sock = clients.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", port))
            sock.sendall(requests[number % 4])
        for host in ("localhost", "lambda.example.com"):
            with contextlib.closing(socket.create_connection(("127.0.0.1", port))) as sock:
                head = HEAD.format("hello").replace("localhost", host)
                sock.sendall(head.encode() + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")
                assert sock.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
