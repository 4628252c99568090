"""gunicorn's server hooks. Users import them from `serverfull_wsgi.hooks`."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.api.router import INVOKE_PREFIX, INVOKE_SUFFIX
from serverfull_wsgi.api.wrapped import applications_in
from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.fetchers.abilities import configured_functions, function_names
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.scope import LOGGER

SHOWN_URLS = 20  # they fit on a screen
SHOWN_TIMEOUTS = 3  # they fit in a line
# Seconds of gunicorn's graceful timeout that are kept for responses: time to write them and for clients to read them.
RESPONSE_TIME = 1.0
NOTIFY_PERIOD = 1.0  # seconds between two signs of life of a worker that starts


def post_worker_init(worker: Any) -> None:
    """Open the application's resources before the first request, and log warnings. Keep slow clients from the threads.

    The warnings name functions that gunicorn may cut off, and addresses that other machines can reach. Middleware
    around an application may authenticate callers, so there the first request shows whether the application is exposed.
    """
    from serverfull_wsgi.servers.gunicorn.workers import adopt  # imports gunicorn, which not all entry points need

    adopt(worker)
    for application in applications_in(worker.wsgi):
        application.expect_processes(worker.cfg.workers)
        with kept_alive(worker):
            application.start()
        application.watch_shutdown(seconds_left_of(worker))
        if worker.age == 1:  # one warning, from the first worker
            warn_of_timeouts(application, worker.cfg)
        if application is worker.wsgi:
            application.warn_if_exposed(worker.cfg.address, warn=worker.age == 1)


@contextlib.contextmanager
def kept_alive(worker: Any) -> Iterator[None]:
    """Keep gunicorn from killing a worker whose start takes longer than ``--timeout``.

    The check of a large event store may take that long. gunicorn would kill the worker, and the next one would begin
    the check again. The parts of an application have time limits of their own, so no start lasts forever.
    """
    ended = threading.Event()

    def notify() -> None:
        while not ended.wait(NOTIFY_PERIOD):
            worker.tmp.notify()

    thread = threading.Thread(target=notify, name="serverfull-start", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def worker_exit(server: Any, worker: Any) -> None:
    """Let accepted events finish before the worker exits."""
    for application in applications_in(getattr(worker, "wsgi", None)):  # None if it could not be loaded
        application.close()


def seconds_left_of(worker: Any) -> Callable[[], float | None]:
    """Return the function for `Application.watch_shutdown` in a gunicorn worker.

    After a stop it returns gunicorn's graceful timeout less `RESPONSE_TIME`, and before that None. If the arbiter is
    dead, it sends SIGTERM to this worker, which then frees the port.
    """
    graceful: float = worker.cfg.graceful_timeout
    seconds = graceful - min(RESPONSE_TIME, graceful / 2)

    def seconds_left() -> float | None:
        if os.getppid() != worker.ppid:
            if worker.alive:
                os.kill(os.getpid(), signal.SIGTERM)
            return 0.0
        return None if worker.alive else seconds

    return seconds_left


def warn_of_timeouts(application: Application, cfg: Any) -> None:
    """Log a warning if functions have longer timeouts than ``cfg``, a gunicorn configuration, allows."""
    with contextlib.suppress(ConfigurationError):  # of a fetcher that cannot list its functions
        killed = cfg.timeout if cfg.worker_class_str == "sync" else 0
        for line in timeout_warnings(
            configured_functions(application.dispatcher.fetcher), killed, cfg.graceful_timeout
        ):
            LOGGER.warning("%s", line)


def drain_warnings(settings: Settings, graceful: float = 30) -> list[str]:
    """Return a line if running events have no time to end before gunicorn's ``--graceful-timeout``.

    >>> drain_warnings(Settings(drain=30))[0]
    "SERVERFULL_DRAIN=30 is not below gunicorn's --graceful-timeout (30 s), so a stop may cut off running events; \
raise --graceful-timeout or lower SERVERFULL_DRAIN"
    >>> drain_warnings(Settings())
    []
    """
    if settings.drain < graceful:
        return []
    return [
        f"SERVERFULL_DRAIN={settings.drain:g} is not below gunicorn's --graceful-timeout ({graceful:g} s), so a stop "
        "may cut off running events; raise --graceful-timeout or lower SERVERFULL_DRAIN"
    ]


def provisioned_warnings(functions: Sequence[Function], most: int) -> list[str]:
    """Return a line if one process, with ``most`` environments, cannot have all provisioned environments.

    >>> provisioned_warnings([Function(print, name="hello", provisioned=100)], 64)[0]
    "provisioned concurrency of 100 environments needs 2 processes or more (gunicorn's --workers), since \
SERVERFULL_MAX_CONCURRENCY=64; with fewer the server does not start"
    >>> provisioned_warnings([Function(print, name="hello", provisioned=64)], 64)
    []
    """
    wanted = sum(function.provisioned or 0 for function in functions)
    if wanted <= most:
        return []
    return [
        f"provisioned concurrency of {wanted} environments needs {-(-wanted // most)} processes or more (gunicorn's "
        f"--workers), since SERVERFULL_MAX_CONCURRENCY={most}; with fewer the server does not start"
    ]


def timeout_warnings(functions: Sequence[Function], killed: float = 0, graceful: float = 30) -> list[str]:
    """Return one line about all functions that may run for longer than a stop waits, and one for a sync worker.

    Args:
        functions: the functions to check.
        killed: seconds after which gunicorn kills a sync worker (``--timeout``); 0 if it does not.
        graceful: seconds after which a stop cuts off running calls (``--graceful-timeout``; gunicorn's default is 30).

    >>> timeout_warnings([Function(print, name="slow", timeout=60)])[0]
    "function 'slow' may run for 60 s, but a stop cuts it off after 30 s; raise gunicorn's --graceful-timeout"
    """
    timeouts: dict[str, float] = {}
    for function in functions:
        timeouts[function.name] = max(function.timeout, timeouts.get(function.name, 0))
    lines = []
    if over := _longest(timeouts, graceful):
        cut = "cuts it off" if len(over) == 1 else "cuts them off"
        lines.append(f"{_may_run(over)}, but a stop {cut} after {graceful:g} s; raise gunicorn's --graceful-timeout")
    if killed and (over := _longest(timeouts, killed)):
        lines.append(
            f"{_may_run(over)}, but a sync worker is killed after {killed:g} s; raise gunicorn's --timeout, "
            "or use --worker-class gthread"
        )
    return lines


def _longest(timeouts: Mapping[str, float], limit: float) -> list[tuple[str, float]]:
    """Return the names and timeouts above the limit, the longest first."""
    return sorted((item for item in timeouts.items() if item[1] > limit), key=lambda item: -item[1])


def _may_run(over: Sequence[tuple[str, float]]) -> str:
    if len(over) == 1:
        ((name, timeout),) = over
        return f"function {name!r} may run for {timeout:g} s"
    shown = ", ".join(f"{name!r} for {timeout:g} s" for name, timeout in over[:SHOWN_TIMEOUTS])
    more = f", {len(over) - SHOWN_TIMEOUTS} more" if len(over) > SHOWN_TIMEOUTS else ""
    return f"{len(over)} functions may run long ({shown}{more})"


@runtime_checkable
class HasRoutes(Protocol):
    """A WSGI application with routes of its own, such as `front.Front`."""

    def urls(self, origin: str) -> list[str]:
        """Return a line for each route: its method and its URL below ``origin``."""
        ...


def log_urls(wsgi: object, listeners: Sequence[object]) -> None:
    """Log the URLs of functions and routes at the first of the listeners, whose ``str`` is the listener's URL.

    Functions and routes inside of other WSGI callables have no line: their URLs are not known.
    """
    base = str(listeners[0])
    origin = "" if base.startswith("unix:") else base
    routes: object = wsgi
    if isinstance(wsgi, Application):
        routes = wsgi.sites
        if wsgi.sites is None or not wsgi.sites.is_root:
            _log_functions(wsgi, base, origin)
    if isinstance(routes, HasRoutes):
        urls = routes.urls(origin)
        more = [f"and {len(urls) - SHOWN_URLS} more"] if len(urls) > SHOWN_URLS else []
        LOGGER.info(
            "%s",
            "\n".join(["serving these routes, to every caller if no condition is given:", *urls[:SHOWN_URLS], *more]),
        )


def _log_functions(application: Application, base: str, origin: str) -> None:
    try:
        names = function_names(application.dispatcher.fetcher)
    except ConfigurationError:  # of a fetcher that cannot list its functions
        LOGGER.info("serving functions at %s", base)
        return
    lines = [f"POST {origin}{INVOKE_PREFIX}{quote(name)}{INVOKE_SUFFIX}" for name in names[:SHOWN_URLS]]
    if len(names) > SHOWN_URLS:
        lines.append(f"and {len(names) - SHOWN_URLS} more; 'serverfull functions' lists all of them")
    LOGGER.info("%s", "\n".join([f"serving {counted(names)} at {base}", *lines]))


def counted(names: Iterable[str]) -> str:
    """Return the number of functions in words. Versions of a function count once.

    >>> counted(["hello", "hello", "resize"]), counted(["hello"])
    ('2 functions', '1 function')
    """
    number = len(set(names))
    return f"{number} function{'' if number == 1 else 's'}"
