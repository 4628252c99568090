"""The application that a command works on: that of the settings, or one built in code."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.api.wrapped import applications_in
from serverfull_wsgi.assembly.application import create_app, import_application, import_wsgi
from serverfull_wsgi.assembly.telemetry import configure_logging, log_notices
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.scope import LOGGER

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

NO_APPLICATION = (
    "--app %s: no serverfull_wsgi.Application was found inside of this %s, so gunicorn's hooks neither start it nor "
    "drain its events, and SERVERFULL_CREDENTIALS_FILE is not checked; set the attribute serverfull_application of the "
    "callable to the application"
)

ENV_VARS = click.option(
    "--env-vars",
    metavar="FILE.json",
    default="",
    help="Variables of isolated functions, in the format of sam --env-vars. They win over the functions' own.",
)
APP = click.option(
    "--app",
    "target",
    metavar="MODULE:APPLICATION",
    help="Use an application built in code, instead of the one that the settings describe.",
)


def application_of(
    target: str | None, *, quiet: bool = False, creates_files: bool = True, env_vars: str = ""
) -> Application:
    """Return the application of ``--app``, or of the settings. ``quiet``: log to standard error, send no metrics."""
    settings = _settings(target, env_vars)
    settings = replace(settings, creates_files=creates_files)
    if quiet:
        settings = replace(settings, logger_output="STDERR", stats_output="NULL")
    if target is None:
        return create_app(settings)
    if quiet:
        configure_logging(settings)
    application = import_application(target, f"--app {target}")
    _check_authentication(target, application, settings)
    log_notices(settings)
    return application


def _settings(target: str | None, env_vars: str) -> Settings:
    if target is not None and env_vars:
        raise ConfigurationError("--env-vars is for the functions of the settings; remove it or --app")
    return replace(Settings.from_environ(), env_vars=env_vars)


def served_by(target: str | None, env_vars: str, api: str | None) -> WSGIApplication:
    """Return the WSGI callable of ``--app``, or the application of the settings; ``api`` is served at ``/``."""
    settings = _settings(target, env_vars)
    if api is not None:
        settings = settings.at_root(api)
    if target is None:
        return create_app(settings)
    wsgi = import_wsgi(target, f"--app {target}")
    applications = applications_in(wsgi)
    for application in applications:
        _check_authentication(target, application, settings)
    log_notices(settings)
    if not applications:
        LOGGER.warning(NO_APPLICATION, target, type(wsgi).__name__)
    return wsgi


def _check_authentication(target: str, application: Application, settings: Settings) -> None:
    """Raise `ConfigurationError` if the settings require signatures and the application does not check them."""
    if settings.credentials_file and not application.has_authentication:
        raise ConfigurationError(
            f"--app {target}: SERVERFULL_CREDENTIALS_FILE is set, but this application does not check signatures; "
            "give it authentication=, or make it with create_app"
        )
