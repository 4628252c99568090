"""Message handling in a worker: run an event or deliver a record, then publish the message that follows."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from celery.app.task import Context

from serverfull_wsgi.events import retry_policy
from serverfull_wsgi.events.destinations import DestinationClient
from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.events.runner import EventRunner, Final, Retry
from serverfull_wsgi.queues.celery.broker import BrokerError, RedisLeases
from serverfull_wsgi.queues.celery.messages import EventMessage, Message, RecordMessage

RETRY_INTERVAL = 1.0  # seconds before an unconfirmed message is published again
EARLY_BY = 0.5  # seconds: a message this close to its due time is handled at once


class MessageHandler:
    """A handler of the messages of one queue.

    A message that is delivered early, as Redis does (see `Publisher`), is published again.

    Args:
        publish: sends a message; raises `BrokerError` if the broker does not confirm it.
        runner: runs events.
        destinations: delivers records.
        delays: seconds between deliveries of a record.
        leases: leases on Redis; None on RabbitMQ, which needs none.
        logger: gets a line for each message that cannot be published.
    """

    def __init__(
        self,
        publish: Callable[[Message], None],
        runner: EventRunner,
        destinations: DestinationClient,
        delays: Delays,
        leases: RedisLeases | None,
        logger: logging.Logger,
    ) -> None:
        self._publish, self._runner, self._destinations = publish, runner, destinations
        self._delays, self._leases, self._logger = delays, leases, logger
        self._is_closed = False

    def lease(self, request: Context) -> contextlib.AbstractContextManager[None]:
        """Return a context that keeps the delivery of ``request`` with this worker."""
        return self._leases.hold(request.properties["delivery_tag"]) if self._leases else contextlib.nullcontext()

    def handle_event(self, event: EventMessage, request: Context) -> None:
        """Run an event once and publish the message that follows; ``request`` describes the delivery.

        Raises:
            RuntimeError: if the worker stops before the broker has confirmed that message.
        """
        if _is_early(event):
            self._publish_until_confirmed(event)
        elif self._leases and request.delivery_info.get("redelivered"):
            self._publish_until_confirmed(event.with_lost_leases(1))  # Redis does not count deliveries
        else:
            event = event.with_lost_leases(getattr(request, "x-delivery-count", 0))  # RabbitMQ's quorum queues do
            self._publish_decision(event, self._runner.run(event, event.age, event.principal))

    def _publish_decision(self, event: EventMessage, decision: Retry | Final) -> None:
        if isinstance(decision, Retry):
            self._publish_until_confirmed(event.retried(decision.counts, decision.delay, decision.error))
        else:
            for record in decision.records:
                self._publish_until_confirmed(RecordMessage.of(record, event))

    def handle_record(self, record: RecordMessage) -> None:
        """Deliver a record; if that fails, publish the record for a later delivery. Raises as `handle_event`."""
        if _is_early(record):
            self._publish_until_confirmed(record)
        elif self._destinations.deliver(record.delivery):
            delay = retry_policy.redelivery_delay(record.tries + 1, self._delays)
            self._publish_until_confirmed(record.retried(delay))

    def _publish_until_confirmed(self, message: Message) -> None:
        """Publish a message, for as long as it takes: only then may the message that led to it be acknowledged."""
        while not self._is_closed:
            try:
                return self._publish(message)
            except BrokerError as error:
                self._logger.error("cannot publish message %s, will retry: %s", message.id, error)
                time.sleep(RETRY_INTERVAL)
        raise RuntimeError("the worker is stopping")

    def close(self) -> None:
        """Publish no more messages."""
        self._is_closed = True


def _is_early(message: Message) -> bool:
    return message.seconds_until_due() > EARLY_BY
