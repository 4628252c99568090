"""The messages in a broker: both kinds survive JSON, and other messages are refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serverfull_wsgi import EventConfig, FunctionName, Invocation
from serverfull_wsgi.events.records import DestinationRecord
from serverfull_wsgi.events.retry_policy import Counts

pytestmark = pytest.mark.quick

messages = pytest.importorskip("serverfull_wsgi.queues.celery.messages", reason="needs the extra celery")
EventMessage, RecordMessage = messages.EventMessage, messages.RecordMessage
NAME = FunctionName.parse("hello:prod", region="eu-west-1", account_id="123456789012")
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
COUNTS = st.builds(Counts, *[st.integers(0, 9)] * 3)


def event(payload=b"1", **more):
    config = EventConfig(0, 60, "receiver")
    return EventMessage.of(Invocation(NAME, payload, "an-id", trace_id="Root=1", **more), config)


@given(TEXT, TEXT, COUNTS, st.floats(0, 300))
def test_an_event_is_equal_after_json(payload, principal, counts, delay):
    sent = event(payload.encode(), principal=principal, client_context={"custom": {"a": payload}})
    sent = sent.retried(counts, delay)
    assert EventMessage.from_json(json.loads(json.dumps(sent.to_json()))) == sent


@given(TEXT, st.dictionaries(TEXT, TEXT))
def test_a_record_is_equal_after_json_and_keeps_its_delivery_id(body, attributes):
    record = DestinationRecord("on_failure", "receiver", json.dumps(attributes), body.encode())
    sent = RecordMessage.of(record, event())
    received = RecordMessage.from_json(json.loads(json.dumps(sent.to_json())))
    assert received == sent
    assert received.retried(5.0).delivery.id == sent.delivery.id
    assert received.retried(5.0).tries == 1


@pytest.mark.parametrize("kind", [EventMessage, RecordMessage])
@pytest.mark.parametrize("message", [{}, {"version": 2}, {"version": 1}, {"version": 1, "payload": 1, "body": 1}])
def test_a_message_of_another_kind_is_refused(kind, message):
    with pytest.raises(messages.UnreadableMessage):
        kind.from_json(message)
