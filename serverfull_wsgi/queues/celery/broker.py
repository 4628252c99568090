"""How Celery and its brokers are set up, so that what was accepted is not lost; their options are known only here.

RabbitMQ: a quorum queue, whose messages are on the disks of a majority before they are confirmed; what rests does so in
Celery's native delayed delivery, quorum queues too. Redis has neither: see `redis_consumer`.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from typing import Any

from celery import Celery
from kombu import Connection, Exchange, Queue

from serverfull_wsgi.queues.celery.messages import Carried, CarriedEvent

PATIENCE = 0.8  # seconds a broker may take to confirm
CONNECTING = 0.4  # seconds it may take to be connected to, twice
AT_ONCE = 0.2  # seconds after which a failure is not tried again
ONCE_MORE = {"max_retries": 1, "interval_start": 0}  # to connect, by the next of several URLs
EVENT, RECORD = "serverfull.event", "serverfull.record"


class BrokerError(Exception):
    """The broker did not confirm that it has a message."""


def is_redis(url: str) -> bool:
    """Which of the two a URL names."""
    return url.startswith("redis")


def celery_app(url: str, name: str, options: dict[str, Any]) -> Celery:
    """A Celery application whose one queue is ``name``; ``options`` are its transport's."""
    arguments = {} if is_redis(url) else {"x-queue-type": "quorum"}
    queue = Queue(name, Exchange(name, type="topic"), routing_key=name, queue_arguments=arguments)
    app = Celery(name, broker=url, set_as_current=False, fixups=[])
    app.conf.update(
        task_queues=[queue],
        task_default_queue=name,
        task_default_exchange=name,
        task_default_exchange_type="topic",
        task_default_routing_key=name,
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options=options,
    )
    return app


def amqp_publisher() -> dict[str, Any]:
    """What a publisher to RabbitMQ tells its connection."""
    return {**ONCE_MORE, "confirm_publish": True, "read_timeout": PATIENCE, "write_timeout": PATIENCE}


def redis_publisher() -> dict[str, Any]:
    """The same for Redis, whose answer to a push is all the confirmation there is."""
    return {**ONCE_MORE, "socket_timeout": PATIENCE, "socket_connect_timeout": CONNECTING}


def redis_consumer(lease: float) -> dict[str, Any]:
    """Redis keeps what a worker has in work apart, and a worker puts it back when it was not heard of for ``lease`` s.

    By default that would be after an hour, and a dead worker could keep the others from looking for five minutes.
    """
    return {
        "visibility_timeout": lease,
        "unacked_mutex_expire": max(2, math.ceil(lease / 2)),
        "unacked_restore_interval": max(1, math.ceil(lease / 10)),
        "unacked_restore_throttle": 1,
    }


class Publisher:
    """Sends messages, one connection a thread at a time, and returns when the broker has confirmed."""

    def __init__(self, url: str, name: str, lease: float) -> None:
        self._redis, self._name, self._longest = is_redis(url), name, lease / 3
        self._app = celery_app(url, name, redis_publisher() if self._redis else amqp_publisher())
        self._app.conf.broker_connection_timeout = CONNECTING
        self._idle: deque[Connection] = deque()

    def __call__(self, message: Carried) -> None:
        """Raises `BrokerError`, within a second; the message may then have come through, or not."""
        began = time.monotonic()
        try:
            with contextlib.suppress(IndexError):
                return self._send_by(self._idle.pop(), message)
        except Exception as error:
            self.close()
            if time.monotonic() - began > AT_ONCE:
                raise BrokerError(_text(error)) from error
        try:  # a connection that failed at once was of a broker that has been started anew since
            return self._send_by(self._app.connection_for_write(), message)
        except Exception as error:  # of whatever a socket, a broker or a library may raise
            raise BrokerError(_text(error)) from error

    def _send_by(self, connection: Connection, message: Carried) -> None:
        try:
            self._app.send_task(
                EVENT if isinstance(message, CarriedEvent) else RECORD,
                [message.write()],
                task_id=message.id,
                connection=connection,
                countdown=self._rest(message.due - time.time()),
                retry=False,
                timeout=PATIENCE,
                confirm_timeout=PATIENCE,
                mandatory=True,
                argsrepr="",
                kwargsrepr="",
            )
        except BaseException:
            connection.collect()  # whose next confirmation might be of this message
            raise
        self._idle.append(connection)

    def _rest(self, seconds: float) -> float | None:
        """How long Celery lets a message rest: on RabbitMQ whole seconds, on Redis no longer than it may be in work."""
        if seconds <= 0:
            return None
        return min(seconds, self._longest) if self._redis else math.ceil(seconds)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().collect()


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
