"""The project's goals for performance, each with the figure of this run: python -m bench.goals.

    python -m bench.goals --short      in about two minutes, with more noise
    python -m bench.goals --write      also writes the table into docs/performance.md

A goal is measured within one run, beside the program that it names. The functions of the other benchmarks measure. A
figure that needs a missing program says so. Run this on a machine that does nothing else.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median, quantiles
from time import monotonic
from typing import NamedTuple

from bench import durable, gateway, inprocess, isolated, start, throughput
from bench.compare import PAGE, SERVERS, Figure, Site, bare_on, cpu_of, ours_on, over, rates_of, write
from bench.events import EVENTS
from bench.peers import PEERS

MARKS = "<!-- goals: python -m bench.goals --write -->", "<!-- end of goals -->"
GRANIAN, SYNC = "granian, 1 worker", "gunicorn sync, 2 workers"
GTHREAD = "gunicorn gthread, 1 worker with 4 threads"
FASTEST = ("granian, 2 workers", "bjoern")
ISOLATED = {"gthread": (*SERVERS[GTHREAD][:-1], "16"), "granian": SERVERS[GRANIAN]}
GO = PEERS["go-net-http"]


class Effort(NamedTuple):
    """The amount of work for each figure."""

    rounds: int  # over the servers
    seconds: int  # of load on each server in a round
    connections: int
    turns: int  # of calls in one process
    calls: int  # warm calls
    starts: int  # cold starts of a kind
    servers: int  # starts of a server


FULL = Effort(rounds=3, seconds=2, connections=16, turns=1000, calls=2000, starts=40, servers=9)
SHORT = Effort(rounds=2, seconds=1, connections=16, turns=300, calls=500, starts=10, servers=3)


class Missing(Exception):
    """A program that a figure needs is not installed."""


class Goal(NamedTuple):
    """A goal.

    Args:
        text: what is measured.
        limit: the greatest value that meets the goal, or the least one if ``is_least``.
        measure: returns the `Figure`. Raises `Missing`.
    """

    text: str
    limit: float
    measure: Callable[[Effort], Figure]
    is_least: bool = False
    unit: str = ""

    def row(self, effort):
        """Return the columns of the table."""
        wanted = f"{'≥' if self.is_least else '≤'} {self.limit:g}{self.unit}"
        try:
            figure = self.measure(effort)
        except (Missing, RuntimeError) as error:
            return self.text, wanted, f"not measured: {str(error).partition(chr(10))[0]}", ""
        is_met = figure.median >= self.limit if self.is_least else figure.median <= self.limit
        return self.text, wanted, str(figure), "met" if is_met else "short"


def over_go(size):
    """Return a measure: the faster of our fastest servers over Go's own HTTP server."""

    def measure(effort):
        _require("wrk")
        if not GO.is_installed:
            raise Missing(f"python -m bench.peers {GO.name} installs the server in Go")
        servers = [name for name in FASTEST if find_spec(name.partition(",")[0])]
        contenders = {"go": GO, **{name: ours_on(SERVERS[name]) for name in servers}}
        rates = rates_of(contenders, EVENTS[size], effort)
        cpu = f"Go {cpu_of(rates['go']):.0f} µs of CPU a call"
        figures = [over(rates[name], rates["go"])._replace(note=f"{name}; {cpu}") for name in servers]
        return max(figures, key=lambda figure: figure.median)

    return measure


def over_bare(effort):
    """Return our requests on granian over those of the bare application."""
    _require("wrk", "granian")
    argv = SERVERS[GRANIAN]
    rates = rates_of({"bare": bare_on(argv), "ours": ours_on(argv)}, EVENTS["20 B"], effort)
    return over(rates["ours"], rates["bare"])


def over_minimal(server):
    """Return a measure: our requests on a server over those of the least that each Invoke needs."""

    def measure(effort):
        _require("wrk")
        argv = SERVERS[server]
        both = {"minimal": Site(argv, throughput.CONTENDERS[throughput.MINIMAL]), "ours": ours_on(argv)}
        rates = rates_of(both, EVENTS["20 B"], effort._replace(connections=throughput.CONNECTIONS))
        return over(rates["ours"], rates["minimal"])

    return measure


