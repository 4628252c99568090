"""Durable events with real servers, which are killed: an event that got a 202 reaches its one end."""

import contextlib
import json
import os
import random
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from serverfull_wsgi import Application, SqliteQueue, StaticFetcher
from tests.conftest import noted_by_boto3
from tests.support.battery import SEED, WHOLE, share
from tests.support.event_servers import GTHREAD, EventServers
from tests.support.hosts import InProcess
from tests.support.processes import children
from tests.support.servers import ROOT, Server, clean_environ, free_port, running
from tests.support.small_disk import PRIVATE, can_mount
from tests.support.tracing import needs_strace
from tests.support.waiting import wait_until


@pytest.fixture
def servers(tmp_path):
    return EventServers(tmp_path)


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


# Runs, retries, ends


def test_an_event_is_in_the_store_before_its_202(servers):
    with servers.gunicorn():
        id = servers.accept("work", 5)
        assert (id,) in servers.rows("SELECT request_id FROM event")


def test_a_failing_function_is_tried_three_times_with_one_request_id(servers):
    with servers.gunicorn():
        id = servers.accept("broken")
        wait_until(lambda: servers.event(id)["state"] == "failed")
        event = servers.event(id)
    assert servers.noted("ran") == [id] * 3
    assert (event["attempts"], event["condition"], event["lastError"]) == (3, "RetriesExhausted", "ValueError: no good")
    assert json.loads(event["result"])["errorType"] == "ValueError"


def test_an_event_succeeds_if_a_retry_succeeds(servers):
    with servers.gunicorn(SERVERFULL_EVENTS_RETRY_DELAYS="1"):
        id = servers.accept("flaky")
        wait_until(lambda: servers.noted("ran"))
        (servers.folder / "healed").touch()
        wait_until(lambda: servers.event(id)["state"] == "succeeded")
    assert len(servers.noted("ran")) == 2


def test_an_event_whose_function_was_removed_waits_for_the_function(servers):
    with servers.gunicorn("--workers", "1", SERVERFULL_EVENTS_WORKERS="1"):
        servers.accept("work", 3)
        id = servers.accept("note")
    with servers.gunicorn(SERVERFULL_FUNCTIONS="work=functions.work"):
        wait_until(lambda: servers.event(id)["throttles"] > 1)
        assert servers.event(id)["state"] in ("queued", "running")
    with servers.gunicorn():
        wait_until(lambda: servers.event(id)["state"] == "succeeded")


@pytest.mark.parametrize(
    ("name", "payload", "status"),
    [("absent", b"{}", 404), ("note", b"{", 400), ("no!te", b"{}", 400), ("note", b'"' + b"x" * 1_048_577 + b'"', 413)],
    ids=["unknown", "malformed", "bad name", "oversized"],
)
def test_a_refused_event_is_never_queued(name, payload, status, servers):
    with servers.gunicorn():
        target = f"/2015-03-31/functions/{name}/invocations"
        assert servers.request("POST", target, payload, {"X-Amz-Invocation-Type": "Event"})[0] == status
        assert servers.rows() == []


def test_a_repeated_accept_is_accepted_once(servers):
    with servers.gunicorn():
        ids = [servers.accept("note", 1, amz_sdk_invocation_id="first") for _ in range(3)]
        others = [
            servers.accept("note", 2, amz_sdk_invocation_id="first"),
            servers.accept("note", 1),
            servers.accept("note", 1),
        ]
        assert len(servers.rows()) == 4
    assert len(set(ids)) == 1
    assert len({*ids, *others}) == 4


WORKERS = {
    "gthread": GTHREAD,
    "sync": ("--worker-class", "sync"),
    "gevent": ("--worker-class", "gevent"),
    "preload": (*GTHREAD, "--preload"),
}


@pytest.mark.parametrize("kind", ["sync", "gevent", "preload"])
def test_events_from_boto3_over_two_workers_all_run_once(kind, servers):
    with servers.gunicorn("--workers", "2", *WORKERS[kind]):
        accepted = noted_by_boto3(servers.port, 100)
        wait_until(lambda: not servers.pending())
    assert sorted(servers.noted("ran")) == sorted(accepted)
    assert sorted(servers.rows()) == sorted((id, "succeeded") for id in accepted)


# Stops and kills


