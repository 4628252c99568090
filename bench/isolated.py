"""Isolated functions: warm calls, memory of an environment, cold starts by fork and exec: python -m bench.isolated."""

import argparse
import os
from pathlib import Path
from time import perf_counter

from bench.bare_runtime_api import ID, BareRuntimeApi
from serverfull_wsgi import Function, FunctionName, Invocation, ProcessExecutor
from serverfull_wsgi.executors.isolated.sandbox.linux import descendants

EVENT = b'{"message": "twenty bytes"}'
NAME = FunctionName.parse("echo", region="us-east-1", account_id="123456789012")
ROOT = Path(__file__).parent.parent
NO_FORK = ["no_such_module"]  # a zygote that cannot preload its modules starts environments by exec, not by fork


def main():
    options = _options()
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


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000, help="warm calls (default: 3000)")
    parser.add_argument("--starts", type=int, default=50, help="cold starts of each kind (default: 50)")
    parser.add_argument(
        "--environments", type=int, default=10, help="environments whose memory is measured (default: 10)"
    )
    parser.add_argument("--sandbox", default="auto", choices=["auto", "process", "namespaces"])
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
