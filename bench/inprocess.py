"""Microseconds per call over a bare WSGI application, in one process: python -m bench.inprocess."""

import argparse
import contextlib
import json
import os
import platform
import socket
import sys
from io import BytesIO
from time import perf_counter
from typing import Any, NamedTuple

from bench.apps import bare, bare_simplejson
from bench.events import EVENTS
from serverfull_wsgi import Settings, create_app
from serverfull_wsgi.telemetry.scope import LOGGER

CALLS = 100  # timed as one, since reading the clock takes time too
DEFAULT = "as served by default"
ADD_MARSHALLING = ("10 KB",)  # events whose target includes the time of simplejson (AWS's marshaller) over json


class Row(NamedTuple):
    """A configuration of the application, and its target in microseconds over the bare application."""

    name: str
    target: float
    application: Any
    level: str = "INFO"
    headers: dict = {}  # noqa: RUF012  (never changed)


def main():
    rounds = _options().rounds
    rows, figures = measure(rounds, EVENTS)
    print(f"Python {platform.python_version()}; echo of a JSON event, microseconds a call, best of {rounds} x {CALLS}")
    for size, times in figures.items():
        _show(size, rows, *times)


def measure(rounds, events):
    """Return the rows, and for each size of event the least times: bare, bare with simplejson, and of the rows."""
    with _collector() as collector:
        rows = _rows(collector)
        with open(os.devnull, "w") as devnull, contextlib.redirect_stdout(devnull):
            figures = {size: _measured(rows, event, collector, rounds) for size, event in events.items()}
        for row in rows:
            row.application.close()
    return rows, figures


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="rounds, of which the best one counts (default: 200)")
    return parser.parse_args()


def _collector():
    """Return a UDP socket that receives metrics."""
    collector = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    collector.bind(("127.0.0.1", 0))
    collector.setblocking(False)
    return collector


def _rows(collector):
    served = {"SERVERFULL_EVENTS": "memory", "SERVERFULL_FUNCTIONS": "echo=bench.handlers.echo"}
    counted = {
        **served,
        "SERVERFULL_RUNTIME_STATS_OUTPUT": "STATSD",
        "SERVERFULL_RUNTIME_STATS_ADDRESS": "{}:{}".format(*collector.getsockname()),
    }
    plain, with_metrics = (create_app(Settings.from_mapping(settings)) for settings in (served, counted))
    return [
        Row("logger level WARN", 10, plain, level="WARNING"),
        Row(DEFAULT, 15, plain),
        Row("with metrics and LogType Tail", 30, with_metrics, headers={"HTTP_X_AMZ_LOG_TYPE": "Tail"}),
    ]


def _measured(rows, event, collector, rounds):
    """Return the smallest times per call: bare, bare with simplejson, and a list for the rows."""
    runs = [Row("bare", 0, bare), Row("bare, simplejson", 0, bare_simplejson), *rows]
    best = [float("inf")] * len(runs)
    for row in runs:
        _check(row, event)
    for _ in range(rounds):
        for number, row in enumerate(runs):
            best[number] = min(best[number], _timed(row, event))
            _drain(collector)
    return best[0], best[1], best[2:]


def _timed(row, event):
    LOGGER.setLevel(row.level)
    environs = [boto3_environ(event, row.headers) for _ in range(CALLS)]
    call(row.application, boto3_environ(event, row.headers))  # a new level empties the logger's cache
    started = perf_counter()
    for environ in environs:
        call(row.application, environ)
    return (perf_counter() - started) / CALLS * 1e6


def call(application, environ):
    """Make one call and read the response."""
    for _piece in application(environ, _start_response):
        pass


def _start_response(status, headers, exc_info=None):
    pass


def _check(row, event):
    """Exit unless a call succeeds."""
    statuses = []
    pieces = row.application(boto3_environ(event, row.headers), lambda status, headers: statuses.append(status))
    if statuses != ["200 OK"] or json.loads(b"".join(pieces)) != json.loads(event):
        sys.exit(f"{row.name}: {statuses}, {b''.join(pieces)[:200]!r}")


def _drain(collector):
    """Receive all metrics, between rounds, so that the buffer is never full and no reader runs during a round."""
    with contextlib.suppress(BlockingIOError):
        while collector.recv(65536):
            pass


def boto3_environ(event, headers):
    """Return the WSGI environ of a boto3 request under gunicorn."""
    return {
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": None,
        "wsgi.input_terminated": True,
        "SERVER_SOFTWARE": "gunicorn",
        "wsgi.input": BytesIO(event),
        "gunicorn.socket": None,
        "REQUEST_METHOD": "POST",
        "QUERY_STRING": "",
        "RAW_URI": "/2015-03-31/functions/echo/invocations",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:8000",
        "HTTP_ACCEPT_ENCODING": "identity",
        "HTTP_USER_AGENT": "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python cfg/retry-mode#legacy",
        "HTTP_X_AMZ_DATE": "20261124T000000Z",
        "HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 Credential=key/20261124/us-east-1/lambda/aws4_request",
        "HTTP_AMZ_SDK_INVOCATION_ID": "8d3f0a3c-5c0b-4e0f-9a52-6ce3a8f0a111",
        "HTTP_AMZ_SDK_REQUEST": "attempt=1",
        "CONTENT_LENGTH": str(len(event)),
        **headers,
        "wsgi.url_scheme": "http",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "PATH_INFO": "/2015-03-31/functions/echo/invocations",
        "SCRIPT_NAME": "",
        "wsgi.early_hints": None,
    }


def _show(size, rows, base, with_simplejson, times):
    marshalling = with_simplejson - base
    print(
        f"\n{size}: the bare application takes {base:.1f}, and {marshalling:.1f} more with simplejson instead of json"
    )
    for row, figure in zip(rows, times, strict=True):
        over, target = figure - base, row.target + (marshalling if size in ADD_MARSHALLING else 0)
        verdict = "met" if over <= target else "short"
        print(f"  {row.name:30}{over:7.1f} over bare   target <= {target:5.1f}   {verdict}")


if __name__ == "__main__":
    main()
