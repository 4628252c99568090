"""Entry point of Celery's workers: ``celery -A serverfull_wsgi.celery worker``, on any number of machines.

Reading ``app`` builds the worker: from the settings, or from the application that SERVERFULL_APPLICATION names. If that
is not possible, the process ends with one line that gives the reason.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.assembly.application import create_app, import_application
from serverfull_wsgi.assembly.telemetry import configure_logging, log_notices
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.fetchers.abilities import function_names
from serverfull_wsgi.settings.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

    app: Celery


@runtime_checkable
class BrokerQueue(Protocol):
    """An event queue in a broker, as `CeleryQueue` is. The protocol needs no Celery to import."""

    url: str

    def consumer(self, start: Callable[[], None], close: Callable[[], None]) -> Celery:
        """Return the Celery application of a worker."""
        ...


def worker(settings: Settings) -> Celery:
    """Return the Celery application that runs the events of an application.

    Raises:
        ConfigurationError: if this process cannot run those events.
    """
    application = _application(settings)
    queue = application.queue
    if not isinstance(queue, BrokerQueue):
        raise ConfigurationError(
            "Celery's workers run events from a broker, and this application has none: set "
            "SERVERFULL_EVENTS=amqp://... or redis://..., or build the application with queue=CeleryQueue(...)"
        )
    if settings.has_broker and settings.events != queue.url:
        raise ConfigurationError(
            f"SERVERFULL_APPLICATION={settings.application}: its events are in {queue}, but SERVERFULL_EVENTS names "
            "another broker; give both the same URL"
        )
    return queue.consumer(application.start, application.close)


def _application(settings: Settings) -> Application:
    if settings.application:
        configure_logging(settings)
        application = import_application(settings.application, f"SERVERFULL_APPLICATION={settings.application}")
        log_notices(settings)
        return application
    application = create_app(settings)
    if not function_names(application.dispatcher.fetcher):
        raise ConfigurationError(
            "the worker has no functions: give it the settings of the server (SERVERFULL_FUNCTIONS, "
            "SERVERFULL_TEMPLATE), or SERVERFULL_APPLICATION=MODULE:APPLICATION for an application built in code"
        )
    return application


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    sys.path.insert(0, os.getcwd())  # as gunicorn does, so that functions in the working directory can be imported
    try:
        celery_app = worker(Settings.from_environ())
    except ConfigurationError as error:
        sys.exit(f"serverfull_wsgi.celery: {error}")
    globals()["app"] = celery_app
    return celery_app
