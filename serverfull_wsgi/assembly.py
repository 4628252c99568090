"""The one place that knows every part by its concrete class: from settings to an application."""

from __future__ import annotations

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.domain import Fetcher
from serverfull_wsgi.fetchers.importing import ImportFetcher
from serverfull_wsgi.fetchers.mocking import MockingFetcher
from serverfull_wsgi.fetchers.values import Random
from serverfull_wsgi.queues.memory import MemoryQueue
from serverfull_wsgi.settings import Settings
from serverfull_wsgi.telemetry.logs import configure
from serverfull_wsgi.telemetry.metrics import Metrics, Stat, UdpStats
from serverfull_wsgi.telemetry.scope import LOGGER

NO_FUNCTIONS = (
    "serving no functions; name some with SERVERFULL_FUNCTIONS='hello=package.module.handler' and start again"
)


def create_app(settings: Settings | None = None, fetcher: Fetcher | None = None) -> Application:
    """An application as ``settings`` describe it; those of the environment if None.

    ``fetcher`` takes the place of SERVERFULL_FUNCTIONS and SERVERFULL_ALIASES. The server's logger is set up here, so
    that what goes wrong at the start is logged as configured.

    Raises `ConfigurationError`, saying of every setting what is wrong with it.
    """
    settings = settings or Settings.from_environ()
    configure_logging(settings)
    for notice in settings.notices:
        LOGGER.warning("%s", notice)
    stats = create_stats(settings)
    queue = MemoryQueue(
        size=settings.event_queue_size,
        workers=settings.event_workers,
        drain=settings.drain,
        metrics=Metrics(stats) if stats else None,
    )
    return Application(
        create_fetcher(settings, fetcher),
        healthcheck=settings.healthcheck,
        mock=settings.mock,
        logger=LOGGER,
        stats=stats,
        queue=queue,
        region=settings.region,
        account_id=settings.account_id,
    )


def configure_logging(settings: Settings) -> None:
    """Sets the server's logger up as the settings say."""
    configure(LOGGER, output=settings.logger_output, level=settings.logger_level, format=settings.logger_format)


def create_fetcher(settings: Settings, fetcher: Fetcher | None = None) -> Fetcher:
    """Where the functions come from: ``fetcher``, or the settings; mocked in mock mode."""
    if fetcher is None:
        fetcher = ImportFetcher.parse(settings.functions, settings.aliases)
        if not fetcher.functions():
            LOGGER.warning(NO_FUNCTIONS)
    if not settings.mock:
        return fetcher
    if settings.mock_values == "random":
        return MockingFetcher(fetcher, Random(settings.mock_seed))
    return MockingFetcher(fetcher)


def create_stats(settings: Settings) -> Stat | None:
    """The statsd client the settings ask for; None where metrics are off."""
    if settings.stats_output == "NULL":
        return None
    tags = settings.stats_tags if settings.stats_output == "DATADOG" else None
    return UdpStats(*settings.stats_address, prefix=settings.stats_prefix, tags=tags)
