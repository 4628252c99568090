"""Isolated functions where a process may open few files."""

import json
import subprocess
import sys

import pytest

from tests.support.isolated import needs_client
from tests.support.servers import ROOT

pytestmark = needs_client

# Runs calls at the same time, and prints their ends by kind, the process's own limit, and a function's.
SCRIPT = """
import collections, json, logging, resource, sys
from concurrent.futures import ThreadPoolExecutor
from serverfull_wsgi import ServiceError
from tests.support.isolated import executing, function, invocation, result

logging.basicConfig(stream=sys.stderr)

def call(number):
    try:
        outcome = executor.execute(function("sleep"), invocation(1.0))
        return outcome.function_error or "succeeded"
    except ServiceError as error:
        return error.code

with executing(max_concurrency=CONCURRENCY) as executor:
    limits = result(executor, function("evaluate"), "__import__('resource').getrlimit(7)")
    with ThreadPoolExecutor(CALLS) as pool:
        ends = collections.Counter(pool.map(call, range(CALLS)))
    warm = result(executor, function("evaluate"), "'alive'")
print(json.dumps([ends, resource.getrlimit(resource.RLIMIT_NOFILE), limits, warm]))
"""


def run(ulimit, *, calls, concurrency=64):
    script = SCRIPT.replace("CALLS", str(calls)).replace("CONCURRENCY", str(concurrency))
    process = subprocess.run(
        ["bash", "-c", f'{ulimit} && exec "$@"', "bash", sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return *json.loads(process.stdout), process.stderr


def test_the_soft_limit_is_raised_to_the_hard_one():
    ends, limit, of_function, _, log = run("ulimit -Sn 60 && ulimit -Hn 2000", calls=12)
    assert ends == {"succeeded": 12}
    assert (limit, of_function) == ([2000, 2000], [1024, 1024])
    assert "SERVERFULL_MAX_CONCURRENCY" not in log


@pytest.mark.parametrize("most", [70, 100, 200])
def test_calls_beyond_the_limit_of_open_files_are_refused_and_all_others_succeed(most):
    ends, limit, of_function, warm, log = run(f"ulimit -n {most}", calls=30)
    assert set(ends) == {"succeeded", "TooManyRequestsException"}
    assert (limit, of_function, warm) == ([most, most], [most, most], "alive")
    assert "SERVERFULL_MAX_CONCURRENCY=64 is more than the limit of open files (ulimit -n) has room for: calls" in log
    assert "raise the limit to at least 1024" in log
