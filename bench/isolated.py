"""Functions in processes of their own, warm beside a bare loop, cold by fork beside exec: python -m bench.isolated."""

import argparse
import os
from pathlib import Path
from time import perf_counter

from bench.bare import ID, BareLoop
from serverfull_wsgi import Function, FunctionName, Invocation, ProcessExecutor
from serverfull_wsgi.executors.isolated.sandbox.linux import descendants

EVENT = b'{"message": "twenty bytes"}'
NAME = FunctionName.parse("echo", region="us-east-1", account_id="123456789012")
ROOT = Path(__file__).parent.parent
NO_FORK = ["no_such_module"]  # a module that cannot be preloaded keeps the zygote from forking: then it execs


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
    """Alternating, each in a process that waits."""
    bare = BareLoop("handlers.echo")
    _timed(executor, "warm")
    pairs = [(bare.timed(EVENT), _timed(executor, "warm")) for _ in range(calls)]
    bare.close()
    for name, times in zip(("bare Runtime API loop", "warm call"), zip(*pairs, strict=True), strict=True):
        print(f"{name}, {calls} calls: min {min(times) * 1e6:.0f}, {_percentiles(times, 1e6)} us")


def memory(executor, environments):
    """Of environments that have each run one invocation: what the next one costs."""
    before = set(_processes())
    for number in range(environments):
        _timed(executor, f"m{number}")
    pages = sum(map(_private, set(_processes()) - before))
    print(f"private memory of one more warm environment, of {environments}: {pages / environments / 1024:.1f} MiB")


def cold(fork, execs, starts):
    """Alternating."""
    pairs = [(_timed(fork, f"f{n}"), _timed(execs, f"e{n}")) for n in range(starts)]
    for name, times in zip(("fork", "exec"), zip(*pairs, strict=True), strict=True):
        print(f"cold start by {name}, {starts} starts: {_percentiles(times, 1e3)} ms")


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--environments", type=int, default=10, help="of which the memory is measured")
    parser.add_argument("--sandbox", default="auto", choices=["auto", "process", "namespaces"])
    return parser.parse_args()


def _timed(executor, name):
    """Seconds of one call, to its answer."""
    function = Function("handlers.echo", name=name, code=os.fspath(ROOT / "bench"))
    invocation = Invocation(NAME, EVENT, ID)
    started = perf_counter()
    outcome = executor.execute(function, invocation)
    taken = perf_counter() - started
    if outcome.function_error:
        raise RuntimeError(outcome.payload)
    return taken


def _processes():
    return descendants(os.getpid())


def _private(pid):
    """KiB that a process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def _percentiles(times, scale):
    ordered = sorted(times)
    return f"p50 {ordered[len(ordered) // 2] * scale:.1f}, p99 {ordered[len(ordered) * 99 // 100] * scale:.1f}"


if __name__ == "__main__":
    main()
