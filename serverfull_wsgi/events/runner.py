"""One run of an event, and the decision that follows it, for every queue that retries."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from serverfull_wsgi.domain import Invocation, Outcome
from serverfull_wsgi.errors import ServiceError, TooManyRequestsException, ZeroReservedConcurrency
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.events import retry_policy
from serverfull_wsgi.events.lineage import hops
from serverfull_wsgi.events.records import (
    ERROR_LENGTH,
    DestinationRecord,
    EndedEvent,
    destination_records,
    error_text,
    function_name,
)
from serverfull_wsgi.events.retry_policy import Counts, Delays, Failure, Limits
from serverfull_wsgi.names import FunctionName
from serverfull_wsgi.protocols import Run
from serverfull_wsgi.server_exits import raised_by_server

if TYPE_CHECKING:
    from serverfull_wsgi.telemetry.metrics import Metrics

CANNOT_RUN = "event %s could not run and will be retried: %s"


class AcceptedEvent(Protocol):
    """An event as a queue keeps it: the fields that a run needs."""

    @property
    def request_id(self) -> str: ...
    @property
    def function(self) -> str:
        """The function's ARN, as the caller addressed it."""
        ...

    @property
    def payload(self) -> bytes: ...
    @property
    def trace_id(self) -> str: ...
    @property
    def config(self) -> EventConfig: ...
    @property
    def counts(self) -> Counts: ...


class Retry(NamedTuple):
    """The decision to run an event again after ``delay`` seconds."""

    counts: Counts
    delay: float
    error: str


class Final(NamedTuple):
    """The end of an event, and the records to deliver."""

    state: str  # succeeded or failed
    condition: str
    counts: Counts
    error: str = ""
    result: bytes | None = None
    records: tuple[DestinationRecord, ...] = ()


class EventRunner:
    """Run events, each once, and decide by the retry rules whether to run them again.

    Args:
        run: runs one invocation, as `Dispatcher.invoke` does.
        delays: seconds between runs.
        logger: gets a line for each event that could not run or ended without success.
        metrics: counts events that ended without success; None for no metrics.
    """

    def __init__(self, run: Run, delays: Delays, logger: logging.Logger, metrics: Metrics | None) -> None:
        self._run, self._delays, self._logger, self._metrics = run, delays, logger, metrics

    def run(self, event: AcceptedEvent, age: Callable[[], float], principal: str | None = None) -> Retry | Final:
        """Run ``event`` once, unless it is too old or has failed too often, and return the decision.

        ``age()`` returns the seconds since the event was accepted. Errors of the function and of its fetcher become
        part of the decision. An exit that the server raised, such as its shutdown, is raised again. An event that
        cannot be read, since a later version wrote it, is retried like a throttled one.
        """
        try:
            return self._decide(event, age, principal)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"[:ERROR_LENGTH]
            self._logger.error(CANNOT_RUN, event.request_id, text, extra={"request_id": event.request_id})
            counts = _Result(Failure.THROTTLE, None).counts_after(event.counts)
            return Retry(counts, retry_policy.throttle_delay(counts.throttles, self._delays), text)

    def _decide(self, event: AcceptedEvent, age: Callable[[], float], principal: str | None) -> Retry | Final:
        name, limits = function_name(event.function), Limits.of(event.config)
        earlier_calls = hops(event.trace_id, name.lineage)
        if condition := retry_policy.terminal_condition(event.counts, age(), earlier_calls, limits):
            return self._end(event, name, condition, event.counts, None)
        invocation = Invocation(name, event.payload, event.request_id, trace_id=event.trace_id, principal=principal)
        result = self._invoke(invocation, age())
        counts = result.counts_after(event.counts)
        if result.failure is None:
            return self._end(event, name, retry_policy.SUCCESS, counts, result.outcome)
        step = retry_policy.next_step(result.failure, counts, age(), limits, self._delays)
        if step.condition:
            return self._end(event, name, step.condition, counts, result.outcome, result.error)
        return Retry(counts, step.delay, result.error)

    def _invoke(self, invocation: Invocation, age: float) -> _Result:
        try:
            outcome = self._run(invocation, age)
        except ZeroReservedConcurrency as error:
            return _Result(Failure.ZERO_CONCURRENCY, None, str(error))
        except TooManyRequestsException as error:
            return _Result(Failure.THROTTLE, None, str(error))
        except BaseException as error:  # the function was removed, or its fetcher raised, possibly a SystemExit
            if raised_by_server(error):
                raise
            fields = _log_fields(invocation.request_id, invocation.function_name)
            self._logger.error(CANNOT_RUN, invocation.request_id, error, extra=fields)
            return _Result(Failure.THROTTLE, None, f"{type(error).__name__}: {error}"[:ERROR_LENGTH])
        if outcome.function_error is None:
            return _Result(None, outcome)
        return _Result(Failure.FUNCTION_ERROR, outcome, error_text(outcome))

    def _end(
        self,
        event: AcceptedEvent,
        name: FunctionName,
        condition: str,
        counts: Counts,
        outcome: Outcome | None,
        error: str = "",
    ) -> Final:
        invoke_count = counts.attempts + counts.lost
        ended = EndedEvent(event.request_id, name, event.payload, condition, invoke_count, time.time(), outcome)
        records = tuple(
            record
            for record in destination_records(ended, event.config)
            if not _would_loop(record.target, event.trace_id, name)
        )
        result = outcome.payload if outcome else None
        if condition == retry_policy.SUCCESS:
            return Final("succeeded", condition, counts, error, result, records)
        self._report_failure(event.request_id, name, condition)
        return Final("failed", condition, counts, error, result, records)

    def _report_failure(self, request_id: str, name: FunctionName, condition: str) -> None:
        self._logger.error(
            "event %s failed and will not be retried: %s", request_id, condition, extra=_log_fields(request_id, name)
        )
        self._count(name.name, "AsyncEventsDropped")
        if condition == retry_policy.LOOP:
            self._count(name.name, "RecursiveInvocationsDropped")

    def _count(self, function: str, metric: str) -> None:
        if self._metrics:
            self._metrics.count(function, metric)


class _Result(NamedTuple):
    """The result of one run; ``failure`` is None for a success."""

    failure: Failure | None
    outcome: Outcome | None
    error: str = ""

    def counts_after(self, counts: Counts) -> Counts:
        attempts = int(self.failure in (None, Failure.FUNCTION_ERROR))
        throttles = int(self.failure is Failure.THROTTLE)
        return Counts(counts.attempts + attempts, counts.throttles + throttles, counts.lost)


def _would_loop(target: str, trace_id: str, name: FunctionName) -> bool:
    """Return True if a record's target is a function that this chain has called too often already."""
    if target.startswith(("http://", "https://")):
        return False
    try:
        function = FunctionName.parse(target, region=name.region, account_id=name.account_id)
    except ServiceError:  # the ARN of a queue, a topic or a bus
        return False
    return hops(trace_id, function.lineage) >= retry_policy.MAX_HOPS


def _log_fields(request_id: str, name: FunctionName) -> dict[str, str]:
    return {"request_id": request_id, "function_name": name.name}
