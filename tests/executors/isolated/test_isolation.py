"""Functions that misbehave harm neither the server nor other functions."""

import logging
import os
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi import ConfigurationError
from tests.support.isolated import (
    executing,
    function,
    invocation,
    needs_client,
    needs_sandbox,
    population,
    result,
    run,
    task_root,
)
from tests.support.servers import ROOT, clean_environ
from tests.support.waiting import wait_until

pytestmark = needs_client


def test_a_function_that_exceeds_its_memory_size_is_killed(executor):
    _, error = run(executor, function("hog", memory_size=128, name="hog"))
    assert error["errorType"] in ("Runtime.ExitError", "MemoryError")
    if error["errorType"] == "Runtime.ExitError":
        assert error["errorMessage"].endswith("Runtime exited with error: signal: killed")


def test_a_flood_of_output_is_logged_in_part_with_a_warning(executor, caplog):
    with caplog.at_level(logging.INFO, "serverfull_wsgi"):
        outcome, value = run(executor, function("flood", name="flood"), 20_000_000)
    assert value == "printed"
    assert b"the last line\nEND RequestId" in outcome.log
    assert len(caplog.text) < 1_000_000
    assert "bytes of output were left out" in caplog.text


def test_binary_output_and_closed_descriptors_delay_no_response(executor):
    outcome, value = run(executor, function("noise", name="noise"), [0, 1, 2])
    assert value == "closed"
    assert b"broken" in outcome.log
    assert b"an endless frame" in outcome.log
    assert b"still here" in outcome.log


def test_a_function_cannot_change_the_servers_process(executor):
    before = os.getcwd(), dict(os.environ), signal.getsignal(signal.SIGTERM), os.getpriority(os.PRIO_PROCESS, 0)
    run(executor, function("change_everything", name="changer"))
    assert before == (
        os.getcwd(), dict(os.environ), signal.getsignal(signal.SIGTERM), os.getpriority(os.PRIO_PROCESS, 0)
    )  # fmt: skip
    seen = result(executor, function("surroundings", name="unchanged"))
    assert seen["cwd"] == task_root(executor)


def test_descriptors_are_limited_and_a_fork_bomb_ends_with_its_environment(executor):
    assert result(executor, function("descriptors", name="descriptors"))[1] == "Too many open files"
    before = population(executor)
    run(executor, function("execute", name="bomb"), "bomb({}, context); os._exit(0)")
    wait_until(lambda: set(population(executor)) <= set(before))


def test_a_response_is_read_up_to_the_limit_only(executor):
    outcome, error = run(executor, function("large", name="large", memory_size=512), 100_000_000)
    assert (outcome.function_error, error["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")


def test_malformed_requests_to_the_runtime_api_get_error_statuses(executor):
    statuses = result(executor, function("attack", name="attacker"), {})
    assert [status and status.split()[1] for status in statuses[:5]] == ["400", "403", "403", "404", "404"]
    assert statuses[5] is None
    assert statuses[6] is None
    assert result(executor, function("evaluate", name="attacker2"), "1") == 1


def test_an_invocation_has_one_response(executor):
    early = function("early", name="early", timeout=5)
    assert run(executor, early)[1] == "by hand"


def test_a_runtime_api_answers_its_own_environment_only(executor):
    victim = function("evaluate", name="victim")
    address = result(executor, victim, "os.environ['AWS_LAMBDA_RUNTIME_API']")
    with ThreadPoolExecutor(1) as pool:
        attacking = pool.submit(run, executor, function("attack", name="attacker3"), {"address": address})
        time.sleep(0.2)
        answers = [result(executor, victim, f"{number}") for number in range(100)]
        assert attacking.result()[1] == [None] * 7
    assert answers == list(range(100))


@pytest.mark.skipif(os.name != "posix", reason="reads /proc")
def test_a_function_finds_no_secret_of_the_server(executor, tmp_path):
    secret = f"secret-{uuid.uuid4()}"
    if executor.sandbox == "process" and os.getuid() != 0:
        pytest.skip("without namespaces a user's processes can see each other's environment")
    env = {**clean_environ(), "SECRET": secret}
    code = (
        "import sys\nfrom tests.support.isolated import executing, function, result\n"
        "with executing(sandbox=sys.argv[1]) as executor:\n"
        "    print(result(executor, function('search'), sys.stdin.read()))"
    )
    argv = [sys.executable, "-c", code, executor.sandbox]
    found = subprocess.run(argv, input=secret, capture_output=True, text=True, env=env, cwd=ROOT, check=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize("sandbox", ["namespaces", "root"])
def test_a_function_without_a_network_has_a_loopback_interface_of_its_own(sandbox):
    needs_sandbox(sandbox)
    with executing(sandbox=sandbox) as executor:
        alone = function("evaluate", name="alone", network="none")
        assert result(executor, alone, "[name for _, name in socket.if_nameindex()]") == ["lo"]
        error = run(executor, alone, "socket.create_connection(('192.0.2.1', 80), 5)")[1]
        assert "Network is unreachable" in error["errorMessage"]
        own = function("evaluate", name="with-network")
        address = result(executor, own, "os.environ['AWS_LAMBDA_RUNTIME_API'].split(':')")
        attack = f"socket.create_connection(({address[0]!r}, {address[1]}), 5)"
        assert "Connection refused" in run(executor, alone, attack)[1]["errorMessage"]
        reached = "[s := socket.create_server(('127.0.0.1', 0)), socket.create_connection(s.getsockname())] and 1"
        assert result(executor, alone, reached) == 1
        assert result(executor, alone, "calls") == 0


def test_the_setting_of_the_network_holds_for_functions_that_do_not_decide():
    needs_sandbox("namespaces")
    with executing(network="none") as executor:
        interfaces = "[name for _, name in socket.if_nameindex()]"
        assert result(executor, function("evaluate", name="default"), interfaces) == ["lo"]
        assert len(result(executor, function("evaluate", name="other", network="host"), interfaces)) > 1


def test_a_network_of_its_own_needs_namespaces():
    with (
        pytest.raises(ConfigurationError, match=r"SERVERFULL_NETWORK=none: .* needs namespaces"),
        executing(sandbox="process", network="none"),
    ):
        pass
    with (
        executing(sandbox="process") as executor,
        pytest.raises(ConfigurationError, match=r"'alone': .* needs namespaces"),
    ):
        executor.execute(function(name="alone", network="none"), invocation())
