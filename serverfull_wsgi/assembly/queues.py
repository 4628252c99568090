"""The event queue of settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from serverfull_wsgi.assembly.extras import needs_extra
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.protocols import EventQueue
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.stat import Stat

if TYPE_CHECKING:
    from serverfull_wsgi.events.retry_policy import Delays
    from serverfull_wsgi.telemetry.metrics import Metrics

NO_LOG = (
    "a broker keeps no log of events, so they cannot be listed, redriven or purged; its own tools show waiting events "
    "('rabbitmqctl list_queues', 'celery -A serverfull_wsgi.celery inspect active'), and a failed event is sent "
    "to its on_failure or dead_letter target"
)


def create_queue(settings: Settings, stats: Stat | None = None) -> EventQueue:
    """Return the event queue: a SQLite file unless SERVERFULL_EVENTS names memory or a broker."""
    metrics = _metrics(stats) if stats else None
    if settings.events == "memory":
        from serverfull_wsgi.queues.memory import MemoryQueue

        return MemoryQueue(
            size=settings.events_queue_size, workers=settings.events_workers, drain=settings.drain, metrics=metrics
        )
    from serverfull_wsgi.events.retry_policy import Delays

    delays = Delays(
        settings.events_retry_delays, settings.events_throttle_delays[0], settings.events_throttle_delays[-1]
    )
    if settings.has_broker:
        return _celery_queue(settings, delays, metrics)
    from serverfull_wsgi.queues.sqlite.queue import SqliteQueue

    return SqliteQueue(
        store_path(settings),
        owner=settings.events_owner or os.getcwd(),
        workers=settings.events_workers,
        drain=settings.drain,
        lease=settings.events_lease,
        retention=settings.events_retention,
        max_bytes=settings.events_max_bytes,
        delays=delays,
        endpoint=settings.events_destinations_endpoint or None,
        metrics=metrics,
    )


def _celery_queue(settings: Settings, delays: Delays, metrics: Metrics | None) -> EventQueue:
    with needs_extra("celery", f"SERVERFULL_EVENTS={settings.events.partition('://')[0]}://..."):
        from serverfull_wsgi.queues.celery.queue import CeleryQueue
    return CeleryQueue(
        settings.events,
        name=settings.events_queue_name,
        lease=settings.events_lease,
        delays=delays,
        endpoint=settings.events_destinations_endpoint or None,
        metrics=metrics,
    )


def _metrics(stats: Stat) -> Metrics:
    from serverfull_wsgi.telemetry.metrics import Metrics  # imports statsd

    return Metrics(stats)


def store_path(settings: Settings) -> Path:
    """Return the path of the events' SQLite file. It is absolute, since a process may change its working directory.

    Raises `ConfigurationError` if events are kept in memory or by a broker.
    """
    if settings.has_broker:
        raise ConfigurationError(f"SERVERFULL_EVENTS={settings.events.partition('://')[0]}://...: {NO_LOG}")
    if settings.events == "memory":
        raise ConfigurationError(
            "SERVERFULL_EVENTS=memory: events in memory are lost with their process, so there is no store to open"
        )
    named = settings.events.removeprefix("sqlite:///")
    return Path(named or Path(settings.data_dir, "events.sqlite3")).absolute()