def test_a_stop_releases_running_events_and_the_next_start_runs_them(servers):
    with servers.gunicorn(SERVERFULL_DRAIN="0.1", SERVERFULL_EVENTS_LEASE="600") as server:
        id = servers.accept("work", 2)
        wait_until(lambda: servers.noted("began"))
        server.stop()
    assert servers.rows() == [(id, "queued")]
    with servers.gunicorn():
        wait_until(lambda: servers.event(id)["state"] == "succeeded")
        assert (servers.event(id)["lostLeases"], servers.event(id)["attempts"]) == (0, 1)


def test_a_stop_waits_for_events_that_end_in_the_drain_time(servers):
    with servers.gunicorn() as server:
        id = servers.accept("work", 1)
        wait_until(lambda: servers.noted("began"))
        server.stop()
    assert servers.noted("ended") == [id]
    assert servers.rows() == [(id, "succeeded")]


GRANIAN = ("--worker-class", "serverfull_wsgi.workers.GranianWorker", "--threads", "8", "-c", "hooks.py")
KILLED = {
    "gthread": GTHREAD,
    "granian": pytest.param(GRANIAN, marks=pytest.mark.skipif(not WHOLE, reason="in the battery only")),
}


@needs_proc
@pytest.mark.parametrize("options", KILLED.values(), ids=KILLED)
def test_killed_workers_lose_no_event(options, servers, battery):
    """A1."""
    rng, accepted, kills = random.Random(SEED), [], 0
    count = share(20_000, 400)
    with servers.gunicorn("--workers", "2", *options, SERVERFULL_DRAIN="5", SERVERFULL_EVENTS_LEASE="2") as server:
        done = threading.Event()

        def client(_):
            mine = []
            while not done.is_set():
                if (answer := servers.send("note", 1)) and answer[0] == 202:
                    mine.append(answer[1])
            return mine

        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(client, number) for number in range(4)]
            try:
                while (
                    servers.pending() + servers.rows("SELECT count(*) FROM event WHERE due IS NULL")[0][0] < count
                    or kills < 3
                ):
                    time.sleep(0.2)
                    for pid in rng.sample(pids, 1) if (pids := children(server.process.pid)) else ():
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                            kills += 1
            finally:
                done.set()
            accepted = [id for answer in answers for id in answer.result()]
        wait_until(lambda: not servers.pending(), 600)
        rows = dict(servers.rows())
        ran = servers.noted("ran")
    lost = [id for id in accepted if rows.get(id) != "succeeded"]
    extra = len(ran) - len(set(ran))
    battery.record(
        f"A1 workers killed, {options[1]}", accepted=len(accepted), kills=kills, lost=len(lost), extra_runs=extra
    )
    assert lost == []
    assert set(accepted) <= set(ran)
    assert set(rows.values()) == {"succeeded"}
    assert extra <= kills * 4


@needs_proc
def test_killed_servers_lose_no_event(servers, battery):
    """A2."""
    accepted, kills = [], share(100, 3)
    for _ in range(kills):
        with servers.gunicorn(SERVERFULL_EVENTS_LEASE="2") as server:
            accepted += [servers.accept("work", 0.05) for _ in range(8)]
            pids = [server.process.pid, *children(server.process.pid)]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            server.process.wait()
    with servers.gunicorn(SERVERFULL_EVENTS_LEASE="2"):
        wait_until(lambda: not servers.pending(), 600)
        rows = dict(servers.rows())
        runs = len(servers.noted("began"))
    assert sorted(rows) == sorted(accepted)
    ended = {state: list(rows.values()).count(state) for state in set(rows.values())}
    battery.record("A2 servers killed", accepted=len(accepted), kills=kills, lost=0, runs=runs, ended=ended)
    assert set(rows.values()) <= {"succeeded", "failed"}  # failed: events that were running at five kills
    assert ended.get("failed", 0) <= kills * 4 // 5


@needs_proc
def test_another_worker_takes_over_without_a_request(servers):
    with servers.gunicorn("--workers", "3", *GTHREAD, SERVERFULL_EVENTS_LEASE="2") as server:
        servers.accept("note")
        wait_until(lambda: servers.noted("ran"))
        ids = [servers.accept("work", 0.1) for _ in range(40)]
        for pid in children(server.process.pid)[:2]:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not servers.pending())
        assert {id for id, state in servers.rows() if state == "succeeded"} >= set(ids)


