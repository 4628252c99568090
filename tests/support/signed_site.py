"""A WSGI application that returns the parts of its environ as JSON, and the same one with signatures."""

import json

from serverfull_wsgi import Credential, SigV4Middleware
from serverfull_wsgi.auth.principal import ACTIONS
from tests.support.signing import KEY, REGION, SECRET, TEMPORARY, TOKEN

KEYS = {KEY: Credential(SECRET, actions=ACTIONS), TEMPORARY: Credential(SECRET, TOKEN, actions=ACTIONS)}


def plain(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    seen = {
        "principal": str(environ.get("serverfull.principal")),
        "path": environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"],
        "query": environ["QUERY_STRING"],
        "body": environ["wsgi.input"].read(length or -1).hex(),
    }
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


app = SigV4Middleware(plain, KEYS, REGION)
