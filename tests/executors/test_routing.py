"""The choice between the server's process and a process of the function's own."""

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
from tests.support.hosts import post
from tests.support.isolated import FUNCTIONS, needs_client

pytestmark = pytest.mark.quick


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
        (Function(handlers.hello), False, "in process"),
        (Function("tests.support.handlers.hello"), False, "in process"),
        (Function(lambda event, context: None), False, "in process"),
        (Function("app.handler", code="/srv/app"), False, "isolated"),
        (Function("app.handler", code="/srv/app", environment={"A": "1"}), False, "isolated"),
        (Function(handlers.hello, code="/srv/app"), False, "in process"),
        (Function(handlers.hello), True, "isolated"),
        (Function("tests.support.handlers.hello", environment={"A": "1"}), True, "isolated"),
        (Function(lambda event, context: None), True, "in process"),
        (Function(time.sleep), True, "isolated"),
        (MockingFetcher(StaticFetcher({"a": Function("a.b", code="/srv/app")})).fetch("a"), True, "in process"),
    ],
)
def test_code_with_a_directory_runs_isolated_and_other_code_as_configured(function, isolate, where):
    executor = ChoosingExecutor(Named("in process"), Named("isolated"), isolate=isolate)
    assert executor.choice(function).name == where


def test_variables_of_a_function_need_a_process_of_its_own():
    executor = ChoosingExecutor(Named("in process"), Named("isolated"))
    with pytest.raises(ConfigurationError, match="SERVERFULL_EXECUTOR=process"):
        executor.choice(Function(handlers.hello, environment={"A": "1"}))


def test_the_constructor_refuses_functions_with_variables_that_run_in_the_servers_process():
    function = Function(lambda event, context: None, environment={"A": "1"})
    with pytest.raises(ConfigurationError) as refusal:
        Application(StaticFetcher({"good": handlers.hello, "one": function, "two": function}))
    lines = str(refusal.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["function 'one'", "function 'two'"]
    assert all("give the function a code directory" in line for line in lines)
    Application(StaticFetcher({"one": function}), mock=True)


def test_a_function_that_cannot_be_isolated_is_logged_once(caplog):
    executor = ChoosingExecutor(Named("in process"), Named("isolated"), isolate=True)
    function = Function(lambda event, context: None, name="nameless")
    with caplog.at_level(logging.WARNING, "serverfull_wsgi"):
        for _ in range(3):
            executor.choice(function)
    assert caplog.text.count("'nameless' runs in the server's own process") == 1


class Plain:
    """An executor that has nothing to start, close or end."""

    def execute(self, function, invocation):
        return Outcome(b"1")


@pytest.mark.parametrize("code", [None, "/srv/app"], ids=["in process", "isolated"])
def test_an_executor_without_start_and_close_can_be_chosen(code):
    function = Function("tests.support.handlers.hello", code=code)
    pair = [Named("other"), Plain()] if code else [Plain(), Named("other")]
    application = Application(StaticFetcher({"it": function}), executor=ChoosingExecutor(*pair))
    with closing(application):
        assert post(application, "it").json == 1


def test_the_handler_string_of_a_mocked_function_is_none():
    named = ImportFetcher({"it": "tests.support.handlers:hello"})
    assert handler_string(named.fetch("it")) == "tests.support.handlers.hello"
    assert handler_string(MockingFetcher(named).fetch("it")) is None


@needs_client
def test_an_application_runs_both_kinds_of_functions():
    application = Application(
        StaticFetcher({"here": local, "there": Function("app.evaluate", code=str(FUNCTIONS), timeout=30)})
    )
    try:
        here, there = post(application, "here").json, post(application, "there", b'"os.getpid()"').json
    finally:
        application.close()
    assert here == os.getpid() != there


@needs_client
def test_the_setting_isolates_functions_in_import_strings():
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
def test_an_isolated_function_is_imported_from_the_module_in_its_entry(attribute, more, tmp_path, monkeypatch):
    (tmp_path / "defining.py").write_text(DEFINING)
    (tmp_path / "entry.py").write_text(ENTRY)
    monkeypatch.syspath_prepend(tmp_path)
    settings = {
        "SERVERFULL_FUNCTIONS": f"it=entry:{attribute}",
        "SERVERFULL_EXECUTOR": "process",
        "SERVERFULL_RUNTIME_LOGGER_OUTPUT": "NULL",
    }
    with closing(create_app(Settings.from_mapping(settings))) as application:
        pid, is_imported, value = post(application, "it").json
    assert pid != os.getpid()
    assert (is_imported, value) == (True, more)


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
def test_invalid_values_of_a_function_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        Function("app.handler", **wrong)