@needs_proc
def test_an_event_that_kills_its_process_fails_and_the_others_succeed(servers, battery):
    """A12."""
    with servers.gunicorn():
        id = servers.send_poison()
        answers = [servers.send("note", number) for number in range(share(100, 10))]
        others = [answer[1] for answer in answers if answer and answer[0] == 202]  # a kill may interrupt an accept
        wait_until(lambda: servers.pending() == 0, 300)
        rows = dict(servers.rows())
        lost = servers.event(id)["lostLeases"]
    battery.record("A12 an event that kills", lost_leases=lost, runs=servers.noted("ran").count(id), others=len(others))
    assert rows[id] == "failed"
    assert {rows[other] for other in others} <= {"succeeded"}
    assert lost == servers.noted("ran").count(id) == 5


@needs_proc
def test_another_process_leads_while_a_stopping_one_finishes_its_events(servers):
    with servers.gunicorn() as server:
        servers.accept("work", 3)
        wait_until(lambda: servers.noted("began"))
        (old,) = children(server.process.pid)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any(pid != old for pid in children(server.process.pid)))
        wait_until(lambda: servers.send("note"))
        wait_until(lambda: servers.noted("ran") and not servers.pending())
    assert len(servers.noted("ended")) == 1


def test_an_event_may_take_longer_than_its_lease(servers):
    with servers.gunicorn(SERVERFULL_EVENTS_LEASE="3"):
        id = servers.accept("work", 5)
        wait_until(lambda: servers.event(id)["state"] == "succeeded")
        assert servers.event(id)["lostLeases"] == 0


# A worker, and operators


def test_a_worker_runs_events_in_place_of_the_web_processes(servers):
    with servers.gunicorn():
        with servers.worker() as worker:
            before = servers.accept("work", 0.01)
            wait_until(lambda: servers.event(before)["state"] == "succeeded")
            wait_until(lambda: servers.accept("note") and "REPORT" in worker.output())
        after = servers.accept("note")
        wait_until(lambda: servers.event(after)["state"] == "succeeded")


def test_a_worker_stops_cleanly_after_many_signals(servers):
    with servers.gunicorn(), servers.worker() as worker:
        wait_until(lambda: servers.accept("note") and "REPORT" in worker.output())  # the worker leads
        id = servers.accept("work", 2)  # keeps the worker alive until it has received all signals
        wait_until(lambda: servers.event(id)["state"] == "running")
        for _ in range(500):
            worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(60) == 0
        assert servers.event(id)["state"] == "succeeded"


def test_a_worker_needs_a_queue_that_processes_share(servers):
    result = servers.command("worker", SERVERFULL_EVENTS="memory")
    assert result.returncode == 1
    assert "a worker needs events that processes can share" in result.stderr


def test_the_command_lists_shows_redrives_and_purges_events(servers):
    with servers.gunicorn():
        failed, fine = [servers.accept("broken") for _ in range(3)], servers.accept("note", {"n": 1})
        wait_until(lambda: servers.pending() == 0)
    listed = servers.command("events", "list", "--state", "failed", "--limit", "2")
    assert [line.split("\t")[1] for line in listed.stdout.splitlines()] == ["REQUEST ID", *failed[:0:-1]]
    rows = json.loads(servers.command("events", "list", "--state", "failed", "--limit", "2", "--json").stdout)
    assert [(row["requestId"], row["state"]) for row in rows] == [(id, "failed") for id in failed[:0:-1]]
    assert listed.stderr == "more: --before 2\n"
    shown = json.loads(servers.command("events", "show", fine).stdout)
    assert (shown["state"], shown["payload"], shown["result"]) == ("succeeded", '{"n": 1}', '{"n": 1}')
    assert servers.command("events", "redrive", failed[0]).stdout == "1 redriven\n"
    assert servers.command("events", "redrive", "--failed").stdout == "2 redriven\n"
    assert "there is no failed event" in servers.command("events", "redrive", fine).stderr
    assert servers.command("events", "purge", "--yes").stdout == "1 removed\n"
    with servers.gunicorn():
        wait_until(lambda: servers.pending() == 0)
    assert sorted(servers.noted("ran")) == sorted(failed * 6 + [fine])


