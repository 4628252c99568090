"""Servers with several workers on one registry: no call that starts after a deploy runs the old code."""

import contextlib
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

import pytest

from tests.support.isolated import needs_client
from tests.support.registry import deploy, redeploy, registry_in
from tests.support.servers import serving

pytestmark = [needs_client, pytest.mark.once]


@pytest.fixture
def servers(tmp_path):
    """Two servers of two workers each on one registry, each with a data directory of its own."""
    with contextlib.ExitStack() as stack:
        options = ("--workers", "2", "--threads", "4", "--chdir", str(tmp_path))
        yield [
            stack.enter_context(
                serving(
                    tmp_path / f"{name}.log",
                    *options,
                    SERVERFULL_REGISTRY=str(tmp_path / "registry"),
                    SERVERFULL_DATA_DIR=str(tmp_path / name),
                )
            )
            for name in ("first", "second")
        ]


def invoke(server):
    """Return the text of the code that ran. Raises for a status other than 200."""
    request = Request(f"{server.url}/2015-03-31/functions/hello/invocations", b"{}", method="POST")
    with urlopen(request, timeout=60) as response:
        assert "X-Amz-Function-Error" not in response.headers
        return json.load(response)[0]


def test_no_call_after_a_deploy_runs_the_old_code_and_none_fails(servers, tmp_path):
    registry = registry_in(tmp_path)
    deploy(registry, text="0", Runtime=f"python3.{sys.version_info.minor}")
    done, answers, failures = threading.Event(), [], []

    def call_all_the_time(server):
        while not done.is_set():
            try:
                answers.append(invoke(server))
            except Exception as error:
                failures.append(error)

    with ThreadPoolExecutor(8) as callers:
        for server in servers:
            callers.submit(call_all_the_time, server)
        try:
            for number in range(1, 4):
                redeploy(registry, text=str(number))
                assert list(callers.map(invoke, servers * 4)) == [str(number)] * 8
        finally:
            done.set()
    assert failures == []
    assert set(answers) <= {"0", "1", "2", "3"}
