"""What travels to a broker comes back as it was, through JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serverfull_wsgi import EventConfig, FunctionName, Invocation
from serverfull_wsgi.events.retry_policy import Counts
from serverfull_wsgi.queues.celery.messages import CarriedEvent, CarriedRecord, UnreadableMessage

NAME = FunctionName.parse("hello:prod", region="eu-west-1", account_id="123456789012")
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
COUNTS = st.builds(Counts, *[st.integers(0, 9)] * 3)


def event(payload=b"1", **more):
    return CarriedEvent.of(Invocation(NAME, payload, "an-id", trace_id="Root=1", **more), EventConfig(0, 60, "told"))


@given(TEXT, TEXT, COUNTS, st.floats(0, 300))
def test_an_event_comes_back_as_it_was(payload, principal, counts, delay):
    sent = event(payload.encode(), principal=principal, client_context={"custom": {"a": payload}}).again(counts, delay)
    assert CarriedEvent.read(json.loads(json.dumps(sent.write()))) == sent


@given(TEXT, st.dictionaries(TEXT, TEXT))
def test_a_record_comes_back_as_it_was_and_keeps_its_id(body, attributes):
    sent = CarriedRecord.of(("on_failure", "told", json.dumps(attributes), body.encode()), event())
    found = CarriedRecord.read(json.loads(json.dumps(sent.write())))
    assert found == sent
    assert found.again(5.0).parcel.id == sent.parcel.id
    assert found.again(5.0).tries == 1


@pytest.mark.parametrize("what", [CarriedEvent, CarriedRecord])
@pytest.mark.parametrize("message", [{}, {"version": 2}, {"version": 1}, {"version": 1, "payload": 1, "body": 1}])
def test_a_message_of_another_kind_is_not_read(what, message):
    with pytest.raises(UnreadableMessage):
        what.read(message)
