"""Mutated requests to sites of each kind: only documented answers come back, and the log has no stack trace."""

import contextlib
import io
import json
import random
import socket
import string
from collections import Counter

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.auth.sigv4.verifier import Verifier
from serverfull_wsgi.gateway.access import Access, JwtAuthorizer, LambdaAuthorizer
from serverfull_wsgi.gateway.authorizers import Authorizers
from serverfull_wsgi.gateway.domains import ApiMapping, Domains
from serverfull_wsgi.gateway.formats import Route, Stage, TargetGroup, function_url, http_v1, http_v2, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.gateway_responses import GatewayResponse
from serverfull_wsgi.gateway.locations import Locations
from serverfull_wsgi.gateway.sites import Endpoint, http_api, load_balancer, rest_api
from serverfull_wsgi.gateway.sites import function_url as url_site
from tests.support import gateway_hosts, gateway_site
from tests.support.battery import SEED, share

DOCUMENTED = {200, 201, 302, 400, 401, 403, 404, 413, 500, 502, 503, 504}
PATHS = (
    "/_aws/execute-api/rest/Prod/pets/7",
    "/_aws/execute-api/http/$default/pets/7",
    "/_aws/execute-api/old/$default/pets/7",
    "/_aws/lambda-url/web/pets/7",
    "/_aws/elb/web/pets/7",
    "/_aws/elb/multi/pets/7",
    "/_aws/lambda-url/signed/pets/7",
    "/_aws/execute-api/closed/Prod/pets/7",
    "/_aws/execute-api/guarded/$default/pets/7",
    "/_aws/execute-api/guarded/$default/token",
    "/shop/v1/pets/7",
)
HOSTS = ("localhost", "api.example", "other.example", "closed.execute-api.localhost")
NAMES = (
    "CONTENT_TYPE",
    "HTTP_ACCEPT",
    "HTTP_AUTHORIZATION",
    "HTTP_COOKIE",
    "HTTP_HOST",
    "HTTP_X_AMZN_TRACE_ID",
    "HTTP_X_API_KEY",
    "HTTP_X_FORWARDED_FOR",
)
RESULTS = [
    {"statusCode": 200, "body": "x"},
    {"statusCode": 201, "headers": {"X": "1"}, "body": "eA==", "isBase64Encoded": True},
    "text",
    None,
    [],
    {"statusCode": 302, "headers": {"Location": "/"}},
    {"statusCode": 200, "headers": {"X": "a\r\nSet-Cookie: evil=1"}},
    {"statusCode": 200, "headers": {"X\r\nY": "1"}},
    {"statusCode": 200, "cookies": ["a=1\r\nX: 2"]},
    {"statusCode": 200, "multiValueHeaders": {"X": ["a\nb"]}},
    {"statusCode": 200, "body": "not base64!", "isBase64Encoded": True},
    {"statusCode": 1e400},
    {"statusCode": 99, "body": {}},
    {"statusCode": 200, "headers": {"Content-Length": "5", "Transfer-Encoding": "chunked"}},
]
DENIED = {"isAuthorized": False}


