"""What a broker's worker makes of an event, message by message, beside the model of AWS's rules."""

import json
import logging
from collections import Counter, deque

import pytest

from serverfull_wsgi import EventConfig, FunctionName, Invocation
from serverfull_wsgi.domain import Outcome
from serverfull_wsgi.errors import TooManyRequestsException
from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.events.runner import EventRunner
from serverfull_wsgi.queues.celery import messages
from serverfull_wsgi.queues.celery.messages import CarriedEvent, CarriedRecord
from tests.events.test_retry_policy import model, over_schedules
from tests.support.battery import share

celery = pytest.importorskip("serverfull_wsgi.queues.celery.queue", reason="needs the extra celery")
NAME = FunctionName.parse("hello", region="eu-west-1", account_id="123456789012")
QUIET = logging.Logger("quiet", logging.CRITICAL)


class Clock:
    """Stands at 0 until it is set."""

    now = 0.0

    def time(self):
        return self.now


class Request:
    """What a worker knows of a delivery; ``delivery_info`` as of one that was not delivered before."""

    delivery_info = {"redelivered": False}


class Queue(celery.CeleryQueue):
    """Its broker delivers each message once, when it is due; the handler does what ``tries`` says, one by one."""

    def __init__(self, tries, clock):
        super().__init__("amqp://nowhere")
        self._tries, self._leases = EventRunner(self._try, Delays(), QUIET, None), None
        self._script, self._clock, self.sent = deque(tries), clock, []

    def _try(self, invocation, age):
        how, duration = self._script.popleft()
        self._clock.now += duration
        if how == "throttled":
            raise TooManyRequestsException("no room")
        return Outcome(b"1", function_error=None if how == "ok" else "Unhandled")

    def _carry(self, message):
        self.sent.append(json.loads(json.dumps(message.write())))

    def ends(self, event):
        """The condition that is told in the end, and after how many attempts; none where the script ends before."""
        self._carry(event)
        while self._script:
            message = self.sent.pop()
            self._clock.now = max(self._clock.now, message["due"])
            self._handle_event(CarriedEvent.read(message), Request())
            if "kind" in self.sent[-1]:
                (record,) = map(CarriedRecord.read, self.sent)
                told = json.loads(record.body)["requestContext"]
                return told["condition"], told["approximateInvokeCount"]
        return "", self.sent[-1]["counts"]["attempts"]


def test_random_schedules_through_messages_end_as_a_small_model_says(monkeypatch, battery):
    """A7, for brokers."""
    ends, clock = Counter(), Clock()
    monkeypatch.setattr(messages, "time", clock)
    monkeypatch.setattr(celery, "time", clock)

    @over_schedules(share(5000, 150))
    def schedule(tries, retries, max_age):
        clock.now = 0.0
        config = EventConfig(retries, max_age, on_success="told", on_failure="told")
        found = Queue(tries, clock).ends(CarriedEvent.of(Invocation(NAME, b"1", "an-id"), config))
        assert found == model(tries, retries, max_age)
        ends[found[0]] += 1

    schedule()
    battery.record("A7 schedules through messages", schedules=ends.total(), differing=0, ends=dict(ends))
    assert set(ends) >= {"Success", "RetriesExhausted", "EventAgeExceeded"}
