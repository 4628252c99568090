"""What every engine of durable events promises, tested once over all: real servers, boto3, and notes of what ran."""

import contextlib
import json

import pytest

from tests.conftest import noted_by_boto3
from tests.support.event_servers import GTHREAD, Carried, Hook, House
from tests.support.waiting import wait_until

pytestmark = pytest.mark.battery


@pytest.fixture(scope="module", params=["sqlite", "rabbitmq", "redis"])
def house(request, tmp_path_factory):
    """A house with two web processes, what runs its events, and a webhook."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        house = House(folder)
    else:
        pytest.importorskip("celery", reason="needs Celery: pip install 'serverfull-wsgi[celery]'")
        house = Carried(folder, request.getfixturevalue(request.param))
    with contextlib.closing(Hook()) as house.hook, house.gunicorn("--workers", "2", *GTHREAD, HOOK=house.hook.url):
        with house.runner(HOOK=house.hook.url):
            yield house


def told_of(house, id):
    return [record for record in house.told() if record["requestContext"]["requestId"] == id]


def test_boto3_over_two_workers_loses_nothing_and_repeats_nothing(house):
    accepted = noted_by_boto3(house.port, 100)
    wait_until(lambda: set(accepted) <= set(house.noted("ran")))
    assert sorted(house.noted("ran")) == sorted(accepted)


def test_a_failing_function_is_tried_three_times_and_then_told_of(house):
    id = house.accept("tired", {"n": 1})
    wait_until(lambda: told_of(house, id))
    (record,) = told_of(house, id)
    assert house.noted("ran").count(id) == 3
    assert record["requestContext"] == {
        "requestId": id,
        "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:tired:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert (record["requestPayload"], record["responsePayload"]["errorMessage"]) == ({"n": 1}, "no good")


def test_a_success_is_told_of(house):
    id = house.accept("note_to_told", "ƛ\U0001f600")
    wait_until(lambda: told_of(house, id))
    (record,) = told_of(house, id)
    assert record["requestContext"]["condition"] == "Success"
    assert (record["requestPayload"], record["responsePayload"]) == ("ƛ\U0001f600", "ƛ\U0001f600")


def test_a_dead_letter_is_the_event_itself(house):
    id = house.accept("broken_to_told", {"letter": 1})
    wait_until(lambda: told_of(house, id) and "{'letter': 1}" in house.notes.read_text().replace(f"ran {id}", ""))
    assert house.noted("ran").count(id) == 1


def test_a_record_is_sent_to_a_webhook_until_it_is_taken(house, battery):
    house.hook.ways[:] = [500, "hang up", 204]
    tries = house.hook.tries
    id = house.accept("broken_to_hook")
    wait_until(lambda: house.hook.accepted)
    ((headers, body),) = house.hook.accepted
    battery.record(f"A10 a webhook that refuses, {house.engine}", tries=house.hook.tries - tries)
    assert house.hook.tries - tries == 3
    assert json.loads(body)["requestContext"]["requestId"] == headers["X-Serverfull-Request-Id"] == id


def test_a_chain_without_end_is_stopped_after_16_hops(house, battery):
    before = len(house.noted("ran"))
    house.accept("loop", 0)
    wait_until(lambda: "RecursiveInvocationDetected" in house.outputs())
    battery.record(
        f"A10 a destination that is the function itself, {house.engine}", runs=len(house.noted("ran")) - before
    )
    assert len(house.noted("ran")) - before == 16


def test_an_unknown_function_is_refused_and_never_queued(house):
    assert house.send("absent")[0] == 404


def test_a_synchronous_call_stays_one(house):
    status, _, body = house.request("POST", "/2015-03-31/functions/note/invocations", b"5")
    assert (status, body) == (200, b"5")
