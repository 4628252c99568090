"""Events in a broker: workers and brokers that are killed, hang or are missing.

The promises of all durable queues are tested in `tests.queues.test_all_queues`.
"""

import contextlib
import os
import random
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serverfull_wsgi import ConfigurationError, Settings
from serverfull_wsgi.celery import worker
from serverfull_wsgi.executors.isolated.sandbox.linux import descendants
from tests.support.battery import SEED, WHOLE, share
from tests.support.brokers import RabbitMQ, Redis, broker
from tests.support.event_servers import GTHREAD, BrokerServers, CeleryWorker, EventServers, Webhook
from tests.support.processes import children
from tests.support.servers import free_port
from tests.support.waiting import wait_until

pytest.importorskip("celery", reason="needs Celery: pip install 'serverfull-wsgi[celery]'")
pytestmark = pytest.mark.battery

BROKERS = {"rabbitmq": RabbitMQ, "redis": Redis}
QUIET = 2.0  # seconds: a repeated run of an event would happen within them

only_in_battery = pytest.mark.skipif(not WHOLE, reason="takes several leases: in the battery only")


@pytest.fixture(params=BROKERS)
def servers(request, tmp_path):
    return BrokerServers(tmp_path, request.getfixturevalue(request.param))


@pytest.fixture
def rabbitmq_servers(tmp_path, rabbitmq):
    return BrokerServers(tmp_path, rabbitmq)


@pytest.fixture
def redis_servers(tmp_path, redis):
    return BrokerServers(tmp_path, redis)


# Brokers that are down or hang


def timed_send(servers):
    """Send an event and return the response's status and the seconds until then."""
    started = time.monotonic()
    status, _ = servers.send("note")
    return status, time.monotonic() - started


def test_a_server_refuses_events_quickly_while_its_broker_hangs(servers, battery):
    with servers.gunicorn():
        servers.accept("note")
        servers.broker.pause()
        try:
            status, seconds = timed_send(servers)
            synchronous = servers.request("POST", "/2015-03-31/functions/note/invocations", b"5")
        finally:
            servers.broker.resume()
        wait_until(lambda: timed_send(servers)[0] == 202)
    battery.record(f"refused by a broker that hangs, {servers.backend}", seconds=round(seconds, 2))
    assert status == 500
    assert (synchronous[0], synchronous[2]) == (200, b"5")


@pytest.mark.battery
@only_in_battery
@pytest.mark.parametrize("kind", BROKERS)
def test_accepted_events_survive_a_kill_of_the_broker(kind, tmp_path, battery):
    (tmp_path / "broker").mkdir()
    with broker(BROKERS[kind], tmp_path / "broker") as running:
        servers = BrokerServers(tmp_path, running)
        with servers.gunicorn():
            ids = [servers.accept("note") for _ in range(100)]
            time.sleep(10)  # RabbitMQ stores the existence of a queue every few seconds only
            ids += [servers.accept("note") for _ in range(100)]
            running.stop()
            status, seconds = timed_send(servers)
            running.start()
            wait_until(lambda: timed_send(servers)[0] == 202)
            with servers.worker():
                wait_until(lambda: set(ids) <= set(servers.noted("ran")))
    battery.record(f"refused by a broker that is down, {kind}", seconds=round(seconds, 2))
    assert status == 500


def test_a_server_starts_without_its_broker_and_logs_the_error(tmp_path):
    servers = BrokerServers(tmp_path, Redis(tmp_path))
    with servers.gunicorn(SERVERFULL_EVENTS=f"amqp://guest:hidden@127.0.0.1:{free_port()}//") as server:
        assert timed_send(servers)[0] == 500
        assert "Connection refused" in server.output()
        assert "hidden" not in server.output()


# Delayed events and killed workers


def test_a_delayed_retry_survives_a_kill_of_its_worker(rabbitmq_servers):
    servers = rabbitmq_servers
    with servers.gunicorn():
        worker = servers.start_worker(SERVERFULL_EVENTS_RETRY_DELAYS="3")
        id = servers.accept("flaky")
        wait_until(lambda: servers.noted("ran"))
        time.sleep(0.5)  # until the retry is in the broker
        worker.kill()
        (servers.folder / "healed").touch()
        with servers.worker():
            wait_until(lambda: len(servers.noted("ran")) > 1)
            time.sleep(QUIET)
    assert servers.noted("ran") == [id, id]


