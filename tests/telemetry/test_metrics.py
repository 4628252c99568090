"""Metrics, received on a real UDP socket."""

import contextlib
import inspect
import re
import select
import socket
import subprocess
import sys
import threading

import pytest
from statsd.client.timer import Timer

from serverfull_wsgi import EventConfig, Function, Settings, StaticFetcher, create_app, stat_from_context
from serverfull_wsgi.telemetry.metrics import FunctionStats, NullStats, UdpStats
from serverfull_wsgi.telemetry.stat import Stat, StatTimer
from tests.support import handlers
from tests.support.hosts import InProcess, invoke
from tests.support.servers import ROOT, clean_environ
from tests.support.waiting import wait_until

pytestmark = pytest.mark.quick

PATIENCE = 30.0  # seconds


class Collector:
    """A statsd server that keeps datagrams in its socket until they are read."""

    def __init__(self):
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE)
        self.port = self._socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    def datagram(self):
        return self._socket.recv(65536).decode()

    def lines(self, count=1):
        """Read a number of datagrams and return their metrics."""
        return [line for _ in range(count) for line in self.datagram().split("\n")]

    def read_until(self, name):
        """Read datagrams up to the first metric of this name, and return their metrics."""
        lines = self.lines()
        while not any(f"{name}:" in line for line in lines):
            lines += self.lines()
        return lines

    def waiting(self):
        """Return all metrics that were received; the sender must have ended."""
        lines = []
        while select.select([self._socket], [], [], 0)[0]:
            lines += self.lines()
        return lines

    def is_empty(self):
        """Return True if nothing was sent. Loopback delivers a datagram within the call that sends it."""
        self._socket.setblocking(False)
        try:
            self._socket.recv(1)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(PATIENCE)
        return False

    def close(self):
        self._socket.close()


@pytest.fixture
def collector():
    with contextlib.closing(Collector()) as collector:
        yield collector


class Gate:
    """A handler that reports its start and waits until the gate is opened."""

    def __init__(self):
        self.started, self.open = threading.Semaphore(0), threading.Event()

    def __call__(self, event, context):
        self.started.release()
        assert self.open.wait(PATIENCE)

    def wait_until_started(self):
        assert self.started.acquire(timeout=PATIENCE)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


def measuring(event, context):
    stat = stat_from_context()
    stat.incr("orders", 2)
    stat.decr("stock")
    stat.gauge("level", 7)
    stat.timing("step", 1.5)
    stat.set("users", "ann")
    with stat.pipeline() as pipeline:
        pipeline.incr("first")
        pipeline.incr("second")


def many(event, context):
    with stat_from_context().pipeline() as pipeline:
        for number in range(event):
            pipeline.incr(f"metric_{number:04}")


def odd(event, context):
    stat_from_context().incr("ƛ")
    stat_from_context().close()


class Served(InProcess):
    def __init__(self, application):
        super().__init__(application)
        self.close = application.close


@pytest.fixture
def serve(collector, gate):
    """Return a function that makes a client of an application with these settings, which sends to the collector."""
    functions = {
        "hello": handlers.hello,
        "hello:1": handlers.version_one,
        "with.dot": handlers.hello,
        "broken": handlers.broken,
        "leave": handlers.leave,
        "slow": Function(handlers.slow, timeout=0.001),
        "documented": Function(handlers.hello, errors=[KeyError]),
        "gate": gate,
        "measuring": measuring,
        "many": many,
        "odd": odd,
    }
    served = []

    def serve(output="STATSD", **settings):
        given = {"STATS_OUTPUT": output, "STATS_ADDRESS": collector.address, "LOGGER_OUTPUT": "NULL"}
        given |= {
            name.removeprefix("RUNTIME_"): value for name, value in settings.items() if name.startswith("RUNTIME_")
        }
        rest = {name: value for name, value in settings.items() if not name.startswith("RUNTIME_")}
        names = {f"RUNTIME_{name}": value for name, value in given.items()} | {"EVENTS": "memory"} | rest
        fetcher = StaticFetcher(functions, aliases={"hello:prod": "1"})
        application = create_app(
            Settings.from_mapping({f"SERVERFULL_{name}": value for name, value in names.items()}), fetcher
        )
        served.append(Served(application))
        return served[-1]

    yield serve
    gate.open.set()
    for client in served:
        client.close()


