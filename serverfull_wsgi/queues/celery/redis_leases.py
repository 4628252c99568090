"""Leases that Celery's Redis transport does not have: what is in work stays so for as long as its process lives."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

import redis

from serverfull_wsgi.queues.celery.broker import PATIENCE

INDEX = "unacked_index"  # where kombu keeps since when each delivery is in work, by its tag


class RedisLeases:
    """Renews leases of ``lease`` seconds; kombu would give to another worker whatever is in work for longer."""

    def __init__(self, url: str, lease: float, logger: logging.Logger) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
        self._lease, self._logger = lease, logger

    @contextlib.contextmanager
    def held(self, tag: str) -> Iterator[None]:
        """While the block runs, so does the lease of the delivery with this tag."""
        done = threading.Event()
        threading.Thread(target=self._renew, args=(tag, done), name="serverfull-lease", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def _renew(self, tag: str, done: threading.Event) -> None:
        while not done.wait(self._lease / 3):
            try:
                self._client.zadd(INDEX, {tag: time.time()}, xx=True)
            except redis.RedisError as error:
                self._logger.error("the lease of an event cannot be renewed: %s", error)