def test_redis_keeps_a_retry_that_is_delayed_for_longer_than_a_lease(redis_servers, battery):
    servers = redis_servers
    servers.settings |= {"SERVERFULL_EVENTS_LEASE": "4", "SERVERFULL_EVENTS_RETRY_DELAYS": "9"}
    with servers.gunicorn():
        worker = servers.start_worker()
        id = servers.accept("flaky")
        wait_until(lambda: servers.noted("ran"))
        started = time.monotonic()
        time.sleep(4.5)
        worker.kill()
        (servers.folder / "healed").touch()
        with servers.worker():
            wait_until(lambda: len(servers.noted("ran")) > 1)
            delay = time.monotonic() - started
            time.sleep(QUIET)
    runs = len(servers.noted("ran"))
    battery.record(
        "Redis, an event due after 9 s with a lease of 4 s, worker killed", runs=runs, rested=round(delay, 1)
    )
    assert servers.noted("ran") == [id, id]


@pytest.mark.battery
@only_in_battery
def test_an_event_whose_worker_is_killed_runs_again(servers, battery):
    with servers.gunicorn():
        worker = servers.start_worker()
        id = servers.accept("work", 1)
        wait_until(lambda: servers.noted("began"))
        worker.kill()
        killed = time.monotonic()
        with servers.worker():
            wait_until(lambda: servers.noted("ended"))
    battery.record(f"{servers.backend}, run again after a kill", seconds=round(time.monotonic() - killed, 1))
    assert servers.noted("began") == [id, id]


@pytest.mark.battery
@only_in_battery
def test_an_event_that_kills_its_worker_fails_after_five_runs_and_others_run(servers, battery):
    with servers.gunicorn(), servers.worker():
        id = servers.accept("poison_to_receiver")
        others = [servers.accept("note", number) for number in range(20)]
        wait_until(lambda: id in str(servers.received()) and set(others) <= set(servers.noted("ran")), 300)
    runs = servers.noted("ran").count(id)
    (record,) = servers.received()
    battery.record(f"A12 an event that kills, {servers.backend}", runs=runs, others=len(others))
    assert runs == 5
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 5


@pytest.mark.battery
@only_in_battery
def test_an_event_on_redis_may_run_for_longer_than_a_lease(redis_servers):
    servers = redis_servers
    with servers.gunicorn(), servers.worker(SERVERFULL_EVENTS_LEASE="2"):
        id = servers.accept("work", 6)
        wait_until(lambda: servers.noted("ended"))
        time.sleep(QUIET)
    assert servers.noted("began") == [id]


def test_no_accepted_event_is_lost_when_servers_and_workers_are_killed(servers, battery):
    """Single processes of servers and workers are killed, and whole workers with all their processes."""
    if servers.backend == "Redis" and not WHOLE:
        pytest.skip("events can be lost on Redis: the battery counts them")
    rng, count = random.Random(SEED), share(20_000, 150)
    kills = {"processes": 0, "workers": 0}
    servers.settings |= {"SERVERFULL_EVENTS_LEASE": "3"}
    with servers.gunicorn("--workers", "2", *GTHREAD) as server, contextlib.ExitStack() as stack:
        workers = [servers.start_worker("--concurrency", "4") for _ in range(2)]
        stack.callback(lambda: [worker.kill() for worker in workers])
        is_done, accepted = threading.Event(), []

        def client(_):
            while not is_done.is_set():
                if (response := servers.send("note", 1)) and response[0] == 202:
                    accepted.append(response[1])
                time.sleep(0.05)  # keeps the number of events low: the kills take the time

        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(client, number) for number in range(4)]
            try:
                while len(accepted) < count or kills["workers"] < share(100, 1):
                    for _ in range(10):
                        time.sleep(0.2)
                        victims = children(server.process.pid) + children(rng.choice(workers).process.pid)
                        for pid in rng.sample(victims, 1) if victims else ():
                            with contextlib.suppress(ProcessLookupError):
                                os.kill(pid, signal.SIGKILL)
                                kills["processes"] += 1
                    workers.pop(0).kill()
                    workers.append(servers.start_worker("--concurrency", "4"))
                    kills["workers"] += 1
            finally:
                is_done.set()
            assert [client.result() for client in clients]
        wait_for_runs(servers, set(accepted))
    ran = servers.noted("ran")
    lost, extra = set(accepted) - set(ran), len(ran) - len(set(ran))
    battery.record(f"A1 killed, {servers.backend}", accepted=len(accepted), lost=len(lost), extra_runs=extra, **kills)
    assert extra <= kills["processes"] + 4 * kills["workers"]
    # kombu takes a message off Redis and only then notes its lease; a kill in between loses the message.
    assert len(lost) <= (0 if servers.backend == "RabbitMQ" else kills["workers"])


