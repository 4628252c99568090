"""Entry points for gunicorn: functions that run it, and the application that its own command loads."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.assembly.application import create_app
from serverfull_wsgi.assembly.telemetry import configure_logging
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.protocols import Fetcher
from serverfull_wsgi.servers.gunicorn.hooks import drain_warnings, seconds_left_of, warn_of_timeouts
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.telemetry.stdio import bound_output, output_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

GRANIAN_ALONE = (
    "the command granian has no hook for the end of a worker: events in memory are lost then, running events run again "
    "later, and the last log lines may be missing; use 'serverfull serve --server granian'"
)


def start_http(fetcher: Fetcher | None = None, settings: Settings | None = None, options: Sequence[str] = ()) -> None:
    """Serve functions with gunicorn until a signal ends it. Ends by `SystemExit`.

    Every worker makes its own application.

    Args:
        fetcher: the functions; None for the functions that the settings describe.
        settings: None for the environment variables.
        options: gunicorn's own, as on its command line.

    Raises:
        ConfigurationError: for bad settings.
    """
    settings = settings or Settings.from_environ()
    serve(lambda: create_app(settings, fetcher), settings, options)


def start_http_mock(
    fetcher: Fetcher | None = None, settings: Settings | None = None, options: Sequence[str] = ()
) -> None:
    """Serve functions as `start_http` does, in mock mode."""
    start_http(fetcher, replace(settings or Settings.from_environ(), mock=True), options)


def serve(load: Callable[[], WSGIApplication], settings: Settings, options: Sequence[str] = ()) -> None:
    """Run gunicorn in this process. Each worker serves the application that ``load`` returns."""
    from serverfull_wsgi.servers.gunicorn.arbiter import (
        Server,  # imports gunicorn, which other entry points do not need
    )

    configure_logging(settings)
    bound_output()
    sys.stdout, sys.stderr = output_of(sys.stdout), output_of(sys.stderr)  # for gunicorn's own log too
    Server(load, settings, options).run()


def load_app(adapt: Callable[[Settings], Settings] = lambda settings: settings) -> Application:
    """Return the application of the environment variables, for ``gunicorn serverfull_wsgi:app`` or another server.

    Under gunicorn, hooks may be missing. This therefore also does their work. ``adapt`` changes the settings.

    Raises `ConfigurationError`, or gunicorn's AppImportError under gunicorn, which prints it without a traceback.
    """
    try:
        settings = adapt(Settings.from_environ())
        application = create_app(settings)
        if _is_gunicorn():
            _bound_gunicorns_log()
            worker = _current_worker()
            if worker:
                _prepare(worker, application)
            is_first = worker is None or worker.age == 1  # one warning for all workers
            if is_first and (cfg := _config()):
                warn_of_timeouts(application, cfg)
                for line in drain_warnings(settings, cfg.graceful_timeout):
                    LOGGER.warning("%s", line)
        if granian := _frame_of("granian.server.mp"):
            if granian.f_locals.get("worker_id") == 1:  # one warning for all workers
                LOGGER.warning(GRANIAN_ALONE)
            application.start()
        if _is_worker():
            application.start()
        return application
    except ConfigurationError as error:
        raise _startup_error(error) from None


def _bound_gunicorns_log() -> None:
    """Let gunicorn's own log, which may have a line for each request, not wait for its reader either."""
    bound_output()
    for name in ("gunicorn.error", "gunicorn.access"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(output_of(handler.stream))


def _is_gunicorn() -> bool:
    return "gunicorn.arbiter" in sys.modules


def _is_worker() -> bool:
    """Return whether a gunicorn worker loads the application. With ``--preload`` the arbiter does, and forks later."""
    return _frame_of("gunicorn.workers.base") is not None


def _frame_of(module: str) -> FrameType | None:
    """Return the innermost frame of this module that is running, or None."""
    frame: FrameType | None = sys._getframe()
    while frame and frame.f_globals.get("__name__") != module:
        frame = frame.f_back
    return frame


def _startup_error(error: ConfigurationError) -> Exception:
    if not _is_gunicorn():
        return error
    from gunicorn.errors import AppImportError

    return AppImportError(f"serverfull cannot start:\n{error}")  # type: ignore[no-any-return]


def _current_worker() -> Any:
    """Return the gunicorn worker that this process is, or None."""
    from gunicorn.workers.base import Worker

    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return worker if isinstance(worker, Worker) else None


def _prepare(worker: Any, application: Application) -> None:
    """Do the work of the hooks that a worker needs before it runs."""
    from serverfull_wsgi.servers.gunicorn.workers import adopt

    application.expect_processes(worker.cfg.workers)
    application.watch_shutdown(seconds_left_of(worker))
    adopt(worker)


def _config() -> Any:
    """Return the configuration of the gunicorn that loads the application.

    Return None if gunicorn loads something else, or has a hook ``post_worker_init``, which logs the same warnings.
    """
    frame = _frame_of("gunicorn.app.base")
    cfg = frame.f_locals["self"].cfg if frame else None
    hook = cfg.settings["post_worker_init"] if cfg else None
    return cfg if hook and hook.get() is hook.default else None