def later(client, name, payload=b"{}"):
    return invoke(client, name, payload, X_Amz_Invocation_Type="Event")


# Metrics of an invocation


def test_an_invocation_is_one_datagram_of_three_metrics(serve, collector):
    assert invoke(serve(), "hello").status == 200
    lines = collector.lines()
    assert lines[0] == "serverfull.hello.Invocations:1|c"
    assert re.fullmatch(r"serverfull\.hello\.Duration:\d+\.\d+\|ms", lines[1])
    assert lines[2:] == ["serverfull.hello.ConcurrentExecutions:1|g"]
    assert collector.is_empty()


def test_datadog_gets_the_function_as_a_tag_beside_the_tags_of_the_settings(serve, collector):
    invoke(serve("DATADOG", RUNTIME_STATS_TAGS="env:prod, team:a"), "hello")
    lines = collector.lines()
    assert lines[0] == "serverfull.Invocations:1|c|#env:prod,team:a,functionname:hello"
    assert re.fullmatch(r"serverfull\.Duration:\d+\.\d+\|ms\|#env:prod,team:a,functionname:hello", lines[1])
    assert lines[2:] == ["serverfull.ConcurrentExecutions:1|g|#env:prod,team:a,functionname:hello"]
    assert collector.is_empty()


def test_datadog_without_tags_in_the_settings_gets_the_function_as_the_only_tag(serve, collector):
    invoke(serve("DATADOG"), "hello")
    assert collector.lines()[0] == "serverfull.Invocations:1|c|#functionname:hello"


def test_plain_statsd_gets_no_tags(serve, collector):
    invoke(serve("STATSD", RUNTIME_STATS_TAGS="env:prod"), "hello")
    assert "env" not in collector.datagram()


def test_the_settings_of_the_go_original_are_accepted(serve, collector):
    client = serve(
        "DATADOG",
        RUNTIME_STATS_ADDRESS="",
        RUNTIME_STATS_DATADOG_ADDRESS=collector.address,
        RUNTIME_STATS_DATADOG_TAGS="env:prod",
    )
    invoke(client, "hello")
    assert collector.lines()[0] == "serverfull.Invocations:1|c|#env:prod,functionname:hello"


@pytest.mark.parametrize(
    ("output", "line"),
    [("STATSD", "a.b-c.hello.Invocations:1|c"), ("DATADOG", "a.b-c.Invocations:1|c|#functionname:hello")],
)
def test_the_settings_give_the_prefix(serve, collector, output, line):
    invoke(serve(output, RUNTIME_STATS_PREFIX="a.b-c"), "hello")
    assert collector.lines()[0] == line


@pytest.mark.parametrize(
    ("addressed", "name"), [("with.dot", "with_dot"), ("hello:1", "hello"), ("hello:prod", "hello")]
)
def test_metrics_are_counted_under_the_bare_name_of_a_function(serve, collector, addressed, name):
    invoke(serve(), addressed)
    assert collector.lines()[0] == f"serverfull.{name}.Invocations:1|c"


@pytest.mark.parametrize(("name", "payload"), [("broken", b"{}"), ("leave", b'{"how": 3}')])
def test_a_failed_invocation_is_an_error_in_the_same_datagram(serve, collector, name, payload):
    invoke(serve(), name, payload)
    assert f"serverfull.{name}.Errors:1|c" in collector.lines()
    assert collector.is_empty()


def test_a_success_is_not_counted_as_an_error(serve, collector):
    invoke(serve(), "hello")
    assert "Errors" not in collector.datagram()


