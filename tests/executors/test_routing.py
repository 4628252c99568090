"""Where a function runs: in the server's process, or in one of its own."""

import json
import logging
import os
import time
from contextlib import closing

import pytest

from serverfull_wsgi import (
    Application,
    ChoosingExecutor,
    ConfigurationError,
    Function,
    ImportFetcher,
    MockingFetcher,
    Outcome,
    Settings,
    StaticFetcher,
    create_app,
)
from serverfull_wsgi.handlers import handler_string
from tests.support import handlers
from tests.support.hosts import InProcess
from tests.support.isolated import FUNCTIONS, needs_client


class Named:
    def __init__(self, name):
        self.name = name

    def start(self):
        pass

    def execute(self, function, invocation):
        return Outcome(self.name.encode())

    def close(self):
        pass


def local(event, context):
    return os.getpid()


@pytest.mark.parametrize(
    ("function", "isolate", "where"),
    [
        (Function(handlers.hello), False, "inside"),
        (Function("tests.support.handlers.hello"), False, "inside"),
        (Function(lambda event, context: None), False, "inside"),
        (Function("app.handler", code="/srv/app"), False, "apart"),
        (Function("app.handler", code="/srv/app", environment={"A": "1"}), False, "apart"),
        (Function(handlers.hello, code="/srv/app"), False, "inside"),
        (Function(handlers.hello), True, "apart"),
        (Function("tests.support.handlers.hello", environment={"A": "1"}), True, "apart"),
        (Function(lambda event, context: None), True, "inside"),
        (Function(time.sleep), True, "apart"),
        (MockingFetcher(StaticFetcher({"a": Function("a.b", code="/srv/app")})).fetch("a"), True, "inside"),
    ],
)
def test_code_with_a_directory_runs_apart_and_all_else_where_it_is_told(function, isolate, where):
    executor = ChoosingExecutor(Named("inside"), Named("apart"), isolate=isolate)
    assert executor.choice(function).name == where


def test_an_environment_needs_a_process():
    executor = ChoosingExecutor(Named("inside"), Named("apart"))
    with pytest.raises(ConfigurationError, match="SERVERFULL_EXECUTOR=process"):
        executor.choice(Function(handlers.hello, environment={"A": "1"}))


def test_functions_that_want_an_environment_and_no_process_are_refused_when_the_application_is_made():
    wants = Function(lambda event, context: None, environment={"A": "1"})
    with pytest.raises(ConfigurationError) as refusal:
        Application(StaticFetcher({"good": handlers.hello, "one": wants, "two": wants}))
    lines = str(refusal.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["function 'one'", "function 'two'"]
    assert all("give the function a code directory" in line for line in lines)
    Application(StaticFetcher({"one": wants}), mock=True)


def test_what_cannot_be_isolated_is_told_once(caplog):
    executor = ChoosingExecutor(Named("inside"), Named("apart"), isolate=True)
    function = Function(lambda event, context: None, name="nameless")
    with caplog.at_level(logging.WARNING, "serverfull_wsgi"):
        for _ in range(3):
            executor.choice(function)
    assert caplog.text.count("'nameless' runs in the server's own process") == 1


def post(application, name, event=None):
    path = f"/2015-03-31/functions/{name}/invocations"
    return InProcess(application).request("POST", path, json.dumps(event).encode())


def test_a_handler_string_is_the_callables_own_and_no_wrappers():
    named = ImportFetcher({"it": "tests.support.handlers:hello"})
    assert handler_string(named.fetch("it")) == "tests.support.handlers.hello"
    assert handler_string(MockingFetcher(named).fetch("it")) is None


@needs_client
def test_an_application_serves_both_kinds_side_by_side():
    application = Application(
        StaticFetcher({"here": local, "there": Function("app.evaluate", code=str(FUNCTIONS), timeout=30)})
    )
    try:
        here, there = post(application, "here").json, post(application, "there", "os.getpid()").json
    finally:
        application.close()
    assert here == os.getpid() != there


@needs_client
def test_the_setting_isolates_import_strings():
    settings = {
        "SERVERFULL_FUNCTIONS": "here=tests.executors.test_routing.local",
        "SERVERFULL_EXECUTOR": "process",
        "SERVERFULL_RUNTIME_LOGGER_OUTPUT": "NULL",
    }
    application = create_app(Settings.from_mapping(settings))
    try:
        assert post(application, "here").json != os.getpid()
    finally:
        application.close()


DEFINING = """
import functools, os, sys

def handler(event, context, *, more=None):
    return [os.getpid(), "entry" in sys.modules, more]

class Callable:
    def __call__(self, event, context):
        return handler(event, context, more="an object")
"""
ENTRY = """
from defining import Callable, functools, handler
known_object = Callable()
with_more = functools.partial(handler, more="a partial")
"""


@needs_client
@pytest.mark.parametrize(
    ("attribute", "more"), [("handler", None), ("known_object", "an object"), ("with_more", "a partial")]
)
def test_what_is_isolated_is_imported_as_its_entry_says(attribute, more, tmp_path, monkeypatch):
    (tmp_path / "defining.py").write_text(DEFINING)
    (tmp_path / "entry.py").write_text(ENTRY)
    monkeypatch.syspath_prepend(tmp_path)
    settings = {
        "SERVERFULL_FUNCTIONS": f"it=entry:{attribute}",
        "SERVERFULL_EXECUTOR": "process",
        "SERVERFULL_RUNTIME_LOGGER_OUTPUT": "NULL",
    }
    with closing(create_app(Settings.from_mapping(settings))) as application:
        pid, imported, told = post(application, "it").json
    assert pid != os.getpid()
    assert (imported, told) == (True, more)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "relative"},
        {"timeout": 1e306},
        {"timeout": 0},
        {"environment": {"AWS_REGION": "x"}},
        {"environment": {"A": 1}},
        {"environment": {"": "x"}},
    ],
)
def test_what_no_function_can_have_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        Function("app.handler", **wrong)
