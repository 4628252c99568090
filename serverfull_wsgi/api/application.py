"""The WSGI application: what a request is for, and every refusal rendered in one place."""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, MapAdapter, Rule

from serverfull_wsgi.api.invoke import Invoke, InvokeAsync
from serverfull_wsgi.auth.authorize import EXPOSED, exposed, exposed_address, permitted
from serverfull_wsgi.auth.principal import OPERATE
from serverfull_wsgi.console.events import event_rules, no_event_rules
from serverfull_wsgi.dispatcher import Dispatcher
from serverfull_wsgi.domain import Closable, EventLog, EventQueue, Executor, Fetcher, ShutdownAware, Startable
from serverfull_wsgi.errors import ServiceError, ServiceException, UnknownOperationException
from serverfull_wsgi.executors.inprocess import InProcessExecutor
from serverfull_wsgi.executors.isolated.executor import ProcessExecutor
from serverfull_wsgi.executors.routing import ChoosingExecutor
from serverfull_wsgi.fetchers.chain import ChainFetcher
from serverfull_wsgi.fetchers.mocking import MockingFetcher
from serverfull_wsgi.fetchers.static import StaticFetcher
from serverfull_wsgi.queues.memory import MemoryQueue
from serverfull_wsgi.server_exits import raised_by_server
from serverfull_wsgi.telemetry.metrics import Metrics, NullStats, Stat
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.wsgi.requests import REQUEST_ID, ROUTING_ARGS, Ids, decoded, new_ids, raw_path, text_of
from serverfull_wsgi.wsgi.responses import render

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_BEFORE, _AFTER = "/2015-03-31/functions/", "/invocations"


