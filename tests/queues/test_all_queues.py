"""The promises that every durable queue makes, tested over all of them with real servers and boto3."""

import contextlib
import json

import pytest

from tests.conftest import noted_by_boto3
from tests.support.event_servers import GTHREAD, BrokerServers, EventServers, Webhook
from tests.support.waiting import wait_until

pytestmark = pytest.mark.battery


@pytest.fixture(scope="module", params=["sqlite", "rabbitmq", "redis"])
def servers(request, tmp_path_factory):
    """Start two web processes, the processes that run their events, and a webhook."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        servers = EventServers(folder)
    else:
        pytest.importorskip("celery", reason="needs Celery: pip install 'serverfull-wsgi[celery]'")
        servers = BrokerServers(folder, request.getfixturevalue(request.param))
    with (
        contextlib.closing(Webhook()) as servers.webhook,
        servers.gunicorn("--workers", "2", *GTHREAD, WEBHOOK=servers.webhook.url),
    ):
        with servers.runner(WEBHOOK=servers.webhook.url):
            yield servers


def records_of(servers, id):
    return [record for record in servers.received() if record["requestContext"]["requestId"] == id]


def test_events_from_boto3_over_two_workers_all_run_once(servers):
    accepted = noted_by_boto3(servers.port, 100)
    wait_until(lambda: set(accepted) <= set(servers.noted("ran")))
    assert sorted(servers.noted("ran")) == sorted(accepted)


def test_a_failing_function_is_tried_three_times_and_its_failure_reported(servers):
    id = servers.accept("retried_to_receiver", {"n": 1})
    wait_until(lambda: records_of(servers, id))
    (record,) = records_of(servers, id)
    assert servers.noted("ran").count(id) == 3
    assert record["requestContext"] == {
        "requestId": id,
        "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:retried_to_receiver:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert (record["requestPayload"], record["responsePayload"]["errorMessage"]) == ({"n": 1}, "no good")


def test_a_reserved_concurrency_of_0_is_reported_without_an_attempt(servers):
    id = servers.accept("stopped_to_receiver", {"n": 1})
    wait_until(lambda: records_of(servers, id))
    (record,) = records_of(servers, id)
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert "responseContext" not in record
    assert "responsePayload" not in record


def test_a_reserved_concurrency_holds_over_the_processes_that_run_events(servers):
    ids = [servers.accept("one_at_a_time", 0.1) for _ in range(4)]
    wait_until(lambda: set(ids) <= set(servers.noted("ended")))
    running = set()
    for word, id in (line.split()[:2] for line in servers.notes.read_text().splitlines()):
        if id in ids:
            running = running | {id} if word == "began" else running - {id}
            assert len(running) <= 1


def test_a_success_is_reported(servers):
    id = servers.accept("note_to_receiver", "ƛ\U0001f600")
    wait_until(lambda: records_of(servers, id))
    (record,) = records_of(servers, id)
    assert record["requestContext"]["condition"] == "Success"
    assert (record["requestPayload"], record["responsePayload"]) == ("ƛ\U0001f600", "ƛ\U0001f600")


def test_a_dead_letter_is_the_event_itself(servers):
    id = servers.accept("broken_to_receiver", {"letter": 1})
    wait_until(
        lambda: records_of(servers, id) and "{'letter': 1}" in servers.notes.read_text().replace(f"ran {id}", "")
    )
    assert servers.noted("ran").count(id) == 1


def test_a_record_is_sent_to_a_webhook_until_the_webhook_accepts_it(servers, battery):
    servers.webhook.responses[:] = [500, "disconnect", 204]
    attempts = servers.webhook.attempts
    id = servers.accept("broken_to_webhook")
    wait_until(lambda: servers.webhook.accepted)
    ((headers, body),) = servers.webhook.accepted
    battery.record(f"A10 a webhook that refuses, {servers.backend}", tries=servers.webhook.attempts - attempts)
    assert servers.webhook.attempts - attempts == 3
    assert json.loads(body)["requestContext"]["requestId"] == headers["X-Serverfull-Request-Id"] == id


def test_an_endless_chain_of_events_is_stopped_after_16_calls(servers, battery):
    before = len(servers.noted("ran"))
    servers.accept("loop", 0)
    wait_until(lambda: "RecursiveInvocationDetected" in servers.output())
    battery.record(
        f"A10 a destination that is the function itself, {servers.backend}", runs=len(servers.noted("ran")) - before
    )
    assert len(servers.noted("ran")) - before == 16


def test_an_unknown_function_is_refused_and_never_queued(servers):
    assert servers.send("absent")[0] == 404


def test_a_synchronous_call_is_answered(servers):
    status, _, body = servers.request("POST", "/2015-03-31/functions/note/invocations", b"5")
    assert (status, body) == (200, b"5")