def wait_for_runs(servers, accepted):
    """Wait until all accepted events have run, or no event has run for 30 seconds, ten leases."""
    runs, latest = -1, time.monotonic()
    while not accepted <= set(ran := servers.noted("ran")) and time.monotonic() - latest < 30:
        if len(ran) != runs:
            runs, latest = len(ran), time.monotonic()
        time.sleep(1.0)


# Destinations


@pytest.mark.battery
@only_in_battery
def test_a_record_waits_for_a_destination_that_is_down_and_survives_its_worker(servers, battery):
    port = free_port()
    webhook = {"WEBHOOK": f"http://127.0.0.1:{port}/hook"}
    with servers.gunicorn(**webhook):
        worker = servers.start_worker(**webhook)
        id = servers.accept("broken_to_webhook")
        wait_until(lambda: worker.output().count("cannot deliver record") > 1)
        worker.kill()
        with servers.worker(**webhook), contextlib.closing(Webhook(port=port)) as server:
            wait_until(lambda: server.accepted)
            time.sleep(QUIET)
            delivered = [headers["X-Serverfull-Request-Id"] for headers, _ in server.accepted]
    battery.record(f"A10 a destination that is down, and then up, {servers.backend}", taken=len(delivered))
    assert set(delivered) == {id}
    assert servers.noted("ran") == [id]


@pytest.mark.battery
@only_in_battery
def test_a_destination_that_hangs_does_not_delay_records_to_others(servers, battery):
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        webhook = {"WEBHOOK": "http://127.0.0.1:{1}/".format(*hanging.getsockname())}
        with servers.gunicorn(**webhook), servers.worker(**webhook) as worker:
            servers.accept("broken_to_webhook")
            servers.accept("note_to_receiver", 1)
            wait_until(servers.received)
            wait_until(lambda: worker.output().count("cannot deliver record") > 1)
            tries = worker.output().count("cannot deliver record")
    battery.record(f"A10 a destination that hangs, {servers.backend}", tries=tries)


# Kinds of servers and workers


@pytest.mark.battery
@only_in_battery
@pytest.mark.parametrize(
    "options", [("--worker-class", "gevent"), (*GTHREAD, "--preload"), ()], ids=["gevent", "preload", "sync"]
)
def test_every_kind_of_gunicorn_worker_publishes_all_accepted_events(options, servers):
    with servers.gunicorn("--workers", "2", *(options or ("--worker-class", "sync"))), servers.worker():
        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(lambda number: servers.accept("note", number), range(100)))
        wait_until(lambda: set(ids) <= set(servers.noted("ran")))
    assert sorted(servers.noted("ran")) == sorted(ids)


@pytest.mark.battery
@only_in_battery
def test_a_worker_that_is_stopped_finishes_running_events(servers):
    with servers.gunicorn():
        with servers.worker():
            id = servers.accept("work", 3)
            wait_until(lambda: servers.noted("began"))
        assert servers.noted("ended") == [id]
        with servers.worker():
            time.sleep(QUIET)
    assert servers.noted("began") == [id]


# Operations without a log of events, and workers without functions


def test_commands_and_routes_report_that_a_broker_has_no_log_of_events(tmp_path):
    servers = EventServers(tmp_path)
    settings = {"SERVERFULL_EVENTS": f"redis://:hidden@127.0.0.1:{free_port()}"}
    with servers.gunicorn(**settings):
        for method, path in (("GET", ""), ("GET", "/some-id"), ("POST", "/some-id/redrive")):
            status, _, body = servers.request(method, f"/serverfull/events{path}")
            assert status == 404
            assert b"without a log to list, redrive or purge" in body
    refused = servers.command("events", "list", **settings)
    assert refused.returncode == 1
    assert "SERVERFULL_EVENTS=redis://...: a broker keeps no log of events" in refused.stderr
    worker = servers.command("worker", **settings)
    assert worker.returncode == 1
    assert "are run by Celery's workers: celery -A serverfull_wsgi.celery worker" in worker.stderr
    assert "hidden" not in refused.stderr + worker.stderr


