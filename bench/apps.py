"""Applications to compare with: bare WSGI, a minimal Invoke, and functions-framework."""

import json
import os
import sqlite3
import sys
import threading
from functools import cache
from math import ceil
from pathlib import Path
from random import getrandbits
from time import perf_counter, time

import simplejson

from bench.handlers import echo


def bare_with(dumps):
    """Return an application that reads and parses the body, calls the handler and serialises its result with ``dumps``.

    It has no routes, no request id, no error handling and no log.
    """

    def application(environ, start_response):
        payload = _payload(environ, dumps)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(payload)))])
        return [payload]

    return application


def _payload(environ, dumps):
    event = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    return dumps(echo(event, None)).encode()


bare = bare_with(json.dumps)
bare_simplejson = bare_with(simplejson.dumps)  # AWS's Python runtime marshals with simplejson


def minimal_invoke(environ, start_response):
    """Serve the bare application with the ids, headers and (at INFO) REPORT line that every Invoke needs.

    It has no routes and no error handling.
    """
    started = perf_counter()
    h = f"{getrandbits(224):056x}"
    request_id = f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:32]}"
    payload = _payload(environ, json.dumps)
    if HAS_REPORT:
        ms = (perf_counter() - started) * 1000
        sys.stdout.write(
            f"{time():.3f} [INFO] REPORT RequestId: {request_id}\tDuration: {ms:.2f} ms\tBilled Duration: {ceil(ms)} ms"
            "\tMemory Size: 128 MB\tMax Memory Used: 40 MB function_name=echo\n"
        )
        sys.stdout.flush()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(payload))),
        ("x-amzn-RequestId", request_id),
        ("X-Amzn-Trace-Id", f"root=1-{int(time()):08x}-{h[32:]};sampled=0;lineage=a87bd80c:0"),
        ("X-Amz-Executed-Version", "$LATEST"),
        ("x-amzn-Remapped-Content-Length", "0"),
    ]
    start_response("200 OK", headers)
    return [payload]


HAS_REPORT = os.environ.get("SERVERFULL_RUNTIME_LOGGER_LEVEL", "INFO") == "INFO"


def minimal_accept(environ, start_response):
    """Serve the bare application, and before the answer insert the event into SQLite, which syncs it, in this thread.

    A durable accept cannot do less. This has no routes, no ids and no error handling, and it runs no event.
    """
    payload = _payload(environ, json.dumps)
    with _accepting:
        _events().execute("INSERT INTO event (body) VALUES (?)", (payload,))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(payload)))])
    return [payload]


_accepting = threading.Lock()


@cache
def _events():
    """Return the connection of this process to a new file beside the directory ``SERVERFULL_DATA_DIR``."""
    return synced_table(f"{os.environ['SERVERFULL_DATA_DIR']}.least.sqlite3")


def synced_table(path):
    """Return a connection to a new SQLite file with a table of events. Each commit is synced."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, body BLOB)")
    return db


def framework():
    """Return functions-framework's Flask application, as its own server runs it."""
    from functions_framework import create_app

    source = Path(__file__).with_name("handlers.py")
    return create_app(target="http_echo", source=str(source), signature_type="http")
