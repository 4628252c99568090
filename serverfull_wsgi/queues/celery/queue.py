"""Durable events for many machines: carried by Celery on RabbitMQ or Redis, and run by its workers."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from celery import Celery, Task
from celery.app.task import Context
from celery.exceptions import Reject
from celery.signals import worker_process_shutdown
from kombu.utils.url import maybe_sanitize_url

from serverfull_wsgi.domain import Invocation, Run, Send
from serverfull_wsgi.errors import ServiceException
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.events import retry_policy
from serverfull_wsgi.events.destinations import DestinationClient
from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.events.runner import EventRunner, Final, Retry
from serverfull_wsgi.queues.celery import broker
from serverfull_wsgi.queues.celery.broker import BrokerError, Publisher
from serverfull_wsgi.queues.celery.messages import Carried, CarriedEvent, CarriedRecord
from serverfull_wsgi.queues.celery.redis_leases import RedisLeases
from serverfull_wsgi.telemetry.metrics import Metrics
from serverfull_wsgi.telemetry.scope import LOGGER

AGAIN = 1.0  # seconds before a message that was not confirmed is sent again
EARLY = 0.5  # seconds a message may come before it is due


class CeleryQueue:
    """An `EventQueue` whose events wait in the broker at ``url``, in the queue ``name``, for workers on any machine.

    ``lease`` is after how many seconds Redis runs an event again whose worker was lost; RabbitMQ does so at once.
    `consumer` is what a worker runs. Making one opens nothing; `start` does, once in a process.
    """

    is_run_by = "celery -A serverfull_wsgi.celery worker"

    def __init__(
        self,
        url: str,
        *,
        name: str = "serverfull",
        lease: float = 30.0,
        delays: Delays | None = None,
        endpoint: str | None = None,
        logger: logging.Logger = LOGGER,
        metrics: Metrics | None = None,
    ) -> None:
        self.url, self.name = url, name
        self._lease, self._delays, self._endpoint = lease, delays or Delays(), endpoint
        self._logger, self._metrics = logger, metrics
        self._publish: Publisher | None = None

    def __str__(self) -> str:
        return f"the queue {self.name} of {maybe_sanitize_url(self.url)}"

    def start(self, run: Run, send: Send) -> None:
        self._publish = Publisher(self.url, self.name, self._lease)
        self._tries = EventRunner(run, self._delays, self._logger, self._metrics)
        self._senders = DestinationClient(send, self._endpoint, self._logger, self._metrics)
        self._leases = RedisLeases(self.url, self._lease, self._logger) if broker.is_redis(self.url) else None

    def put(self, invocation: Invocation, config: EventConfig, dedupe: str = "") -> str:
        if self._publish is None:
            raise ServiceException("The server is stopping and takes no more events; send this one again.")
        try:
            self._publish(CarriedEvent.of(invocation, config))
        except BrokerError as error:
            self._logger.error("an event was refused: %s", error, extra={"request_id": invocation.request_id})
            raise ServiceException("The event could not be stored; the server's log has the reason.") from None
        return invocation.request_id

    def close(self) -> None:
        if self._publish is not None:
            self._publish.close()
        self._publish = None

    def consumer(self, start: Callable[[], None], close: Callable[[], None]) -> Celery:
        """A Celery application for workers: each of its processes calls ``start`` before its first event."""
        options = broker.redis_consumer(self._lease) if broker.is_redis(self.url) else {}
        app = broker.celery_app(self.url, self.name, options)

        @app.task(bind=True, name=broker.EVENT)  # type: ignore[untyped-decorator]
        def event(task: Task, message: Mapping[str, Any]) -> None:
            start()
            with self._kept(task):
                self._handle_event(CarriedEvent.read(message), task.request)

        @app.task(bind=True, name=broker.RECORD)  # type: ignore[untyped-decorator]
        def record(task: Task, message: Mapping[str, Any]) -> None:
            start()
            with self._kept(task):
                self._handle_record(CarriedRecord.read(message))

        worker_process_shutdown.connect(lambda **_: close(), weak=False)
        return app

    @contextlib.contextmanager
    def _kept(self, task: Task) -> Iterator[None]:
        """A message in work stays there; one that cannot be handled stays in the queue, where Celery would drop it."""
        try:
            with (
                self._leases.held(task.request.properties["delivery_tag"]) if self._leases else contextlib.nullcontext()
            ):
                yield
        except Exception as error:
            self._logger.error("message %s is put back: %s", task.request.id, error)
            time.sleep(AGAIN)
            raise Reject(str(error), requeue=True) from error

    def _handle_event(self, event: CarriedEvent, request: Context) -> None:
        lost = event.lost(getattr(request, "x-delivery-count", 0))
        if _rests(event):
            self._carry(event)
        elif self._leases and request.delivery_info.get("redelivered"):
            self._carry(event.lost(1))  # counts in the message, since Redis does not; it comes again at once
        else:
            self._settle(lost, self._tries.run(lost, lost.age, lost.principal))

    def _settle(self, event: CarriedEvent, came: Retry | Final) -> None:
        if isinstance(came, Retry):
            self._carry(event.again(came.counts, came.delay, came.error))
        else:
            for record in came.records:
                self._carry(CarriedRecord.of(record, event))

    def _handle_record(self, record: CarriedRecord) -> None:
        if _rests(record):
            self._carry(record)
        elif self._senders.deliver(record.parcel):
            self._carry(record.again(retry_policy.redelivery_delay(record.tries + 1, self._delays)))

    def _carry(self, message: Carried) -> None:
        """Sends what follows a message, for as long as it takes: only then may the message itself be acknowledged."""
        while self._publish is not None:
            try:
                return self._publish(message)
            except BrokerError as error:
                self._logger.error("what became of message %s cannot be sent yet: %s", message.id, error)
                time.sleep(AGAIN)
        raise RuntimeError("the worker is stopping")


def _rests(message: Carried) -> bool:
    return message.due - time.time() > EARLY