def test_an_operator_lists_shows_and_redrives_events_over_http(servers):
    with servers.gunicorn():
        ids = [servers.accept("broken") for _ in range(3)]
        wait_until(lambda: servers.pending() == 0)
        page = json.loads(servers.request("GET", "/serverfull/events?state=failed&limit=2")[2])
        following = json.loads(servers.request("GET", page["next"])[2])
        assert [one["requestId"] for one in page["events"] + following["events"]] == ids[::-1]
        assert following["next"] is None
        assert servers.request("POST", f"/serverfull/events/{ids[0]}/redrive")[0] == 202
        wait_until(lambda: servers.noted("ran").count(ids[0]) == 6 and servers.pending() == 0)
        assert servers.request("GET", "/serverfull/events/none")[0] == 404
        assert servers.request("POST", "/serverfull/events/none/redrive")[0] == 404
        assert servers.request("GET", "/serverfull/events?limit=501")[0] == 400
        fine = servers.accept("note")
        wait_until(lambda: servers.pending() == 0)
        assert servers.request("POST", f"/serverfull/events/{fine}/redrive")[0] == 409


def test_the_operators_paths_are_off_by_default(servers):
    with servers.gunicorn(SERVERFULL_ADMIN="false"):
        assert servers.request("GET", "/serverfull/events")[0] == 404


def test_a_damaged_store_keeps_the_server_from_starting(servers):
    (servers.folder / ".serverfull").mkdir()
    (servers.folder / ".serverfull/events.sqlite3").write_bytes(b"not a store" * 1000)
    with pytest.raises(RuntimeError) as caught:
        with servers.gunicorn():
            pass
    assert "is damaged (file is not a database). Nothing was started and nothing was changed." in str(caught.value)
    assert "Traceback" not in str(caught.value)


# Destinations


def test_a_failure_is_reported_to_a_function_and_the_dead_letter_is_the_event(servers):
    with servers.gunicorn():
        id = servers.accept("broken_to_receiver", {"n": 1})
        wait_until(lambda: servers.received() and servers.pending() == 0 and len(servers.rows()) == 3)
        assert [record["state"] for record in servers.event(id)["records"]] == ["delivered"] * 2
    (record,) = servers.received()
    assert list(record) == [
        "version", "timestamp", "requestContext", "requestPayload", "responseContext", "responsePayload"
    ]  # fmt: skip
    assert record["requestContext"] == {
        "requestId": id,
        "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:broken_to_receiver:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 1,
    }
    assert record["requestPayload"] == {"n": 1}
    assert record["responseContext"] == {
        "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"
    }  # fmt: skip
    assert record["responsePayload"]["errorMessage"] == "no good"
    assert "{'n': 1}" in servers.notes.read_text()


def test_an_endless_chain_of_events_is_stopped_after_16_calls(servers, battery):
    with servers.gunicorn():
        servers.accept("loop", 0)
        wait_until(lambda: len(servers.rows()) >= 17 and not servers.pending())
        wait_until(lambda: not servers.rows("SELECT 1 FROM record WHERE due IS NOT NULL"))
        conditions = [row[0] for row in servers.rows("SELECT condition FROM event ORDER BY id")]
    battery.record("A10 a destination that is the function itself", runs=len(servers.noted("ran")))
    assert conditions == ["Success"] * 16 + ["RecursiveInvocationDetected"]
    assert len(servers.noted("ran")) == 16


def test_the_record_for_a_destination_that_is_down_is_kept(servers):
    port = free_port()
    with servers.gunicorn(WEBHOOK=f"http://127.0.0.1:{port}/"):
        id = servers.accept("broken_to_webhook")
        wait_until(lambda: servers.event(id).get("records") and servers.event(id)["records"][0]["tries"] > 1)
    ((state, target, body),) = servers.rows("SELECT state, target, body FROM record")
    assert (state, target) == ("waiting", f"http://127.0.0.1:{port}/")
    assert json.loads(body)["requestContext"]["requestId"] == id


