"""A bare WSGI application: the least that a function behind HTTP needs. It imports nothing but ``json``."""

import json


def application(environ, start_response):
    """Read and parse the body, and send it back. There are no routes, ids, errors and no log."""
    event = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    payload = json.dumps(event).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(payload)))])
    return [payload]
