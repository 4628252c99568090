"""Mutated requests to sites of each kind: only documented answers come back, and the log has no stack trace."""

import io
import json
import random
import string

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.gateway.formats import Route, Stage, TargetGroup, function_url, http_v1, http_v2, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.locations import Locations
from serverfull_wsgi.gateway.sites import Endpoint, http_api, load_balancer, rest_api
from serverfull_wsgi.gateway.sites import function_url as url_site
from tests.support.battery import SEED, share

DOCUMENTED = {200, 201, 302, 400, 403, 404, 413, 500, 502, 503, 504}
PATHS = (
    "/_aws/execute-api/rest/Prod/pets/7",
    "/_aws/execute-api/http/$default/pets/7",
    "/_aws/execute-api/old/$default/pets/7",
    "/_aws/lambda-url/web/pets/7",
    "/_aws/elb/web/pets/7",
    "/_aws/elb/multi/pets/7",
)
NAMES = (
    "CONTENT_TYPE",
    "HTTP_ACCEPT",
    "HTTP_COOKIE",
    "HTTP_HOST",
    "HTTP_X_AMZN_TRACE_ID",
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


def served():
    results = random.Random(7)

    def handler(event, context):
        json.dumps(event)
        return results.choice(RESULTS)

    application = Application(StaticFetcher({"web": handler}))
    stage = Stage("$default", "shop", binary_media_types=["image/*"])
    keys = ("ANY /", "ANY /{proxy+}", "GET /pets/{id}")
    sites = [
        rest_api(("rest",), {key: Endpoint(Route(key, "web", Stage("Prod", "rest")), rest_v1) for key in keys}, "Prod"),
        http_api(("http",), {"$default": Endpoint(Route("$default", "web", stage), http_v2)}),
        http_api(("old",), {"$default": Endpoint(Route("$default", "web", stage), http_v1)}),
        url_site(("web",), Endpoint(Route("$default", "web", stage), function_url)),
        load_balancer("web", TargetGroup(function="web")),
        load_balancer("multi", TargetGroup(has_multi_value_headers=True, function="web")),
    ]
    return application, SiteServer(Gateway(application.dispatcher), application.start, locations=Locations(sites))


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
    environ["RAW_URI"] = chance.choice([path, noise(chance), ""])
    environ.pop("REQUEST_URI", None)
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
    application, server = served()
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
    battery.record("HTTP routes, mutated requests", sent=located)
    assert not [record for record in caplog.records if record.exc_info]
    application.close()
