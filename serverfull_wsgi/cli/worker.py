"""The command ``serverfull worker``."""

from __future__ import annotations

import os
import signal
from typing import Protocol, runtime_checkable

import click

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.cli.application import APP, application_of
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.queues.sqlite.queue import SqliteQueue
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.scope import LOGGER


@click.command()
@APP
def worker(target: str | None) -> None:
    """Run events until a signal stops it.

    Web processes run no events while a worker is running.
    """
    _run_events(application_of(target), Settings.from_environ())


@runtime_checkable
class _ExternallyRun(Protocol):
    """A queue with a program of its own that runs its events."""

    is_run_by: str  # the command that starts the program


def _run_events(application: Application, settings: Settings) -> None:
    """Run the events of an application until a signal, and then let running events finish.

    Raises `ConfigurationError` if this process cannot run them: they are in another process's memory or in a broker.
    """
    queue = application.queue
    if isinstance(queue, _ExternallyRun):
        raise ConfigurationError(f"the events of {queue} are run by Celery's workers: {queue.is_run_by}")
    if not isinstance(queue, SqliteQueue):
        raise ConfigurationError(
            "a worker needs events that processes can share, but this application keeps them in memory; "
            "remove SERVERFULL_EVENTS=memory, or give the Application queue=SqliteQueue(...)"
        )
    stop, stopping = os.pipe()  # an Event has a lock, which a handler of a second signal would wait for
    for number in {signal.SIGTERM, signal.SIGINT, *settings.signals}:
        signal.signal(number, lambda *_: os.write(stopping, b"."))
    application.start()
    queue.become_worker()
    LOGGER.info("running the events of %s", queue.path)
    os.read(stop, 1)
    application.close()
