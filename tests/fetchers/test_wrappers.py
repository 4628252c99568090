"""Fetchers that wrap a fetcher: a wrapper may replace a function's handler."""

from dataclasses import replace

import pytest

from serverfull_wsgi import ConfigurationError, Function, MockingFetcher, Outcome, StaticFetcher
from serverfull_wsgi.executors.routing import ChoosingExecutor
from serverfull_wsgi.fetchers.imported import ImportFetcher
from serverfull_wsgi.handlers import handler_string
from tests.support import handlers


class Named:
    """An executor that returns its own name."""

    def __init__(self, name):
        self.name = name

    def execute(self, function, invocation):
        return Outcome(self.name.encode())


class ReplacingFetcher:
    """A user's fetcher that replaces every handler."""

    def __init__(self, fetcher, handler):
        self._fetcher, self._handler = fetcher, handler

    def fetch(self, name, qualifier="$LATEST"):
        return replace(self._fetcher.fetch(name, qualifier), handler=self._handler)


def replaced(function, handler):
    return ReplacingFetcher(StaticFetcher({"it": function}), handler).fetch("it")


def executor_of(function, *, isolate=False):
    return ChoosingExecutor(Named("in-process"), Named("isolated"), isolate=isolate).choice(function).name


def imitate(event, context):
    return "imitated"


def test_a_mocked_function_with_code_and_environment_runs_in_the_servers_process():
    function = Function("app.handler", code="/srv/app", environment={"A": "1"})
    mocked = MockingFetcher(StaticFetcher({"it": function})).fetch("it")
    assert mocked.is_mocked
    assert executor_of(mocked, isolate=True) == "in-process"


@pytest.mark.parametrize("isolate", [False, True])
def test_a_callable_that_replaces_a_handler_string_runs_in_the_servers_process(isolate):
    function = replaced(Function("app.handler", code="/srv/app"), lambda event, context: None)
    assert executor_of(function, isolate=isolate) == "in-process"


def test_a_callable_with_a_name_that_replaces_a_handler_is_isolated_if_the_settings_require_it():
    assert executor_of(replaced(Function(handlers.hello), imitate), isolate=True) == "isolated"


def test_a_handler_string_that_replaces_another_runs_in_a_process_with_the_functions_code():
    assert executor_of(replaced(Function("app.handler", code="/srv/app"), "app.other")) == "isolated"


def test_a_replaced_handler_does_not_run_without_the_functions_environment():
    function = replaced(Function("app.handler", code="/srv/app", environment={"A": "1"}), imitate)
    with pytest.raises(ConfigurationError, match="environment= needs a process of its own"):
        executor_of(function)


def test_a_wrapper_that_states_that_it_mocks_needs_no_environment():
    function = replaced(Function("app.handler", code="/srv/app", environment={"A": "1"}), imitate)
    assert executor_of(replace(function, is_mocked=True)) == "in-process"


def test_the_handler_string_of_a_replaced_handler_is_its_own():
    wrapped = ReplacingFetcher(ImportFetcher({"it": "tests.support.handlers:hello"}), imitate).fetch("it")
    assert wrapped.source is handlers.hello
    assert handler_string(wrapped) == "tests.fetchers.test_wrappers.imitate"
