"""Microseconds of a routed HTTP request over a direct Invoke of the same function: python -m bench.gateway."""

import argparse
import contextlib
import json
import os
import platform
from io import BytesIO
from statistics import median
from time import perf_counter

from bench.inprocess import boto3_environ, call
from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.front import Front, Route
from serverfull_wsgi.gateway.formats import Route as FormatRoute
from serverfull_wsgi.gateway.formats import function_url, http_v1, http_v2, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.sites import Endpoint, http_api, rest_api
from serverfull_wsgi.gateway.sites import function_url as url_site
from serverfull_wsgi.telemetry.scope import LOGGER

CALLS = 20  # timed as one: reading the clock takes time too, and other programs interrupt a longer time more often
BODY = json.dumps({"text": "x" * 1000}).encode()  # about 1 KB
RESULT = {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": BODY.decode()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000, help="rounds in turn (default: 1000)")
    rounds = parser.parse_args().rounds
    application = Application(StaticFetcher({"web": lambda event, context: RESULT}))
    dispatcher = application.dispatcher

    def served(site):
        return SiteServer(Gateway(dispatcher), application.start, root=site)

    route = FormatRoute("POST /pets/{id}", "web")
    many = [Route(f"POST /r{number}/{{id}}", "web") for number in range(10_000)]
    runs = {
        "Invoke": application,
        "HTTP API, payload 2.0": Front(application, [Route("POST /pets/{id}", "web")]),
        "the same among 10,000 routes": Front(application, [*many, Route("POST /pets/{id}", "web")]),
        "HTTP API, payload 1.0": served(http_api(("a",), {route.key: Endpoint(route, http_v1)})),
        "REST API": served(rest_api(("a",), {route.key: Endpoint(route, rest_v1)})),
        "function URL": served(url_site(("web",), Endpoint(route, function_url))),
    }
    assert http_v2.TIMEOUT
    times = {name: [] for name in runs}
    with open(os.devnull, "w") as devnull, contextlib.redirect_stdout(devnull):
        LOGGER.setLevel("WARNING")
        for _ in range(rounds):
            for name, wsgi in runs.items():
                times[name].append(_timed(wsgi, name))
    application.close()
    base = min(times["Invoke"])
    print(
        f"Python {platform.python_version()}; a body of 1 KB, microseconds a call, best (median) of {rounds} x {CALLS}"
    )
    for name, each in times.items():
        over = "" if name == "Invoke" else f"  {min(each) - base:+6.1f} over Invoke"
        print(f"{name:32} {min(each):6.1f} ({median(each):6.1f}){over}")


def _timed(wsgi, name):
    environs = [_environ(name) for _ in range(CALLS)]
    started = perf_counter()
    for environ in environs:
        call(wsgi, environ)
    return (perf_counter() - started) / CALLS * 1e6


def _environ(name):
    if name == "Invoke":
        environ = boto3_environ(BODY, {})
        path = "/2015-03-31/functions/web/invocations"
        return {**environ, "PATH_INFO": path, "RAW_URI": path}
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/pets/7",
        "RAW_URI": "/pets/7?color=red",
        "QUERY_STRING": "color=red",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "shop.example",
        "HTTP_USER_AGENT": "curl/8",
        "HTTP_ACCEPT": "*/*",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(BODY)),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(BODY),
    }


if __name__ == "__main__":
    main()
