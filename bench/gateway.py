"""Microseconds of a routed HTTP request over a direct Invoke of the same function: python -m bench.gateway.

The second part compares requests per second with the installed peers that serve function URLs or HTTP APIs: MiniStack
and serverless-offline, which `bench.peers` installs.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import sys
from io import BytesIO
from statistics import median
from time import perf_counter

from bench.compare import REFERENCE, SERVERS, Site, over, rates_of
from bench.inprocess import boto3_environ, call
from bench.peers import ROUTED
from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.front import Front, Route
from serverfull_wsgi.gateway.formats import Route as FormatRoute
from serverfull_wsgi.gateway.formats import function_url, http_v1, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.sites import Endpoint, http_api, rest_api
from serverfull_wsgi.gateway.sites import function_url as url_site
from serverfull_wsgi.telemetry.scope import LOGGER

CALLS = 20  # timed as one: reading the clock takes time too, and other programs interrupt a longer time more often
BODY = json.dumps({"text": "x" * 1000}).encode()  # about 1 KB
RESULT = {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": BODY.decode()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=1000, help="turns in one process (default: 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds over the servers (default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="seconds of load in each round (default: 3)")
    parser.add_argument("--connections", type=int, default=16, help="connections (default: 16)")
    options = parser.parse_args()
    _show(measure(options.turns), options.turns)
    try:
        _show_peers(options)
    except RuntimeError as error:
        sys.exit(f"bench.gateway: {error}")


def measure(turns):
    """Return the microseconds of a call by kind, one for each turn. ``Invoke`` is the direct call."""
    application = Application(StaticFetcher({"web": lambda event, context: RESULT}))
    dispatcher = application.dispatcher

    def served(site):
        return SiteServer(Gateway(dispatcher), application.start, root=site)

    route = FormatRoute("POST /pets/{id}", "web")
    many = [Route(f"POST /r{number}/{{id}}", "web") for number in range(10_000)]
    runs = {
        "Invoke": application,
        "function URL": served(url_site(("web",), Endpoint(route, function_url))),
        "HTTP API, payload 2.0": Front(application, [Route("POST /pets/{id}", "web")]),
        "the same among 10,000 routes": Front(application, [*many, Route("POST /pets/{id}", "web")]),
        "HTTP API, payload 1.0": served(http_api(("a",), {route.key: Endpoint(route, http_v1)})),
        "REST API": served(rest_api(("a",), {route.key: Endpoint(route, rest_v1)})),
    }
    times = {name: [] for name in runs}
    with open(os.devnull, "w") as devnull, contextlib.redirect_stdout(devnull):
        LOGGER.setLevel("WARNING")
        for _ in range(turns):
            for name, wsgi in runs.items():
                times[name].append(_timed(wsgi, name))
    application.close()
    return times


def _show(times, turns):
    base = min(times["Invoke"])
    print(
        f"Python {platform.python_version()}; a body of 1 KB, microseconds a call, best (median) of {turns} x {CALLS}"
    )
    for name, each in times.items():
        over = "" if name == "Invoke" else f"  {min(each) - base:+6.1f} over Invoke"
        print(f"{name:32} {min(each):6.1f} ({median(each):6.1f}){over}")


def _show_peers(options):
    others = {peer.name: peer for peer in ROUTED.values() if peer.is_installed}
    if not others or not shutil.which("wrk"):
        return
    rates = rates_of({"ours": routed_on(SERVERS[REFERENCE]), **others}, BODY, options)
    print(f"\nrequests of a route over ours on {REFERENCE}; a body of 1 KB, {options.connections} connections")
    for name in others:
        print(f"{name:32} {over(rates[name], rates['ours'])}")


def routed_on(argv):
    """Return an API with the route ``POST /web`` under a server."""
    functions = {"SERVERFULL_FUNCTIONS": "web=bench.handlers.web", "SERVERFULL_ROUTES": "POST /web=web"}
    return Site(argv, "serverfull_wsgi.front:app", {"SERVERFULL_EVENTS": "memory", **functions}, "/web")


def _timed(wsgi, name):
    environs = [_environ(name) for _ in range(CALLS)]
    for _ in range(CALLS):  # the code of another kind ran before, and takes 2 µs of each of the first calls
        call(wsgi, _environ(name))
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
