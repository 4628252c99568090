"""The life of an application: start, close, and parts that lack one of them or fail in one of them."""

import os
import threading

import pytest
from statsd.client.base import StatsClientBase

from serverfull_wsgi import (
    Application,
    ChoosingExecutor,
    ConfigurationError,
    Function,
    InProcessExecutor,
    MemoryQueue,
    Outcome,
    ProcessExecutor,
    StaticFetcher,
)
from tests.support import handlers
from tests.support.hosts import post
from tests.support.servers import ROOT

pytestmark = pytest.mark.quick

FUNCTIONS = {"hello": handlers.hello, "noisy": handlers.noisy}


def application_of(**options):
    return Application(StaticFetcher(FUNCTIONS), **options)


class Minimal:
    """An executor with the one method that every executor needs."""

    def execute(self, function, invocation):
        return Outcome(b"minimal")


class OpenStats(StatsClientBase):
    """A statsd client of a user's own, open since it was made."""

    _prefix, _maxudpsize = None, 512

    def __init__(self, calls):
        self._calls = calls

    def _send(self, data):
        assert not self._calls, "the client is closed"

    def close(self):
        self._calls.append("stats.close")


class Recorded:
    """An executor and queue that records its starts and closes in ``calls``, and fails in those named by ``fails``."""

    def __init__(self, name, calls, *fails):
        self._name, self._calls, self.fails = name, calls, set(fails)

    def execute(self, function, invocation):
        return Outcome(b"recorded")

    def put(self, invocation, config, dedupe=""):
        return invocation.request_id

    def start(self, *_, **__):
        self._call("start")

    def close(self):
        self._call("close")

    def _call(self, method):
        self._calls.append(f"{self._name}.{method}")
        if method in self.fails:
            raise OSError(f"{self._name} cannot {method}")


def test_start_and_close_may_be_called_more_than_once():
    calls = []
    application = application_of(executor=Recorded("executor", calls), queue=Recorded("queue", calls))
    for method in (application.start, application.start, application.close, application.close):
        method()
    assert calls == ["executor.start", "queue.start", "queue.close", "executor.close"]


@pytest.mark.parametrize(
    "executor", [Minimal(), ChoosingExecutor(Minimal(), Minimal())], ids=["alone", "in a ChoosingExecutor"]
)
def test_an_executor_needs_neither_start_nor_close(executor):
    application = application_of(executor=executor)
    assert post(application, "hello").body == b"minimal"
    application.watch_shutdown(lambda: None)
    application.close()


def test_a_queue_needs_no_close():
    class Queue:
        def start(self, run, send):
            self._run = run

        def put(self, invocation, config, dedupe=""):
            self._run(invocation, 0.0)
            return invocation.request_id

    application = application_of(queue=Queue())
    assert post(application, "hello", X_Amz_Invocation_Type="Event").status == 202
    application.close()


def test_close_is_final():
    application = application_of()
    application.start()
    application.close()
    with pytest.raises(RuntimeError, match="the application is closed in this process"):
        application.start()


def test_an_application_that_was_closed_before_its_start_refuses_requests():
    application = application_of()
    application.close()
    response = post(application, "hello")
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (500, "ServiceException")


def test_close_closes_every_part_even_if_one_fails():
    calls = []
    queue = Recorded("queue", calls, "close")
    application = application_of(executor=Recorded("executor", calls), queue=queue)
    application.start()
    with pytest.raises(OSError, match="queue cannot close"):
        application.close()
    assert calls[-2:] == ["queue.close", "executor.close"]


def test_a_start_that_fails_is_a_500_and_the_log_has_the_reason(caplog):
    queue = Recorded("queue", [], "start")
    response = post(application_of(queue=queue), "hello")
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (500, "ServiceException")
    assert response.json == {"Type": "User", "Message": "The service failed; its log has the reason."}
    (record,) = [record for record in caplog.records if record.exc_info]
    assert str(record.exc_info[1]) == "queue cannot start"
    assert record.request_id == response.headers["x-amzn-RequestId"]


def test_the_request_after_a_failed_start_tries_again():
    calls = []
    queue = Recorded("queue", calls, "start")
    application = application_of(executor=Recorded("executor", calls), queue=queue)
    assert [post(application, "hello").status for _ in range(2)] == [500, 500]
    queue.fails.clear()
    assert post(application, "hello").body == b"recorded"
    assert post(application, "hello").body == b"recorded"
    application.close()
    assert calls == ["executor.start", *["queue.start"] * 3, "queue.close", "executor.close"]


