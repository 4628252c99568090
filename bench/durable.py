"""Durable events accepted and run per second, in SQLite and through RabbitMQ: python -m bench.durable."""

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench import load
from bench.apps import synced_table
from bench.events import SMALL
from bench.servers import ROOT, serving

GTHREAD = ["--worker-class", "gthread", "--workers", "1", "--threads", "16"]
GUNICORN_CONFIG = ["--config", str(ROOT / "examples/gunicorn.conf.py")]
EVENT = {"X-Amz-Invocation-Type": "Event"}


def main():
    options = _options()
    if not shutil.which("wrk"):
        sys.exit("bench.durable needs wrk (Debian: apt-get install wrk)")
    print(f"{options.rounds} rounds of {options.seconds} s; a JSON event of {len(SMALL)} bytes; medians")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        _lower_bounds(Path(folder))
        for clients in (1, 16):
            _accepts(Path(folder, f"clients-{clients}"), clients, options)
        _end_to_end(Path(folder, "end-to-end"), options)
        _backlog(Path(folder, "backlog"), options.backlog)
        _broker(Path(folder, "broker"), options)


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds over both servers (default: 5)")
    parser.add_argument(
        "--seconds", type=int, default=2, help="seconds of load on each server in each round (default: 2)"
    )
    parser.add_argument("--backlog", type=int, default=100_000, help="waiting events (default: 100000)")
    parser.add_argument(
        "--folder", default=None, help="directory for the events; its disk is measured (default: a temporary one)"
    )
    return parser.parse_args()


