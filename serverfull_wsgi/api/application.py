"""The WSGI application: it routes each request to its endpoint, and renders every error in one place."""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from serverfull_wsgi.api.invoke import Invoke, InvokeAsync
from serverfull_wsgi.api.parts import Parts
from serverfull_wsgi.api.router import Router, invoked_name
from serverfull_wsgi.auth.authorize import authorize
from serverfull_wsgi.auth.browsers import BrowserGuard
from serverfull_wsgi.auth.exposure import EXPOSED, exposed_address, is_bind_exposed
from serverfull_wsgi.auth.principal import OPERATE
from serverfull_wsgi.auth.unsigned_deploys import ANNOUNCEMENT, SETTING, UnsignedDeploys
from serverfull_wsgi.concurrency import ReservedConcurrency
from serverfull_wsgi.dispatcher import Dispatcher
from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ConfigurationError, ServiceError, ServiceException
from serverfull_wsgi.executors.inprocess import InProcessExecutor
from serverfull_wsgi.executors.isolated.executor import ProcessExecutor
from serverfull_wsgi.executors.routing import ChoosingExecutor
from serverfull_wsgi.fetchers.abilities import configured_functions, has_deployed_functions
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID, DEFAULT_REGION
from serverfull_wsgi.protocols import (
    Backlog,
    CheckingExecutor,
    EventQueue,
    Executor,
    Fetcher,
    IsolatingExecutor,
    PlaceSharing,
    ProvisioningExecutor,
    ShutdownAware,
    is_listable,
)
from serverfull_wsgi.server_exits import raised_by_server
from serverfull_wsgi.storage.place_locks import PlaceLocks
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.telemetry.stat import Stat
from serverfull_wsgi.telemetry.stdio import bound_output
from serverfull_wsgi.wsgi.ids import new_request_id
from serverfull_wsgi.wsgi.requests import CODE_PATH, REQUEST_ID, ROUTING_ARGS, decoded, raw_path
from serverfull_wsgi.wsgi.responses import NO_BODY, log_fields, refuse, render, send_json

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from werkzeug.routing import Rule

    from serverfull_wsgi.api.operations import Operations
    from serverfull_wsgi.gateway.front import SiteServer
    from serverfull_wsgi.registry.registry import Registry
    from serverfull_wsgi.telemetry.metrics import Metrics

PLACES = "concurrency"  # the file of the places of reserved concurrency, in the data directory