def test_close_after_a_failed_start_leaves_nothing_open():
    calls = []
    queue = Recorded("queue", calls, "start")
    application = application_of(executor=Recorded("executor", calls), queue=queue, stats=OpenStats(calls))
    assert post(application, "hello").status == 500
    application.close()
    assert calls == ["executor.start", "queue.start", "executor.close", "stats.close"]


def test_a_failed_start_leaves_the_parts_before_it_usable():
    """ProcessExecutor.close() is final, and a user's statsd client is open before the start."""
    queue = Recorded("queue", [], "start")
    executor = ChoosingExecutor(InProcessExecutor(), ProcessExecutor(eager=True), isolate=True)
    application = application_of(executor=executor, queue=queue, stats=OpenStats([]))
    assert post(application, "hello").status == 500
    queue.fails.clear()
    assert post(application, "hello").json == "Hello ƛ!"
    application.close()


def test_a_server_that_starts_the_application_gets_the_error_itself(caplog):
    class Unusable(MemoryQueue):
        def start(self, run, send):
            raise ConfigurationError("SERVERFULL_EVENTS: no such folder")

    application = application_of(queue=Unusable())
    with pytest.raises(ConfigurationError, match="no such folder"):
        application.start()


def test_a_start_that_calls_exit_ends_its_request_and_not_the_server():
    class Exiting(Minimal):
        def start(self):
            raise SystemExit(3)

    assert post(application_of(executor=Exiting()), "hello").status == 500


def test_many_first_requests_start_the_application_once():
    calls, barrier, statuses = [], threading.Barrier(8), []
    application = application_of(executor=Recorded("executor", calls))

    def request():
        barrier.wait()
        statuses.append(post(application, "hello").status)

    threads = [threading.Thread(target=request) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses, calls) == ([200] * 8, ["executor.start"])


@pytest.mark.parametrize("parent", ["open", "closed"])
def test_a_forked_child_starts_its_own_parts(parent):
    application = application_of()
    assert post(application, "hello").status == 200
    if parent == "closed":
        application.close()
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, b"%d" % post(application, "hello", X_Amz_Invocation_Type="Event").status)
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 10) == b"202"
    os.close(read)
    os.close(write)


# The check of the functions when the application is made


class Listing:
    """A fetcher of a user's own that lists its functions."""

    def __init__(self, *functions):
        self._functions = {function.name: function for function in functions}

    def fetch(self, name, qualifier="$LATEST"):
        return self._functions[name]

    def functions(self):
        return list(self._functions.values())


UNFIT = Function(handlers.hello, name="hello", environment={"A": "1"})  # needs an isolated process, and has no code


def test_a_users_own_fetcher_is_checked_when_the_application_is_made():
    with pytest.raises(ConfigurationError, match="environment= needs a process of its own"):
        Application(Listing(UNFIT))


def test_a_wrapper_that_passes_on_every_attribute_is_checked_too():
    class Wrapper:
        def __init__(self, fetcher):
            self._fetcher = fetcher

        def __getattr__(self, name):
            return getattr(self._fetcher, name)

    with pytest.raises(ConfigurationError, match="environment= needs a process of its own"):
        Application(Wrapper(Listing(UNFIT)))


def test_mock_mode_checks_nothing_since_no_function_runs():
    assert post(Application(Listing(UNFIT), mock=True), "hello").status == 200


def test_an_attribute_named_functions_is_not_a_list_of_functions():
    class Plain:
        functions = {"hello": handlers.hello}

        def fetch(self, name, qualifier="$LATEST"):
            return self.functions[name]

    assert post(Application(Plain()), "hello").json == "Hello ƛ!"


def test_an_executor_of_a_users_own_may_check_the_functions():
    class NoCode(InProcessExecutor):
        def check(self, functions):
            if isolated := [function.name for function in functions if function.code]:
                raise ConfigurationError(f"cannot run {isolated}")

    with pytest.raises(ConfigurationError, match=r"cannot run \['app'\]"):
        Application(Listing(Function("app.handler", name="app", code=str(ROOT))), executor=NoCode())
