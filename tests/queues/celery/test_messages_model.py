"""The life of an event in a broker, message by message, against the model of AWS's retry rules."""

import json
import logging
from collections import Counter, deque

import pytest

from serverfull_wsgi import ConfigurationError, EventConfig, FunctionName, Invocation
from serverfull_wsgi.domain import Outcome
from serverfull_wsgi.errors import TooManyRequestsException
from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.events.runner import EventRunner
from tests.events.test_retry_policy import model, over_schedules
from tests.support.battery import share

exceptions = pytest.importorskip("celery.exceptions", reason="needs the extra celery")

from serverfull_wsgi.queues.celery import CeleryQueue, messages  # noqa: E402
from serverfull_wsgi.queues.celery.messages import EventMessage, RecordMessage  # noqa: E402
from serverfull_wsgi.queues.celery.worker import MessageHandler  # noqa: E402

NAME = FunctionName.parse("hello", region="eu-west-1", account_id="123456789012")
QUIET = logging.Logger("quiet", logging.CRITICAL)


class Clock:
    """A clock that stands at 0 until a test sets it."""

    now = 0.0

    def time(self):
        return self.now


class Request:
    """A first delivery, as Celery describes it."""

    delivery_info = {"redelivered": False}


class Simulation:
    """A broker, a worker and a function. The broker delivers each message once, when it is due.

    Each run of the function takes the next of ``tries``: a result (ok, failed or throttled) and a duration.
    """

    def __init__(self, tries, clock):
        self._tries, self._clock, self._messages = deque(tries), clock, []
        runner = EventRunner(self._run, Delays(), QUIET, None)
        self._handler = MessageHandler(self._publish, runner, None, Delays(), None, QUIET)

    def _run(self, invocation, age):
        result, duration = self._tries.popleft()
        self._clock.now += duration
        if result == "throttled":
            raise TooManyRequestsException("no room")
        return Outcome(b"1", function_error=None if result == "ok" else "Unhandled")

    def _publish(self, message):
        self._messages.append(json.loads(json.dumps(message.to_json())))

    def end(self, event):
        """Return the condition in the record and the number of attempts; "" if the tries end before the event does."""
        self._publish(event)
        while self._tries:
            message = self._messages.pop()
            self._clock.now = max(self._clock.now, message["due"])
            self._handler.handle_event(EventMessage.from_json(message), Request())
            if "kind" in self._messages[-1]:
                (record,) = map(RecordMessage.from_json, self._messages)
                context = json.loads(record.body)["requestContext"]
                return context["condition"], context["approximateInvokeCount"]
        return "", self._messages[-1]["counts"]["attempts"]


def test_random_schedules_through_messages_end_as_the_model_computes(monkeypatch, battery):
    ends, clock = Counter(), Clock()
    monkeypatch.setattr(messages, "time", clock)

    @over_schedules(share(5000, 150))
    def schedule(tries, retries, max_age):
        clock.now = 0.0
        config = EventConfig(retries, max_age, on_success="receiver", on_failure="receiver")
        end = Simulation(tries, clock).end(EventMessage.of(Invocation(NAME, b"1", "an-id"), config))
        assert end == model(tries, retries, max_age)
        ends[end[0]] += 1

    schedule()
    battery.record("A7 schedules through messages", schedules=ends.total(), differing=0, ends=dict(ends))
    assert set(ends) >= {"Success", "RetriesExhausted", "EventAgeExceeded"}


def test_a_message_returns_to_the_queue_if_the_application_cannot_start():
    def start():
        raise ConfigurationError("no such directory")

    consumer = CeleryQueue("amqp://nowhere//", logger=QUIET).consumer(start, close=lambda: None)
    with pytest.raises(exceptions.Reject, match="no such directory") as raised:
        consumer.tasks["serverfull.event"]({"version": 1})
    assert raised.value.requeue


def test_two_consumers_in_one_process_have_tasks_of_their_own():
    consumers = [CeleryQueue(f"amqp://nowhere{n}//").consumer(lambda: None, close=lambda: None) for n in range(2)]
    first, second = (consumer.tasks["serverfull.event"] for consumer in consumers)
    assert (first.app, second.app) == tuple(consumers)
    assert first.run is not second.run
