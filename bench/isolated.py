"""Isolated functions: warm calls, memory of an environment, cold starts by fork, by exec and from a snapshot.

Run ``python -m bench.isolated``, or ``python -m bench.isolated warm`` or ``snapshots`` for one part alone. Cold starts
of a function that imports numpy need numpy in the folder of ``--python-modules``.
"""

import argparse
import contextlib
import importlib.util
import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

from bench.bare_runtime_api import ID, BareRuntimeApi, PingPong
from serverfull_wsgi import Function, FunctionName, Invocation, ProcessExecutor
from serverfull_wsgi.executors.isolated.sandbox.linux import descendants

EVENT = b'{"message": "twenty bytes"}'
NAME = FunctionName.parse("echo", region="us-east-1", account_id="123456789012")
ROOT = Path(__file__).parent.parent
NO_FORK = ["no_such_module"]  # a zygote that cannot preload its modules starts environments by exec, not by fork


# A call with the event "end" ends its environment, so that the next one starts another.
IMPORTING = """import os
import {module}

def handler(event, context):
    if event == "end":
        os._exit(0)
"""
PAUSE = 0.1  # seconds before each start, as between calls that are rare; a spare process is forked meanwhile


def main():
    options = _options()
    if options.part in ("all", "snapshots"):
        snapshots(options)
    if options.part == "snapshots":
        return
    with executing(options.sandbox) as fork:
        with executing(options.sandbox, python_transport="http") as http:
            times_by_name = warm(fork, options.calls, {"warm call over http": http})
        raw = median(times_by_name["ping-pong"])
        for name, times in times_by_name.items():
            figures = f"min {min(times) * 1e6:.0f}, {_percentiles(times, 1e6)} us, {median(times) / raw:.1f} x raw"
            print(f"{name}, {options.calls} calls: {figures}")
        if options.part == "all":
            memory(fork, options.environments)
            with executing(options.sandbox, preload=NO_FORK) as execs:
                for name, times in cold(fork, execs, options.starts).items():
                    print(f"cold start by {name}, {options.starts} starts: {_percentiles(times, 1e3)} ms")


@contextlib.contextmanager
def executing(sandbox, **options):
    """Return an executor that has started. It closes at the end of the block."""
    executor = ProcessExecutor(sandbox=sandbox, eager=True, **options)
    executor.start()
    try:
        yield executor
    finally:
        executor.close()


def warm(executor, calls, others=None):
    """Return the seconds of warm calls by name, in turns with a ping-pong and with the minimal Runtime API.

    ``others`` are further executors by the name of their calls.
    """
    executors = {"warm call": executor, **(others or {})}
    ping_pong, bare = PingPong(), BareRuntimeApi("handlers.echo")
    for each in executors.values():
        _timed_call(each, "warm")
    turns = [
        (ping_pong.timed_call(EVENT), bare.timed_call(EVENT), *(_timed_call(one, "warm") for one in executors.values()))
        for _ in range(calls)
    ]
    ping_pong.close()
    bare.close()
    return dict(zip(("ping-pong", "minimal Runtime API", *executors), zip(*turns, strict=True), strict=True))


def memory(executor, environments):
    """Print the private memory of one more environment; each has run one invocation."""
    before = set(_processes())
    for number in range(environments):
        _timed_call(executor, f"m{number}")
    pages = sum(map(_private, set(_processes()) - before))
    print(f"private memory of one more warm environment, of {environments}: {pages / environments / 1024:.1f} MiB")


def cold(fork, execs, starts):
    """Return the seconds of cold starts by fork, in turns with starts by exec."""
    pairs = [(_timed_call(fork, f"f{n}"), _timed_call(execs, f"e{n}")) for n in range(starts)]
    return dict(zip(("fork", "exec"), zip(*pairs, strict=True), strict=True))


def snapshots(options):
    """Print the times of cold starts of functions that import much: from a snapshot, in turns with ordinary ones."""
    for module in ("boto3", "numpy"):
        if not (importlib.util.find_spec(module) or (Path(options.python_modules) / module).is_dir()):
            print(f"{module} is not installed: no cold starts of a function that imports it")
            continue
        columns = restored(module, options.starts, options.sandbox, options.python_modules)
        for name, times in columns.items():
            print(f"cold start with {module}, {name}, {options.starts} starts: {_percentiles(times, 1e3)} ms")
        print(f"cold start with {module}, SnapStart over ordinary: {middle_ratio(*columns.values()):.3f}")


def middle_ratio(others, ours):
    """Return the ratio of two medians."""
    return median(ours) / median(others)


def restored(module, starts, sandbox="auto", python_modules=""):
    """Return the seconds of cold starts of a function that imports ``module``: ordinary ones, and from a snapshot."""
    silent = logging.Logger("silent", logging.CRITICAL)  # each end of an environment is an error in the log
    settings = {"python_modules": python_modules, "logger": silent}
    pairs = []
    with (
        tempfile.TemporaryDirectory() as code,
        executing(sandbox, **settings) as ordinary,
        executing(sandbox, **settings) as restored,
    ):
        Path(code, "app.py").write_text(IMPORTING.format(module=module))
        function = Function("app.handler", name=module, code=code, timeout=30, memory_size=512)
        for _ in range(starts):
            pair = []
            for executor, one in ((ordinary, function), (restored, replace(function, snap_start=True))):
                executor.execute(one, Invocation(NAME, b'"end"', ID))
                sleep(PAUSE)
                started = perf_counter()
                outcome = executor.execute(one, Invocation(NAME, b"{}", ID))
                pair.append(perf_counter() - started)
                if outcome.function_error or (outcome.restore_duration is None) == one.snap_start:
                    raise RuntimeError(outcome)
            pairs.append(pair)
    return dict(zip(("ordinary", "SnapStart"), zip(*pairs, strict=True), strict=True))


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="all", choices=["all", "warm", "snapshots"])
    parser.add_argument("--python-modules", default="", help="a folder of packages for the functions that import much")
    parser.add_argument("--calls", type=int, default=3000, help="warm calls (default: 3000)")
    parser.add_argument("--starts", type=int, default=50, help="cold starts of each kind (default: 50)")
    parser.add_argument(
        "--environments", type=int, default=10, help="environments whose memory is measured (default: 10)"
    )
    parser.add_argument("--sandbox", default="auto", choices=["auto", "root", "namespaces", "process"])
    return parser.parse_args()


def _timed_call(executor, name):
    """Return the seconds of one call."""
    function = Function("handlers.echo", name=name, code=os.fspath(ROOT / "bench"))
    invocation = Invocation(NAME, EVENT, ID)
    started = perf_counter()
    outcome = executor.execute(function, invocation)
    seconds = perf_counter() - started
    if outcome.function_error:
        raise RuntimeError(outcome.payload)
    return seconds


def _processes():
    return descendants(os.getpid())


def _private(pid):
    """Return the KiB of memory that a process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def _percentiles(times, scale):
    ordered = sorted(times)
    return f"p50 {ordered[len(ordered) // 2] * scale:.1f}, p99 {ordered[len(ordered) * 99 // 100] * scale:.1f}"


if __name__ == "__main__":
    main()
