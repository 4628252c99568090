"""APIs in each host: what a server or a mount passes on to the function, and back to real clients."""

import http.client
import json
import shutil
import socket
import subprocess
from contextlib import closing

import pytest
import requests

from tests.support import gateway_hosts
from tests.support.gateway_site import API_KEY, FRONT, IMPATIENT, PASSWORD, PATHS, RESTRICTED
from tests.support.isolated import needs_client
from tests.support.servers import ROOT, Server, free_port, serving
from tests.support.waiting import wait_until

PROJECT = ROOT / "examples/sam_project"
COMMANDS = {
    "serve": ["-m", "serverfull_wsgi", "serve", "--api", "ServerlessHttpApi", "--bind", "127.0.0.1:{port}"],
    "gunicorn": ["-m", "gunicorn", "serverfull_wsgi.front:app", "--bind", "127.0.0.1:{port}"],
}


def curl_features():
    """Return the description of curl's features; an empty text without curl."""
    return subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout if shutil.which("curl") else ""


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
    environ = {"SERVERFULL_DATA_DIR": str(tmp_path / "data"), "SERVERFULL_FRONT_API": "ServerlessHttpApi"}
    server = Server(argv, tmp_path / "log", port=port, cwd=PROJECT, env=environ)
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


@pytest.mark.parametrize("server", ["gunicorn", "granian"])
def test_a_query_and_a_header_may_be_as_long_as_at_aws(server, tmp_path):
    pytest.importorskip(server)
    environ = {
        "SERVERFULL_FUNCTIONS": "show=tests.support.gateway_site.show",
        "SERVERFULL_ROUTES": "$default=show",
    }
    with serving(tmp_path / "log", "--api", "--server", server, **environ) as it:
        status, body, _ = call(it.port, "GET", "/x?a=" + "b" * 8000, headers={"X-Long": "c" * 10_000})
    assert (status, len(json.loads(body)["headers"]["x-long"])) == (200, 10_000)


# Each host


@pytest.fixture
def front(gateway_host):
    return gateway_host.client(FRONT)


def event_of(response):
    assert response.status_code == 200, response.text
    return response.json["event"]


def test_body_cookies_query_and_address_reach_the_function(front):
    headers = {"X-Many": "a", "Cookie": "c=1; d=2", "Content-Type": "text/plain"}
    event = event_of(front.post("/echo/x?x=1&x=2&y=%20z", data=b"text", headers=headers))
    assert (event["body"], event["cookies"], event["headers"]["x-many"]) == ("text", ["c=1", "d=2"], "a")
    assert (event["rawQueryString"], event["queryStringParameters"]) == ("x=1&x=2&y=%20z", {"x": "1,2", "y": " z"})
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"


PATHS_OF_SERVERS = [  # the path as it is sent, and `rawPath` with the raw path of the request and without it
    ("/echo/a%20b", "/echo/a b", "/echo/a b"),
    ("/echo/%C6%9B", "/echo/ƛ", "/echo/ƛ"),
    ("/echo/a%2Fb", "/echo/a/b", "/echo/a/b"),
    ("/echo/a%252Fb", "/echo/a/b", "/echo/a/b"),  # an HTTP API decodes twice
    ("/pets/a%2Fb", "/pets/a/b", ""),  # the slash is a part of the segment, or else ends it
    ("/pets/a%252Fb", "/pets/a/b", "/pets/a/b"),
    ("/echo//a/", "/echo//a/", "/echo//a/"),
]


@pytest.mark.parametrize(("path", "raw", "decoded"), PATHS_OF_SERVERS)
def test_a_path_reaches_the_function_as_it_was_sent(path, raw, decoded, front, gateway_host):
    response = front.get(path)
    expected = raw if gateway_host.has_raw_path else decoded
    assert response.status_code == (200 if expected else 404)
    assert not expected or event_of(response)["rawPath"] == expected


