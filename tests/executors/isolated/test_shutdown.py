"""The end of an executor and of its server: by close, stop, kill and fork."""

import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi import ProcessExecutor, ServiceError
from serverfull_wsgi.executors.isolated.environment import Environment
from serverfull_wsgi.executors.isolated.executor import Statistics
from serverfull_wsgi.executors.isolated.runtimes.launch import launch_spec
from serverfull_wsgi.executors.isolated.zygote.spawner import Spawner
from serverfull_wsgi.telemetry.scope import LOGGER
from tests.support.isolated import (
    SANDBOXES,
    executing,
    function,
    marked,
    needs_client,
    needs_sandbox,
    population,
    result,
    run,
)
from tests.support.servers import ROOT, clean_environ
from tests.support.waiting import wait_until

pytestmark = needs_client


def test_close_ends_all_processes_and_removes_all_files(tmp_path):
    with executing() as executor:
        mark = f"mark-{uuid.uuid4()}"
        result(executor, function("spawn"), {"mark": mark})
        base = executor.statistics().directory
        assert marked(mark)
        pids = population(executor)
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    assert not marked(mark)
    assert not os.path.exists(base)


SERVER = """
import sys, time
from tests.support.isolated import executing, function, result
with executing(sandbox=sys.argv[2]) as executor:
    slow = function("evaluate", environment={"MARK": sys.argv[1]}, timeout=60)
    result(executor, slow, "1")
    print(executor.statistics().directory, flush=True)
    result(executor, slow, "spawn({'mark': os.environ['MARK'], 'seconds': 60}, context)")
"""


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_all_processes_end_and_all_files_go_with_a_killed_server(sandbox):
    needs_sandbox(sandbox)
    mark = f"mark-{uuid.uuid4()}"
    argv = [sys.executable, "-c", SERVER, mark, sandbox]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_environ()) as server:
        base = server.stdout.readline().strip()
        wait_until(lambda: len(marked(mark)) >= 3)
        server.kill()
    wait_until(lambda: not marked(mark))
    wait_until(lambda: not os.path.exists(base))


def test_a_fork_of_the_server_opens_its_own_environments_and_leaves_the_parents_alone(executor):
    here = result(executor, function(name="forked"))
    pid = os.fork()
    if not pid:
        status = 1
        try:
            status = 0 if result(executor, function(name="forked"))["calls"] == 1 else 2
            executor.close()
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert result(executor, function(name="forked"))["pid"] == here["pid"]


def test_a_stop_fails_a_long_invocation_with_a_service_error():
    with executing() as executor, ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, executor, function("sleep"), 60)
        wait_until(lambda: executor.statistics().environments == 1)
        executor.stop(0.1)
        with pytest.raises(ServiceError, match="stopping"):
            running.result(20)


def test_after_close_invocations_are_refused():
    with executing() as executor:
        result(executor, function())
    for _ in range(2):
        with pytest.raises(ServiceError, match="stopping"):
            run(executor, function())
    assert executor.statistics() == Statistics()


def test_a_fork_of_the_server_opens_anew_after_the_parents_close():
    executor = ProcessExecutor()
    executor.close()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            status = 0 if result(executor, function())["calls"] == 1 else 2
            executor.close()
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_closed_environment_can_be_abandoned():
    spawner = Spawner(sandbox="auto", preload=(), logger=LOGGER)
    spawner.start()
    try:
        spec = launch_spec(function(), "app.whoami", region="us-east-1", python=sys.executable)
        environment = Environment(function(), spec, spawner, spawner.create_tmp(), LOGGER)
        environment.close()
        environment.abandon()
    finally:
        spawner.close()