def test_records_go_to_sqs_sns_and_eventbridge(servers, moto):
    keys = {"AWS_ACCESS_KEY_ID": "123456789012", "AWS_SECRET_ACCESS_KEY": "secret"}

    def client(service):
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=moto.url,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key="secret",
        )

    with contextlib.ExitStack() as stack:
        sqs, sns, bus = (stack.enter_context(contextlib.closing(client(name))) for name in ("sqs", "sns", "events"))
        urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("jobs", "from-topic", "from-bus")}
        topic = sns.create_topic(Name="topic")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:from-topic")
        bus.put_rule(Name="all", EventPattern='{"source": ["lambda"]}')
        bus.put_targets(Rule="all", Targets=[{"Id": "1", "Arn": "arn:aws:sqs:us-east-1:123456789012:from-bus"}])
        stack.enter_context(servers.gunicorn(SERVERFULL_EVENTS_DESTINATIONS_ENDPOINT=moto.url, **keys))
        ids = [servers.accept(name, {"n": 1}) for name in ("to_sqs", "to_sns", "to_bus")]
        wait_until(lambda: servers.rows("SELECT state FROM record") == [("delivered",)] * 3)
        jobs, topic, bus = (_only_message(sqs, url) for url in urls.values())
    assert json.loads(jobs["Body"])["requestContext"]["requestId"] == ids[0]
    letter = json.loads(topic["Body"])
    assert json.loads(letter["Message"]) == {"n": 1}
    assert {name: attribute["Value"] for name, attribute in letter["MessageAttributes"].items()} == {
        "RequestID": ids[1], "ErrorCode": "200", "ErrorMessage": "no good"
    }  # fmt: skip
    event = json.loads(bus["Body"])
    assert event["detail-type"] == "Lambda Function Invocation Result - Success"
    assert event["detail"]["requestContext"]["requestId"] == ids[2]


def _only_message(sqs, url):
    (message,) = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    return message


# The example


def test_the_commands_in_the_examples_docstring_work(tmp_path):
    text = (ROOT / "examples/event_pipeline.py").read_text()
    start, poem, nothing, told = re.findall(
        r"^ {4}((?:SERVERFULL|curl).+)$", text.partition('"""\n\nimport')[0], re.MULTILINE
    )
    words = shlex.split(start)
    settings = dict(word.split("=") for word in words[: words.index("gunicorn")])
    port = free_port()
    environ = {
        **settings,
        "SERVERFULL_DATA_DIR": str(tmp_path / settings["SERVERFULL_DATA_DIR"]),
        "SERVERFULL_EVENTS": "",
    }
    environ |= {"RECORDS": str(tmp_path / "records"), "WEBHOOK": f"http://127.0.0.1:{port}/hook"}
    argv = ["-m", *words[words.index("gunicorn") :], "--bind", f"127.0.0.1:{port}", "--no-control-socket"]

    def paste(line):
        argv = shlex.split(line.replace("localhost:8000", f"127.0.0.1:{port}"))
        return subprocess.run([*argv, "--silent", "--show-error"], capture_output=True, text=True, check=True).stdout

    def serving():
        return running(Server(argv, tmp_path / "log", port=port, env=environ))

    with serving() as server:
        paste(poem)
        paste(nothing)
        wait_until(lambda: "webhook" in paste(told))
        server.stop(signal.SIGKILL)
    port = free_port()
    argv[argv.index("--bind") + 1] = f"127.0.0.1:{port}"
    with serving():
        paste(told)
        wait_until(lambda: "clean-up" in paste(told))
        lines = [json.loads(line) for line in paste(told).splitlines()]
    assert {"receiver": "webhook", "upload": "poem", "condition": "Success", "words": 3} in lines
    assert {"receiver": "clean-up", "upload": "nothing", "condition": "RetriesExhausted"} in lines


# A process that is killed at each failpoint, and syncs: A11, A3 (A4 is in test_disk.py)

CHILD = """
import json, os, signal, sys
from pathlib import Path
from serverfull_wsgi import Application, EventConfig, Function, SqliteQueue, StaticFetcher
from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.queues.sqlite import workers
from tests.support.hosts import InProcess
from tests.support.waiting import wait_until

point, folder = sys.argv[1], Path(sys.argv[2])

def failpoint(name):
    if name == point:
        os.kill(os.getpid(), signal.SIGKILL)

workers.failpoint = failpoint

def note(event, context):
    with open(folder / "notes", "a") as notes:
        notes.write(f"ran {context.aws_request_id} {event}\\n")

def receiver(event, context):
    with open(folder / "notes", "a") as notes:
        notes.write("received " + context.aws_request_id + " " + json.dumps(event) + "\\n")

queue = SqliteQueue(folder / "events.sqlite3", lease=2.0, delays=Delays((0.1,), 0.1, 0.5))
functions = {"note": Function(note, event_config=EventConfig(on_success="receiver")), "receiver": receiver}
application = Application(StaticFetcher(functions), queue=queue)
application.start()
if point != "-":
    target = "/2015-03-31/functions/note/invocations"
    response = InProcess(application).request("POST", target, b"1", {"X-Amz-Invocation-Type": "Event"})
    assert response.status == 202

def is_done():
    events = queue.events()
    records = [record for event in events for record in queue.event(event["requestId"])["records"]]
    return (
        len(events) == 2
        and all(event["state"] == "succeeded" for event in events)
        and all(record["state"] == "delivered" for record in records)
    )

wait_until(is_done, 120)
application.close()
"""


