"""The vocabulary: functions, invocations, outcomes, and the protocols of the parts that handle them.

    request ──▶ FunctionName ──▶ Fetcher ──▶ Function ─┐
           └──▶ Invocation ────────────────────────────┴──▶ Executor ──▶ Outcome      now
           └──▶ Invocation ───────────────────────────────▶ EventQueue                later

A request names a function. A `Fetcher` returns the `Function` (which). An `Executor` runs it and returns an `Outcome`
(how). It runs now, or an `EventQueue` keeps the `Invocation` for later (when).

Each of these protocols has the methods that every implementation needs. An ability that only some implementations have
is a protocol of its own, and the application tests for it with `isinstance`: `ListableFetcher`, `ReportingFetcher`,
`CheckingExecutor`, `Startable`, `Closable`, `ShutdownAware`, `Checkable`, `EventLog`.
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

UNSET: Any = type("Unset", (), {"__repr__": lambda self: "UNSET"})()  # "not given", for values that may be None

Handler = Callable[[Any, Any], Any]  # handler(event, context) -> any value that JSON can represent

TIMEOUT_LIMIT = 100_000_000  # seconds (3 years): the operating system's timers accept it; AWS's limit is 900
EVENT_STATES = ("queued", "running", "succeeded", "failed")


@dataclass(frozen=True)
class Function:
    """A Lambda function: its code and its configuration, as AWS calls them.

    Args:
        handler: a callable, or an AWS Handler string (``"package.module.attribute"``) that is imported at the first
            invocation.
        name: the function's name, without a qualifier.
        version: ``"$LATEST"`` or a published version.
        timeout: seconds. Code in the server's own process is not stopped at its timeout, but its context shows it.
        memory_size: MiB. Code in the server's own process may use more, but its context shows it.
        description: a text for operators.
        code: the absolute path of the code's directory. The function then runs in isolated processes.
        runtime: ``"python3.12"``, ``"nodejs20.x"``, ``"provided.al2023"``, ``"go1.x"`` and others; with ``code`` only.
        environment: environment variables by name; for isolated functions only.
        layers: directories that stand for ``/opt``. Their ``python`` is on PYTHONPATH, their ``nodejs/node_modules``
            on NODE_PATH, their ``bin`` on PATH.
        errors: the exceptions that the function documents, classes or instances. Mock mode raises them.
        mock: the result in mock mode: a value, or a callable without parameters that returns one.
        source: the handler before a wrapper replaced it; by default ``handler``.
        event_config: the retries and destinations of the function's events; None for the defaults.
        handler_string: the Handler string by which an isolated process imports a callable. If empty, the process
            imports it from the module that defines it.
        is_mocked: True if ``handler`` only imitates ``source``, as in mock mode. It then runs in the server's own
            process, and needs neither ``code`` nor ``environment``.

    Raises:
        ConfigurationError: for values that no function can have.

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

    def _refuse(self, field: str, value: object, rule: str) -> NoReturn:
        raise ConfigurationError(f"function {self.name or self.handler!r}: {field}={value!r} must be {rule}")

    @classmethod
    def of(cls, handler: FunctionLike, name: str, version: str = LATEST) -> Function:
        """Return ``handler``, a `Function` or a plain handler, as a `Function` of this name and version."""
        if isinstance(handler, Function):
            return replace(handler, name=name, version=version)
        return cls(handler, name=name, version=version)


FunctionLike = Function | Handler | str


