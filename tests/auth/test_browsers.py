"""Servers without authentication and the web pages of other sites."""

import json
import os
import subprocess
from contextlib import closing
from types import SimpleNamespace
from urllib.request import urlopen

import pytest

from serverfull_wsgi import Application, SigV4Middleware, StaticFetcher
from serverfull_wsgi.servers.gunicorn.hooks import post_worker_init
from tests.conftest import aws_client
from tests.support import handlers
from tests.support.hosts import InProcess, OverSocket
from tests.support.servers import Server, free_port, gunicorn, running, serving
from tests.support.signing import KEY, REGION, SECRET, Sent, by_botocore, call, now

INVOKE = "/2015-03-31/functions/hello/invocations"
FUNCTIONS = {"SERVERFULL_FUNCTIONS": "hello=tests.support.handlers.hello"}
PAGE = "http://evil.example"


def made(**options):
    return Application(StaticFetcher({"hello": handlers.hello}), admin=True, **options)


def status(application, target=INVOKE, method="POST", mount="", environ=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = Sent(method, target, headers, host=headers.pop("Host", "127.0.0.1:8080"))
    return call(application, sent.environ(mount, **(environ or {}))).status


@pytest.mark.quick
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8080"}, 200),
        ({"Origin": "https://127.0.0.1:8080"}, 200),  # a proxy removed TLS
        ({"Origin": "http://127.0.0.1:8080", "Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Origin": PAGE}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://127.0.0.1:3000"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "http://localhost:8080"}, 403),
        ({"Origin": "127.0.0.1:8080"}, 403),
        ({"Origin": PAGE, "Sec_Fetch_Site": "same-origin"}, 403),
        ({"Origin": "http://127.0.0.1:8080", "Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": ""}, 403),
        ({"Origin": PAGE, "Authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/d/e"}, 403),  # not verified
    ],
)
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", INVOKE),
        ("POST", "/2015-03-31/functions/function%3Ahello/invocations"),
        ("POST", f"{INVOKE}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"),
    ],
)
def test_a_page_of_another_site_cannot_call_a_function(method, target, headers, expected):
    assert status(made(), target, method, **headers) == expected


@pytest.mark.quick
@pytest.mark.parametrize(
    ("method", "target", "otherwise"),
    [
        ("POST", "/2014-11-13/functions/hello/invoke-async", 202),
        ("GET", "/serverfull/events", 404),  # events in memory have no list
        ("POST", "/serverfull/events/1/redrive", 404),
        ("OPTIONS", INVOKE, 404),
    ],
)
def test_a_page_of_another_site_reaches_no_other_operation(method, target, otherwise):
    with closing(made()) as application:
        assert status(application, target, method) == otherwise
        assert status(application, target, method, Origin=PAGE) == 403
        assert status(application, target, method, Sec_Fetch_Site="cross-site") == 403
        assert status(application, target, method, Host="evil.example:8080") == 403


@pytest.mark.quick
@pytest.mark.parametrize("headers", [{"Origin": PAGE}, {"Sec_Fetch_Site": "cross-site"}, {"Host": "evil.example"}])
def test_the_health_check_is_open_to_every_page(headers):
    assert status(made(), "/healthcheck", "GET", **headers) == 200


@pytest.mark.quick
@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8080", 200),
        ("LOCALHOST.:8080", 200),
        ("api.localhost:8080", 200),
        ("127.0.0.2", 200),
        ("[::1]:8080", 200),
        ("dev.test:9000", 200),  # an allowed host
        ("evil.example:8080", 403),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8080", 403),
        ("evil.example:8080@127.0.0.1", 403),
        ("127.0.0.1,evil.example", 403),
        ("not-dev.test", 403),
        ("10.0.0.1", 403),
        ("[::2]", 403),
        ("[", 403),
        ("", 403),
        (None, 200),  # HTTP/1.0: no browser
    ],
)
@pytest.mark.parametrize("server_name", ["127.0.0.1", "::1", "localhost"])
def test_a_server_on_the_loopback_has_only_its_own_names(host, expected, server_name):
    application = made(allowed_hosts=["Dev.Test"])
    environ = {"SERVER_NAME": server_name, "HTTP_HOST": host, "HTTP_ORIGIN": None}
    assert status(application, environ=environ) == expected
    if host:  # DNS rebinding: the page's origin is equal to the host
        assert status(application, environ={**environ, "HTTP_ORIGIN": f"http://{host.lower()}"}) == expected


@pytest.mark.quick
@pytest.mark.parametrize("server_name", ["0.0.0.0", "10.0.0.1", "::", "waitress.invalid", "example.com", ""])
def test_on_other_addresses_every_host_is_accepted(server_name):
    assert status(made(), environ={"SERVER_NAME": server_name}, Host="lambda.us-east-1.amazonaws.com") == 200


@pytest.mark.quick
def test_where_the_address_is_not_known_allowed_hosts_turn_the_check_on():
    environ = {"SERVER_NAME": "waitress.invalid"}
    application = made(allowed_hosts=["dev.test"])
    hosts = ("dev.test", "localhost", "evil.example")
    assert [status(application, environ=environ, Host=host) for host in hosts] == [200, 200, 403]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("binds", "expected"),
    [
        ([("127.0.0.1", 80)], 403),
        ([("127.0.0.1", 80), ("::1", 80, 0, 0)], 403),
        ([("127.0.0.1", 80), ("10.0.0.1", 80)], 200),
        (["server.sock"], 200),
        ([], 200),
    ],
)
def test_a_hook_shows_where_the_server_listens(binds, expected):
    application = made()
    application.warn_if_exposed(binds)
    assert status(application, environ={"SERVER_NAME": "waitress.invalid"}, Host="evil.example") == expected


