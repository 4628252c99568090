"""gunicorn's own lines in the server's JSON format."""

from __future__ import annotations

from gunicorn.config import Config
from gunicorn.glogging import Logger

from serverfull_wsgi.telemetry.logs import JsonFormatter


class JsonLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """A logger class of gunicorn for RUNTIME_LOGGER_FORMAT=JSON. A logging configuration of the user stays in force."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        if cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json:
            return
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(JsonFormatter())