def child(*argv, before=()):
    command = [*before, sys.executable, "-c", *argv]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=clean_environ(), timeout=200, check=False
    )


@pytest.mark.parametrize("point", ["accepted", "claimed", "ran", "recorded", "sent", "delivered"])
def test_an_event_has_one_end_and_one_record_wherever_its_process_is_killed(point, tmp_path, battery):
    """A11."""
    assert child(CHILD, point, str(tmp_path)).returncode == -signal.SIGKILL
    again = child(CHILD, "-", str(tmp_path))
    assert again.returncode == 0, again.stderr
    with contextlib.closing(sqlite3.connect(tmp_path / "events.sqlite3")) as db:
        ends = db.execute("SELECT state, condition, lost FROM event ORDER BY id").fetchall()
        records = db.execute("SELECT kind, state FROM record").fetchall()
    lines = (tmp_path / "notes").read_text().splitlines()
    runs, received = (sum(line.startswith(word) for line in lines) for word in ("ran ", "received "))
    battery.record(f"A11 killed once an event is {point}", runs=runs, records_taken=received, ends=len(ends))
    assert [end[:2] for end in ends] == [("succeeded", "Success")] * 2  # the event and the record's own event
    assert records == [("on_success", "delivered")]
    assert 1 <= runs <= 2
    assert 1 <= received <= 2


@needs_strace
def test_the_store_is_synced_between_a_request_and_its_202(servers, tmp_path, battery):
    """A3."""
    count, trace = share(1000, 40), tmp_path / "trace"
    with servers.gunicorn("--worker-class", "sync", "-c", "hooks.py", SERVERFULL_EVENTS="") as server:
        with servers.worker():  # so that the web process syncs for accepts only
            (pid,) = children(server.process.pid)
            calls = "trace=recvfrom,sendto,fdatasync,fsync"
            strace = subprocess.Popen(["strace", "-f", "-qq", "-s", "64", "-o", trace, "-e", calls, "-p", str(pid)])
            try:
                threads = Path(f"/proc/{pid}/task")  # strace attaches to one after another
                wait_until(lambda: all("TracerPid:\t0\n" not in it.read_text() for it in threads.glob("*/status")))
                for _ in range(count):
                    servers.accept("note")
            finally:
                strace.terminate()
                strace.wait(30)
    synced, answered, is_read = 0, 0, False
    for line in trace.read_text().splitlines():
        if "POST /2015-03-31" in line:
            is_read, is_synced = True, False
        elif is_read and ("fdatasync" in line or "fsync" in line):
            is_synced = True
        elif "HTTP/1.1 202" in line and is_read:
            answered, synced, is_read = answered + 1, synced + is_synced, False
    battery.record("A3 synced before its 202", answered=answered, synced=synced)
    assert (answered, synced) == (count, count)


SMALL_DISK = """
import sys, time
from pathlib import Path
from serverfull_wsgi import Application, SqliteQueue, StaticFetcher
from tests.support.hosts import InProcess
from tests.support.small_disk import fill
from tests.support.waiting import wait_until

folder, running, may_end = Path(sys.argv[1]), [], []

def work(event, context):
    running.append(1)
    while not may_end:
        time.sleep(0.01)
    return "done"

queue = SqliteQueue(folder / "events.sqlite3", workers=2)
application = InProcess(Application(StaticFetcher({"work": work, "quick": lambda event, context: 1}), queue=queue))

def send(name, payload=b"1", kind="Event"):
    target = f"/2015-03-31/functions/{name}/invocations"
    return application.request("POST", target, payload, {"X-Amz-Invocation-Type": kind})

accepted = [send("work").headers["x-amzn-RequestId"] for _ in range(4)]
wait_until(lambda: len(running) == 2)
fill(folder / "filler")
refused = 0
for _ in range(200):
    response = send("work", b'"' + b"x" * 50_000 + b'"')
    if response.status == 202:
        accepted.append(response.headers["x-amzn-RequestId"])
    else:
        assert (response.status, response.headers["x-amzn-ErrorType"]) == (500, "ServiceException"), response
        refused += 1
    assert send("quick", kind="RequestResponse").status == 200
assert refused
may_end.append(1)
wait_until(lambda: all(queue.event(id)["state"] == "succeeded" for id in accepted))
(folder / "filler").unlink()
wait_until(lambda: send("work").status == 202)
print(len(accepted), refused)
"""


