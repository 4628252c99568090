"""The application of settings, and applications that are named by module and attribute."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.api.wrapped import applications_in
from serverfull_wsgi.assembly.authentication import create_authentication
from serverfull_wsgi.assembly.executors import create_executor
from serverfull_wsgi.assembly.fetchers import configured_fetcher, mocked
from serverfull_wsgi.assembly.queues import create_queue
from serverfull_wsgi.assembly.telemetry import configure_logging, create_stats, log_notices, logged_notices
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.protocols import Fetcher
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.scope import LOGGER

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from serverfull_wsgi.dispatcher import Dispatcher
    from serverfull_wsgi.gateway.front import SiteServer


def create_app(
    settings: Settings | None = None,
    fetcher: Fetcher | None = None,
    *,
    authentication: Callable[[WSGIApplication], WSGIApplication] | None = None,
) -> Application:
    """Return an application as ``settings`` describe it, or as the environment variables do if ``settings`` is None.

    This also sets up the server's logger, so that a problem of the start is logged as configured.

    Args:
        settings: None for the environment variables.
        fetcher: replaces SERVERFULL_FUNCTIONS, SERVERFULL_ALIASES and SERVERFULL_TEMPLATE.
        authentication: a WSGI middleware that every request passes; replaces SERVERFULL_CREDENTIALS_FILE.

    Raises:
        ConfigurationError: for bad settings; the message names all of them.
    """
    settings = settings or Settings.from_environ()
    configure_logging(settings)
    logged_notices.clear()
    log_notices(settings)
    stats = create_stats(settings)
    configured = fetcher or configured_fetcher(settings)
    registry = None
    if settings.registry:
        from serverfull_wsgi.assembly.registries import create_registry, with_registry

        registry = create_registry(settings, configured)
        configured = with_registry(configured, registry)
    fetcher = mocked(settings, configured)
    return Application(
        fetcher,
        healthcheck=settings.healthcheck,
        mock=settings.mock,
        logger=LOGGER,
        stats=stats,
        executor=create_executor(settings, stats, fetcher),
        authentication=authentication or create_authentication(settings),
        queue=create_queue(settings, stats),
        admin=settings.admin,
        allowed_origins=settings.allowed_origins,
        allowed_hosts=settings.allowed_hosts,
        sites=_sites(settings, fetcher),
        region=settings.region,
        account_id=settings.account_id,
        data_dir=settings.data_dir,
        registry=registry,
        deploy_unsigned=settings.deploy_unsigned,
    )


def _sites(settings: Settings, fetcher: Fetcher) -> Callable[[Dispatcher], SiteServer] | None:
    """Return a function that makes the server of APIs, function URLs and load balancers; None if they are off."""
    if settings.front:
        from serverfull_wsgi.assembly.sites import create_sites

        return create_sites(settings, fetcher)
    for name, value in (("ROUTES", settings.routes), ("ALB", settings.load_balancers)):
        if value:
            LOGGER.warning("SERVERFULL_%s has no effect without SERVERFULL_FRONT or 'serverfull serve --api'", name)
    return None


def import_application(target: str, origin: str) -> Application:
    """Return the application that ``target``, MODULE:APPLICATION, names, or that is inside of the callable there.

    ``origin`` is the option or setting that gave the name, for error messages. Raises `ConfigurationError`.
    """
    wsgi = import_wsgi(target, origin)
    applications = applications_in(wsgi)
    if len(applications) != 1:
        count = f"with {len(applications)} applications inside" if applications else "with no application inside"
        raise ConfigurationError(
            f"{origin}: this is a {type(wsgi).__name__} {count}; name a serverfull_wsgi.Application, "
            "or set the attribute serverfull_application of the callable"
        )
    return applications[0]


def import_wsgi(target: str, origin: str) -> WSGIApplication:
    """Return the WSGI callable that ``target``, MODULE:CALLABLE, names. Raises `ConfigurationError`."""
    module, _, attribute = target.partition(":")
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigurationError(
            f"{origin}: {module!r} is not a valid module name; use MODULE:APPLICATION, as in orders.web:app"
        )
    try:
        wsgi: WSGIApplication = getattr(importlib.import_module(module), attribute or "app")
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"{origin}: {error}; use MODULE:APPLICATION, with a module of the working directory or of PYTHONPATH"
        ) from error
    if not callable(wsgi):
        raise ConfigurationError(
            f"{origin}: this is a {type(wsgi).__name__}; name a serverfull_wsgi.Application, or a callable around one"
        )
    return wsgi
