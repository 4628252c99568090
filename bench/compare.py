"""Requests per second on each WSGI server over a bare application, and beside other servers of functions.

    python -m bench.compare                  prints the tables
    python -m bench.compare --write          also writes them into docs/performance.md

In each round every server is loaded in turn. A figure is the median of the rounds' ratios, with the least and the
greatest.
"""

import argparse
import re
import shutil
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from statistics import median
from typing import NamedTuple

from bench import load
from bench.events import EVENTS, SIZES
from bench.peers import PEERS, Peer
from bench.servers import PATH, ROOT, running

GUNICORN = ("-m", "gunicorn", "{application}", "--bind", "127.0.0.1:{port}", "--no-control-socket")
GRANIAN = (*GUNICORN, "--worker-class", "serverfull_wsgi.workers.GranianWorker", "--threads", "64")
SERVERS = {  # Python's arguments, by the server's name in the table
    "bjoern": ("-m", "bench.bjoern_server", "{application}", "{port}"),
    "granian, 1 worker": GRANIAN,
    "granian, 2 workers": (*GRANIAN, "--workers", "2"),
    "gunicorn sync, 2 workers": (*GUNICORN, "--worker-class", "sync", "--workers", "2"),
    "gunicorn gthread, 1 worker with 4 threads": (*GUNICORN, "--worker-class", "gthread", "--threads", "4"),
}
NEEDS = {"bjoern": "bjoern", "granian": "granian"}  # a module, by the first word of the server's name
REFERENCE = "gunicorn gthread, 1 worker with 4 threads"  # the peers' requests are divided by ours on this server
PAGE = ROOT / "docs/performance.md"
MARKS = "<!-- compared: python -m bench.compare --write -->", "<!-- end of compared -->"


class Site(NamedTuple):
    """An application under a WSGI server.

    Args:
        argv: Python's arguments, one of `SERVERS`.
        application: gunicorn's name of the application.
        environ: further variables of the server.
        path: the path to which an event is posted.
        headers: further header fields of each request.
    """

    argv: tuple
    application: str
    environ: dict = {}  # noqa: RUF012  (never changed)
    path: str = PATH
    headers: dict = {}  # noqa: RUF012  (never changed)


ENVIRON = {"SERVERFULL_EVENTS": "memory", "SERVERFULL_FUNCTIONS": "echo=bench.handlers.echo"}


def bare_on(argv):
    return Site(argv, "bench.apps:bare")


def ours_on(argv, **environ):
    return Site(argv, "serverfull_wsgi:app", {**ENVIRON, **environ})


class Figure(NamedTuple):
    """A figure over the rounds: a ratio in each, or one for all of them. ``note`` is for the reader."""

    values: list
    note: str = ""

    @property
    def median(self):
        return median(self.values)

    def __str__(self):
        spread = f" ({min(self.values):.2f} to {max(self.values):.2f})" if len(self.values) > 1 else ""
        return f"{self.median:.2f}{spread}{self.note and ', '}{self.note}"


def main():
    options = _options()
    servers = {name: argv for name, argv in SERVERS.items() if _is_chosen(name, options.servers) and _is_there(name)}
    others = [peer for peer in PEERS.values() if _is_chosen(peer.name, options.peers) and peer.is_installed]
    try:
        text = "\n".join(_tables(servers, others, options))
    except RuntimeError as error:
        sys.exit(f"bench.compare: {error}")
    print(text)
    if options.write:
        write(text, MARKS)


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default="", help="first words of servers, by commas (default: all installed)")
    parser.add_argument(
        "--peers", default="", help="names of installed peers, by commas (default: all); see bench.peers"
    )
    parser.add_argument(
        "--sizes", default=",".join(EVENTS), help=f"events: {', '.join(SIZES)} (default: {', '.join(EVENTS)})"
    )
    parser.add_argument("--connections", type=int, default=16, help="connections (default: 16)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds over all servers (default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="seconds of load in each round (default: 3)")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        parser.error("wrk is not installed (Debian: apt-get install wrk)")
    return options


def _is_chosen(name, chosen):
    return not chosen or any(name.startswith(word.strip()) for word in chosen.split(","))


def _is_there(name):
    module = NEEDS.get(re.match(r"\w+", name)[0])
    if module is None or find_spec(module):
        return True
    print(f"left out: {name} (pip install {module})", file=sys.stderr)
    return False


def _tables(servers, others, options):
    """Yield the lines of both tables."""
    sizes = [size for size in SIZES if size in options.sizes.split(",")]
    yield f"| server | {' | '.join(f'{size} over bare' for size in sizes)} | CPU of a {sizes[0]} call, µs: bare, ours |"
    yield "|---|" + "---|" * (len(sizes) + 1)
    for name, argv in servers.items():
        both = {"bare": bare_on(argv), "ours": ours_on(argv)}
        rates = {size: rates_of(both, SIZES[size], options) for size in sizes}
        ratios = [str(over(rates[size]["ours"], rates[size]["bare"])) for size in sizes]
        bare, ours = (cpu_of(rates[sizes[0]][contender]) for contender in ("bare", "ours"))
        yield f"| {name} | {' | '.join(ratios)} | {bare:.0f}, {ours:.0f} |"
    if others:
        yield ""
        yield f"| peer, {sizes[0]} | requests over ours on {REFERENCE} |"
        yield "|---|---|"
        contenders = {"ours": ours_on(SERVERS[REFERENCE]), **{peer.name: peer for peer in others}}
        rates = rates_of(contenders, SIZES[sizes[0]], options)
        for peer in others:
            yield f"| {peer.name} | {over(rates[peer.name], rates['ours'])} |"


def rates_of(contenders, event, options):
    """Return the rates of each contender, one for each round. All run at once, and one after the other is loaded.

    Args:
        contenders: a `Site` or a `Peer` by name.
        event: the event that is posted.
        options: ``connections``, ``rounds``, and the ``seconds`` of load in each round.
    """
    with ExitStack() as stack:
        started = {name: stack.enter_context(_start(contender)) for name, contender in contenders.items()}
        for server in started.values():
            server.wait(event)
            load.warm_up(server, event, options.connections)
        rates = {name: [] for name in started}
        for _ in range(options.rounds):
            for name, server in started.items():
                rates[name].append(load.run(server, event, options.connections, options.seconds, server.headers))
        return rates


def _start(contender):
    """Return the context in which an application or a peer runs."""
    path, headers = contender.path, contender.headers
    if isinstance(contender, Peer):
        return running(contender.start, path=path, headers=headers, cwd=contender.folder, prepare=contender.prepare)
    words = [sys.executable, *contender.argv]

    def command(port):
        return [word.format(application=contender.application, port=port) for word in words], contender.environ

    return running(command, path=path, headers=headers)


def over(ours, others):
    """Return the requests per second of one contender over those of another, round by round."""
    return Figure([our.per_second / other.per_second for our, other in zip(ours, others, strict=True)])


def cpu_of(rates):
    """Return the CPU time of one call in microseconds. It depends less on other programs than the rate does."""
    return median(1e6 / rate.per_cpu_second for rate in rates)


def write(text, marks):
    """Replace the text between two lines of docs/performance.md."""
    before, _, rest = PAGE.read_text().partition(marks[0])
    _, _, after = rest.partition(marks[1])
    if not after:
        sys.exit(f"{PAGE} has no lines {' and '.join(marks)}")
    PAGE.write_text(f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{after}")


if __name__ == "__main__":
    main()
