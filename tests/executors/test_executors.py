"""What every executor promises beside the table in tests/rows, which is run over both as well."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi import Function
from tests.support.isolated import run


def function(name):
    return Function(f"tests.support.handlers.{name}", name, timeout=60)


def test_an_event_and_a_result_of_6_mib_pass(executor):
    event = "é" * 100_000 + "x" * 4_000_000  # of the é, Python before 3.12 makes six bytes each
    assert run(executor, function("echo"), event)[1] == event


@pytest.mark.parametrize("value", ["set", "cycle", "deep", "bad bytes"])
def test_what_is_no_json_is_a_marshal_error(executor, value):
    assert run(executor, function("marshal"), value)[1]["errorType"] == "Runtime.MarshalError"


def test_records_of_a_function_say_their_level_once(executor, caplog):
    run(executor, function("noisy"))
    outcome, _ = run(executor, function("broken"))
    assert b"[ERROR] ValueError: boom\n" in outcome.log
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.message.startswith("ValueError: boom\nTraceback")
    assert [record for record in caplog.records if f"[{record.levelname}]" in record.message] == []


def test_the_remaining_time_is_the_functions(executor):
    assert 55_000 < run(executor, function("slow"), 0)[1] <= 60_000


def test_calls_at_once_get_each_its_own_answer_and_log(executor):
    def call(number):
        outcome, value = run(executor, function("echo"), number)
        return value, re.findall(r"START RequestId", outcome.log.decode())

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call, range(40)))
    assert answers == [(number, ["START RequestId"]) for number in range(40)]
