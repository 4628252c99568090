"""Provisioned concurrency. Two executors with places of their own behave as two server processes do."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from serverfull_wsgi import (
    Application,
    ChoosingExecutor,
    ConfigurationError,
    Function,
    InProcessExecutor,
    ProcessExecutor,
    StaticFetcher,
)
from serverfull_wsgi.errors import TooManyRequestsException
from serverfull_wsgi.storage.place_locks import PlaceLocks
from serverfull_wsgi.telemetry.metrics import UdpStats
from serverfull_wsgi.telemetry.scope import LOGGER
from tests.support.gauge import Gauge
from tests.support.hosts import InProcess
from tests.support.isolated import NAME, function, needs_client, result, run
from tests.support.waiting import wait_until
from tests.telemetry.test_metrics import Collector

pytestmark = needs_client
KEY = NAME, "$LATEST"


@pytest.fixture
def server(tmp_path):
    """Return ``server(function, …)``, a context with the executor of one more server process."""

    @contextlib.contextmanager
    def server(*functions, processes=1, **options):
        executor, places = ProcessExecutor(**options), PlaceLocks(tmp_path / "data/concurrency", LOGGER)
        executor.share_places(places)
        executor.provision(functions, "us-east-1", processes)
        try:
            executor.start()
            yield executor
        finally:
            executor.close()
            places.close()

    return server


def idle(executor, key=KEY):
    return executor.statistics().idle.get(key, 0)


def test_environments_stand_initialised_before_the_first_call(server):
    with server(function("variables", provisioned=3)) as executor:
        assert idle(executor) == 3
        outcome, variables = run(executor, function("variables", provisioned=3))
        assert outcome.init_duration is None
        assert variables["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"
        assert variables["AWS_REGION"] == "us-east-1"
        assert outcome.provisioned == (False, 1, 3)
        assert idle(executor) == 3


def test_they_stay_when_they_are_idle_and_are_replaced_when_they_end(server):
    exits, other = function("evaluate", provisioned=2), function("whoami", name="other")
    with server(exits, idle=0.05) as executor:
        result(executor, other)
        wait_until(lambda: not idle(executor, ("other", "$LATEST")))
        assert idle(executor) == 2
        assert run(executor, exits, "__import__('os')._exit(3)")[0].function_error
        wait_until(lambda: idle(executor) == 2)
        assert run(executor, exits, "1")[0].provisioned == (False, 1, 2)


def test_a_call_beyond_them_spills_over(server, tmp_path):
    with contextlib.closing(Gauge(9, hold=3600)) as gauge, ThreadPoolExecutor(2) as pool:
        (tmp_path / "gauged.py").write_text(gauge.source("held"))
        held = function("gauged.held", code=tmp_path, provisioned=1)
        with server(held) as executor:
            calls = [pool.submit(run, executor, held)]
            wait_until(lambda: gauge.running == 1)
            calls.append(pool.submit(run, executor, held))
            wait_until(lambda: gauge.running == 2)
            gauge.hold = 0
            assert [call.result()[0].provisioned for call in calls] == [(False, 1, 1), (True, 1, 1)]
            assert run(executor, held)[0].provisioned == (False, 1, 1)  # first, though another was used last


def test_no_other_function_takes_their_place(server):
    with server(function("whoami", provisioned=1), max_concurrency=1) as executor:
        with pytest.raises(TooManyRequestsException):
            run(executor, function("whoami", name="other"))
        assert idle(executor) == 1


def test_a_process_leaves_the_share_of_those_that_the_server_starts_next(server):
    four = function("whoami", provisioned=4)
    with server(four, processes=2) as first, server(four, processes=2) as second:
        assert [idle(first), idle(second)] == [2, 2]


def test_a_process_that_joins_takes_its_share_and_a_survivor_takes_that_of_another(server):
    four = function("whoami", provisioned=4)
    with server(four) as first:
        assert idle(first) == 4
        with server(four) as second:
            wait_until(lambda: [idle(first), idle(second)] == [2, 2])
        wait_until(lambda: idle(first) == 4)


def test_a_changed_number_holds_after_the_next_call(server, tmp_path):
    changing = function("whoami", provisioned=3)
    with server(changing) as executor, contextlib.closing(PlaceLocks(tmp_path / "data/concurrency", LOGGER)) as places:
        places.open()
        for number in (1, 2, 0):
            run(executor, replace(changing, provisioned=number or None))
            wait_until(lambda number=number: places.count(f"provisioned {NAME}:$LATEST") == number)
            wait_until(lambda number=number: idle(executor) >= number)


def test_a_changed_function_has_new_environments(server, tmp_path):
    with server(function("variables", provisioned=2)) as executor:
        changed = function("variables", provisioned=2, environment={"COLOUR": "blue"})
        assert result(executor, changed)["COLOUR"] == "blue"
        wait_until(lambda: idle(executor) >= 2)
        wait_until(lambda: run(executor, changed)[0].provisioned == (False, 1, 2))


def test_an_init_that_fails_is_one_line_and_is_tried_again(server, tmp_path, caplog):
    code = f"""
