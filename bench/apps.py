"""What the application is measured against: the least that WSGI takes, and functions-framework."""

import json
from pathlib import Path

import simplejson

from bench.handlers import echo


def bare_with(dumps):
    """Reads the body, parses it, calls the handler and writes its result: no route, no id, no error, no log."""

    def application(environ, start_response):
        event = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        payload = dumps(echo(event, None)).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(payload)))])
        return [payload]

    return application


bare = bare_with(json.dumps)
bare_simplejson = bare_with(simplejson.dumps)  # what AWS's Python runtime marshals with


def framework():
    """functions-framework's Flask application, as its own server would run it."""
    from functions_framework import create_app

    source = Path(__file__).with_name("handlers.py")
    return create_app(target="http_echo", source=str(source), signature_type="http")
