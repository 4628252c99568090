"""Celery applications, the publisher, and leases: all that depends on the options of Celery, RabbitMQ and Redis."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import redis
from celery import Celery
from kombu import Connection, Exchange, Queue

from serverfull_wsgi.queues.celery.messages import EventMessage, Message

# A caller waits for its 202 meanwhile. The worst case is a stale connection, two slow connects and a slow
# confirmation: 0.2 + 2 * 0.4 + 0.8 = 1.8 seconds.
CONFIRM_TIMEOUT = 0.8  # seconds a broker may take to confirm a message
CONNECT_TIMEOUT = 0.4  # seconds a connect may take; a second one tries the next of several URLs
STALE_WITHIN = 0.2  # seconds: an idle connection that fails sooner was closed by a restart of the broker
CONNECT_RETRIES = {"max_retries": 1, "interval_start": 0}
EVENT_TASK, RECORD_TASK = "serverfull.event", "serverfull.record"  # Celery's names of the two messages


class BrokerError(Exception):
    """A message that the broker did not confirm."""


def is_redis(url: str) -> bool:
    """Return True for the URL of a Redis, False for that of a RabbitMQ."""
    return url.startswith("redis")


def celery_app(url: str, name: str, options: dict[str, Any]) -> Celery:
    """Return a Celery application with one queue, ``name``; ``options`` are the options of its transport."""
    arguments = {} if is_redis(url) else {"x-queue-type": "quorum"}
    queue = Queue(name, Exchange(name, type="topic"), routing_key=name, queue_arguments=arguments)
    app = Celery(name, broker=url, set_as_current=False, fixups=[])
    app.conf.update(
        task_queues=[queue],
        task_default_queue=name,
        task_default_exchange=name,
        task_default_exchange_type="topic",  # native delayed delivery routes by patterns
        task_default_routing_key=name,
        task_create_missing_queues=False,
        task_acks_late=True,  # an event is in the broker until its run has ended
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,  # a worker takes no event that another one could run now
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options=options,
    )
    return app


def amqp_publisher_options() -> dict[str, Any]:
    """Return the transport options of a publisher to RabbitMQ."""
    return {
        **CONNECT_RETRIES,
        "confirm_publish": True,
        "read_timeout": CONFIRM_TIMEOUT,
        "write_timeout": CONFIRM_TIMEOUT,
    }


def redis_publisher_options() -> dict[str, Any]:
    """Return the transport options of a publisher to Redis, whose reply to a push is its confirmation."""
    return {**CONNECT_RETRIES, "socket_timeout": CONFIRM_TIMEOUT, "socket_connect_timeout": CONNECT_TIMEOUT}


def redis_consumer_options(lease: float) -> dict[str, Any]:
    """Return the transport options of a worker on Redis, where a message has ``lease`` seconds to be acknowledged.

    Later it is queued again. kombu's default is an hour. Workers search for such messages every 100 seconds by default,
    under a mutex of 5 minutes, so a worker that dies with the mutex would delay the others for 5 minutes.
    """
    return {
        "visibility_timeout": lease,
        "unacked_mutex_expire": max(2, math.ceil(lease / 2)),
        "unacked_restore_interval": max(1, math.ceil(lease / 10)),
        "unacked_restore_throttle": 1,
    }


class Publisher:
    """A publisher of messages that waits for the broker's confirmation. Threads share its idle connections.

    Args:
        url: the broker.
        name: the queue.
        lease: seconds after which Redis queues a message again that was not acknowledged.
    """

    def __init__(self, url: str, name: str, lease: float) -> None:
        self._is_redis, self._lease = is_redis(url), lease
        options = redis_publisher_options() if self._is_redis else amqp_publisher_options()
        self._app = celery_app(url, name, options)
        self._app.conf.broker_connection_timeout = CONNECT_TIMEOUT
        self._idle: deque[Connection] = deque()

    def publish(self, message: Message) -> None:
        """Send ``message`` and return after the broker has confirmed it.

        Raises:
            BrokerError: within two seconds, if there is no confirmation. The broker may have the message nevertheless.
        """
        started = time.monotonic()
        try:
            with contextlib.suppress(IndexError):
                return self._send(self._idle.pop(), message)
        except Exception as error:
            self.close()
            if time.monotonic() - started > STALE_WITHIN:
                raise BrokerError(_describe(error)) from error
        try:
            return self._send(self._app.connection_for_write(), message)
        except Exception as error:  # of a socket, kombu, amqp or redis
            raise BrokerError(_describe(error)) from error

    def _send(self, connection: Connection, message: Message) -> None:
        try:
            self._app.send_task(
                EVENT_TASK if isinstance(message, EventMessage) else RECORD_TASK,
                [message.to_json()],
                task_id=message.id,
                connection=connection,
                countdown=self._countdown(message.seconds_until_due()),
                retry=False,
                timeout=CONFIRM_TIMEOUT,
                confirm_timeout=CONFIRM_TIMEOUT,
                mandatory=True,  # an error if no queue takes the message
                argsrepr="",  # Celery would copy the payload into a header, which `celery inspect` shows
                kwargsrepr="",
            )
        except BaseException:
            connection.collect()  # its next confirmation could be the one of this message
            raise
        self._idle.append(connection)

    def _countdown(self, seconds: float) -> float | None:
        """Return the delay for Celery: whole seconds on RabbitMQ; on Redis at most a third of a lease, see `worker`."""
        if seconds <= 0:
            return None
        return min(seconds, self._lease / 3) if self._is_redis else math.ceil(seconds)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().collect()


class RedisLeases:
    """Leases of ``lease`` seconds on the messages that a worker handles.

    kombu gives a message to another worker once it has been unacknowledged for its visibility timeout, and does not
    renew that. These leases are renewed while their process lives, so an event may run for longer than a lease.
    """

    INDEX = "unacked_index"  # kombu's sorted set: the time of each delivery that is not acknowledged, by its tag

    def __init__(self, url: str, lease: float, logger: logging.Logger) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=CONFIRM_TIMEOUT, socket_connect_timeout=CONFIRM_TIMEOUT)
        self._lease, self._logger = lease, logger

    @contextlib.contextmanager
    def hold(self, delivery_tag: str) -> Iterator[None]:
        """Renew the lease of a delivery while the block runs."""
        is_done = threading.Event()
        threading.Thread(target=self._renew, args=(delivery_tag, is_done), name="serverfull-lease", daemon=True).start()
        try:
            yield
        finally:
            is_done.set()

    def _renew(self, delivery_tag: str, is_done: threading.Event) -> None:
        while not is_done.wait(self._lease / 3):
            try:
                self._client.zadd(self.INDEX, {delivery_tag: time.time()}, xx=True)
            except redis.RedisError as error:
                self._logger.error("cannot renew the lease of delivery %s, will retry: %s", delivery_tag, error)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
