"""Starting: gunicorn for HTTP, AWS's own runtime client for a native Lambda."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.assembly import configure_logging, create_app, create_fetcher, create_stats
from serverfull_wsgi.domain import Fetcher, Handler
from serverfull_wsgi.fetchers.listing import find
from serverfull_wsgi.servers.native import bootstrap
from serverfull_wsgi.settings.settings import Settings


def start_http(fetcher: Fetcher | None = None, settings: Settings | None = None, options: Sequence[str] = ()) -> None:
    """Serves the functions of ``fetcher`` with gunicorn until a signal ends it; those of the settings without one.

    ``settings`` are the environment's unless given; ``options`` are gunicorn's own, as on its command line. Every
    worker makes its own application. Ends by `SystemExit`. Raises `ConfigurationError`.
    """
    settings = settings or Settings.from_environ()
    serve(lambda: create_app(settings, fetcher), settings, options)


def start_http_mock(
    fetcher: Fetcher | None = None, settings: Settings | None = None, options: Sequence[str] = ()
) -> None:
    """`start_http` in mock mode, whatever the settings say of it."""
    start_http(fetcher, replace(settings or Settings.from_environ(), mock=True), options)


def serve(load: Callable[[], Application], settings: Settings, options: Sequence[str] = ()) -> None:
    """Runs gunicorn in this process, with the application that ``load`` returns in each worker."""
    from serverfull_wsgi.servers.gunicorn.arbiter import Server  # with gunicorn, which only this door needs

    configure_logging(settings)
    Server(load, settings, options).run()


def start_lambda(
    fetcher: Fetcher | None,
    target: str,
    settings: Settings | None = None,
    run: Callable[[Handler], None] = bootstrap.run,
) -> None:
    """Runs one function natively on AWS Lambda, under awslambdaric; does not return while there are invocations.

    ``target`` is a function's name, or ``name:qualifier``. ``run`` takes the place of awslambdaric, for tests.

    Raises `ConfigurationError` for a target the fetcher does not know, and where there is no runtime to run under.
    """
    settings = settings or Settings.from_environ()
    function = find(create_fetcher(settings, fetcher), target)
    run(bootstrap.handler_of(function, create_stats(settings), settings.logger_level))


def start_lambda_mock(
    fetcher: Fetcher | None,
    target: str,
    settings: Settings | None = None,
    run: Callable[[Handler], None] = bootstrap.run,
) -> None:
    """`start_lambda` in mock mode, whatever the settings say of it."""
    start_lambda(fetcher, target, replace(settings or Settings.from_environ(), mock=True), run)
