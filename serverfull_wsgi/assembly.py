"""The one place that knows every part by its concrete class: from settings to an application."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.auth.credentials import CredentialsFile
from serverfull_wsgi.auth.sigv4.middleware import SigV4Middleware
from serverfull_wsgi.domain import EventQueue, Executor, Fetcher
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.executors.inprocess import InProcessExecutor
from serverfull_wsgi.executors.isolated.executor import ProcessExecutor
from serverfull_wsgi.executors.routing import ChoosingExecutor
from serverfull_wsgi.fetchers.chain import ChainFetcher, ListingFetcher
from serverfull_wsgi.fetchers.imported import ImportFetcher
from serverfull_wsgi.fetchers.listing import notes_of, refused_of
from serverfull_wsgi.fetchers.mock_values import Random
from serverfull_wsgi.fetchers.mocking import MockingFetcher
from serverfull_wsgi.queues.memory import MemoryQueue
from serverfull_wsgi.queues.sqlite.queue import SqliteQueue
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.logs import configure
from serverfull_wsgi.telemetry.metrics import Metrics, Stat, UdpStats
from serverfull_wsgi.telemetry.scope import LOGGER

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

NO_FUNCTIONS = (
    "serving no functions; name some with SERVERFULL_FUNCTIONS='hello=package.module.handler', "
    "or a template with SERVERFULL_TEMPLATE, and start again"
)
NO_LOG = (
    "a broker keeps no log of events to look at, redrive or purge; its own tools show what waits "
    "('rabbitmqctl list_queues', 'celery -A serverfull_wsgi.celery inspect active'), and an event that failed is where "
    "its on_failure or dead_letter says"
)
TEMPLATES = (".aws-sam/build/template.yaml", "template.yaml")  # where `sam build` and `sam init` put them
_declaration = re.compile(rb"AWS::(Serverless|Lambda)::Function\b")  # without which a file declares no function


def create_app(settings: Settings | None = None, fetcher: Fetcher | None = None) -> Application:
    """An application as ``settings`` describe it; those of the environment if None.

    ``fetcher`` takes the place of SERVERFULL_FUNCTIONS, SERVERFULL_ALIASES and SERVERFULL_TEMPLATE. The server's logger
    is set up here, so that what goes wrong at the start is logged as configured.

    Raises `ConfigurationError`, saying of every setting what is wrong with it.
    """
    settings = settings or Settings.from_environ()
    configure_logging(settings)
    for notice in settings.notices:
        LOGGER.warning("%s", notice)
    stats = create_stats(settings)
    return Application(
        create_fetcher(settings, fetcher),
        healthcheck=settings.healthcheck,
        mock=settings.mock,
        logger=LOGGER,
        stats=stats,
        executor=create_executor(settings, stats),
        authentication=create_authentication(settings),
        queue=create_queue(settings, stats),
        admin=settings.admin,
        region=settings.region,
        account_id=settings.account_id,
    )


def imported(target: str, named: str) -> Application:
    """The application that MODULE:APPLICATION names; ``named`` is what said so, for the refusal.

    Raises `ConfigurationError`.
    """
    module, _, attribute = target.partition(":")
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigurationError(f"{named}: {module!r} is no module; name MODULE:APPLICATION, as in orders.web:app")
    try:
        application = getattr(importlib.import_module(module), attribute or "app")
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{named}: {error}") from error
    if not isinstance(application, Application):
        raise ConfigurationError(f"{named}: that is a {type(application).__name__}; name a serverfull_wsgi.Application")
    return application


def create_executor(settings: Settings, stats: Stat | None = None) -> Executor:
    """How functions run: in this process or in their own, as they are and as the settings say."""
    isolate = settings.executor == "process" and not settings.mock
    apart = ProcessExecutor(
        max_concurrency=settings.max_concurrency,
        idle=settings.environment_idle,
        sandbox=settings.sandbox,
        preload=settings.zygote_preload,
        drain=settings.drain,
        eager=isolate,
    )
    return ChoosingExecutor(InProcessExecutor(logger=LOGGER, stats=stats), apart, isolate=isolate)


def create_queue(settings: Settings, stats: Stat | None = None) -> EventQueue:
    """What keeps events: the file the settings name, or this process's memory if that is what they say."""
    metrics = Metrics(stats) if stats else None
    if settings.events == "memory":
        return MemoryQueue(
            size=settings.events_queue_size, workers=settings.events_workers, drain=settings.drain, metrics=metrics
        )
    delays = Delays(
        settings.events_retry_delays, settings.events_throttle_delays[0], settings.events_throttle_delays[-1]
    )
    if settings.has_broker:
        return _celery_queue(settings, delays, metrics)
    return SqliteQueue(
        store_path(settings),
        owner=settings.events_owner or os.getcwd(),
        workers=settings.events_workers,
        drain=settings.drain,
        lease=settings.events_lease,
        retention=settings.events_retention,
        delays=delays,
        endpoint=settings.events_destinations_endpoint or None,
        metrics=metrics,
    )


