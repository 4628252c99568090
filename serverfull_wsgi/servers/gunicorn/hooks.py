"""gunicorn's hooks, which `serverfull_wsgi.hooks` names for a configuration file of one's own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.fetchers.listing import functions_of
from serverfull_wsgi.telemetry.scope import LOGGER

ANSWERING = 1.0  # seconds


def post_worker_init(worker: Any) -> None:
    """Opens what the worker needs before its first request; warns of functions it may cut off, and of who may call."""
    application = getattr(worker, "wsgi", None)
    if isinstance(application, Application):
        application.start()
        application.watch_shutdown(ends_of(worker))
        warn_of_timeouts(application, worker.cfg)
        application.warn_if_exposed(worker.cfg.address, warn=worker.age == 1)  # the first worker speaks for all


def worker_exit(server: Any, worker: Any) -> None:
    """Lets accepted events run to their end before the worker goes."""
    application = getattr(worker, "wsgi", None)  # a worker that failed to load it has none
    if isinstance(application, Application):
        application.close()


def ends_of(worker: Any) -> Callable[[], float | None]:
    """The callable for `Application.watch_shutdown`, of a worker.

    One whose master is gone is told to stop, and so frees its port.
    A stop leaves `ANSWERING` of gunicorn's graceful timeout, after which nothing is answered any more, for answers.
    """
    graceful: float = worker.cfg.graceful_timeout
    seconds = graceful - min(ANSWERING, graceful / 2)

    def ends() -> float | None:
        if os.getppid() != worker.ppid:
            if worker.alive:
                os.kill(os.getpid(), signal.SIGTERM)
            return 0.0
        return None if worker.alive else seconds

    return ends


def follow_worker(application: Application) -> None:
    """The same for an application that gunicorn has a worker load, without hooks."""
    from gunicorn.workers.base import Worker

    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(worker, Worker):
        application.watch_shutdown(ends_of(worker))


def warn_of_timeouts(application: Application, cfg: Any) -> None:
    """Logs which functions ``cfg``, a gunicorn configuration, does not give the time they may take."""
    with contextlib.suppress(ConfigurationError):  # of a fetcher that cannot list its functions
        killed = cfg.timeout if cfg.worker_class_str == "sync" else 0
        for line in timeout_warnings(functions_of(application.dispatcher.fetcher), killed, cfg.graceful_timeout):
            LOGGER.warning("%s", line)


def command_line() -> Any:
    """The configuration that gunicorn's command line and GUNICORN_CMD_ARGS give; None where a file has a say too."""
    from gunicorn.config import Config

    cfg = Config()
    parser = cfg.parser()
    for arguments in (cfg.get_cmd_args_from_env(), sys.argv[1:]):
        for name, value in vars(parser.parse_known_args(arguments)[0]).items():
            if name == "config" and value:
                return None
            if value is not None and name in cfg.settings:
                cfg.set(name, value)
    return cfg


def timeout_warnings(functions: Sequence[Function], killed: float = 0, graceful: float = 30) -> list[str]:
    """Which functions may run for longer than the server lets them.

    ``killed`` is after how many seconds gunicorn kills a sync worker (``--timeout``; 0: never), ``graceful`` after how
    many a stop cuts off what still runs (``--graceful-timeout``).

    >>> timeout_warnings([Function(print, name="slow", timeout=60)])[0]
    "function 'slow' may run for 60 s, but a stop cuts it off after 30 s; raise gunicorn's --graceful-timeout"
    """
    lines = []
    for function in functions:
        may_run = f"function {function.name!r} may run for {function.timeout:g} s"
        if function.timeout > graceful:
            lines.append(f"{may_run}, but a stop cuts it off after {graceful:g} s; raise gunicorn's --graceful-timeout")
        if killed and function.timeout > killed:
            lines.append(
                f"{may_run}, but a sync worker is killed after {killed:g} s; raise gunicorn's --timeout, "
                "or use --worker-class gthread"
            )
    return lines