import pathlib
assert pathlib.Path({str(tmp_path / "cure")!r}).exists()
def handler(event, context): pass
"""
    (tmp_path / "broken.py").write_text(code)
    with server(function("broken.handler", code=tmp_path, provisioned=2), sandbox="process") as executor:
        assert idle(executor) == 0
        wait_until(lambda: "a provisioned environment cannot start, will retry: its init phase failed" in caplog.text)
        (tmp_path / "cure").touch()
        wait_until(lambda: idle(executor) == 2)
    assert caplog.text.count("will retry") == 1


def test_a_function_that_is_deployed_after_the_start_has_them_after_its_first_call(server):
    with server() as executor:
        run(executor, function("whoami", provisioned=2))
        wait_until(lambda: idle(executor) >= 2)
        wait_until(lambda: run(executor, function("whoami", provisioned=2))[0].provisioned == (False, 1, 2))


def test_more_than_the_processes_can_have_stops_the_start():
    executor = ProcessExecutor(max_concurrency=4)
    executor.provision([function(provisioned=8)], "us-east-1", 2)
    with pytest.raises(ConfigurationError, match="of 9 environments is more than SERVERFULL_MAX_CONCURRENCY=4 allows"):
        executor.provision([function(provisioned=8), function(name="other", provisioned=1)], "us-east-1", 2)


def test_functions_in_the_servers_process_are_named_in_one_warning(caplog):
    isolated = ProcessExecutor()
    executor = ChoosingExecutor(InProcessExecutor(), isolated)
    functions = {name: Function(print, provisioned=2) for name in ("one", "two")}
    with contextlib.closing(Application(StaticFetcher(functions), executor=executor)) as application:
        application.start()
        assert isolated.statistics().environments == 0
    assert caplog.text.count("has no effect on functions in the server's process: one, two") == 1


def test_invocations_spill_over_and_utilisation_are_metrics(tmp_path):
    functions = {NAME: function("whoami", provisioned=2)}
    with contextlib.closing(Collector()) as collector:
        stats = UdpStats("127.0.0.1", collector.port)
        application = Application(StaticFetcher(functions), stats=stats, data_dir=tmp_path / "data")
        with contextlib.closing(application):
            application.start()
            assert InProcess(application).request("POST", f"/2015-03-31/functions/{NAME}/invocations").status == 200
        lines = [line for line in collector.waiting() if "Provisioned" in line]
    assert lines == [
        f"{NAME}.ProvisionedConcurrencyInvocations:1|c",
        f"{NAME}.ProvisionedConcurrentExecutions:1|g",
        f"{NAME}.ProvisionedConcurrencyUtilization:0.5|g",
    ]


@pytest.mark.parametrize("provisioned", [0, -1, 1.0, True, "1", 1_000_001])
def test_a_number_that_is_not_a_count_is_refused(provisioned):
    with pytest.raises(ConfigurationError, match=r"provisioned=.* must be a whole number from 1 to 1,000,000, or None"):
        Function(print, provisioned=provisioned)


def test_more_than_the_reserved_concurrency_is_refused():
    with pytest.raises(ConfigurationError, match="provisioned=3 must be at most the reserved concurrency, 2"):
        Function(print, provisioned=3, reserved=2)


def test_provisioned_concurrency_of_a_function_with_snapshots_is_refused():
    with pytest.raises(ConfigurationError, match="provisioned=3 must be None for a function with snap_start"):
        Function(print, provisioned=3, snap_start=True)