def _celery_queue(settings: Settings, delays: Delays, metrics: Metrics | None) -> EventQueue:
    try:
        from serverfull_wsgi.queues.celery.queue import CeleryQueue
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("celery", "kombu", "redis"):
            raise
        scheme = settings.events.partition("://")[0]
        raise ConfigurationError(
            f"SERVERFULL_EVENTS={scheme}://... needs Celery: pip install 'serverfull-wsgi[celery]'"
        ) from error
    return CeleryQueue(
        settings.events,
        name=settings.events_queue_name,
        lease=settings.events_lease,
        delays=delays,
        endpoint=settings.events_destinations_endpoint or None,
        metrics=metrics,
    )


def store_path(settings: Settings) -> Path:
    """The file of events that the settings name, whole, since a process may go elsewhere later.

    Raises `ConfigurationError` where events are kept in memory, or by a broker.
    """
    if settings.has_broker:
        raise ConfigurationError(f"SERVERFULL_EVENTS={settings.events.partition('://')[0]}://...: {NO_LOG}")
    if settings.events == "memory":
        raise ConfigurationError("SERVERFULL_EVENTS=memory: there is no store of events to look at")
    named = settings.events.removeprefix("sqlite:///")
    return Path(named or Path(settings.data_dir, "events.sqlite3")).absolute()


def configure_logging(settings: Settings) -> None:
    """Sets the server's logger up as the settings say."""
    configure(LOGGER, output=settings.logger_output, level=settings.logger_level, format=settings.logger_format)


def create_fetcher(settings: Settings, fetcher: Fetcher | None = None) -> Fetcher:
    """Where the functions come from: ``fetcher``, or the settings; mocked in mock mode."""
    fetcher = fetcher or _configured(settings)
    LOGGER.disabled = False  # as `logging.config` in a function's module leaves each logger that it is not told of
    if not settings.mock:
        return fetcher
    if settings.mock_values == "random":
        return MockingFetcher(fetcher, Random(settings.mock_seed))
    return MockingFetcher(fetcher)


def _configured(settings: Settings) -> Fetcher:
    """The functions of the settings; without any, those of the template in the working directory."""
    fetchers: list[ListingFetcher] = []
    template = settings.template or ("" if settings.functions else _template_here())
    if settings.functions or settings.aliases or not template:
        fetchers.append(ImportFetcher.parse(settings.functions, settings.aliases))
    if template:
        fetchers.append(_from_template(settings, template))
    elif settings.template_parameters:
        LOGGER.warning("SERVERFULL_TEMPLATE_PARAMETERS has no effect: there is no template")
    fetcher = fetchers[0] if len(fetchers) == 1 else ChainFetcher(fetchers)
    for note in notes_of(fetcher):
        LOGGER.warning("%s", note)
    if refused := refused_of(fetcher):
        names = ", ".join(refused)
        LOGGER.warning("%s cannot run: answers 409 with the reason, and 'serverfull check' lists all", names)
    if not fetcher.functions() and not refused:
        LOGGER.warning(NO_FUNCTIONS)
    return fetcher


def _template_here() -> str:
    """The template that is served when nothing was set; empty where there is none.

    Others call their files ``template.yaml`` too: what nobody named and declares no function is no mistake.
    """
    for path in filter(os.path.isfile, TEMPLATES):
        if not _declares_functions(path):
            LOGGER.warning("%s is left alone: it is no SAM or CloudFormation template that declares a function", path)
            continue
        LOGGER.info("serving the functions of %s, since no SERVERFULL_TEMPLATE or SERVERFULL_FUNCTIONS is set", path)
        return path
    return ""


def _declares_functions(path: str) -> bool:
    try:
        return bool(_declaration.search(Path(path).read_bytes()))
    except OSError:  # told by who reads it as a template
        return True


def _from_template(settings: Settings, path: str) -> ListingFetcher:
    try:
        from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
        from serverfull_wsgi.fetchers.sam.parameters import parse_parameters
    except ImportError as error:
        if error.name != "yaml":
            raise
        raise ConfigurationError(
            f"SERVERFULL_TEMPLATE={path} needs PyYAML: pip install 'serverfull-wsgi[sam]'"
        ) from error
    parameters = parse_parameters(settings.template_parameters)
    return SamFetcher(path, parameters, region=settings.region, account_id=settings.account_id)


def create_authentication(settings: Settings) -> Callable[[WSGIApplication], WSGIApplication] | None:
    """What asks each request who signed it, if the settings name a file of keys."""
    if not settings.credentials_file:
        return None
    return partial(
        SigV4Middleware,
        credentials=CredentialsFile(settings.credentials_file),
        region=settings.region,
        account_id=settings.account_id,
        open_paths=(settings.healthcheck,),
        replay_guard=settings.replay_guard,
    )


def create_stats(settings: Settings) -> Stat | None:
    """The statsd client the settings ask for; None where metrics are off."""
    if settings.stats_output == "NULL":
        return None
    tags = settings.stats_tags if settings.stats_output == "DATADOG" else None
    return UdpStats(*settings.stats_address, prefix=settings.stats_prefix, tags=tags)