def test_an_invocation_beyond_its_timeout_is_counted(serve, collector):
    invoke(serve(), "slow", b"0.01")
    assert "serverfull.slow.TimeoutOverruns:1|c" in collector.lines()


def test_invocations_at_the_same_time_are_counted_together(serve, collector, gate):
    client = serve()
    threads = [threading.Thread(target=invoke, args=(client, "gate")) for _ in range(3)]
    for thread in threads:
        thread.start()
        gate.wait_until_started()
    gate.open.set()
    for thread in threads:
        thread.join()
    counts = [line for line in collector.lines(3) if "ConcurrentExecutions" in line]
    assert sorted(counts) == [f"serverfull.gate.ConcurrentExecutions:{number}|g" for number in (1, 2, 3)]
    invoke(client, "hello")
    assert "serverfull.hello.ConcurrentExecutions:1|g" in collector.lines()


@pytest.mark.parametrize(
    ("name", "payload", "headers"),
    [
        ("unknown", b"{}", {}),
        ("hello", b"no json", {}),
        ("hello", b"{}", {"X_Amz_Invocation_Type": "DryRun"}),
        ("hello", b"{}", {"X_Amz_Invocation_Type": "Nonsense"}),
        ("hello:2", b"{}", {"X_Amz_Invocation_Type": "Event"}),
    ],
)
def test_a_request_that_runs_no_function_sends_no_metric(serve, collector, name, payload, headers):
    invoke(serve(), name, payload, **headers)
    assert collector.is_empty()


def test_a_health_check_sends_no_metric(serve, collector):
    serve().request("GET", "/healthcheck")
    assert collector.is_empty()


def test_a_documented_error_in_mock_mode_is_counted_as_an_error(serve, collector):
    url, headers = "/2015-03-31/functions/documented/invocations", {"X-Amz-Invocation-Type": "Error"}
    serve(MOCK="true").request("POST", url, headers={**headers, "X-Error-Type": "KeyError"})
    assert "serverfull.documented.Errors:1|c" in collector.lines()


# Events


def test_an_event_is_counted_when_it_is_accepted_and_when_it_runs(serve, collector):
    assert later(serve(), "hello").status == 202
    lines = collector.lines(2)
    assert "serverfull.hello.AsyncEventsReceived:1|c" in lines
    assert "serverfull.hello.Invocations:1|c" in lines
    (age,) = [line for line in lines if "AsyncEventAge" in line]
    assert re.fullmatch(r"serverfull\.hello\.AsyncEventAge:\d+\.\d+\|ms", age)


def test_a_synchronous_call_has_no_age(serve, collector):
    invoke(serve(), "hello")
    assert "AsyncEventAge" not in collector.datagram()


def test_an_event_that_failed_is_counted_as_dropped(serve, collector):
    later(serve(), "broken")
    lines = collector.read_until("AsyncEventsDropped")
    assert "serverfull.broken.Errors:1|c" in lines
    assert "serverfull.broken.AsyncEventsDropped:1|c" in lines


def test_an_event_for_a_full_queue_is_counted_as_throttled_and_not_as_received(serve, collector, gate):
    client = serve(EVENTS_WORKERS="1", EVENTS_QUEUE_SIZE="1")
    later(client, "gate")
    gate.wait_until_started()
    assert [later(client, "gate").status for _ in range(2)] == [202, 429]
    assert collector.lines(3) == [
        "serverfull.gate.AsyncEventsReceived:1|c",
        "serverfull.gate.AsyncEventsReceived:1|c",
        "serverfull.gate.Throttles:1|c",
    ]


def test_an_event_that_waits_at_the_close_is_counted_as_dropped(serve, collector, gate):
    client = serve(EVENTS_WORKERS="1", DRAIN="0")
    later(client, "gate")
    gate.wait_until_started()
    later(client, "hello")
    client.close()
    assert "serverfull.hello.AsyncEventsDropped:1|c" in collector.read_until("AsyncEventsDropped")


