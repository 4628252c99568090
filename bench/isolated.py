"""Functions in processes of their own: warm calls, and cold starts by fork beside exec: python -m bench.isolated."""

import argparse
import os
from pathlib import Path
from time import perf_counter

from serverfull_wsgi import Function, FunctionName, Invocation, ProcessExecutor

NAME = FunctionName.parse("echo", region="us-east-1", account_id="123456789012")
ROOT = Path(__file__).parent.parent
NO_FORK = ["no_such_module"]  # a module that cannot be preloaded keeps the zygote from forking: then it execs


def main():
    options = _options()
    fork = ProcessExecutor(sandbox=options.sandbox, eager=True)
    execs = ProcessExecutor(sandbox=options.sandbox, preload=NO_FORK, eager=True)
    fork.start()
    execs.start()
    warm = sorted(_timed(fork, "warm") for _ in range(options.calls))
    starts = [(_timed(fork, f"f{n}"), _timed(execs, f"e{n}")) for n in range(options.starts)]  # alternating
    print(f"warm, {options.calls} calls: min {warm[0] * 1e6:.0f} us, {_percentiles(warm, 1e6)} us")
    for name, times in zip(("fork", "exec"), zip(*starts, strict=True), strict=True):
        print(f"cold start by {name}, {options.starts} starts: {_percentiles(sorted(times), 1e3)} ms")
    fork.close()
    execs.close()


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--sandbox", default="auto", choices=["auto", "process", "namespaces"])
    return parser.parse_args()


def _timed(executor, name):
    """Seconds of one call, to its answer."""
    function = Function("handlers.echo", name=name, code=os.fspath(ROOT / "bench"))
    invocation = Invocation(NAME, b'{"message": "twenty bytes"}', "8f507cfc-2a0a-4f19-9a8f-1d0f0c5a9e3b")
    started = perf_counter()
    outcome = executor.execute(function, invocation)
    taken = perf_counter() - started
    if outcome.function_error:
        raise RuntimeError(outcome.payload)
    return taken


def _percentiles(times, scale):
    return f"p50 {times[len(times) // 2] * scale:.1f}, p99 {times[len(times) * 99 // 100] * scale:.1f}"


if __name__ == "__main__":
    main()
