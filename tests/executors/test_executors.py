"""The behaviour of all executors, in addition to the table in tests/rows."""

import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi import Function, InProcessExecutor, Invocation
from tests.support.isolated import run
from tests.support.names import function_name


def function(name):
    return Function(f"tests.support.handlers.{name}", name, timeout=60)


def test_an_event_and_a_response_may_have_6_mib(executor):
    event = "é" * 100_000 + "x" * 4_000_000  # Python before 3.12 writes six bytes for each é
    assert run(executor, function("echo"), event)[1] == event


def test_an_event_that_is_given_as_a_value_reaches_the_handler(executor):
    event = {"name": "é", "list": [1, True, None, {"size": 1.5}]}
    name = function_name("echo")
    outcome = executor.execute(function("echo"), Invocation(name, None, str(uuid.uuid4()), event=event))
    assert json.loads(outcome.payload) == event


@pytest.mark.parametrize("value", ["set", "cycle", "deep", "bad bytes"])
def test_a_value_without_a_json_form_is_a_marshal_error(executor, value):
    assert run(executor, function("marshal"), value)[1]["errorType"] == "Runtime.MarshalError"


def test_a_log_record_of_a_function_has_its_level_once(executor, caplog):
    run(executor, function("noisy"))
    outcome, _ = run(executor, function("broken"))
    assert b"[ERROR] ValueError: boom\n" in outcome.log
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.message.startswith("ValueError: boom\nTraceback")
    assert [record for record in caplog.records if f"[{record.levelname}]" in record.message] == []


def test_the_remaining_time_counts_from_the_timeout_of_the_function(executor):
    assert 55_000 < run(executor, function("slow"), 0)[1] <= 60_000


def test_each_of_many_concurrent_calls_gets_its_own_response_and_log(executor):
    def call(number):
        outcome, value = run(executor, function("echo"), number)
        return value, re.findall(r"START RequestId", outcome.log.decode())

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call, range(40)))
    assert answers == [(number, ["START RequestId"]) for number in range(40)]


def test_contexts_of_a_function_share_no_value_that_a_handler_can_change():
    contexts = []
    keeping = Function(lambda event, context: contexts.append(context), "keeping", memory_size=256.0)
    for _ in range(2):
        run(InProcessExecutor(), keeping)
    first, second = map(vars, contexts)
    shared = {type(value) for name, value in first.items() if value is second[name]}
    assert shared <= {str, tuple, type(None)}
    assert first["memory_limit_in_mb"] == "256"