def test_invoke_async_counts_as_an_event(serve, collector):
    serve().request("POST", "/2014-11-13/functions/hello/invoke-async/", b"{}")
    assert "serverfull.hello.AsyncEventsReceived:1|c" in collector.read_until("AsyncEventsReceived")


# From inside a handler


@pytest.mark.parametrize("call", [invoke, later])
def test_a_handlers_own_metrics_carry_the_name_of_its_function(serve, collector, call):
    call(serve(), "measuring")
    lines = collector.read_until("second")
    assert [line for line in lines if "AsyncEventsReceived" not in line] == [
        "serverfull.measuring.orders:2|c",
        "serverfull.measuring.stock:-1|c",
        "serverfull.measuring.level:7|g",
        "serverfull.measuring.step:1.500000|ms",
        "serverfull.measuring.users:ann|s",
        "serverfull.measuring.first:1|c",
        "serverfull.measuring.second:1|c",
    ]


def test_datadog_gets_a_handlers_own_metrics_with_tags(serve, collector):
    invoke(serve("DATADOG", RUNTIME_STATS_TAGS="env:prod"), "measuring")
    lines = collector.read_until("second")
    assert lines[0] == "serverfull.orders:2|c|#env:prod,functionname:measuring"
    assert lines[-2:] == [f"serverfull.{name}:1|c|#env:prod,functionname:measuring" for name in ("first", "second")]


def test_a_pipeline_too_long_for_one_datagram_is_sent_in_several(serve, collector):
    invoke(serve(), "many", b"200")
    datagrams = [collector.datagram()]
    while "metric_0199" not in datagrams[-1]:
        datagrams.append(collector.datagram())
    assert max(map(len, datagrams)) <= 1432
    lines = "\n".join(datagrams).split("\n")
    assert lines == [f"serverfull.many.metric_{number:04}:1|c" for number in range(200)]


def test_a_name_outside_ascii_and_a_handler_that_closes_its_client_affect_no_other_metric(serve, collector):
    client = serve()
    assert invoke(client, "odd").body == b"null"
    assert invoke(client, "hello").status == 200
    assert collector.lines(3)[-3] == "serverfull.hello.Invocations:1|c"


def test_a_handlers_own_metrics_are_dropped_if_metrics_are_off(serve, collector):
    assert invoke(serve("NULL"), "measuring").body == b"null"
    assert collector.is_empty()


def test_a_metric_outside_an_invocation_is_dropped(serve, collector):
    client = serve()
    client.request("GET", "/healthcheck")
    measuring({}, None)
    assert collector.is_empty()


# Collectors that do not work


def closed_port():
    with contextlib.closing(Collector()) as collector:
        return collector.address


@pytest.mark.parametrize(
    "address",
    [
        pytest.param(closed_port(), id="dead"),
        pytest.param(f"{'.'.join(['x' * 60] * 5)}:8125", id="unresolvable"),
        pytest.param("collector..internal:8125", id="no-name-at-all"),
        pytest.param("[fe80::1%nowhere]:8125", id="no-such-interface"),
        pytest.param("127.0.0.1:0", id="no-port"),
    ],
)
def test_an_absent_collector_fails_no_invocation(serve, address):
    """Each of these names fails on this machine, without a request to a name server."""
    client = serve(RUNTIME_STATS_ADDRESS=address)
    assert {invoke(client, "hello").status for _ in range(1000)} == {200}
    assert later(client, "hello").status == 202


def test_a_collector_that_never_reads_fails_no_invocation(serve):
    client = serve()
    assert {invoke(client, "many", b"200").body for _ in range(1000)} == {b"null"}