def served(closed_calls):
    """Return an application and its sites. Calls of the function ``closed`` are added to ``closed_calls``."""
    results = random.Random(7)

    def handler(event, context):
        json.dumps(event)
        return results.choice(RESULTS)

    def closed_handler(event, context):
        closed_calls.append(event)

    functions = {"web": handler, "web:1": handler, "closed": closed_handler, "deny": lambda event, context: DENIED}
    application = Application(StaticFetcher(functions, {"web:live": "1"}))
    stage = Stage("$default", "shop", binary_media_types=["image/*"])
    keys = ("ANY /", "ANY /{proxy+}", "GET /pets/{id}")
    responses = {"DEFAULT_4XX": GatewayResponse(request_headers=(("X", "Accept"),), template="$context.error.message")}
    conditions = Access(needs_api_key=True, required=(("querystring", "a"),))
    prod = Stage("Prod", "closed")
    closed = {
        "ANY /pets/{id}": Endpoint(Route("ANY /pets/{id}", "closed", prod), rest_v1, access=conditions),
        "ANY /{proxy+}": Endpoint(Route("ANY /{proxy+}", "web:live", prod), rest_v1),
    }
    simple = LambdaAuthorizer(
        "deny", False, payload="2.0", is_simple=True, sources=(("header", "Authorization"),), ttl=9
    )
    guards = {"ANY /token": Access(token=JwtAuthorizer("http://nobody.example", ())), "$default": Access("", simple)}
    guarded = {key: Endpoint(Route(key, "closed", stage), http_v2, access=guards[key]) for key in guards}
    signed = Endpoint(Route("$default", "closed", stage), function_url, access=Access(needs_signature=True))
    sites = [
        rest_api(("closed",), closed, "Prod", responses=responses),
        rest_api(("rest",), {key: Endpoint(Route(key, "web", Stage("Prod", "rest")), rest_v1) for key in keys}, "Prod"),
        http_api(("http",), {"$default": Endpoint(Route("$default", "web", stage), http_v2)}),
        http_api(("old",), {"$default": Endpoint(Route("$default", "web", stage), http_v1)}),
        http_api(("guarded",), guarded),
        url_site(("signed",), signed),
        url_site(("web",), Endpoint(Route("$default", "web:live", stage), function_url)),
        load_balancer("web", TargetGroup(function="web")),
        load_balancer("multi", TargetGroup(has_multi_value_headers=True, function="web")),
    ]
    domains = Domains([ApiMapping("api.example", "shop/v1", sites[0]), ApiMapping("*.example", "", sites[2])])
    locations = Locations(sites, domains=domains)
    authorizers = Authorizers(application.dispatcher, ["key"], tokens=tokens())
    verifiers = {service: Verifier({"AKIA": "secret"}, "us-east-1", service) for service in ("lambda", "execute-api")}
    gateway = Gateway(application.dispatcher, authorizers)
    return application, SiteServer(gateway, application.start, locations=locations, verifiers=verifiers)


def tokens():
    try:
        from serverfull_wsgi.gateway.json_web_tokens import Tokens
    except ImportError:  # without the extra, each token is refused
        return None
    return Tokens()


