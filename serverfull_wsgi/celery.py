"""The door for Celery's workers: ``celery -A serverfull_wsgi.celery worker``, on any number of machines.

``app`` is made when it is first read: the worker of the application that the settings describe, or of the one that
SERVERFULL_APPLICATION names. What cannot be rebuilt here ends the process with one line.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.assembly import configure_logging, create_app, import_application
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.fetchers.listing import functions_of
from serverfull_wsgi.settings.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

    app: Celery


def worker(settings: Settings) -> Celery:
    """What runs the events of an application. Raises `ConfigurationError` for one that cannot be rebuilt here."""
    application = _application(settings)
    queue: Any = application.queue
    if not hasattr(queue, "consumer"):
        raise ConfigurationError(
            "Celery's workers run events that a broker carries, and this application's are not: set "
            "SERVERFULL_EVENTS=amqp://... or redis://..., or make it with queue=CeleryQueue(...)"
        )
    if settings.has_broker and settings.events != queue.url:
        raise ConfigurationError(
            f"SERVERFULL_APPLICATION={settings.application}: its events are in {queue}, and not in the broker that "
            "SERVERFULL_EVENTS names; give both the same"
        )
    consumer: Celery = queue.consumer(application.start, application.close)
    return consumer


def _application(settings: Settings) -> Application:
    if settings.application:
        configure_logging(settings)
        return import_application(settings.application, f"SERVERFULL_APPLICATION={settings.application}")
    application = create_app(settings)
    if not functions_of(application.dispatcher.fetcher):
        raise ConfigurationError(
            "there is no function here to run: give the worker the settings of the server (SERVERFULL_FUNCTIONS, "
            "SERVERFULL_TEMPLATE), or SERVERFULL_APPLICATION=MODULE:APPLICATION for an application built in code"
        )
    return application


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    sys.path.insert(0, os.getcwd())  # as gunicorn does: functions are found where one stands
    try:
        found = worker(Settings.from_environ())
    except ConfigurationError as error:
        sys.exit(f"serverfull_wsgi.celery: {error}")
    globals()["app"] = found
    return found
