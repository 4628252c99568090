"""The event queue in a broker, and the Celery application that runs its events."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from celery import Celery, Task
from celery.exceptions import Reject
from celery.signals import worker_process_shutdown
from kombu.utils.url import maybe_sanitize_url

from serverfull_wsgi.domain import Invocation
from serverfull_wsgi.errors import ServiceException
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.events.destinations import DestinationClient
from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.events.runner import EventRunner
from serverfull_wsgi.protocols import Run, Send
from serverfull_wsgi.queues.celery import broker
from serverfull_wsgi.queues.celery.broker import BrokerError, Publisher, RedisLeases
from serverfull_wsgi.queues.celery.messages import EventMessage, RecordMessage
from serverfull_wsgi.queues.celery.worker import RETRY_INTERVAL, MessageHandler
from serverfull_wsgi.telemetry.metrics import Metrics
from serverfull_wsgi.telemetry.scope import LOGGER

STOPPING = "The server is stopping and takes no more events; send this one again."


class CeleryQueue:
    """An `EventQueue` in a broker. Celery's workers run the events, on any number of machines.

    The constructor opens nothing. `start` opens connections, once in each process.

    Args:
        url: the broker, ``amqp://`` or ``redis://``, with ``s`` for TLS.
        name: the queue in the broker; applications that share a broker need different names.
        lease: seconds after which Redis runs an event again if its worker died. RabbitMQ does so at once.
        delays: seconds between the runs of an event; None for AWS's delays.
        endpoint: URL of a service that stands in for AWS's SQS, SNS and EventBridge; None for AWS's own.
        logger: gets a line for each event that is refused, retried or ended without success.
        metrics: counts events and deliveries that failed; None for no metrics.
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
        self._session: _Session | None = None

    def __str__(self) -> str:
        return f"the queue {self.name} of {maybe_sanitize_url(self.url)}"

    def start(self, run: Run, send: Send) -> None:
        """See `EventQueue.start`. A connection is made with the first event."""
        publisher = Publisher(self.url, self.name, self._lease)
        handler = MessageHandler(
            publisher.publish,
            EventRunner(run, self._delays, self._logger, self._metrics),
            DestinationClient(send, self._endpoint, self._logger, self._metrics),
            self._delays,
            RedisLeases(self.url, self._lease, self._logger) if broker.is_redis(self.url) else None,
            self._logger,
        )
        self._session = _Session(publisher, handler)

    def put(self, invocation: Invocation, config: EventConfig, dedupe: str = "") -> str:
        """See `EventQueue.put`. ``dedupe`` is not used: a broker does not know its earlier messages."""
        session = self._session
        if session is None:
            raise ServiceException(STOPPING)
        try:
            session.publisher.publish(EventMessage.of(invocation, config))
        except BrokerError as error:
            request_id = invocation.request_id
            self._logger.error(
                "event %s was refused, the broker did not confirm it: %s",
                request_id,
                error,
                extra={"request_id": request_id},
            )
            raise ServiceException("The event could not be stored; the server's log has the reason.") from None
        return invocation.request_id

    def close(self) -> None:
        """Refuse new events and close the connections. Events in the broker stay there."""
        session, self._session = self._session, None
        if session is not None:
            session.handler.close()
            session.publisher.close()

    def consumer(self, start: Callable[[], None], close: Callable[[], None]) -> Celery:
        """Return the Celery application of a worker.

        Each worker process calls ``start()``, which has to start this queue, before each message, and ``close()`` at
        its end.
        """
        options = broker.redis_consumer_options(self._lease) if broker.is_redis(self.url) else {}
        app = broker.celery_app(self.url, self.name, options)

        @app.task(bind=True, name=broker.EVENT_TASK, shared=False)  # type: ignore[untyped-decorator]
        def event(task: Task, message: Mapping[str, Any]) -> None:
            with self._handler(task, start) as handler:
                handler.handle_event(EventMessage.from_json(message), task.request)

        @app.task(bind=True, name=broker.RECORD_TASK, shared=False)  # type: ignore[untyped-decorator]
        def record(task: Task, message: Mapping[str, Any]) -> None:
            with self._handler(task, start) as handler:
                handler.handle_record(RecordMessage.from_json(message))

        worker_process_shutdown.connect(lambda **_: close(), weak=False)
        return app

    @contextlib.contextmanager
    def _handler(self, task: Task, start: Callable[[], None]) -> Iterator[MessageHandler]:
        """Yield the handler of this process, and hold the message's lease while the block runs.

        If the block raises, the message returns to the queue; Celery would drop it.
        """
        try:
            start()
            if self._session is None:
                raise RuntimeError("the worker is stopping")
            with self._session.handler.lease(task.request):
                yield self._session.handler
        except Exception as error:
            self._logger.error("message %s could not be handled and returns to the queue: %s", task.request.id, error)
            time.sleep(RETRY_INTERVAL)
            raise Reject(str(error), requeue=True) from error


class _Session(NamedTuple):
    """The objects that `CeleryQueue.start` opens for a process."""

    publisher: Publisher
    handler: MessageHandler