def mutated(chance):
    """An environ of a request with some parts replaced by anything."""
    path = chance.choice(PATHS)
    if chance.random() < 0.5:
        place = chance.randrange(len(path))
        path = path[:place] + noise(chance) + path[place + chance.randrange(3) :]
    if not path.startswith("/"):
        path = "/" + path
    environ = EnvironBuilder(
        "/", method=chance.choice(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE"])
    ).get_environ()
    environ["PATH_INFO"] = path.partition("?")[0].encode("utf-8", "replace").decode("latin-1")
    environ["QUERY_STRING"] = noise(chance).encode("utf-8", "replace").decode("latin-1")
    environ["HTTP_HOST"] = chance.choice(HOSTS)
    environ["RAW_URI"] = chance.choice([path, noise(chance), ""])
    environ.pop("REQUEST_URI", None)
    if chance.random() < 0.2:
        environ["SCRIPT_NAME"], environ["RAW_URI"] = "/m n", "/m%20n" + environ["RAW_URI"]
    elif chance.random() < 0.2:
        environ["SERVER_SOFTWARE"] = "granian"
        del environ["RAW_URI"]
    body = noise(chance).encode("utf-8", "surrogatepass") * chance.choice([0, 1, 100])
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = chance.choice([str(len(body)), str(len(body) + 3), "-1", "x", "", "9" * 20])
    for name in NAMES:
        if chance.random() < 0.4:
            environ[name] = noise(chance).encode("utf-8", "replace").decode("latin-1")
    return environ


def noise(chance):
    alphabet = string.printable[:-5] + "ƛ€\x00\x7f%%%%//..;;==&&"
    return "".join(chance.choice(alphabet) for _ in range(chance.choice([0, 1, 3, 12])))


@pytest.mark.battery
def test_mutated_requests_have_documented_answers(caplog, battery):
    closed_calls = []
    application, server = served(closed_calls)
    located = 0
    for seed in range(SEED, SEED + share(50_000, 2_000)):
        environ = mutated(random.Random(seed))
        location = server.locate(environ)
        if location is None:
            continue
        located += 1
        pieces, status, headers = run_wsgi_app(server, environ, buffered=True)
        body = b"".join(pieces)
        number = int(status[:3])
        assert number in DOCUMENTED, (seed, status)
        assert all("\n" not in line and "\r" not in line for pair in headers for line in pair), seed
        assert not any(name.lower() == "transfer-encoding" for name, _ in headers), seed
        length = headers.get("Content-Length")
        assert environ["REQUEST_METHOD"] == "HEAD" or length in (None, str(len(body))), seed
    assert located > 500
    assert closed_calls == []
    battery.record("HTTP routes, mutated requests", sent=located)
    assert not [record for record in caplog.records if record.exc_info]
    application.close()


# Over sockets

SERVERS_OWN = {405, 408, 411, 414, 417, 431, 501, 505}  # and 400: for bytes that are not a request
TARGETS = [path + "/pets/7?a=%20b" for path in gateway_site.PATHS.values()] + ["/", "/2015-03-31/functions/echo", "*"]
HEADERS = [
    b"Content-Type: application/json",
    b"Content-Length: 3",
    b"Content-Length: 3, 3",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Expect: 100-continue",
    b"Host: shop.execute-api.localhost",
    b"X-Forwarded-For: 1.2.3.4, not-an-address",
    b"Cookie: a=1; b",
    b"Cookie: =;=",
    b"X-Amzn-Trace-Id: Root=1-x",
    b"Authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0",
    b"Connection: upgrade\r\nUpgrade: websocket",
    b" folded: yes",
    b"X-\xff: \xff",
    b"X_Under: 1",
]


def mutated_bytes(chance):
    """The bytes of a request with some parts replaced by anything."""
    method = chance.choice(["GET", "POST", "PUT", "HEAD", "OPTIONS", "get", "FOO", "CONNECT", noise(chance)])
    head = [f"{method} {chance.choice(TARGETS)} HTTP/1.{chance.choice('011111')}".encode(), b"Host: localhost"]
    head += chance.sample(HEADERS, chance.randrange(4))
    data = b"\r\n".join(head) + b"\r\n\r\n" + chance.choice([b"", b"{}x", b"3\r\nabc\r\n0\r\n\r\n", b"z\r\n"])
    if chance.random() < 0.4:
        place = chance.randrange(len(data))
        data = data[:place] + noise(chance).encode() + data[place + chance.randrange(3) :]
    return data


def answered(port, data):
    """Send bytes and end the input. Return the bytes of the answer, without an interim one."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        with contextlib.suppress(OSError):  # a server may reset the connection
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return sock.makefile("rb").read().removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    return b""


@pytest.mark.battery
@pytest.mark.parametrize("name", gateway_hosts.SERVERS)
def test_mutated_bytes_have_documented_answers_and_leave_the_server_as_it_was(name, battery, sites_in):
    host = sites_in(name)
    statuses = Counter()
    for seed in range(SEED, SEED + share(5_000, 100)):
        answer = answered(host.port, mutated_bytes(random.Random(seed)))
        if answer.startswith(b"HTTP/"):  # a server may also close the connection
            statuses[int(answer.split(maxsplit=2)[1])] += 1
    assert statuses.keys() <= DOCUMENTED | SERVERS_OWN
    assert statuses[200]
    battery.record(f"HTTP routes under {name}, mutated bytes", sent=statuses.total())
    assert host.client(gateway_site.PATHS["URL"]).get("/pets/7").json["id"] == "7"
    assert "Traceback" not in host.output()
