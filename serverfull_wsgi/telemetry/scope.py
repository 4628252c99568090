"""The invocation that runs in this thread, task or greenlet, and the logger and metrics that its handler uses."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

from serverfull_wsgi.telemetry.stat import Stat
from serverfull_wsgi.telemetry.tail import Tail

LOGGER = logging.getLogger("serverfull_wsgi")


class InvocationScope:
    """The facts about a running invocation that its log lines and metrics carry.

    Args:
        request_id: the invocation's request id.
        function_name: the function's name, without its version.
        logger: the server's logger.
        stats: a statsd client, None if metrics are off.
        tail: the buffer for printed and logged text, None if the caller did not request the log.
        principal: the name of the caller, None if requests are not authenticated.
    """

    __slots__ = ("__weakref__", "function_name", "incomplete", "logger", "principal", "request_id", "stats", "tail")

    def __init__(
        self,
        request_id: str,
        function_name: str,
        logger: logging.Logger,
        stats: Stat | None,
        tail: Tail | None,
        principal: str | None = None,
    ) -> None:
        self.request_id = request_id
        self.function_name = function_name
        self.logger = logger
        self.stats = stats
        self.tail = tail
        self.principal = principal
        self.incomplete: dict[Any, str] | None = None  # by stream, the last line if it has no line end yet


current_scope: ContextVar[InvocationScope | None] = ContextVar("serverfull_invocation", default=None)


class Logger(logging.LoggerAdapter):  # type: ignore[type-arg]  # (generic for type checkers only, before 3.11)
    """The logger that `logger_from_context` returns: a `logging.LoggerAdapter` with the invocation's fields.

    The fields are ``request_id``, ``function_name`` and, if requests are authenticated, ``principal``. Fields in
    ``extra=`` of a call are added; a field of the same name replaces the invocation's.

    >>> logger_from_context().info("order %s accepted", 17, extra={"customer": "c-1"})
    """

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Return the message and its arguments with the invocation's fields in ``extra``."""
        return msg, {**kwargs, "extra": {**(self.extra or {}), **(kwargs.get("extra") or {})}}


def logger_from_context() -> Logger:
    """Return the server's logger with ``request_id``, ``function_name`` and, if known, ``principal`` on every line.

    It works inside handlers, over HTTP, in native Lambda mode and for asynchronous events. Outside an invocation it is
    the logger ``serverfull_wsgi`` without added fields.
    """
    scope = current_scope.get()
    if scope is None:
        return Logger(LOGGER, {})
    fields = {"request_id": scope.request_id, "function_name": scope.function_name}
    if scope.principal is not None:
        fields["principal"] = scope.principal
    return Logger(scope.logger, fields)


def stat_from_context() -> Stat:
    """Return a statsd client that adds the function's name to its metrics.

    The client sends nothing if metrics are off, and outside an invocation.

    >>> stat_from_context().incr("orders")
    """
    from serverfull_wsgi.telemetry.metrics import NULL_STATS, for_function  # imports statsd

    scope = current_scope.get()
    if scope is None or scope.stats is None:
        return NULL_STATS
    stats: Stat = for_function(scope.stats, scope.function_name)
    return stats
