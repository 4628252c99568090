"""The logger and the statsd client of settings, and notices about names of settings."""

from __future__ import annotations

from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.logs import configure
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.telemetry.stat import Stat

logged_notices: set[str] = set()  # since the last application was made


def create_stats(settings: Settings) -> Stat | None:
    """Return the statsd client, or None if metrics are off."""
    if settings.stats_output == "NULL":
        return None
    from serverfull_wsgi.telemetry.metrics import UdpStats  # imports statsd

    tags = settings.stats_tags if settings.stats_output == "DATADOG" else None
    return UdpStats(*settings.stats_address, prefix=settings.stats_prefix, tags=tags)


def configure_logging(settings: Settings) -> None:
    """Set up the server's logger."""
    configure(LOGGER, output=settings.logger_output, level=settings.logger_level, format=settings.logger_format)


def log_notices(settings: Settings) -> None:
    """Log the notices about old and misspelt names of settings. A notice that `create_app` has logged is left out."""
    for notice in settings.notices:
        if notice not in logged_notices:
            LOGGER.warning("%s", notice)
            logged_notices.add(notice)