def test_closing_the_application_ends_the_look_up_of_the_collector(serve):
    client = serve(RUNTIME_STATS_ADDRESS=f"{'.'.join(['x' * 60] * 5)}:8125")
    invoke(client, "hello")
    (search,) = [thread for thread in threading.enumerate() if thread.name == "serverfull-stats"]
    client.close()
    search.join(PATIENCE)
    assert not search.is_alive()


def test_a_collectors_name_is_looked_up_while_invocations_are_served(serve, collector):
    client = serve(RUNTIME_STATS_ADDRESS=f"localhost:{collector.port}")

    def arrived():
        assert invoke(client, "hello").status == 200
        return not collector.is_empty()

    wait_until(arrived)


def test_an_address_without_a_host_means_this_machine(serve, collector):
    invoke(serve(RUNTIME_STATS_ADDRESS=f":{collector.port}"), "hello")
    assert "Invocations" in collector.datagram()


def test_a_closed_client_drops_metrics(collector):
    stats = UdpStats("127.0.0.1", collector.port)
    stats.start()
    stats.close()
    stats.incr("late")
    assert collector.is_empty()


# Metrics that are off


SOCKETS = """
import sys
made = []
sys.addaudithook(lambda event, arguments: made.append(arguments) if event == "socket.__new__" else None)
from werkzeug.test import Client
from serverfull_wsgi import Settings, StaticFetcher, create_app
from tests.support import handlers
given = dict(argument.split("=") for argument in sys.argv[1:])
settings = Settings.from_mapping({"SERVERFULL_EVENTS": "memory", "SERVERFULL_RUNTIME_LOGGER_OUTPUT": "NULL", **given})
client = Client(create_app(settings, StaticFetcher({"hello": handlers.hello})))
assert client.post("/2015-03-31/functions/hello/invocations").status_code == 200
client.application.close()
print(len(made))
"""


@pytest.mark.parametrize(
    ("settings", "sockets"),
    [
        ([], "0\n"),
        (["SERVERFULL_RUNTIME_STATS_ADDRESS=127.0.0.1:9", "SERVERFULL_RUNTIME_STATS_OUTPUT=NULLSTAT"], "0\n"),
        (["SERVERFULL_RUNTIME_STATS_ADDRESS=127.0.0.1:9", "SERVERFULL_RUNTIME_STATS_OUTPUT=STATSD"], "1\n"),
    ],
    ids=["default", "off", "on"],
)
def test_a_socket_is_opened_only_if_metrics_are_on(settings, sockets):
    run = subprocess.run(
        [sys.executable, "-c", SOCKETS, *settings],
        cwd=ROOT,
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.stdout, run.stderr) == (sockets, "")


# Durable events


@pytest.fixture
def durable(serve, tmp_path):
    """As `serve`, with events in a file and short delays."""

    def durable(**options):
        settings = {"EVENTS": f"sqlite:///{tmp_path}/events.sqlite3", "EVENTS_RETRY_DELAYS": "0.01"}
        return serve(**settings, EVENTS_THROTTLE_DELAYS="0.01 0.02", **options)

    return durable


def test_a_durable_event_is_counted_when_it_is_accepted_and_at_each_attempt(durable, collector):
    later(durable(), "broken")
    lines = collector.read_until("AsyncEventsDropped")
    assert lines.count("serverfull.broken.AsyncEventsReceived:1|c") == 1
    assert lines.count("serverfull.broken.Errors:1|c") == 3
    assert len([line for line in lines if "broken.AsyncEventAge:" in line]) == 3


def test_a_repeated_request_for_an_event_is_counted_once(durable, collector):
    client = durable()
    for _ in range(3):
        headers = {"X-Amz-Invocation-Type": "Event", "amz-sdk-invocation-id": "the same"}
        assert client.request("POST", "/2015-03-31/functions/hello/invocations", b"{}", headers).status == 202
    later(client, "broken")
    lines = collector.read_until("AsyncEventsDropped")
    assert lines.count("serverfull.hello.AsyncEventsReceived:1|c") == 1