APPLICATIONS = """
from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.queues.celery import CeleryQueue
fetcher = StaticFetcher({"note": print})
elsewhere = Application(fetcher, queue=CeleryQueue("amqp://user:hidden@other//"))
in_memory = Application(fetcher)
"""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "the worker has no functions: give it the settings of the server"),
        (
            {"EVENTS": "memory", "FUNCTIONS": "echo=tests.support.handlers.echo"},
            "Celery's workers run events from a broker, and this application has none",
        ),
        ({"APPLICATION": "applications:in_memory"}, "Celery's workers run events from a broker"),
        (
            {"APPLICATION": "applications:elsewhere"},
            "SERVERFULL_APPLICATION=applications:elsewhere: its events are in the queue serverfull of amqp://user:**@other",
        ),
        ({"APPLICATION": "applications:none"}, "SERVERFULL_APPLICATION=applications:none: module"),
        ({"APPLICATION": "applications:fetcher"}, "this is a StaticFetcher; name a serverfull_wsgi.App"),
    ],
    ids=["no functions", "memory", "application in memory", "another broker", "no application", "not an application"],
)
def test_a_worker_refuses_an_application_that_it_cannot_run(settings, message, tmp_path, monkeypatch):
    (tmp_path / "applications.py").write_text(APPLICATIONS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "applications", raising=False)
    values = {"EVENTS": "amqp://here//", "RUNTIME_LOGGER_OUTPUT": "NULL", **settings}
    with pytest.raises(ConfigurationError) as refusal:
        worker(Settings.from_mapping({f"SERVERFULL_{name}": value for name, value in values.items()}))
    assert message in str(refusal.value)
    assert "hidden" not in str(refusal.value)


def test_a_worker_of_an_application_in_code_logs_notices_about_misspelt_names(tmp_path, monkeypatch, capsys):
    (tmp_path / "applications.py").write_text(APPLICATIONS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "applications", raising=False)
    values = {"SERVERFULL_MOK": "1", "SERVERFULL_APPLICATION": "applications:elsewhere"}
    worker(Settings.from_mapping(values))
    assert "SERVERFULL_MOK is not a setting; did you mean SERVERFULL_MOCK?" in capsys.readouterr().out


def test_a_worker_without_functions_exits_with_one_line(tmp_path):
    worker = CeleryWorker(BrokerServers(tmp_path, Redis(tmp_path)), (), {"SERVERFULL_FUNCTIONS": ""})
    assert worker.process.wait(60) == 1
    (line,) = [line for line in worker.output().splitlines() if line.startswith("serverfull_wsgi.celery: ")]
    assert "the worker has no functions" in line
    assert "Traceback" not in worker.output()


def test_a_missing_extra_is_reported_in_one_line(tmp_path):
    servers = EventServers(tmp_path)
    (tmp_path / "celery.py").write_text("raise ModuleNotFoundError('No module named celery', name='celery')\n")
    refused = servers.command("check", SERVERFULL_EVENTS="amqp://user:hidden@here//")
    assert refused.returncode == 1
    assert refused.stderr.strip().splitlines()[-1] == (
        "Error: SERVERFULL_EVENTS=amqp://... needs Celery: pip install 'serverfull-wsgi[celery]'"
    )


def test_a_worker_runs_an_application_built_in_code_by_its_name(rabbitmq_servers):
    servers = rabbitmq_servers
    (servers.folder / "ours.py").write_text(
        "import functions\n"
        "from serverfull_wsgi import StaticFetcher, create_app\n"
        "application = create_app(fetcher=StaticFetcher({'note': functions.note}))\n"
    )
    with servers.gunicorn(), servers.worker(SERVERFULL_FUNCTIONS="", SERVERFULL_APPLICATION="ours:application"):
        id = servers.accept("note")
        wait_until(lambda: servers.noted("ran") == [id])


@pytest.mark.skipif(sys.platform != "linux", reason="awslambdaric is installed on Linux only")
def test_isolated_functions_run_on_a_worker_and_end_when_it_stops(rabbitmq_servers):
    servers = rabbitmq_servers
    with servers.gunicorn():
        # with a root directory of its own the function could not write its note
        isolated = {"SERVERFULL_EXECUTOR": "process", "SERVERFULL_SANDBOX": "namespaces"}
        with servers.worker("--concurrency", "1", **isolated) as worker:
            id = servers.accept("note")
            wait_until(lambda: servers.noted("ran") == [id])
            processes = descendants(worker.process.pid)
            assert len(processes) > 2  # Celery's child, the zygote and the function
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))
