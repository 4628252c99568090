"""Requests per second under gunicorn, beside a bare application and functions-framework: python -m bench.throughput."""

import argparse
import shutil
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from statistics import median

from bench import load
from bench.events import EVENTS
from bench.servers import serving

WORKERS = {
    "sync -w 2": ["--worker-class", "sync", "--workers", "2"],
    "gthread -w 1 --threads 4": ["--worker-class", "gthread", "--workers", "1", "--threads", "4"],
}
CONNECTIONS = 4
OURS = "serverfull_wsgi"
MINIMAL = "minimal Invoke"  # the upper bound for any server with Invoke's ids, headers and REPORT line
CONTENDERS = {  # gunicorn's names of the applications, in the order of each round
    "bare": "bench.apps:bare",
    OURS: "serverfull_wsgi:app",
    MINIMAL: "bench.apps:minimal_invoke",
    "functions-framework": "bench.apps:framework()",
}
UNITS = {"per_second": "requests/s", "per_cpu_second": "per second of CPU"}
TARGETS = {"bare": 0.90, "functions-framework": 1.3}  # our rate over the other's: the project's own goals


def main():
    options = _options()
    _require_tools()
    print(f"echo of a JSON event; {options.rounds} rounds, {options.seconds} s of {CONNECTIONS} connections each")
    try:
        for name, workers in WORKERS.items():
            _compare(name, workers, options)
    except RuntimeError as error:
        sys.exit(f"bench.throughput: {error}")


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds over all servers (default: 7)")
    parser.add_argument(
        "--seconds", type=int, default=3, help="seconds of load on each server in each round (default: 3)"
    )
    parser.add_argument(
        "--level", default="INFO", help="level of the server's logger (default: INFO, as in production)"
    )
    return parser.parse_args()


def _require_tools():
    missing = []
    if not shutil.which("wrk"):
        missing.append("wrk (Debian: apt-get install wrk)")
    if not find_spec("functions_framework"):
        missing.append("functions-framework (pip install functions-framework)")
    if missing:
        print(f"bench.throughput needs {' and '.join(missing)}", file=sys.stderr)
        sys.exit(2)


def _compare(name, workers, options):
    """Start all servers at once, and load one after the other."""
    environ = {
        "SERVERFULL_EVENTS": "memory",
        "SERVERFULL_FUNCTIONS": "echo=bench.handlers.echo",
        "SERVERFULL_RUNTIME_LOGGER_LEVEL": options.level,
    }
    with ExitStack() as stack:
        servers = {
            contender: stack.enter_context(serving(application, workers, environ))
            for contender, application in CONTENDERS.items()
        }
        for size, event in EVENTS.items():
            for server in servers.values():
                server.wait(event)
                load.run(server, event, CONNECTIONS, 1)  # a warm-up
            _show(f"{name}, {size}", _rounds(servers, event, options))


def _rounds(servers, event, options):
    """Return the rates of each contender, one for each round."""
    rates = {contender: [] for contender in servers}
    for _ in range(options.rounds):
        for contender, server in servers.items():
            rates[contender].append(load.run(server, event, CONNECTIONS, options.seconds))
    return rates


def _show(title, rates):
    print(f"\n{title}")
    for contender, results in rates.items():
        per_second, per_cpu_second = (median(figures) for figures in zip(*results, strict=True))
        print(f"  {contender:20}{per_second:8.0f} requests/s {per_cpu_second:8.0f} per second of CPU")
    for other, target in TARGETS.items():
        for unit in UNITS:
            ratios = _ratios(rates[OURS], rates[other], unit)
            verdict = "met" if median(ratios) >= target else "short"
            print(f"  over {other:20}{UNITS[unit]:18}{_spread(ratios)}  target >= {target:.2f}  {verdict}")
    for unit in UNITS:
        print(f"  {MINIMAL} over bare {UNITS[unit]:18}{_spread(_ratios(rates[MINIMAL], rates['bare'], unit))}")


def _ratios(ours, others, unit):
    return [getattr(our, unit) / getattr(other, unit) for our, other in zip(ours, others, strict=True)]


def _spread(ratios):
    return f"{median(ratios):6.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