def as_function(function: FunctionLike, name: str) -> Function:
    """Return a `Function` unchanged, and a plain handler as a `Function` of this name."""
    return function if isinstance(function, Function) else Function(function, name=name)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Invocation:
    """One attempt to run a function: the function's name, the event, and the caller's options.

    Treat it as frozen. Every request makes one: a frozen dataclass costs 1 µs, this class 0.2 µs.

    Args:
        function_name: the function as the caller addressed it.
        payload: JSON text as the caller sent it; empty means ``{}``.
        request_id: a UUID.
        client_context: the decoded client context; None if the caller sent none, and for events.
        trace_id: an X-Amzn-Trace-Id, or empty.
        tail: True if the response shall contain the end of the log.
        principal: the name of the authenticated caller; None without authentication.
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
        self.payload = payload
        self.request_id = request_id
        self.client_context = client_context
        self.trace_id = trace_id
        self.tail = tail
        self.principal = principal
        self._event: Any = UNSET

    @property
    def event(self) -> Any:
        """The payload as a value. It is parsed at the first access. A handler may change the value.

        Raises `InvalidRequestContentException` if the payload is not valid JSON.
        """
        if self._event is UNSET:
            self._event = parse_payload(self.payload)
        return self._event


class Outcome(NamedTuple):
    """The result of an invocation. A failure of the handler is an outcome too, with a ``function_error``."""

    payload: bytes  # JSON text, or the bytes that the function's runtime sent
    executed_version: str = LATEST
    function_error: str | None = None  # "Unhandled" if the handler failed
    log: bytes = b""  # the end of the log if the caller requested it; at most 4,096 bytes
    duration: float = 0.0  # seconds
    content_type: str = "application/json"
    memory: int | None = None  # MiB, the environment's peak of resident memory; None in the server's own process
    init_duration: float | None = None  # seconds for the environment's start; None if it was running already
    status: str | None = None  # the Status in REPORT if the server ended the invocation: "timeout" or "error"


class Fetcher(Protocol):
    """Finds functions by name (which). Implement this protocol to serve functions from another place.

    A fetcher may also be a `ListableFetcher` and a `ReportingFetcher`.
    """

    def fetch(self, name: str, qualifier: str = LATEST) -> FunctionLike:
        """Return the function of this name, or a plain handler.

        ``qualifier`` is a version (``"$LATEST"``, ``"1"``) or an alias. Every invocation calls this method, from
        several threads.

        Raises:
            NotFoundError: if there is no such function.
            ResourceConflictException: if the function cannot run in its present state.
            InvalidRuntimeException: if the function's runtime is unknown or not installed.
            TooManyRequestsException: if the function may not run now.
            ServiceException: if the fetcher cannot find out now whether the function exists.

        The caller receives the message of a `ServiceError`. Any other exception is logged, and the caller receives a
        `ServiceException` without details. An event that was accepted before waits and is retried.
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
    """Runs functions (how).

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

        If this raises, it leaves nothing open, and the application calls it again with the next request.

        Raises `ConfigurationError` if the configuration does not allow it.
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
Send = Callable[[str, bytes, str, str], str]  # (function, payload, trace id, dedupe) -> request id, as `put` returns it


class EventQueue(Protocol):
    """Keeps invocations and runs them later (when).

    A queue may also be `Closable`, `Checkable` and an `EventLog`. ``close()`` of a queue refuses new events, and lets
    accepted events end as far as the queue's time allows.
    """

    def start(self, run: Run, send: Send) -> None:
        """Open the queue. The application calls this once in a process, before the first `put`.

        ``run`` runs an event. ``send`` accepts an event for a function, as a destination needs it. If this raises, it
        leaves nothing open, and the application calls it again with the next request.

        Raises `ConfigurationError` if the place in which the queue keeps events cannot be used.
        """
        ...

    def put(self, invocation: Invocation, config: EventConfig, dedupe: str = "") -> str:
        """Accept an event and return its request id. The queue's promise to run the event holds from now on.

        Args:
            invocation: the event.
            config: its retries, maximum age and destinations, fixed now.
            dedupe: equal for repeated attempts to send one event, empty if the caller gave no id of its own. A queue
                that has the event already returns the first request id.

        Raises:
            TooManyRequestsException: if the queue is full.
            ServiceException: if the queue cannot make its promise.
        """
        ...


@runtime_checkable
class Checkable(Protocol):
    """A queue that can check its storage without opening it, for ``serverfull check``."""

    def check_place(self) -> None:
        """Raise `ConfigurationError` if the queue cannot keep events in its place: a directory, a file or a broker."""
        ...


@runtime_checkable
class StorageAdvisor(Protocol):
    """A queue that can find weaknesses of its storage without opening it, for ``serverfull check``."""

    def storage_warnings(self) -> list[str]:
        """Return a line for each weakness, with its cure. A queue with weaknesses works."""
        ...


@runtime_checkable
class Backlog(Protocol):
    """A queue that reports how long its events wait, for the health check."""

    def oldest_due_age(self) -> float:
        """Return the seconds for which the oldest due event has waited; 0 if no event is due.

        Raises `ServiceException` if the queue cannot be read.
        """
        ...


@runtime_checkable
class EventLog(Protocol):
    """A queue that keeps a log of its events. All methods raise `ServiceException` if the log cannot be read.

    An event is a dictionary ready for JSON: ``requestId``, ``function``, ``state`` (one of `EVENT_STATES`),
    ``attempts``, times in ISO 8601, and in `event` more members.
    """

    def events(self, state: str = "", limit: int = 50, before: int | None = None) -> list[dict[str, Any]]:
        """Return up to ``limit`` events, the latest first.

        ``state`` selects one state, empty all. ``before`` is the ``number`` of the last event on the page before.
        """
        ...

    def event(self, request_id: str) -> dict[str, Any] | None:
        """Return one event with its payload, result and records, or None if the log does not have it."""
        ...

    def redrive(self, request_id: str) -> bool:
        """Run a failed event again, with all its attempts and a new age. Return False if no such event has failed."""
        ...
