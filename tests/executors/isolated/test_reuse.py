"""Environments between two invocations: only a runtime that has requested the next event gets one."""

import sys
from dataclasses import replace

import pytest

from serverfull_wsgi import Function
from tests.support.isolated import executing, function, needs_client, result, run
from tests.support.waiting import wait_until

pytestmark = needs_client

# A runtime that answers each event with a text of its own, and then runs the event as code.
BOOTSTRAP = """#!PYTHON
import json, os, socket, time
from pathlib import Path

token = json.dumps(os.urandom(8).hex()).encode()
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
api = socket.create_connection((host, int(port)))


def send(head, body=b""):
    path, method = head.split()[::-1]
    lines = f"{method} /2018-06-01/runtime/invocation/{path} HTTP/1.1\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
    api.sendall(lines.encode() + body)


def receive():
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        data += api.recv(1)
    lines = data.decode().lower().split("\\r\\n")
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    body = b""
    while len(body) < int(headers["content-length"]):
        body += api.recv(int(headers["content-length"]) - len(body))
    return headers, body



def wait_for(path):
    while not Path(path).exists():
        time.sleep(0.001)


while True:
    send("GET next")
    headers, event = receive()
    send(f"POST {headers['lambda-runtime-aws-request-id']}/response", token)
    receive()
    exec(json.loads(event))
"""
ENDS = {
    "exits": "os._exit(1)",
    "exits later": "time.sleep(0.05); os._exit(1)",
    "is killed": "os.kill(os.getpid(), 9)",
    "closes its connection": "api.close(); time.sleep(60)",
    "hangs": "time.sleep(60)",
    "exits after its request": 'send("GET next"); time.sleep(0.1); os._exit(1)',
    "closes after its request": 'send("GET next"); time.sleep(0.1); api.close(); time.sleep(60)',
    "exits with a part of the event": 'send("GET next"); api.recv(1); os._exit(1)',
    "exits with most of the event": f'send("GET next"); api.recv(100_000); os._exit(1)  # {"x" * 5_000_000}',
}


@pytest.fixture(scope="module")
def executor():
    with executing(sandbox="process") as executor:
        yield executor


@pytest.fixture
def custom(tmp_path, request):
    path = tmp_path / "bootstrap"
    path.write_text(BOOTSTRAP.replace("PYTHON", sys.executable))
    path.chmod(0o755)
    name = f"reuse-{abs(hash(request.node.nodeid))}"
    return Function("none", name=name, code=str(tmp_path), runtime="provided.al2023", timeout=30)


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_a_call_does_not_fail_if_the_runtime_ends_between_an_earlier_answer_and_its_event(executor, custom, code):
    assert len({result(executor, custom, code) for _ in range(3)}) == 3


def test_a_runtime_that_works_after_its_answer_is_used_again_when_it_requests_an_event(executor, custom):
    assert len({result(executor, custom, "time.sleep(0.1)") for _ in range(3)}) == 1


def test_a_runtime_that_works_long_after_its_answer_is_not_ended_for_another_call_at_the_limit(custom):
    with executing(sandbox="process", max_concurrency=1) as executor:
        assert len({result(executor, custom, "time.sleep(1)") for _ in range(3)}) == 1


def test_at_the_limit_a_call_ends_a_runtime_that_is_overdue(custom):
    with executing(sandbox="process", max_concurrency=1) as executor:
        hanging = replace(custom, timeout=1)
        assert len({result(executor, hanging, "time.sleep(60)") for _ in range(2)}) == 2


def test_a_runtime_that_requests_no_event_within_its_timeout_is_ended(executor, custom):
    hanging = replace(custom, timeout=0.5)
    result(executor, hanging, "time.sleep(60)")
    wait_until(lambda: not executor.statistics().idle[(hanging.name, "$LATEST")])


def test_an_idle_environment_is_preferred_to_one_whose_runtime_still_works(executor, custom, tmp_path):
    first = result(executor, custom, f"""wait_for({str(tmp_path / "go")!r}); send("GET next"); Path("asked").touch()""")
    second = result(executor, custom, f"wait_for({str(tmp_path / 'never')!r})")
    (tmp_path / "go").touch()
    wait_until((tmp_path / "asked").exists)
    assert (second != first, result(executor, custom, "pass")) == (True, first)


def test_a_start_that_ends_before_it_reads_its_first_event_is_not_repeated(executor, custom, tmp_path):
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text(
        bootstrap.read_text().replace("    headers, event", "    time.sleep(0.1); os._exit(3)\n    headers, event")
    )
    outcome, error = run(executor, custom)
    assert (outcome.function_error, error["errorType"]) == ("Unhandled", "Runtime.ExitError")


def test_the_log_of_a_call_that_moved_to_another_environment_begins_there(executor, custom):
    result(executor, custom, ENDS["exits after its request"])
    outcome, _ = run(executor, custom, "pass")
    assert outcome.log.decode().count("START RequestId") == 1
    assert outcome.init_duration is not None


def test_an_event_that_a_python_process_received_without_calling_the_handler_is_run_elsewhere(executor):
    code = """
from awslambdaric import lambda_runtime_client
receive = lambda_runtime_client.runtime_client.next
lambda_runtime_client.runtime_client.next = lambda: receive() and os._exit(1)
"""
    for _ in range(3):
        result(executor, function("execute", name="unseen"), code)


def test_a_call_whose_handler_began_is_run_once(executor):
    result(executor, function("execute", name="begun"), "pass")
    outcome, error = run(executor, function("execute", name="begun"), "os._exit(1)")
    assert (outcome.function_error, error["errorType"]) == ("Unhandled", "Runtime.ExitError")


def test_the_log_of_each_of_many_calls_has_the_output_of_that_call_only(executor):
    printing = function("execute", name="printing")
    for number in range(300):
        outcome, _ = run(executor, printing, f"print({number})")
        assert outcome.log.decode().split("\n")[1] == str(number)