class Application:
    """A WSGI application (PEP 3333) that serves the Lambda API for the functions of a fetcher.

    Making an application opens nothing. `start` opens its parts, once in a process; the first request calls it if the
    server did not. `close` is final.

    Args:
        fetcher: finds functions by name.
        healthcheck: the path of the health check, which returns ``.``.
        mock: True to make results from return annotations, without running handlers.
        logger: the server's logger, which handlers receive too.
        stats: a statsd client, which handlers receive too; None for no metrics.
        executor: runs functions. By default callables run in this process, and functions with a code directory in
            isolated processes.
        queue: keeps events. By default they wait in this process's memory.
        routes: werkzeug rules of further endpoints. Each endpoint is a WSGI application. It finds the rule's values,
            percent-decoded, in ``environ["wsgiorg.routing_args"]``.
        authentication: a WSGI middleware that every request passes, such as `SigV4Middleware` with its credentials.
        admin: True to serve the events console at ``/serverfull/events``. Every client that can reach the application
            may use it, unless ``authentication`` restricts it to callers with the action ``operate``.
        allowed_origins: further origins whose web pages may send unauthenticated requests.
        allowed_hosts: further names of a server that listens on the loopback only, without ports.
        sites: makes, from the dispatcher, the server of APIs and function URLs. Every caller may use these, without
            ``authentication``. None for no sites.
        region: the region of the functions' ARNs.
        account_id: the account of the functions' ARNs.
        data_dir: a directory that the processes of the machine share. The reserved and the provisioned concurrency of
            functions hold over all of them. None: they hold for each process.
        registry: keeps the functions that clients deploy; None if they cannot. ``fetcher`` must serve them too.
        deploy_unsigned: True to let unsigned requests of this machine deploy, if the server listens on the loopback
            only.

    Raises:
        ConfigurationError: if the fetcher lists a function that the executor cannot run, and for ``deploy_unsigned``
            with ``authentication``.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        healthcheck: str = "/healthcheck",
        mock: bool = False,
        logger: logging.Logger | None = None,
        stats: Stat | None = None,
        executor: Executor | None = None,
        queue: EventQueue | None = None,
        routes: Sequence[Rule] = (),
        authentication: Callable[[WSGIApplication], WSGIApplication] | None = None,
        admin: bool = False,
        allowed_origins: Collection[str] = (),
        allowed_hosts: Collection[str] = (),
        sites: Callable[[Dispatcher], SiteServer] | None = None,
        region: str = DEFAULT_REGION,
        account_id: str = DEFAULT_ACCOUNT_ID,
        data_dir: str | os.PathLike[str] | None = None,
        registry: Registry | None = None,
        deploy_unsigned: bool = False,
    ) -> None:
        logger = logger or LOGGER
        self._logger = logger
        self.healthcheck = healthcheck
        self._metrics = None if stats is None else _metrics(stats)
        self.executor: Executor = executor or ChoosingExecutor(
            InProcessExecutor(logger=logger, stats=stats), ProcessExecutor(logger=logger), logger=logger
        )
        places = PlaceLocks(None if data_dir is None else Path(data_dir, PLACES).absolute(), logger)
        self._concurrency = ReservedConcurrency(places, logger)
        if isinstance(self.executor, PlaceSharing):
            self.executor.share_places(places)
        self.queue = queue or _memory_queue(logger, self._metrics)
        self.dispatcher = Dispatcher(
            _mocking(fetcher) if mock else fetcher,
            self.executor,
            self.queue,
            region=region,
            account_id=account_id,
            concurrency=self._concurrency,
            logger=logger,
            metrics=self._metrics,
        )
        functions = _checked_functions(self.dispatcher.fetcher, self.executor)
        self._provisioned = [function for function in functions if function.provisioned]
        self._may_reserve = (
            has_deployed_functions(fetcher)
            or any(function.reserved for function in functions)
            or (isinstance(self.executor, IsolatingExecutor) and any(map(self.executor.is_isolated, self._provisioned)))
        )
        self._region = region
        self._processes: int | None = None
        self._invoke = Invoke(self.dispatcher, mock=mock)
        self._invoke_async = InvokeAsync(self.dispatcher)
        self._routes = [*(_console_rules(self.queue) if admin else ()), *routes]
        self._parts: Parts | None = None  # in this process
        self._is_started = self._is_closed = False  # in this process; a closed application stays started
        os.register_at_fork(after_in_child=_reset_in_child(self))
        self._entry: WSGIApplication = authentication(self._respond) if authentication else self._respond
        self.has_authentication = authentication is not None
        self.sites = sites(self.dispatcher) if sites else None
        self._browsers = BrowserGuard(allowed_origins, allowed_hosts)
        if deploy_unsigned and authentication:
            raise ConfigurationError(
                f"{SETTING}=true: callers of this server sign their requests; unset it, and name 'deploy' in the "
                "serverfull_actions of a key"
            )
        self._unsigned_deploys = UnsignedDeploys(deploy_unsigned, allowed_hosts)
        self._registry = registry
        self._may_be_exposed = not self.has_authentication  # until a hook or the first request shows the address

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self._is_started:
            try:
                self.start()
            except BaseException:
                message = "cannot start the application: the request fails, and the next request tries again"
                return self._render_failure(message, new_request_id(), environ, start_response)
        if self.sites is not None:
            location = self.sites.locate(environ)
            if location is not None and not (location.is_root and self._is_health_check(environ)):
                return self.sites.respond(location, environ, start_response)
        return self._entry(environ, start_response)

    def _respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._may_be_exposed:
            self._warn_if_exposed_once(environ)
        request_id = new_request_id()
        try:
            name = invoked_name(environ)
            if name:
                self._browsers.check(environ)
                return self._invoke.respond(environ, start_response, name, request_id)
            if self._is_health_check(environ):
                if environ.get("QUERY_STRING"):
                    return self._send_health(environ, start_response, request_id)
                return _send_healthy(environ, start_response)
            if environ.get("PATH_INFO", "").startswith(CODE_PATH):  # its own signature makes the link safe
                return self._operations.send_code(environ, start_response, request_id)
            self._browsers.check(environ)
            return self._route(environ, start_response, request_id)
        except ServiceError as error:
            return refuse(error, request_id, environ, start_response, self._logger)
        except BaseException:
            exc_info = (
                sys.exc_info() if ROUTING_ARGS in environ else None
            )  # a user's endpoint may have responded partly
            return self._render_failure("request failed", request_id, environ, start_response, exc_info)

    def _is_health_check(self, environ: WSGIEnvironment) -> bool:
        return environ.get("PATH_INFO") == self.healthcheck and environ["REQUEST_METHOD"] in ("GET", "HEAD")

    @cached_property
    def _operations(self) -> Operations:
        """The management operations. They are imported with the first request: many servers only invoke."""
        from serverfull_wsgi.api.operations import Operations

        return Operations(self.dispatcher, self._registry, self._unsigned_deploys)

    def _send_health(self, environ: WSGIEnvironment, start_response: StartResponse, request_id: str) -> Iterable[bytes]:
        """Send the age of the oldest due event if the query is ``?events``, otherwise the plain health check.

        The age is null if the queue cannot report it.
        """
        if "events" not in parse_qs(environ["QUERY_STRING"], keep_blank_values=True):
            return _send_healthy(environ, start_response)
        age = round(self.queue.oldest_due_age(), 3) if isinstance(self.queue, Backlog) else None
        body = send_json("200 OK", {"oldestDueEventAgeInSeconds": age}, request_id, start_response)
        return body if environ["REQUEST_METHOD"] == "GET" else NO_BODY

    def _route(self, environ: WSGIEnvironment, start_response: StartResponse, request_id: str) -> Iterable[bytes]:
        """Call the endpoint of a request that `invoked_name` does not recognise.

        The path is routed as the client sent it, and its values are decoded once.
        """
        parts = self._parts
        assert parts is not None  # noqa: S101  (`__call__` has opened them)
        match = parts.router.match(raw_path(environ), environ["REQUEST_METHOD"])
        if match is None:
            return self._operations.respond(environ, start_response, request_id)
        endpoint, values = match
        if not isinstance(endpoint, (Invoke, InvokeAsync)):  # these authorize the call of their function themselves
            authorize(environ, OPERATE)
        environ[REQUEST_ID] = request_id
        environ[ROUTING_ARGS] = (
            (),
            {name: decoded(value) if isinstance(value, str) else value for name, value in values.items()},
        )
        response: Iterable[bytes] = endpoint(environ, start_response)
        return response

    def _render_failure(
        self,
        message: str,
        request_id: str,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        exc_info: OptExcInfo | None = None,
    ) -> Iterable[bytes]:
        """Log the exception in progress, and send a `ServiceException`. An exit of the server is raised again."""
        error = sys.exc_info()[1]
        if error is not None and raised_by_server(error):
            raise error
        self._logger.exception(message, extra=log_fields(environ, request_id))
        return render(ServiceException(), request_id, environ, start_response, exc_info)

    def _warn_if_exposed_once(self, environ: WSGIEnvironment) -> None:
        """Log a warning if other machines can send this request, the first one that is not a health check."""
        if environ.get("PATH_INFO") != self.healthcheck:
            self._may_be_exposed = False
            if self._unsigned_deploys.is_on:
                self._logger.warning(ANNOUNCEMENT)
            if address := exposed_address(environ):
                self._logger.warning(EXPOSED, address)

    def warn_if_exposed(self, binds: Iterable[Any], *, warn: bool = True) -> None:
        """Log a warning if other machines can reach the server and the application has no authentication.

        A server's hook calls this before the first request. That request is then not examined. If all listeners are on
        the loopback, requests with another name in their Host are refused, as DNS rebinding causes them.

        Args:
            binds: the server's listeners, as gunicorn has them: ``(host, port)`` or the path of a unix socket.
            warn: False if another process of the server logs the warning.

        Raises `ConfigurationError` if unsigned deploys are on and a listener is not on the loopback.
        """
        binds = list(binds)
        self._unsigned_deploys.listen_on(binds)
        if self._unsigned_deploys.is_on and warn:
            self._logger.warning(ANNOUNCEMENT)
        addresses = [":".join(map(str, bind)) for bind in binds if is_bind_exposed(bind)]
        if addresses and warn and self._may_be_exposed:
            self._logger.warning(EXPOSED, ", ".join(addresses))
        self._may_be_exposed = False
        self._browsers.listen_on(binds)

    def start(self) -> None:
        """Open the parts that this process needs. Later calls in the same process do nothing.

        The first request calls this; a server's hook may call it before. A forked child opens its own parts. If a part
        fails, the next call continues with this part, and `close` closes the parts before it.

        Raises:
            ConfigurationError: if the configuration does not allow a part to open.
            RuntimeError: if the application was closed in this process.
        """
        if self._is_started and not self._is_closed:  # a front calls this for each request
            return
        with self._lock():
            if self._is_closed:
                raise RuntimeError("the application is closed in this process; make a new one")
            if self._parts is None:
                bound_output()
                if self._provisioned and isinstance(self.executor, ProvisioningExecutor):
                    self.executor.provision(self._provisioned, self._region, self._processes)
                self._parts = Parts(
                    Router(self._invoke, self._invoke_async, self._routes),
                    self._metrics,
                    (self._concurrency, self._concurrency.start if self._may_reserve else None),
                    self.executor,
                    self.queue,
                    self.dispatcher,
                )
            self._parts.open()
            self._is_started = True

    def expect_processes(self, count: int) -> None:
        """Announce the number of processes that the server starts with this application. Call this before `start`.

        The processes share the environments of provisioned concurrency. `start` refuses more environments than
        ``count`` processes can have.
        """
        self._processes = count

    def watch_shutdown(self, seconds_left: Callable[[], float | None]) -> None:
        """Let functions in isolated processes end before the server does.

        ``seconds_left()`` is called now and then. It returns None while the server runs, and after a stop the seconds
        in which the server still sends responses. A function that runs after them, or after the drain time, is
        stopped, and its caller receives a 500.
        """
        if isinstance(self.executor, ShutdownAware):
            self.executor.watch_shutdown(seconds_left)

    def close(self) -> None:
        """Close the application for good: refuse new events, and let accepted events end as far as their time allows.

        Every part is closed, even if another part fails; the last failure is raised. Later calls do nothing.
        """
        with self._lock():
            was_closed, self._is_closed = self._is_closed, True
        if self._parts is not None and not was_closed:
            self._parts.close()

    def _lock(self) -> AbstractContextManager[bool]:
        """Return the lock of `start` and `close`. It is made late, because gevent replaces the class at its start."""
        lock: AbstractContextManager[bool] = self.__dict__.setdefault("_start_lock", threading.RLock())
        return lock


def _reset_in_child(application: Application) -> Callable[[], None]:
    """Return a function that makes the application new in a forked child, where its parts are not open.

    A check of the process id would cost 2 µs in every request.
    """
    reference = weakref.ref(application)

    def reset() -> None:
        if (application := reference()) is not None:
            application._parts, application._is_started, application._is_closed = None, False, False
            application.__dict__.pop("_start_lock", None)  # a thread of the parent may hold it

    return reset


# Parts that the default start does not have. Each is imported with the branch that makes it.


def _memory_queue(logger: logging.Logger, metrics: Metrics | None) -> EventQueue:
    from serverfull_wsgi.queues.memory import MemoryQueue

    return MemoryQueue(logger=logger, metrics=metrics)


def _metrics(stats: Stat) -> Metrics | None:
    from serverfull_wsgi.telemetry.metrics import Metrics, NullStats

    return None if isinstance(stats, NullStats) else Metrics(stats)


def _mocking(fetcher: Fetcher) -> Fetcher:
    from serverfull_wsgi.fetchers.mocking import MockingFetcher

    return fetcher if isinstance(fetcher, MockingFetcher) else MockingFetcher(fetcher)


def _console_rules(queue: EventQueue) -> list[Rule]:
    from serverfull_wsgi.console.events import event_rules  # imports werkzeug

    return event_rules(queue)


def _checked_functions(fetcher: Fetcher, executor: Executor) -> list[Function]:
    """Return the configured functions that ``fetcher`` lists.

    Raises `ConfigurationError` if ``executor`` would refuse one of them at every call.
    """
    functions = configured_functions(fetcher) if is_listable(fetcher) else []
    if isinstance(executor, CheckingExecutor) and functions:
        executor.check(functions)
    return functions


def _send_healthy(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1")])
    return [b"."] if environ["REQUEST_METHOD"] == "GET" else NO_BODY
