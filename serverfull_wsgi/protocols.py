"""The protocols of the parts: the fetcher, the executor, the event queue, and their optional abilities.

    request ──▶ FunctionName ──▶ Fetcher ──▶ Function ─┐
           └──▶ Invocation ────────────────────────────┴──▶ Executor ──▶ Outcome      now
           └──▶ Invocation ───────────────────────────────▶ EventQueue                later

A request names a function. A `Fetcher` returns the `Function` (which). An `Executor` runs it and returns an `Outcome`
(how). It runs now, or an `EventQueue` keeps the `Invocation` for later (when).

Each of these protocols has the methods that every implementation needs. An ability that only some implementations have
is a protocol of its own, and the application tests for it with `isinstance`: `ListableFetcher`, `RoutingFetcher`,
`ReportingFetcher`, `CheckingExecutor`, `SandboxCheckable`, `PlaceSharing`,
`ProvisioningExecutor`, `Startable`, `Closable`, `ShutdownAware`, `Checkable`, `EventLog`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

from serverfull_wsgi.domain import Function, FunctionLike, Invocation, Outcome
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.names import LATEST

EVENT_STATES = ("queued", "running", "succeeded", "failed")


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
class RoutingFetcher(Fetcher, Protocol):
    """A fetcher whose aliases choose between versions by weight, for each request."""

    def fetch_for(self, name: str, qualifier: str, request_id: str) -> FunctionLike:
        """Return the function for one request: the same version in every attempt to run it. Raises as `fetch`."""
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

    An executor may also be `Startable`, `Closable`, `ShutdownAware`, `SandboxCheckable`, `PlaceSharing`, a
    `ProvisioningExecutor` and a `CheckingExecutor`.
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
class SandboxCheckable(Protocol):
    """An executor that can test the machine's means of isolation, for ``serverfull check``."""

    def check_sandbox(self, functions: Iterable[Function]) -> None:
        """Raise `ConfigurationError` if this machine cannot isolate one of ``functions`` as required.

        The test may start a process, and leaves none.
        """
        ...


@runtime_checkable
class IsolatingExecutor(Protocol):
    """An executor that runs functions in processes of their own."""

    def is_isolated(self, function: Function) -> bool:
        """Return whether ``function`` runs in a process of its own, and not in a thread of the caller's process."""
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


class SharedPlaces(Protocol):
    """Counted places that the processes of a machine share; see `storage.place_locks`."""

    def acquire(self, key: str, limit: int) -> Any | None:
        """Return a place, or None if ``limit`` places of the key are in use. Raises OSError."""
        ...

    def count(self, key: str) -> int:
        """Return the number of the key's places that are in use."""
        ...

    def release(self, place: Any) -> None:
        """Give a place back."""
        ...

    def descriptors(self) -> Sequence[int]:
        """Return the descriptors that a child process has to keep open, so that it keeps this process's places."""
        ...


@runtime_checkable
class PlaceSharing(Protocol):
    """An executor whose processes can outlive the server's process for a moment, and then still count."""

    def share_places(self, places: SharedPlaces) -> None:
        """Have the executor's processes keep the server's places until they have ended. Called before `start`."""
        ...


@runtime_checkable
class ProvisioningExecutor(Protocol):
    """An executor that can initialise environments before the first call."""

    def provision(self, functions: Sequence[Function], region: str, processes: int | None) -> None:
        """Keep environments of these functions initialised, after `start`. Called before `start`.

        Args:
            functions: those with a provisioned concurrency.
            region: the region that they see.
            processes: the number of processes that the server starts with; None if it is not known.

        Raises `ConfigurationError` if so many environments cannot run in so many processes.
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
