"""Reserved concurrency in one process, with functions in the server's process and isolated ones."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi import (
    Application,
    ConfigurationError,
    EventConfig,
    Function,
    InProcessExecutor,
    SqliteQueue,
    StaticFetcher,
)
from serverfull_wsgi.telemetry.metrics import UdpStats
from tests.support.gauge import Gauge
from tests.support.hosts import InProcess
from tests.support.processes import open_files
from tests.support.waiting import wait_until
from tests.telemetry.test_metrics import Collector

pytestmark = pytest.mark.quick
THROTTLED = b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}'
EVENT = {"X-Amz-Invocation-Type": "Event"}


@pytest.fixture
def gauge():
    with contextlib.closing(Gauge(2, hold=3600)) as gauge:
        yield gauge


@pytest.fixture
def held(tmp_path, gauge):
    """Return a function that runs until the gauge ends it, once 2 run no third may begin."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/gauged.py").write_text(gauge.source("held"))
    scope = {}
    exec(gauge.source("held"), scope)

    def held(executor, reserved):
        if isinstance(executor, InProcessExecutor):
            return Function(scope["held"], timeout=60, reserved=reserved)
        return Function("gauged.held", code=str(tmp_path / "code"), timeout=60, reserved=reserved)

    return held


def post(application, name, payload=b"{}", headers=None):
    return InProcess(application).request("POST", f"/2015-03-31/functions/{name}/invocations", payload, headers)


def closing(functions, **options):
    return contextlib.closing(Application(StaticFetcher(functions), **options))


def test_beyond_the_reserved_concurrency_a_call_is_a_429(executor, held, gauge, tmp_path):
    """All versions share the places, and a place is free again after its call."""
    functions = {"f": held(executor, 2), "f:1": held(executor, None)}
    application = Application(StaticFetcher(functions), executor=executor, data_dir=tmp_path / "data")
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(post, application, name) for name in ("f", "f:1")]
        wait_until(lambda: gauge.running == 2)
        for name in ("f", "f:1", "f:$LATEST"):
            refused = post(application, name)
            assert (refused.status, refused.body) == (429, THROTTLED)
            assert refused.headers["Retry-After"] == "1"
        gauge.hold = 0
        assert [call.result().status for call in calls] == [200, 200]
        assert post(application, "f").status == 200


def test_a_limit_of_the_function_holds_from_the_next_call_on(held, gauge):
    class Changing:
        reserved = 1

        def fetch(self, name, qualifier="$LATEST"):
            return held(InProcessExecutor(), self.reserved)

    fetcher = Changing()
    with contextlib.closing(Application(fetcher)) as application, ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(post, application, "f")]
        wait_until(lambda: gauge.running == 1)
        assert post(application, "f").status == 429
        fetcher.reserved = None
        calls.append(pool.submit(post, application, "f"))
        wait_until(lambda: gauge.running == 2)
        fetcher.reserved = 1
        gauge.hold = 0
        assert [call.result().status for call in calls] == [200, 200]
        assert post(application, "f").status == 200


@pytest.mark.parametrize("handler", ["raise SystemExit", "raise ValueError", "1/0"])
def test_a_call_that_fails_gives_its_place_back(handler):
    scope = {}
    exec(f"def handler(event, context):\n    {handler}", scope)
    with closing({"f": Function(scope["handler"], reserved=1)}) as application:
        assert [post(application, "f").status for _ in range(3)] == [200] * 3


def test_a_reserved_concurrency_of_0_stops_calls_and_ends_events(tmp_path):
    """As on AWS: a call is a 429; an event is a 202, and its record is sent at once without an attempt."""
    queue, received = SqliteQueue(tmp_path / "events.sqlite3"), []
    functions = {
        "f": Function(print, reserved=0, event_config=EventConfig(on_failure="receiver")),
        "receiver": lambda event, context: received.append(event),
    }
    with closing(functions, queue=queue) as application:
        assert (post(application, "f").status, post(application, "f").body) == (429, THROTTLED)
        accepted = post(application, "f", b"[1]", EVENT)
        assert accepted.status == 202
        id = accepted.headers["x-amzn-RequestId"]
        wait_until(lambda: received)
        event = queue.event(id)
    assert (event["condition"], event["attempts"], event["throttles"]) == ("ZeroReservedConcurrency", 0, 0)
    [record] = received
    assert record.pop("timestamp")
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": id,
            "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST",
            "condition": "ZeroReservedConcurrency",
            "approximateInvokeCount": 0,
        },
        "requestPayload": [1],
    }


def test_a_dry_run_takes_no_place():
    with closing({"f": Function(print, reserved=0)}) as application:
        assert post(application, "f", headers={"X-Amz-Invocation-Type": "DryRun"}).status == 204


def test_a_refused_call_is_counted_as_a_throttle():
    with contextlib.closing(Collector()) as collector:
        with closing({"f": Function(print, reserved=0)}, stats=UdpStats("127.0.0.1", collector.port)) as application:
            post(application, "f")
        assert [line for line in collector.waiting() if "Throttles" in line] == ["f.Throttles:1|c"]


def test_mock_mode_ignores_the_limit():
    with closing({"f": Function(print, reserved=0)}, mock=True) as application:
        assert post(application, "f").status == 200


def test_without_a_reserved_concurrency_there_is_no_file(tmp_path):
    with closing({"f": print, "stopped": Function(print, reserved=0)}, data_dir=tmp_path / "data") as application:
        assert [post(application, name).status for name in ("f", "stopped")] == [200, 429]
    assert not (tmp_path / "data").exists()


def test_a_data_directory_that_cannot_be_used_stops_the_start(tmp_path):
    (tmp_path / "data").touch()
    with closing({"f": Function(print, reserved=3)}, data_dir=tmp_path / "data") as application:
        with pytest.raises(ConfigurationError, match=r"reserved concurrency needs a file .*SERVERFULL_DATA_DIR"):
            application.start()


def test_a_data_directory_that_cannot_be_used_later_is_a_500(tmp_path, caplog):
    class Unlisted:
        def fetch(self, name, qualifier="$LATEST"):
            return Function(print, name=name, reserved=3)

    (tmp_path / "data").touch()
    with contextlib.closing(Application(Unlisted(), data_dir=tmp_path / "data")) as application:
        assert json.loads(post(application, "f").body)["Message"] == "The service failed; its log has the reason."
    assert "function 'f': its call fails, no place can be locked" in caplog.text


def test_a_closed_application_leaves_no_file_open(tmp_path):
    with closing({"f": Function(print, reserved=1)}, data_dir=tmp_path / "data") as application:
        assert post(application, "f").status == 200
        assert open_files(tmp_path)
    assert open_files(tmp_path) == []


@pytest.mark.parametrize("reserved", [-1, 1.0, True, "1", 1_000_001])
def test_a_limit_that_is_not_a_count_is_refused(reserved):
    with pytest.raises(ConfigurationError, match=r"reserved=.* must be a whole number from 0 to 1,000,000, or None"):
        Function(print, reserved=reserved)


def test_a_version_with_a_limit_of_its_own_is_refused():
    with pytest.raises(ConfigurationError, match="'f:1': reserved=3 differs from reserved=2 of 'f'"):
        StaticFetcher({"f": Function(print, reserved=2), "f:1": Function(print, reserved=3)})
