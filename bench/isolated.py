"""Isolated functions: warm calls, memory of an environment, cold starts by fork, by exec and from a snapshot.

Run ``python -m bench.isolated``, or ``python -m bench.isolated snapshots`` for the last part alone. Cold starts of a
function that imports numpy need numpy in the folder of ``--python-modules``.
"""

import argparse
import importlib.util
import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter, sleep

from bench.bare_runtime_api import ID, BareRuntimeApi
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
    fork = ProcessExecutor(sandbox=options.sandbox, eager=True)
    execs = ProcessExecutor(sandbox=options.sandbox, preload=NO_FORK, eager=True)
    fork.start()
    execs.start()
    warm(fork, options.calls)
    memory(fork, options.environments)
    cold(fork, execs, options.starts)
    fork.close()
    execs.close()


def warm(executor, calls):
    """Print the times of warm calls, alternating with the minimal Runtime API."""
    bare = BareRuntimeApi("handlers.echo")
    _timed_call(executor, "warm")
    pairs = [(bare.timed_call(EVENT), _timed_call(executor, "warm")) for _ in range(calls)]
    bare.close()
    for name, times in zip(("minimal Runtime API", "warm call"), zip(*pairs, strict=True), strict=True):
        print(f"{name}, {calls} calls: min {min(times) * 1e6:.0f}, {_percentiles(times, 1e6)} us")


def memory(executor, environments):
    """Print the private memory of one more environment; each has run one invocation."""
    before = set(_processes())
    for number in range(environments):
        _timed_call(executor, f"m{number}")
    pages = sum(map(_private, set(_processes()) - before))
    print(f"private memory of one more warm environment, of {environments}: {pages / environments / 1024:.1f} MiB")


def cold(fork, execs, starts):
    """Print the times of cold starts by fork, alternating with starts by exec."""
    pairs = [(_timed_call(fork, f"f{n}"), _timed_call(execs, f"e{n}")) for n in range(starts)]
    for name, times in zip(("fork", "exec"), zip(*pairs, strict=True), strict=True):
        print(f"cold start by {name}, {starts} starts: {_percentiles(times, 1e3)} ms")


def snapshots(options):
    """Print the times of cold starts of functions that import much: from a snapshot, alternating with ordinary ones."""
    with tempfile.TemporaryDirectory() as folder:
        for module in ("boto3", "numpy"):
            if not (importlib.util.find_spec(module) or (Path(options.python_modules) / module).is_dir()):
                print(f"{module} is not installed: no cold starts of a function that imports it")
                continue
            code = Path(folder) / module
            code.mkdir()
            (code / "app.py").write_text(IMPORTING.format(module=module))
            function = Function("app.handler", name=module, code=str(code), timeout=30, memory_size=512)
            _compare_starts(function, options)


def _compare_starts(function, options):
    silent = logging.Logger("silent", logging.CRITICAL)  # each end of an environment is an error in the log
    settings = {"sandbox": options.sandbox, "python_modules": options.python_modules, "logger": silent}
    ordinary, restored = (ProcessExecutor(eager=True, **settings) for _ in range(2))
    pairs = []
    try:
        for _ in range(options.starts):
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
    finally:
        ordinary.close()
        restored.close()
    columns = [sorted(times) for times in zip(*pairs, strict=True)]
    for name, times in zip(("ordinary", "SnapStart"), columns, strict=True):
        print(f"cold start with {function.name}, {name}, {options.starts} starts: {_percentiles(times, 1e3)} ms")
    old, new = (times[len(times) // 2] for times in columns)
    print(f"cold start with {function.name}, SnapStart over ordinary: {new / old:.3f}")


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="all", choices=["all", "snapshots"])
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