class Application:
    """A WSGI application (PEP 3333) that speaks the Lambda API for the functions of ``fetcher``.

    ``healthcheck`` is the path that answers ``.`` to GET and HEAD. ``mock`` answers from return annotations instead of
    running handlers. ``logger`` and ``stats`` (a statsd client) are the server's, and what handlers are handed.
    ``executor`` and ``queue`` say how and when functions run. Unless given, callables run in this process, functions
    with a code directory in processes of their own, and events wait in this process's memory.
    ``routes`` are further werkzeug rules; each endpoint is a WSGI application that finds the rule's values, decoded,
    in ``environ["wsgiorg.routing_args"]``. ``authentication`` is a WSGI middleware, such as `SigV4Middleware` with its
    credentials, that every request has to pass. ``admin`` lets whoever can reach the application, and may operate it,
    look after its events, at ``/serverfull/events``, where the queue keeps a log of them. ``region`` and ``account_id``
    make up the functions' ARNs.

    Making one opens nothing. `start` does, once in a process, at the first request if nobody did before.

    Raises `ConfigurationError` for functions that are known by then and that nothing here can run as they want it.
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
        region: str = "us-east-1",
        account_id: str = "123456789012",
    ) -> None:
        logger = logger or LOGGER
        self._logger = logger
        self._healthcheck = healthcheck
        self._metrics = None if stats is None or isinstance(stats, NullStats) else Metrics(stats)
        self._executor: Executor = executor or ChoosingExecutor(
            InProcessExecutor(logger=logger, stats=stats), ProcessExecutor(logger=logger), logger=logger
        )
        self.queue = queue or MemoryQueue(logger=logger, metrics=self._metrics)
        self.dispatcher = Dispatcher(
            MockingFetcher(fetcher) if mock and not isinstance(fetcher, MockingFetcher) else fetcher,
            self._executor,
            self.queue,
            region=region,
            account_id=account_id,
            logger=logger,
            metrics=self._metrics,
        )
        _check(self.dispatcher.fetcher, self._executor)
        self._invoke = Invoke(self.dispatcher, mock=mock)
        self._routes = [
            Rule(f"{_BEFORE}<FunctionName>{_AFTER}", methods=["POST"], endpoint=self._invoke),
            Rule(
                "/2014-11-13/functions/<FunctionName>/invoke-async",
                methods=["POST"],
                endpoint=InvokeAsync(self.dispatcher),
                strict_slashes=False,
            ),
            *(_event_rules(self.queue) if admin else ()),
            *routes,
        ]
        self._urls: MapAdapter
        self._started = False  # in this process
        os.register_at_fork(after_in_child=_forgetting(self))
        self._door: WSGIApplication = authentication(self._answer) if authentication else self._answer
        self.authenticated = authentication is not None
        self._watching = not self.authenticated  # for who can reach this, until it is known

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self._started:
            self.start()
        return self._door(environ, start_response)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._watching:
            self._watch(environ)
        ids = new_ids()
        try:
            name = _invoked(environ)
            if name:
                return self._invoke.answer(environ, start_response, name, ids)
            if environ.get("PATH_INFO") == self._healthcheck and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
                return _healthy(environ, start_response)
            return self._route(environ, start_response, ids)
        except ServiceError as error:
            return render(error, ids.request_id, environ, start_response)
        except BaseException as error:
            if raised_by_server(error):
                raise
            self._logger.exception("a request failed", extra={"request_id": ids.request_id})
            failure = ServiceException("The service failed; its log has the reason.")
            begun = sys.exc_info() if ROUTING_ARGS in environ else None  # a user's endpoint may have begun its answer
            return render(failure, ids.request_id, environ, start_response, begun)

    def _route(self, environ: WSGIEnvironment, start_response: StartResponse, ids: Ids) -> Iterable[bytes]:
        """Everything but the plain form of Invoke: routed by the path as the client sent it, then decoded once."""
        try:
            endpoint, values = self._urls.match(raw_path(environ), environ["REQUEST_METHOD"])
        except HTTPException:
            raise UnknownOperationException(
                "No operation of the Lambda API that is served here has this method and path."
            ) from None
        if not isinstance(endpoint, (Invoke, InvokeAsync)):  # which know what is invoked, and ask themselves
            permitted(environ, OPERATE)
        environ[REQUEST_ID] = ids
        environ[ROUTING_ARGS] = (
            (),
            {name: decoded(value) if isinstance(value, str) else value for name, value in values.items()},
        )
        answer: Iterable[bytes] = endpoint(environ, start_response)
        return answer

    def _watch(self, environ: WSGIEnvironment) -> None:
        """At the first request that is no health check: warns if others can send such, and nobody asks who they are."""
        if environ.get("PATH_INFO") != self._healthcheck:
            self._watching = False
            if address := exposed_address(environ):
                self._logger.warning(EXPOSED, address)

    def warn_if_exposed(self, binds: Iterable[Any], *, warn: bool = True) -> None:
        """Told by a server's hook where it listens, as gunicorn has it; the first request then need not find out."""
        if addresses := [":".join(map(str, bind)) for bind in binds if self._watching and warn and exposed(bind)]:
            self._logger.warning(EXPOSED, ", ".join(addresses))
        self._watching = False

    def start(self) -> None:
        """Opens what a process needs: called by the first request, or before it, as by a server's hook.

        Once in a process; after a fork the child opens its own.
        """
        with self.__dict__.setdefault("_starting", threading.Lock()):
            if self._started:
                return
            self._urls = Map(
                [rule.empty() for rule in self._routes], merge_slashes=False, redirect_defaults=False
            ).bind("localhost")
            if self._metrics:
                self._metrics.start()
            if isinstance(self._executor, Startable):
                self._executor.start()
            self.queue.start(run=self.dispatcher.invoke, send=self.dispatcher.send)
            self._started = True

    def watch_shutdown(self, seconds_left: Callable[[], float | None]) -> None:
        """Let isolated functions end before the server does. Pass ``seconds_left`` to a `ShutdownAware` executor.

        What runs in a process of its own has that time, or the drain time, to end; then a 500 answers for it.
        """
        if isinstance(self._executor, ShutdownAware):
            self._executor.watch_shutdown(seconds_left)

    def close(self) -> None:
        """Takes no more events, and lets those it has run to their end as far as their time allows."""
        if self._started:
            self.queue.close()
            if isinstance(self._executor, Closable):
                self._executor.close()
            if self._metrics:
                self._metrics.close()


def _forgetting(application: Application) -> Callable[[], None]:
    """Has a forked child find the application not started; to ask for the process's id at each call takes 2 µs."""
    known = weakref.ref(application)

    def forget() -> None:
        if (found := known()) is not None:
            found._started = False

    return forget


def _check(fetcher: Fetcher, executor: Executor) -> None:
    """Refuses now what ``executor`` would refuse at every call."""
    if isinstance(executor, ChoosingExecutor) and isinstance(fetcher, (StaticFetcher, ChainFetcher)):
        executor.check(fetcher.functions())


def _event_rules(queue: EventQueue) -> list[Rule]:
    return event_rules(queue) if isinstance(queue, EventLog) else no_event_rules()


def _invoked(environ: WSGIEnvironment) -> str:
    """The function's name, if this is Invoke in a form that needs no router; empty otherwise.

    werkzeug's would take 10 µs, as much as all else. ``%2`` begins an encoded slash: then only the raw path tells.
    """
    path: str = environ.get("PATH_INFO", "")
    if environ["REQUEST_METHOD"] != "POST" or not path.startswith(_BEFORE) or not path.endswith(_AFTER):
        return ""
    name = path[len(_BEFORE) : -len(_AFTER)]
    if "/" in name or "%2" in (environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""):
        return ""
    return name if name.isascii() else text_of(name)


def _healthy(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1")])
    return [b"."] if environ["REQUEST_METHOD"] == "GET" else []
