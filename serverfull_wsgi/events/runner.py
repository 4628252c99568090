"""One try of an event: whether it may run, its run, and what follows by the rules; for every queue that retries."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from serverfull_wsgi.domain import Invocation, Outcome, Run
from serverfull_wsgi.errors import ServiceError, TooManyRequestsException, ZeroReservedConcurrency
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.events import retry_policy
from serverfull_wsgi.events.destinations import Ended, Record, error_message, records
from serverfull_wsgi.events.lineage import hops
from serverfull_wsgi.events.retry_policy import Counts, Delays, Limits
from serverfull_wsgi.names import FunctionName
from serverfull_wsgi.server_exits import raised_by_server
from serverfull_wsgi.telemetry.metrics import Metrics


class Accepted(Protocol):
    """What a try has to know of an event, however its queue keeps it."""

    @property
    def request_id(self) -> str: ...
    @property
    def function(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def trace_id(self) -> str: ...
    @property
    def config(self) -> EventConfig: ...
    @property
    def counts(self) -> Counts: ...


class Rest(NamedTuple):
    """An event is to be tried again after ``delay`` seconds."""

    counts: Counts
    delay: float
    error: str


class Final(NamedTuple):
    """What became of an event in the end, and the records to deliver."""

    state: str
    condition: str
    counts: Counts
    error: str = ""
    result: bytes | None = None
    records: tuple[Record, ...] = ()


class EventRunner:
    """EventRunner events; ``run`` is what runs one."""

    def __init__(self, run: Run, delays: Delays, logger: logging.Logger, metrics: Metrics | None) -> None:
        self._run, self._delays, self._logger, self._metrics = run, delays, logger, metrics

    def __call__(self, event: Accepted, age: Callable[[], float], principal: str | None = None) -> Rest | Final:
        """What came of one try; ``age`` says how many seconds ago the event was accepted."""
        name, limits = named(event.function), Limits.of(event.config)
        if condition := retry_policy.before(event.counts, age(), hops(event.trace_id, name.lineage), limits):
            return self._ending(event, name, condition, event.counts, None)
        invocation = Invocation(name, event.payload, event.request_id, trace_id=event.trace_id, principal=principal)
        tried = self._try(invocation, age())
        counts = tried.added_to(event.counts)
        if not tried.failure:
            return self._ending(event, name, retry_policy.SUCCESS, counts, tried.outcome)
        step = retry_policy.after(tried.failure, counts, age(), limits, self._delays)
        if step.condition:
            return self._ending(event, name, step.condition, counts, tried.outcome, tried.error)
        return Rest(counts, step.delay, tried.error)

    def _try(self, invocation: Invocation, age: float) -> _Tried:
        try:
            outcome = self._run(invocation, age)
        except ZeroReservedConcurrency as error:
            return _Tried(retry_policy.NEVER, None, str(error))
        except TooManyRequestsException as error:
            return _Tried(retry_policy.THROTTLED, None, str(error))
        except BaseException as error:  # the function has gone since, or its fetcher fails, or leaves by an exit
            if raised_by_server(error):
                raise
            fields = _fields(invocation.request_id, invocation.function_name)
            self._logger.error("an event could not be run: %s", error, extra=fields)
            return _Tried(retry_policy.THROTTLED, None, f"{type(error).__name__}: {error}"[:1024])
        if outcome.function_error is None:
            return _Tried("", outcome)
        return _Tried(retry_policy.ATTEMPT_FAILED, outcome, error_message(outcome))

    def _ending(
        self,
        event: Accepted,
        name: FunctionName,
        condition: str,
        counts: Counts,
        outcome: Outcome | None,
        error: str = "",
    ) -> Final:
        count = counts.attempts + counts.lost
        ended = Ended(event.request_id, name, event.payload, condition, count, time.time(), outcome)
        told = tuple(one for one in records(ended, event.config) if not _goes_round(one[1], event.trace_id, name))
        result = outcome.payload if outcome else None
        if condition == retry_policy.SUCCESS:
            return Final("succeeded", condition, counts, error, result, told)
        self._gave_up(event.request_id, name, condition)
        return Final("failed", condition, counts, error, result, told)

    def _gave_up(self, request_id: str, name: FunctionName, condition: str) -> None:
        self._logger.error("an event was given up: %s", condition, extra=_fields(request_id, name))
        self._count(name.name, "AsyncEventsDropped")
        if condition == retry_policy.LOOP:
            self._count(name.name, "RecursiveInvocationsDropped")

    def _count(self, function: str, metric: str) -> None:
        if self._metrics:
            self._metrics.count(function, metric)


class _Tried(NamedTuple):
    """What a try came to; ``failure`` is empty for a success."""

    failure: str
    outcome: Outcome | None
    error: str = ""

    def added_to(self, counts: Counts) -> Counts:
        attempts = int(self.failure in ("", retry_policy.ATTEMPT_FAILED))
        throttles = int(self.failure == retry_policy.THROTTLED)
        return Counts(counts.attempts + attempts, counts.throttles + throttles, counts.lost)


def named(arn: str) -> FunctionName:
    """The function of an event, whose ARN has its own region and account."""
    return FunctionName.parse(arn, region="us-east-1", account_id="0" * 12)


def _goes_round(target: str, trace_id: str, name: FunctionName) -> bool:
    """Whether a record's target is a function that this chain has come through too often to be called again."""
    if target.startswith(("http://", "https://")):
        return False
    try:
        function = FunctionName.parse(target, region=name.region, account_id=name.account_id)
    except ServiceError:  # an ARN of something else
        return False
    return hops(trace_id, function.lineage) >= retry_policy.MOST_HOPS


def _fields(request_id: str, name: FunctionName) -> dict[str, str]:
    return {"request_id": request_id, "function_name": name.name}
