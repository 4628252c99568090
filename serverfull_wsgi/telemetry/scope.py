"""The invocation that is running in this thread, task or greenlet, and what a handler may ask of it."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.telemetry.metrics import NullStats, Stat, for_function

if TYPE_CHECKING:
    from serverfull_wsgi.telemetry.tail_handler import Tail

LOGGER = logging.getLogger("serverfull_wsgi")
_silence = NullStats()


class InvocationScope:
    """What is known of the invocation that runs here."""

    __slots__ = ("__weakref__", "function_name", "logger", "principal", "request_id", "stats", "tail")

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
        self.tail = tail  # collects what the handler prints and logs; None when nobody asked
        self.principal = principal  # who called, where somebody asked


current_scope: ContextVar[InvocationScope | None] = ContextVar("serverfull_invocation", default=None)


class Logger(logging.LoggerAdapter):  # type: ignore[type-arg]  # (generic for type checkers only, before 3.11)
    """A logger that adds the invocation's fields to those of each call."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(self.extra or {}), **(kwargs.get("extra") or {})}}


def logger_from_context() -> Logger:
    """The server's logger, with ``request_id``, ``function_name`` and, if known, ``principal`` on every line.

    Works inside handlers, in HTTP mode, native Lambda mode and background events; elsewhere it is the logger
    ``serverfull_wsgi`` as it stands.
    """
    scope = current_scope.get()
    if scope is None:
        return Logger(LOGGER, {})
    who = {} if scope.principal is None else {"principal": scope.principal}
    return Logger(scope.logger, {"request_id": scope.request_id, "function_name": scope.function_name, **who})


def stat_from_context() -> Stat:
    """A statsd client whose metrics carry the function's name; one that sends nothing where metrics are off.

    >>> stat_from_context().incr("orders")
    """
    scope = current_scope.get()
    if scope is None or scope.stats is None:
        return _silence
    return for_function(scope.stats, scope.function_name)
