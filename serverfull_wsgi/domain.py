"""The words: what a request names, what is run, and what comes back.

A request names a function. *Which?* a `Fetcher` gives a `Function`. *How?* an `Executor` gives an `Outcome`. *When?*
now, or an `EventQueue` keeps the `Invocation` for later.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, NoReturn, Protocol, TypeGuard, runtime_checkable

from serverfull_wsgi.env_vars import RESERVED_VARIABLES, is_valid_value
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.names import LATEST, FunctionName
from serverfull_wsgi.payloads import parse_payload

UNSET: Any = type("Unset", (), {"__repr__": lambda self: "UNSET"})()  # for "not given", where None means null

Handler = Callable[[Any, Any], Any]  # handler(event, context) -> anything JSON can say

TIMEOUT_LIMIT = 100_000_000  # seconds: three years, which all that counts time can count (AWS's limit is 900)


@dataclass(frozen=True)
class Function:
    """A Lambda function: its code and what AWS would call its configuration.

    ``handler`` is a callable, or an AWS Handler string (``"package.module.attribute"``) that is imported at the first
    invocation. ``timeout`` is in seconds (AWS's default, 3), ``memory_size`` in MiB (AWS's default, 128). Code that
    runs in the server's own process is not stopped at its timeout nor held to its memory size; it can see both in its
    context. ``code`` is the directory of the function's code, an absolute path; the function then runs in processes of
    its own, under ``runtime`` (``"python3.12"``, ``"nodejs20.x"``, ``"provided.al2023"``, ``"go1.x"``), with the
    variables of ``environment``, and over the unpacked ``layers``, directories that stand for ``/opt``: their
    ``python`` is on PYTHONPATH, ``nodejs/node_modules`` on NODE_PATH, ``bin`` on PATH.
    ``errors`` are the exceptions the function documents, classes or instances, for mock mode to raise; ``mock`` is the
    value mock mode answers with, or a callable without parameters that makes one. ``source`` is the handler as given,
    also after a wrapper has put another in its place. ``handler_string`` is by which name a process of its own imports
    a callable; empty, that is where the callable was defined. ``event_config`` says how its events are retried.
    ``is_mocked`` is True if ``handler`` only imitates ``source``, as in mock mode: it then runs in the server's own
    process and needs neither ``code`` nor ``environment``.

    Raises `ConfigurationError` for values no function can have.

    >>> Function(print, name="hello").timeout
    3.0
    """

    handler: Handler | str
    name: str = ""
    version: str = LATEST
    timeout: float = 3.0
    memory_size: int = 128
    description: str = ""
    code: str | None = None
    runtime: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: Sequence[str] = ()
    errors: Sequence[BaseException | type[BaseException]] = ()
    mock: Any = UNSET
    source: Any = UNSET
    event_config: EventConfig | None = None
    handler_string: str = ""
    is_mocked: bool = False

    def __post_init__(self) -> None:
        if not callable(self.handler) and not isinstance(self.handler, str):
            self._refuse("handler", self.handler, "a callable or a Handler string such as 'module.function'")
        if not _is_number(self.timeout) or not 0 < self.timeout <= TIMEOUT_LIMIT:
            self._refuse("timeout", self.timeout, f"a number of seconds above 0, at most {TIMEOUT_LIMIT:,}")
        if not _is_number(self.memory_size) or not self.memory_size >= 1 or self.memory_size % 1:
            self._refuse("memory_size", self.memory_size, "a whole number of MiB, 1 or more")
        if not re.fullmatch(r"\$LATEST|[a-zA-Z0-9-_]{1,128}", self.version):
            self._refuse("version", self.version, "$LATEST, or letters, digits, '-' and '_'")
        if self.code is not None and not os.path.isabs(self.code):
            self._refuse("code", self.code, "the absolute path of a directory, or None")
        self._check_environment()
        for error in self.errors:
            if not isinstance(error, BaseException) and not (
                isinstance(error, type) and issubclass(error, BaseException)
            ):
                self._refuse("errors", error, "a list of exceptions, classes or instances")
        if self.source is UNSET:
            object.__setattr__(self, "source", self.handler)
        elif self.source is not self.handler:  # a wrapper's handler; the string names the source, which must not run
            object.__setattr__(self, "handler_string", "")

    def _check_environment(self) -> None:
        for name, value in self.environment.items():
            if name in RESERVED_VARIABLES:
                self._refuse("environment", name, "without the names that Lambda keeps for itself")
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or not is_valid_value(value):
                self._refuse("environment", name, "names of letters, digits and '_', with values that are text")

    def _refuse(self, what: str, value: object, rule: str) -> NoReturn:
        raise ConfigurationError(f"function {self.name or self.handler!r}: {what}={value!r} must be {rule}")

    @classmethod
    def of(cls, handler: FunctionLike, name: str, version: str = LATEST) -> Function:
        """``handler`` as a `Function` of this name and version, whether it is one already or a plain callable."""
        if isinstance(handler, Function):
            return replace(handler, name=name, version=version)
        return cls(handler, name=name, version=version)


FunctionLike = Function | Handler | str


def as_function(found: FunctionLike, name: str) -> Function:
    """``found`` as a `Function`: as it is, or made of the plain handler that it is."""
    return found if isinstance(found, Function) else Function(found, name=name)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Invocation:
    """One attempt to run a function: who is called, with what, and how the caller wants it.

    Frozen by custom, not by machinery: it is made on every request (a frozen dataclass costs 1 µs, slots 0.2).
    """

    __slots__ = ("_event", "client_context", "function_name", "payload", "principal", "request_id", "tail", "trace_id")

    def __init__(
        self,
        function_name: FunctionName,
        payload: bytes,
        request_id: str,
        *,
        client_context: dict[str, Any] | None = None,
        trace_id: str = "",
        tail: bool = False,
        principal: str | None = None,
    ) -> None:
        self.function_name = function_name
        self.payload = payload  # JSON text as it came; empty means {}
        self.request_id = request_id
        self.client_context = client_context  # as decoded from its header; None without one, and for events
        self.trace_id = trace_id  # an X-Amzn-Trace-Id, or empty
        self.tail = tail  # whether the caller asked for the end of the log
        self.principal = principal  # the name of who called, None where nobody asked who it is
        self._event: Any = UNSET

    @property
    def event(self) -> Any:
        """The payload, parsed at the first look; one attempt's handler may change it.

        Raises `InvalidRequestContentException` for what is no JSON.
        """
        if self._event is UNSET:
            self._event = parse_payload(self.payload)
        return self._event


class Outcome(NamedTuple):
    """What became of an invocation. A failed handler is an outcome too: ``function_error`` is then ``Unhandled``."""

    payload: bytes
    executed_version: str = LATEST
    function_error: str | None = None
    log: bytes = b""  # the end of the log, if asked for; at most 4,096 bytes
    duration: float = 0.0  # seconds
    content_type: str = "application/json"
    memory: int | None = None  # MiB: the most its environment had resident; None: it ran in the server's own process
    init_duration: float | None = None  # seconds that its environment took to start; None for one that was there
    status: str | None = None  # what REPORT says of an end that was not the function's own: ``timeout``, ``error``


class Fetcher(Protocol):
    """Answers *which*: finds functions by name. This is the interface to implement for functions from elsewhere."""

    def fetch(self, name: str, qualifier: str = LATEST) -> FunctionLike:
        """The function of this name, or a plain handler; ``qualifier`` is a version (``"$LATEST"``, ``"1"``) or alias.

        Called on every invocation, from several threads. Raises `NotFoundError` where there is none. May raise a
        `ServiceError`, whose message the caller gets: `ResourceConflictException` for a function that cannot run as it
        is, `InvalidRuntimeException` for one whose runtime cannot be had, `TooManyRequestsException` for one that may
        not run now, `ServiceException` where nobody can tell now whether there is one. Whatever else it raises is
        logged, and a `ServiceException` that says no more is answered. An event that was accepted before
        waits, and is tried again.
        """
        ...


def is_listable(fetcher: Fetcher) -> TypeGuard[ListableFetcher]:
    """Return whether ``fetcher`` has a method ``functions``.

    `isinstance` alone is not enough: it accepts an attribute of that name with a list or a mapping, and from Python
    3.12 it ignores a method that a wrapper passes on with ``__getattr__``.
    """
    return callable(getattr(fetcher, "functions", None))


@runtime_checkable
class ListableFetcher(Fetcher, Protocol):
    """A fetcher that can list its functions; see `is_listable`."""

    def functions(self) -> list[Function]:
        """Return every version of every function.

        Raises `ConfigurationError` if the functions cannot be listed.
        """
        ...


@runtime_checkable
class ReportingFetcher(Protocol):
    """A fetcher that reports to the operator which of its functions cannot run, and why."""

    def refused(self) -> dict[str, list[str]]:
        """Return the functions that exist and cannot run, by name, each with the lines that give the reasons."""
        ...

    def problems(self) -> list[str]:
        """Return one line for each reason, over all functions."""
        ...

    def notes(self) -> list[str]:
        """Return remarks about functions that do run."""
        ...


class Executor(Protocol):
    """Answers *how*: runs a function to its end.

    An executor may also be `Startable`, `Closable`, `ShutdownAware` and a `CheckingExecutor`.
    """

    def execute(self, function: Function, invocation: Invocation) -> Outcome:
        """Run ``function`` and return its outcome. A failure of the handler is an outcome too, never an exception.

        Raises `TooManyRequestsException` if the executor's limit is reached.
        """
        ...


@runtime_checkable
class CheckingExecutor(Protocol):
    """An executor that can refuse functions before their first call."""

    def check(self, functions: Iterable[Function]) -> None:
        """Raise `ConfigurationError`, with a line for each function that this executor would refuse to run."""
        ...


@runtime_checkable
class Startable(Protocol):
    """A part that opens resources in each process that uses it."""

    def start(self) -> None:
        """Open the resources. The application calls this once in a process, before the first use.

        Raises `ConfigurationError` if the resources cannot be opened because of the configuration.
        """
        ...


@runtime_checkable
class Closable(Protocol):
    """A part that holds resources."""

    def close(self) -> None:
        """End the running work as far as its time allows, and release the resources."""
        ...


@runtime_checkable
class ShutdownAware(Protocol):
    """A part that finishes its work before the server exits."""

    def watch_shutdown(self, seconds_left: Callable[[], float | None]) -> None:
        """Keep ``seconds_left``, and call it now and then from a thread of the part.

        ``seconds_left()`` returns None while the server runs, and after a stop the seconds in which the server still
        sends responses.
        """
        ...


Run = Callable[[Invocation, float], Outcome]  # (invocation, seconds since it was accepted)
Send = Callable[[str, bytes, str, str], str]  # (function, payload, trace id, dedupe) -> request id, as `put` gives it


class EventQueue(Protocol):
    """Answers *when*: keeps an invocation and has it run later."""

    def start(self, run: Run, send: Send) -> None:
        """Told once in a process, before the first `put`: ``run`` runs an event, ``send`` accepts one for a function.

        Raises `ConfigurationError` when what the queue keeps events in cannot be used.
        """
        ...

    def put(self, invocation: Invocation, config: EventConfig, dedupe: str = "") -> str:
        """Takes an event and returns its request id; what the queue promises holds from then on.

        ``config`` is stamped on the event. ``dedupe`` is the same for an accept that is tried again, and empty where
        nobody can tell: a queue that knows it already answers with the first request id.

        Raises `TooManyRequestsException` when there is no room, `ServiceException` when the promise cannot be made.
        """
        ...

    def close(self) -> None:
        """Takes no more, and lets what it has come to an end as far as its time allows."""
        ...


@runtime_checkable
class Checkable(Protocol):
    """A queue that can check its storage without opening it, for ``serverfull check``."""

    def check_place(self) -> None:
        """Raise `ConfigurationError` if the queue cannot keep events in its place: a directory, a file or a broker."""
        ...


@runtime_checkable
class EventLog(Protocol):
    """What a queue may offer beside: looking after its events. All raise `ServiceException` if they cannot be read.

    An event is a dictionary ready for JSON: ``requestId``, ``function``, ``state`` (``queued``, ``running``,
    ``succeeded`` or ``failed``), ``attempts``, times in ISO 8601, and more as `event` says.
    """

    def events(self, state: str = "", limit: int = 50, before: int | None = None) -> list[dict[str, Any]]:
        """The latest events first; ``before`` is the ``number`` of the last one seen, for the next page."""
        ...

    def event(self, request_id: str) -> dict[str, Any] | None:
        """Everything of one event, also its payload, result and records; None for one that is not known."""
        ...

    def redrive(self, request_id: str) -> bool:
        """Runs a failed event again, with all its attempts and its age anew; False if there is no such failed event."""
        ...
