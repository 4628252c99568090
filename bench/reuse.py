"""Calls after an environment has ended, and calls a second: python -m bench.reuse [--before FOLDER].

A handler answers and ends its process at once; the next call is innocent and must not fail. With ``--before``, another
checkout of this repository (``git worktree add FOLDER REVISION``) makes the same calls in turns with this one.
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from statistics import median
from time import perf_counter

from bench.bare_runtime_api import ID
from serverfull_wsgi import Function, FunctionName, Invocation, ProcessExecutor

ROOT = Path(__file__).parent.parent
NAME = FunctionName.parse("it", region="us-east-1", account_id="123456789012")
SILENT = logging.getLogger("bench.reuse")  # a crash is several lines
CRASH = b'{"crash": true}'
OWN_RUNTIME = "python{}.{}".format(*sys.version_info)
CODE = {
    OWN_RUNTIME: (
        "app.py",
        "import os, threading\n"
        "def handler(event, context):\n"
        "    if event.get('crash'):\n"
        "        threading.Timer(1e-6, lambda: os._exit(1)).start()\n"
        "    return event\n",
    ),
    "nodejs20.x": (
        "app.js",
        "exports.handler = async (event) => {\n"
        "  if (event.crash) Promise.reject(new Error('lost'));\n"
        "  return event;\n"
        "};\n",
    ),
}
CLIENTS = (1, 16)


def main():
    SILENT.setLevel(logging.CRITICAL + 1)
    options = _options()
    if options.rate:
        print(json.dumps([_rate(clients, options.seconds) for clients in CLIENTS]))
        return
    for runtime in CODE:
        if runtime.startswith("nodejs") and not shutil.which("node"):
            print(f"{runtime}: not measured, since there is no node")
            continue
        failed = _failures(runtime, options.calls)
        print(
            f"{runtime}: {sum(failed.values())} of {options.calls} innocent calls failed {dict(failed) or ''}".rstrip()
        )
    if options.before:
        _compare(options)


def _options():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--calls", type=int, default=1000, help="innocent calls of each runtime (default: 1000)")
    parser.add_argument("--before", metavar="FOLDER", help="a checkout to compare the calls a second with")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of this comparison (default: 7)")
    parser.add_argument("--seconds", type=float, default=2, help="seconds of load in each round (default: 2)")
    parser.add_argument("--rate", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _function(folder, runtime):
    name, text = CODE[runtime]
    Path(folder, name).write_text(text)
    return Function("app.handler", name="it", code=os.fspath(folder), runtime=runtime, timeout=10)


def _call(executor, function, payload):
    return executor.execute(function, Invocation(NAME, payload, ID))


def _failures(runtime, calls):
    """Return the number of innocent calls that failed, by type of error."""
    failed = Counter()
    with tempfile.TemporaryDirectory() as folder:
        function, executor = _function(folder, runtime), ProcessExecutor(eager=True, logger=SILENT)
        executor.start()
        for _ in range(calls):
            _call(executor, function, CRASH)
            outcome = _call(executor, function, b"{}")
            if outcome.function_error:
                failed[json.loads(outcome.payload)["errorType"]] += 1
        executor.close()
    return failed


def _rate(clients, seconds):
    """Return the warm calls a second of this many threads."""
    with tempfile.TemporaryDirectory() as folder:
        function, executor = _function(folder, OWN_RUNTIME), ProcessExecutor(eager=True, logger=SILENT)
        executor.start()
        counts, barrier = [0] * clients, threading.Barrier(clients)

        def call(number):
            for _ in range(3):
                _call(executor, function, b"{}")
            barrier.wait()
            until = perf_counter() + seconds
            while perf_counter() < until:
                _call(executor, function, b"{}")
                counts[number] += 1

        threads = [threading.Thread(target=call, args=[number]) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        executor.close()
    return sum(counts) / seconds


def _compare(options):
    """Print the ratio of this checkout's calls a second to the other's, in turns."""
    pairs = [(_rates(ROOT, options), _rates(Path(options.before), options)) for _ in range(options.rounds)]
    for number, clients in enumerate(CLIENTS):
        ratios = sorted(here[number] / before[number] for here, before in pairs)
        print(
            f"{clients:2} clients: {median(pair[0][number] for pair in pairs):.0f} calls/s; over the other checkout "
            f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


def _rates(folder, options):
    argv = [sys.executable, __file__, "--rate", "--seconds", str(options.seconds)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([os.fspath(folder.resolve()), os.fspath(ROOT)])}
    result = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
