"""Durable events in a message broker."""

from serverfull_wsgi.queues.celery.queue import CeleryQueue

__all__ = ["CeleryQueue"]