def test_on_a_full_disk_events_are_refused_and_running_ones_reach_their_end(tmp_path, battery):
    """A5."""
    if not can_mount(tmp_path):
        pytest.skip("needs permission to mount a tmpfs")
    result = child(SMALL_DISK, str(tmp_path), before=[*PRIVATE, str(tmp_path)])
    assert result.returncode == 0, result.stderr
    accepted, refused = map(int, result.stdout.split()[-2:])
    battery.record("A5 a disk that is full, then freed", accepted=accepted, refused=refused, false_202=0, lost=0)


START_ON_FULL_DISK = """
import os, sys
from contextlib import suppress
from pathlib import Path
from serverfull_wsgi import EventConfig, Invocation, Outcome, ServiceException, SqliteQueue
from tests.support.names import function_name
from tests.support.small_disk import fill
from tests.support.waiting import wait_until

folder, has_reserve = Path(sys.argv[1]), sys.argv[2] == "reserve"

def put(id, size=1):
    queue.put(Invocation(function_name("hello"), b'"%s"' % (b"x" * size), id), EventConfig())

def start():
    queue = SqliteQueue(folder / "events.sqlite3")
    queue.start(lambda invocation, age: Outcome(b"1"), None)
    return queue

if os.fork() == 0:
    queue = start()
    for number in range(20):
        put(str(number), 1000)
    wait_until(lambda: len(queue.events("succeeded")) == 20)  # their results would use the reserve
    fill(folder / "filler")
    with suppress(ServiceException):
        put("large", 200_000)
    os._exit(9)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 9
if not has_reserve:
    (folder / "events.sqlite3.reserve").unlink(missing_ok=True)
    fill(folder / "more")
queue = start()
for filler in ("filler", "more"):
    (folder / filler).unlink(missing_ok=True)

def is_accepted():
    with suppress(ServiceException):
        put("after")
        return True

wait_until(is_accepted)
wait_until(lambda: queue.event("after")["state"] == "succeeded")
queue.close()
"""


@pytest.mark.parametrize("reserve", ["reserve", "no reserve"])
def test_a_process_that_died_on_a_full_disk_has_a_successor(reserve, tmp_path):
    """Its successor could not open the store: that takes a little space."""
    if not can_mount(tmp_path):
        pytest.skip("needs permission to mount a tmpfs")
    result = child(START_ON_FULL_DISK, str(tmp_path), reserve, before=[*PRIVATE, str(tmp_path)])
    assert result.returncode == 0, result.stderr


def test_a_wall_clock_that_jumps_does_not_affect_events(tmp_path, monkeypatch, battery):
    """A9."""
    rng, wall, queue = random.Random(SEED), time.time, SqliteQueue(tmp_path / "events.sqlite3")
    monkeypatch.setattr(time, "time", lambda: wall() + rng.choice([-7 * 3600, 7 * 3600, -1, 1]))
    ran, runs = [], StaticFetcher({"note": lambda event, context: ran.append(event)})
    application, count = Application(runs, queue=queue), share(5000, 300)
    served = InProcess(application)
    target = "/2015-03-31/functions/note/invocations"
    try:
        for number in range(count):
            assert served.request("POST", target, b"%d" % number, {"X-Amz-Invocation-Type": "Event"}).status == 202
        wait_until(lambda: not queue.events("queued") and not queue.events("running"))
        assert queue.events("failed") == []
    finally:
        application.close()
    battery.record("A9 a wall clock that jumps at every call", events=count, ran=len(ran), expired=0, stuck=0)
    assert sorted(ran) == list(range(count))