def upload(client, size):
    """Send a form with a file of this size. werkzeug would keep the form in a temporary file."""
    form = requests.Request("POST", "http://localhost", files={"file": ("dog.png", b"\xff" * size)}, data={"note": "ƛ"})
    sent = form.prepare()
    return client.post("/upload", data=sent.body, headers={"Content-Type": sent.headers["Content-Type"]})


LARGE = {"REST": 4_000_000, "URL": 4_000_000, "ALB": 1_000_000}  # bytes; in base64, an event of 6 MB has 4.5 MB


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_file_reaches_the_application(kind, gateway_host):
    response = upload(gateway_host.client(PATHS[kind]), LARGE[kind])
    assert response.json == {"name": "dog.png", "size": LARGE[kind], "note": "ƛ"}


@pytest.mark.parametrize("kind", LARGE)
def test_a_file_over_the_limit_is_refused(kind, gateway_host):
    assert upload(gateway_host.client(PATHS[kind]), LARGE[kind] * 5 // 4).status_code == 413


def test_a_large_answer_reaches_the_client(front):
    assert front.get("/large/5000000").data == b"x" * 5_000_000


def test_head_has_the_length_of_the_answer_and_no_body(front):
    response = front.head("/echo/x")
    assert (response.status_code, response.data) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_an_answer_without_content_has_no_body(method, front):
    response = front.open("/empty", method=method)
    assert (response.status_code, response.data) == (204, b"")


OF_A_SITE = {"Host": "http.execute-api.localhost"}


def test_a_site_is_served_under_its_host(gateway_host):
    assert gateway_host.client().get("/pets/1", headers=OF_A_SITE).json["id"] == "1"


# The status without a credential, with a wrong one, and the header of the credential
REFUSALS = {
    "key": (403, 403, "X-Api-Key"),
    "token": (401, 403, "Authorization"),
    "request": (401, 403, "Authorization"),
    "jwt": (401, 401, "Authorization"),
}


@pytest.mark.parametrize("kind", RESTRICTED)
def test_a_restricted_route_admits_callers_with_a_valid_credential_only(kind, gateway_host, front):
    if kind == "jwt":
        pytest.importorskip("jwt")
    route = gateway_host.client(RESTRICTED[kind])
    without, wrong, header = REFUSALS[kind]
    credential = {"key": API_KEY, "jwt": front.get("/mint").text if kind == "jwt" else ""}.get(kind, PASSWORD)
    assert route.get("").status_code == without
    assert route.get("", headers={header: "wrong"}).status_code == wrong
    response = route.get("", headers={header: credential})
    assert response.status_code == 200, response.text
    assert (API_KEY if kind == "key" else "ada") in response.text


def test_the_lambda_api_is_not_served_under_the_host_of_a_site(gateway_host):
    path = "/2015-03-31/functions/echo/invocations"
    assert gateway_host.client().post(path, data=b"{}", headers=OF_A_SITE).status_code == 404


def test_the_lambda_api_is_served_beside_the_sites(gateway_host):
    response = gateway_host.client().post("/2015-03-31/functions/echo/invocations", data=b"{}")
    assert (response.status_code, response.headers["x-amz-executed-version"]) == (200, "$LATEST")


# Each real server


@pytest.fixture(scope="module", params=gateway_hosts.SERVERS)
def server(request, sites_in):
    return sites_in(request.param)


def test_a_body_in_chunks_reaches_the_function(server, request):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        headers = {"Content-Type": "text/plain", "Transfer-Encoding": "chunked"}
        pieces = iter([b"in "] * 20_000 + [b"chunks"])
        connection.request("POST", f"{FRONT}/echo/x", pieces, headers, encode_chunked=True)
        response = connection.getresponse()
        answer = json.loads(response.read())
    if "granian" in request.node.callspec.id:  # cannot tell such a body from one that breaks off
        assert (response.status, answer) == (400, {"message": "Bad Request"})
    else:
        assert answer["event"]["body"] == "in " * 20_000 + "chunks"


@pytest.mark.parametrize("rest", [b"9\r\nbro", b"zz\r\nbroken", b""])
def test_a_body_in_chunks_that_breaks_off_runs_no_function(server, rest):
    head = f"POST {FRONT}/echo/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n"
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)) as connection:
        connection.sendall(head.encode() + rest)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).partition(b" ")[2][:3] in (b"", b"400")  # or no answer at all


