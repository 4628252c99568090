"""Throughput under gunicorn, against a bare application and functions-framework: python -m bench.throughput."""

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
LEAST = "the least of Invoke"  # to see how much of a target is left once that is answered
CONTENDERS = {  # as gunicorn is told, in the order they are loaded in
    "bare": "bench.apps:bare",
    OURS: "serverfull_wsgi:app",
    LEAST: "bench.apps:least",
    "functions-framework": "bench.apps:framework()",
}
UNITS = {"per_second": "requests/s", "per_cpu_second": "per second of CPU"}
TARGETS = {"bare": 0.90, "functions-framework": 1.3}  # how many times the other's rate


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
    parser.add_argument("--rounds", type=int, default=7, help="alternations of all servers (default: 7)")
    parser.add_argument("--seconds", type=int, default=3, help="of load on each server and round (default: 3)")
    parser.add_argument("--level", default="INFO", help="of the application's logger (default: INFO, as served)")
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
    """All servers stand ready at once; only the one that is measured has anything to do."""
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
                load.run(server, event, CONNECTIONS, 1)  # warms it up
            _show(f"{name}, {size}", _rounds(servers, event, options))


def _rounds(servers, event, options):
    """The rates of every contender, a list with one for each round."""
    rates = {contender: [] for contender in servers}
    for _ in range(options.rounds):
        for contender, server in servers.items():
            rates[contender].append(load.run(server, event, CONNECTIONS, options.seconds))
    return rates


def _show(title, rates):
    print(f"\n{title}")
    for contender, found in rates.items():
        per_second, per_cpu_second = (median(figures) for figures in zip(*found, strict=True))
        print(f"  {contender:20}{per_second:8.0f} requests/s {per_cpu_second:8.0f} per second of CPU")
    for other, target in TARGETS.items():
        for unit in UNITS:
            ratios = _ratios(rates[OURS], rates[other], unit)
            verdict = "met" if median(ratios) >= target else "short"
            print(f"  over {other:20}{UNITS[unit]:18}{_spread(ratios)}  target >= {target:.2f}  {verdict}")
    for unit in UNITS:
        print(f"  {LEAST} over bare {UNITS[unit]:18}{_spread(_ratios(rates[LEAST], rates['bare'], unit))}")


def _ratios(ours, others, unit):
    return [getattr(mine, unit) / getattr(its, unit) for mine, its in zip(ours, others, strict=True)]


def _spread(ratios):
    return f"{median(ratios):6.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