def _lower_bounds(folder):
    """Print the time of the disk's sync and the rate of a plain SQLite loop: no store of events can be faster."""
    with open(folder / "sync", "wb") as file:
        times = []
        for _ in range(300):
            file.write(b"x" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    print(f"  fdatasync of 4 KiB                   {median(times) * 1e6:8.0f} us")
    with contextlib.closing(synced_table(folder / "bare.sqlite3")) as db:
        started = time.perf_counter()
        for _ in range(2000):
            db.execute("INSERT INTO event (body) VALUES (?)", (SMALL,))
        print(f"  a bare SQLite insert loop, one thread{2000 / (time.perf_counter() - started):8.0f} inserts/s")


def _environ(folder, **settings):
    functions = {"SERVERFULL_FUNCTIONS": "echo=bench.handlers.echo", "SERVERFULL_RUNTIME_LOGGER_LEVEL": "WARNING"}
    return {**functions, "SERVERFULL_DATA_DIR": str(folder), **settings}


@contextlib.contextmanager
def _worker(environ):
    """Run the events in another process, so that the server only accepts them."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "serverfull_wsgi", "worker"], cwd=ROOT, env={**os.environ, **environ}
    )
    try:
        time.sleep(2)
        yield
    finally:
        worker.terminate()
        worker.wait(60)


def _accepts(folder, clients, options):
    environ = _environ(folder)
    with serving_all(environ) as servers:
        with _worker(environ):
            _show(clients, "another process runs them", rates_of(servers, clients, options))
        _show(clients, "the server runs them too", rates_of(servers, clients, options))


def _show(clients, runner, rates):
    base, least, accepted = (median(rates[name]) for name in ("bare", "least", "ours"))
    print(
        f"  accepts, {clients:2} clients, {runner:26}{accepted:8.0f} /s; bare {base:6.0f} /s, ratio "
        f"{_ratio(rates, 'ours', 'bare'):.2f}; the least {least:6.0f} /s, ratio {_ratio(rates, 'ours', 'least'):.2f}; "
        f"the least over bare {_ratio(rates, 'least', 'bare'):.2f}"
    )


def _ratio(rates, one, other):
    return median(_ratios(rates, one, other))


def _ratios(rates, one, other):
    return [one / other for one, other in zip(rates[one], rates[other], strict=True)]


def accepts_over_bare(folder, clients, options):
    """Return the accepts per second over the bare application's requests, of ours and of the least, for each round.

    The process that accepts the events runs them too.
    """
    with serving_all(_environ(folder)) as servers:
        rates = rates_of(servers, clients, options)
    return _ratios(rates, "ours", "bare"), _ratios(rates, "least", "bare")


@contextlib.contextmanager
def serving_all(environ):
    """Run the bare application, the least of a durable accept, and ours until the block ends. Yield them by name."""
    with (
        serving("bench.apps:bare", GTHREAD, {}) as bare,
        serving("bench.apps:minimal_accept", GTHREAD, environ) as least,
        serving("serverfull_wsgi:app", GTHREAD + GUNICORN_CONFIG, environ) as ours,
    ):
        servers = {"bare": bare, "least": least, "ours": ours}
        for server in servers.values():
            server.wait(SMALL)
            load.warm_up(server, SMALL, 1)
        yield servers


def rates_of(servers, clients, options):
    """Return the requests per second of each server, by its name, one for each round."""
    rates = {name: [] for name in servers}
    for _ in range(options.rounds):
        for name, server in servers.items():
            rates[name].append(load.run(server, SMALL, clients, options.seconds, EVENT).per_second)
    return rates


def _end_to_end(folder, options):
    with serving("serverfull_wsgi:app", GTHREAD + GUNICORN_CONFIG, _environ(folder)) as server:
        server.wait(SMALL)
        started = time.perf_counter()
        load.run(server, SMALL, 16, options.seconds, EVENT)
        with contextlib.closing(sqlite3.connect(folder / "events.sqlite3", timeout=30)) as db:
            while db.execute("SELECT 1 FROM event WHERE due IS NOT NULL LIMIT 1").fetchone():
                time.sleep(0.05)
            seconds = time.perf_counter() - started
            count, failed = db.execute("SELECT count(*), sum(state != 'succeeded') FROM event").fetchone()
    print(f"  end to end, no-op function           {count / seconds:8.0f} events/s ({count} events, {failed} failed)")


def _backlog(folder, size):
    """Print the time of one accept without waiting events, and with ``size`` of them."""
    from serverfull_wsgi import EventConfig, FunctionName, Invocation
    from serverfull_wsgi.queues.sqlite import statements
    from serverfull_wsgi.queues.sqlite.store import Store

    name = FunctionName.parse("echo", region="us-east-1", account_id="123456789012")
    folder.mkdir()
    with contextlib.closing(Store(folder / "events.sqlite3")) as store:

        def accept(number):
            invocation = Invocation(name, SMALL, f"{number:036}")
            return lambda db: statements.insert(db, invocation, EventConfig(), "", store.now(), time.time())

        def latency(first):
            times = []
            for number in range(first, first + 300):
                started = time.perf_counter()
                store.write(accept(number))
                times.append(time.perf_counter() - started)
            return median(times) * 1e6

        empty = latency(0)
        for first in range(1000, 1000 + size, 1000):
            store.write(lambda db, first=first: [accept(number)(db) for number in range(first, first + 1000)])
        full = latency(10_000_000)
    print(json.dumps({"accept, no events waiting, us": round(empty), f"accept, {size} waiting, us": round(full)}))


def _broker(folder, options):
    """Print the same rates with events in a RabbitMQ, which this run starts."""
    from tests.support.brokers import RabbitMQ, broker

    if reason := RabbitMQ.missing():
        print(f"  RabbitMQ: not measured, {reason}")
        return
    folder.mkdir()
    with broker(RabbitMQ, folder) as running:
        environ = _environ(folder, SERVERFULL_EVENTS=running.url)
        with serving_all(environ) as servers:
            for clients in (1, 16):
                _show(clients, "RabbitMQ", rates_of(servers, clients, options))
            _queue_length(running.url, purge=True)
            with _celery_worker(folder, environ):
                started = time.perf_counter()
                count = load.run(servers["ours"], SMALL, 16, options.seconds, EVENT).per_second * options.seconds
                while _queue_length(running.url):
                    time.sleep(0.05)
                seconds = time.perf_counter() - started
    print(f"  end to end, no-op function, RabbitMQ {count / seconds:8.0f} events/s ({count:.0f} events, 4 processes)")


@contextlib.contextmanager
def _celery_worker(folder, environ):
    """Run a worker of four processes until the block ends."""
    command = [Path(sys.executable).parent / "celery", "-A", "serverfull_wsgi.celery", "worker", "--concurrency", "4"]
    with open(folder / "worker", "wb") as log:
        worker = subprocess.Popen(
            [*command, "--loglevel", "WARNING"], cwd=ROOT, env={**os.environ, **environ}, stdout=log, stderr=log
        )
    try:
        time.sleep(5)
        yield
    finally:
        worker.terminate()
        worker.wait(60)


def _queue_length(url, purge=False):
    """Return the number of messages in the queue, after removing them if ``purge`` is true."""
    from kombu import Connection

    with Connection(url) as connection:
        channel = connection.default_channel
        if purge:
            channel.queue_purge("serverfull")
        return channel.queue_declare("serverfull", passive=True).message_count


if __name__ == "__main__":
    main()