@pytest.mark.quick
@pytest.mark.parametrize("environ", [{"serverfull.principal": "ada"}, {"REMOTE_USER": "ada"}])
def test_an_authenticated_request_may_come_from_any_page(environ):
    headers = {"Origin": PAGE, "Sec_Fetch_Site": "cross-site", "Host": "evil.example"}
    assert status(made(), environ=environ, **headers) == 200


@pytest.mark.quick
def test_a_signed_request_may_come_from_any_page():
    sent = by_botocore(Sent("POST", INVOKE, {"Origin": PAGE}, host="evil.example"), when=now())
    assert call(SigV4Middleware(made(), {KEY: SECRET}, REGION), sent.environ()).status == 200


@pytest.mark.quick
def test_an_allowed_origin_may_call():
    application = made(allowed_origins=["http://LOCALHOST:3000"])
    for headers in ({}, {"Sec_Fetch_Site": "same-site"}, {"Sec_Fetch_Site": "cross-site"}):
        assert status(application, Origin="http://localhost:3000", **headers) == 200
    assert status(application, Origin="http://localhost:3001") == 403
    assert status(application, Origin="https://localhost:3000") == 403
    assert status(application, Sec_Fetch_Site="same-site") == 403  # no origin that could be allowed


@pytest.mark.quick
def test_a_refusal_names_the_origin_and_the_cure_and_runs_nothing():
    ran = []
    application = Application(StaticFetcher({"hello": lambda event, context: ran.append(event)}))
    response = InProcess(application).request("POST", INVOKE, b'"x"' * 10_000, {"Origin": PAGE + "x" * 5000})
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")
    assert PAGE in response.json["Message"]
    assert "SERVERFULL_ALLOWED_ORIGINS" in response.json["Message"]
    assert len(response.body) < 500
    assert ran == []


HOW = {
    "serve": lambda log, **environ: serving(log, **environ),
    "gunicorn": lambda log, **environ: gunicorn(log, application="serverfull_wsgi:app", env=environ),
    "gthread": lambda log, **environ: gunicorn(log, "--threads", "2", application="serverfull_wsgi:app", env=environ),
    "flask": lambda log, **environ: gunicorn(log, application="tests.support.site:in_flask"),
}


@pytest.mark.parametrize("how", HOW)
def test_a_server_on_the_loopback_refuses_pages_of_other_sites(how, tmp_path):
    target = "/lambda" * (how == "flask") + INVOKE
    with HOW[how](tmp_path / "log", **FUNCTIONS) as server:
        host = OverSocket(server)
        assert host.request("POST", target, b"{}").status == 200
        assert host.request("POST", target, b"{}", {"Origin": server.url}).status == 200
        assert host.request("POST", target, b"{}", {"Origin": PAGE}).status == 403
        assert host.request("POST", target, b"{}", {"Sec-Fetch-Site": "cross-site"}).status == 403
        rebound = {"Host": "evil.example", "Origin": PAGE, "Sec-Fetch-Site": "same-origin"}
        assert host.request("POST", target, b"{}", rebound).status == 403


def test_the_settings_allow_origins_and_hosts(tmp_path):
    allowed = {"SERVERFULL_ALLOWED_ORIGINS": "http://localhost:3000", "SERVERFULL_ALLOWED_HOSTS": "dev.test"}
    with serving(tmp_path / "log", **FUNCTIONS, **allowed) as server:
        host = OverSocket(server)
        page = {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"}
        assert host.request("POST", INVOKE, b"{}", page).status == 200
        assert (
            host.request("POST", INVOKE, b"{}", {"Host": "dev.test:80", "Origin": "http://dev.test:80"}).status == 200
        )


def test_a_server_on_all_addresses_accepts_every_host_and_no_page(tmp_path):
    port = free_port()
    argv = ["-m", "serverfull_wsgi", "serve", "--bind", f"0.0.0.0:{port}"]
    with running(Server(argv, tmp_path / "log", port=port, env=FUNCTIONS)) as server:
        host = OverSocket(server)
        assert host.request("POST", INVOKE, b"{}", {"Host": "functions.example"}).status == 200
        assert host.request("POST", INVOKE, b"{}", {"Origin": PAGE}).status == 403


def test_boto3_the_aws_cli_and_curl_call_as_before(tmp_path):
    with serving(tmp_path / "log", **FUNCTIONS) as server:
        with closing(aws_client(server.url)) as client:
            with client.invoke(FunctionName="hello")["Payload"] as payload:
                expected = json.load(payload)
        keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
        argv = ["aws", "lambda", "invoke", "--endpoint-url", server.url, "--function-name", "hello", "output.json"]
        subprocess.run(argv, cwd=tmp_path, env={**os.environ, **keys}, check=True, capture_output=True)
        assert json.loads((tmp_path / "output.json").read_text()) == expected
        curl = ["curl", "--silent", "--fail", "--data", "{}", f"http://localhost:{server.port}{INVOKE}"]
        assert json.loads(subprocess.run(curl, check=True, capture_output=True).stdout) == expected
        with urlopen(f"{server.url}/healthcheck") as response:
            assert response.read() == b"."


@pytest.mark.quick
def test_gunicorns_hook_reports_the_listeners():
    application = made()
    cfg = SimpleNamespace(
        address=[("127.0.0.1", 80)], timeout=30, workers=1, graceful_timeout=30, worker_class_str="gthread"
    )
    post_worker_init(SimpleNamespace(wsgi=application, cfg=cfg, age=1, alive=True, ppid=os.getppid()))
    assert status(application, environ={"SERVER_NAME": ""}, Host="evil.example") == 403
    application.close()