@needs_client
def test_an_api_does_not_wait_for_a_slow_function_in_a_process_of_its_own(server):
    def pause(seconds):
        return call(server.port, "GET", f"{IMPATIENT}/pause?seconds={seconds}")[:2]

    assert pause(60) == (503, b'{"message":"Service Unavailable"}')
    wait_until(lambda: pause(0)[0] == 200)  # the first environment may take longer than the API waits


def test_one_connection_serves_many_requests_also_after_a_refusal(server):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        statuses = []
        for path in ("/echo/x", "/nothing", "/fail", "/empty", "/echo/y"):
            connection.request("POST", FRONT + path, b"x" * 100_000)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
    assert statuses == [200, 404, 404, 204, 200]  # `/fail` is for GET


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("kind", ["REST", "H2"])
def test_curl_uploads_a_file_follows_a_redirect_and_keeps_cookies(kind, server, tmp_path):
    def curl(*arguments):
        command = ["curl", "--silent", "--show-error", "--max-time", "30", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    url = f"http://127.0.0.1:{server.port}{PATHS[kind]}"
    (tmp_path / "dog.png").write_bytes(bytes(2_000_000))  # over the size from which curl waits for "100 Continue"
    uploaded = curl("--form", "file=@dog.png", "--form", "note=ƛ", f"{url}/upload")
    assert json.loads(uploaded) == {"name": "dog.png", "size": 2_000_000, "note": "ƛ"}
    created = curl("--cookie-jar", "jar", "--json", '{"name": "Ada"}', "--write-out", " %{http_code}", f"{url}/pets")
    assert created.split() == ['{"name":"Ada"}', "201"]
    assert json.loads(curl("--cookie", "jar", f"{url}/cookies")) == {"a": "1", "b": "2"}
    assert curl("--head", f"{url}/image").startswith("HTTP/1.1 200 OK")
    old = curl("--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}", f"{url}/old")
    assert old == f"302 http://127.0.0.1:{server.port}/pets/1"


@pytest.mark.once
@pytest.mark.skipif("HTTP2" not in curl_features(), reason="no curl with HTTP/2 is installed")
@pytest.mark.parametrize(("upload", "expected"), [(("--data", "whole"), "200"), (("--upload-file", "-"), "400")])
def test_a_body_in_http_2_needs_a_length_since_it_may_be_a_part(upload, expected, sites_in):
    url = f"http://127.0.0.1:{sites_in('granian').port}{FRONT}/echo/x"
    options = ("--http2-prior-knowledge", "--request", "POST", "--output", "/dev/null", "--write-out", "%{http_code}")
    sent = subprocess.run(["curl", "--silent", *options, *upload, url], input="whole", capture_output=True, text=True)
    assert sent.stdout == expected


@pytest.mark.parametrize("kind", ["REST", "H2", "URL", "ALB+"])
def test_requests_uploads_a_file_and_keeps_cookies(kind, server):
    url = f"http://127.0.0.1:{server.port}{PATHS[kind]}"
    with requests.Session() as session:
        uploaded = session.post(f"{url}/upload", files={"file": ("ƛ.png", b"\x00\xff")}, data={"note": "n"}, timeout=30)
        assert uploaded.json() == {"name": "ƛ.png", "size": 2, "note": "n"}
        assert session.post(f"{url}/pets", json={"name": "ƛ"}, timeout=30).status_code == 201
        assert session.get(f"{url}/cookies", timeout=30).json() == {"a": "1", "b": "2"}
        image = session.get(f"{url}/image", headers={"Accept": "image/png"}, timeout=30)
        assert (image.headers["Content-Type"], image.content[:4]) == ("image/png", b"\x89PNG")
