"""Events of functions that run in processes of their own: throttles, and endless chains of events."""

import contextlib
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.event_servers import GTHREAD, EventServers
from tests.support.isolated import needs_client
from tests.support.waiting import wait_until
from tests.telemetry.test_metrics import Collector

pytestmark = needs_client
FUNCTIONS = """
import json, os, socket
from serverfull_wsgi import Function

def _hold(event, context):
    with socket.create_connection(event) as sock:
        sock.recv(1)

def note(event, context):
    return event

def broken(event, context):
    raise ValueError("no good")

def _loop(event, context):
    import boto3
    settings = {"region_name": "us-east-1", "aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = boto3.client("lambda", endpoint_url=event, **settings)
    client.invoke(FunctionName="loop", InvocationType="Event", Payload=json.dumps(event))
    return os.environ["_X_AMZN_TRACE_ID"]

hold, loop = Function("isolated._hold", timeout=60), Function("isolated._loop", timeout=60)
"""
SETTINGS = {
    "SERVERFULL_FUNCTIONS": ", ".join(f"{name}=isolated.{name}" for name in "hold note broken loop".split()),
    "SERVERFULL_EXECUTOR": "process",
    "SERVERFULL_RUNTIME_STATS_OUTPUT": "STATSD",
}


@pytest.fixture
def collector():
    with contextlib.closing(Collector()) as collector:
        yield collector


@pytest.fixture
def serve(tmp_path, collector):
    """Start servers whose functions run in isolated environments."""
    servers = EventServers(tmp_path)
    (tmp_path / "isolated.py").write_text(FUNCTIONS)

    @contextlib.contextmanager
    def serve(**settings):
        address = {"SERVERFULL_RUNTIME_STATS_ADDRESS": collector.address}
        with servers.gunicorn(*GTHREAD, **SETTINGS, **address, **settings):
            yield servers

    return serve


def ended(servers, id):
    return servers.event(id)["state"] in ("succeeded", "failed")


def test_a_throttle_does_not_count_as_an_attempt(serve, collector, battery):
    """A8: the limit is one environment, and a call keeps it busy."""
    with serve(SERVERFULL_MAX_CONCURRENCY="1") as servers, socket.create_server(("127.0.0.1", 0)) as gate:
        with ThreadPoolExecutor(1) as pool:
            payload = json.dumps(gate.getsockname()).encode()
            held = pool.submit(servers.request, "POST", "/2015-03-31/functions/hold/invocations", payload)
            with gate.accept()[0]:
                ids = [servers.accept("note", 7), servers.accept("broken")]
                wait_until(lambda: all(servers.event(id)["throttles"] >= 3 for id in ids))
            assert held.result()[0] == 200
        wait_until(lambda: all(ended(servers, id) for id in ids))
        note, broken = (servers.event(id) for id in ids)
    battery.record(
        "A8 throttled by a real executor's cap", throttles=[note["throttles"], broken["throttles"]], retries_eaten=0
    )
    assert (note["state"], note["attempts"], note["result"]) == ("succeeded", 1, "7")
    assert (broken["condition"], broken["attempts"], broken["lastError"]) == (
        "RetriesExhausted",
        3,
        "ValueError: no good",
    )
    throttled = [line for line in collector.waiting() if ".Throttles:" in line]
    assert throttled.count("serverfull.note.Throttles:1|c") == note["throttles"]
    assert throttled.count("serverfull.broken.Throttles:1|c") == broken["throttles"]


def test_a_chain_that_forwards_its_trace_header_is_stopped_after_16_hops(serve, collector, battery):
    """A10: the function calls itself with boto3, which forwards the header as it does on AWS."""
    with serve() as servers:
        servers.accept("loop", f"http://127.0.0.1:{servers.port}")
        wait_until(lambda: len(servers.rows()) >= 17 and not servers.pending())
        rows = servers.rows("SELECT condition, result FROM event ORDER BY id")
        lines = collector.read_until("RecursiveInvocationsDropped")
    battery.record("A10 a function that invokes itself", runs=len(rows) - 1)
    assert [condition for condition, _ in rows] == ["Success"] * 16 + ["RecursiveInvocationDetected"]
    assert json.loads(rows[0][1]).count("Lineage=") == 1
    assert "serverfull.loop.RecursiveInvocationsDropped:1|c" in lines
    assert "serverfull.loop.AsyncEventsDropped:1|c" in lines