def in_process(effort):
    """Return the time that one call takes over the bare application, in units of the bare call."""
    rows, figures = inprocess.measure(effort.turns // 5, {"20 B": EVENTS["20 B"]})
    bare, _, times = figures["20 B"]
    (default,) = [time for row, time in zip(rows, times, strict=True) if row.name == inprocess.DEFAULT]
    return Figure([(default - bare) / bare])


def routed(kind):
    """Return a measure: the microseconds of a routed request of a kind over those of a direct Invoke."""

    def measure(effort):
        times = gateway.measure(effort.turns)
        return Figure([min(times[kind]) - min(times["Invoke"])])

    return measure


def many_routes(effort):
    """Return the time of a request to a route among 10,000, over that of a request to the only route."""
    times = gateway.measure(effort.turns)
    return Figure([min(times["the same among 10,000 routes"]) / min(times["HTTP API, payload 2.0"])])


def first_answer(effort):
    """Return the time from exec to the first answer over the bare application's."""
    starts, _ = start.measure(effort.servers)
    return Figure([ours.wall / bare.wall for ours, bare in zip(starts["ours"], starts["bare"], strict=True)])


def warm(effort):
    """Return the time of warm isolated calls over that of ping-pongs: the tenth percentile of each.

    The median of the ping-pong is 25 or 70 µs, by the processors on which the kernel puts its two processes.
    """
    with isolated.executing("auto") as executor:
        rounds = [isolated.warm(executor, effort.calls) for _ in range(5)]
    lows = [{name: quantiles(times, n=10)[0] for name, times in each.items()} for each in rounds]
    return Figure([low["warm call"] / low["ping-pong"] for low in lows])


def isolated_over_http(server, connections):
    """Return a measure: requests of an isolated function over those with AWS's own HTTP client in its environment."""

    def measure(effort):
        _require("wrk", *(["granian"] if server == "granian" else []))
        argv = ISOLATED[server]
        both = {
            "http": ours_on(argv, SERVERFULL_EXECUTOR="process", SERVERFULL_PYTHON_TRANSPORT="http"),
            "ours": ours_on(argv, SERVERFULL_EXECUTOR="process"),
        }
        rates = rates_of(both, EVENTS["20 B"], effort._replace(connections=connections))
        return over(rates["ours"], rates["http"])

    return measure


def cold(effort):
    """Return the milliseconds of the median cold start by fork in an environment with a root of its own."""
    with isolated.executing("root") as fork, isolated.executing("root", preload=isolated.NO_FORK) as execs:
        return Figure([median(isolated.cold(fork, execs, effort.starts)["fork"]) * 1000])


def snap_start(effort):
    """Return the median start from a snapshot over that of an ordinary start, for a function that imports boto3."""
    if not find_spec("boto3"):
        raise Missing("pip install boto3")
    return Figure([isolated.middle_ratio(*isolated.restored("boto3", effort.starts).values())])


def accepts(clients):
    """Return a measure: durable accepts over requests of the bare application. The same process runs the events.

    The note is the ratio of the least that an accept needs: the bare application with one insert into SQLite.
    """

    def measure(effort):
        _require("wrk")
        with tempfile.TemporaryDirectory() as folder:
            ours, least = durable.accepts_over_bare(Path(folder), clients, effort)
        return Figure(ours, f"the least of an accept {median(least):.2f}")

    return measure


def _require(*programs):
    missing = [name for name in programs if not (shutil.which(name) or find_spec(name))]
    if missing:
        raise Missing(f"{missing[0]} is not installed")


GOALS = [
    Goal("20 B over the least of an Invoke API in Go, the fastest WSGI server", 0.75, over_go("20 B"), is_least=True),
    Goal("10 KB over the least of an Invoke API in Go, the fastest WSGI server", 1.1, over_go("10 KB"), is_least=True),
    Goal(f"over bare, {GRANIAN}", 0.6, over_bare, is_least=True),
    Goal("over the least of Invoke, gunicorn sync", 0.95, over_minimal(SYNC), is_least=True),
    Goal("over the least of Invoke, gunicorn gthread", 0.95, over_minimal(GTHREAD), is_least=True),
    Goal("one call in one process over bare, in bare calls", 1.5, in_process),
    Goal("exec to the first answer, over bare", 1.6, first_answer),
    Goal("a warm isolated call over a ping-pong, 10th percentiles", 6, warm),
    *(
        Goal(
            f"isolated on {server}, {connections} client{'s' * (connections > 1)}, over AWS's HTTP client",
            1.5 if (server, connections) == ("gthread", 16) else 1,
            isolated_over_http(server, connections),
            is_least=True,
        )
        for server in ISOLATED
        for connections in (1, 16)
    ),
    Goal("cold start with a root of its own", 10, cold, unit=" ms"),
    Goal("SnapStart over an ordinary start, boto3", 0.1, snap_start),
    Goal("durable accepts over bare, 1 client", 0.5, accepts(1), is_least=True),
    Goal("durable accepts over bare, 16 clients", 0.7, accepts(16), is_least=True),
    Goal("a routed HTTP API call over Invoke, 1 KB", 25, routed("HTTP API, payload 2.0"), unit=" µs"),
    Goal("a route among 10,000 over the only route", 1.05, many_routes),
]


def main():
    options = _options()
    lines = ["| goal, 16 connections unless it says more | wanted | measured | |", "|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    for goal in GOALS:
        if any(word in goal.text for word in options.only or [""]):
            began = monotonic()
            lines.append(f"| {' | '.join(goal.row(SHORT if options.short else FULL))} |")
            print(lines[-1], flush=True)
            print(f"  took {monotonic() - began:.0f} s; load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    if options.write:
        write("\n".join(lines), MARKS)


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="measure with less effort")
    parser.add_argument("--only", nargs="*", metavar="WORD", help="measure the goals whose text has one of these words")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