def test_records_that_cannot_be_delivered_are_counted(tmp_path, collector):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        target = "http://127.0.0.1:{1}/".format(*sock.getsockname())
        config = EventConfig(maximum_retry_attempts=0, on_failure=target, dead_letter=target)
        settings = {
            "SERVERFULL_EVENTS": f"sqlite:///{tmp_path}/events.sqlite3",
            "SERVERFULL_RUNTIME_STATS_OUTPUT": "STATSD",
            "SERVERFULL_RUNTIME_STATS_ADDRESS": collector.address,
            "SERVERFULL_RUNTIME_LOGGER_OUTPUT": "NULL",
        }
        fetcher = StaticFetcher({"broken": Function(handlers.broken, event_config=config)})
        application = create_app(Settings.from_mapping(settings), fetcher)
        try:
            later(InProcess(application), "broken")
            seen = []
            while not {"DestinationDeliveryFailures", "DeadLetterErrors"} <= set(seen):
                seen += [line.partition(":")[0].rpartition(".")[2] for line in collector.lines()]
        finally:
            application.close()


def test_a_look_up_that_ends_after_the_close_leaves_no_socket(monkeypatch, collector):
    resolving, closed = threading.Event(), threading.Event()
    look_up = socket.getaddrinfo

    def slow(*arguments, flags, **more):
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror
        resolving.set()
        assert closed.wait(PATIENCE)
        return look_up("127.0.0.1", collector.port, type=socket.SOCK_DGRAM)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    stats = UdpStats("collector.example", 9)
    stats.start()
    assert resolving.wait(PATIENCE)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "serverfull-stats"]
    stats.close()
    closed.set()
    thread.join()
    stats.incr("late")
    assert collector.is_empty()


# The type of the client


def parameters(function):
    return [(it.name, it.default) for it in inspect.signature(function).parameters.values()][1:]


METHODS = ["incr", "decr", "gauge", "timing", "timer", "set", "pipeline", "close"]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("client", [UdpStats, NullStats, FunctionStats], ids=lambda client: client.__name__)
def test_each_client_has_the_methods_of_its_type(client, name):
    assert parameters(getattr(client, name)) == parameters(getattr(Stat, name))


def test_the_type_has_no_further_methods():
    assert sorted(name for name, _ in inspect.getmembers(Stat, inspect.isfunction) if name[0] != "_") == sorted(METHODS)


@pytest.mark.parametrize("name", ["start", "stop", "send"])
def test_a_timer_has_the_methods_of_its_type(name):
    assert parameters(getattr(Timer, name)) == parameters(getattr(StatTimer, name))


TYPED = """
from serverfull_wsgi import Stat, stat_from_context
def handler(event: dict[str, int], context: object) -> int:
    stats: Stat = stat_from_context()
    stats.incr("orders", 2)
    with stats.timer("duration"):
        pass
    with stats.pipeline() as pipeline:
        pipeline.gauge("size", event["size"])
    @stats.timer("call")
    def call(number: int) -> int:
        return number
    return call(1)
"""
UNTYPED = (
    "from serverfull_wsgi import stat_from_context\nstat_from_context().incr(17)\nstat_from_context().increment('a')"
)


def test_a_type_checker_knows_the_methods_of_the_client(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "typed.py").write_text(TYPED)
    (tmp_path / "untyped.py").write_text(UNTYPED)
    argv = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
    argv += ["--cache-dir", str(tmp_path / "cache"), "typed.py", "untyped.py"]
    environ = {**clean_environ(), "MYPYPATH": str(ROOT)}
    output = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, env=environ, check=False).stdout
    errors = [re.sub(r":.*error: ", ": ", line).partition(";")[0] for line in output.splitlines() if "error:" in line]
    assert [error.partition("  [")[0] for error in errors] == [
        'untyped.py: Argument 1 to "incr" of "Stat" has incompatible type "int"',
        'untyped.py: "Stat" has no attribute "increment"',
    ]
