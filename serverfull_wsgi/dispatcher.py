"""The dispatcher joins fetcher, executor and queue. Every entry point calls it, and none calls its parts.

invoke ──▶ check ──▶ run ─────▶ Executor.execute ──▶ REPORT line, metrics ──▶ Outcome      now
                      └ in a place, if the function has a reserved concurrency
accept ──▶ check ──▶ EventQueue.put ──▶ request id                                         later: invoke
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from serverfull_wsgi.concurrency import ReservedConcurrency
from serverfull_wsgi.domain import Function, Invocation, Outcome, as_function
from serverfull_wsgi.errors import (
    AccessDeniedException,
    NotFoundError,
    ResourceNotFoundException,
    ServiceError,
    TooManyRequestsException,
)
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.events.lineage import extended
from serverfull_wsgi.names import LATEST, FunctionName, partition_of
from serverfull_wsgi.protocols import EventQueue, Executor, Fetcher, IsolatingExecutor, RoutingFetcher
from serverfull_wsgi.storage.place_locks import Place
from serverfull_wsgi.telemetry.report import log_report
from serverfull_wsgi.telemetry.scope import LOGGER

if TYPE_CHECKING:
    from serverfull_wsgi.telemetry.metrics import Metrics

NO_CONFIG = EventConfig()


class Dispatcher:
    """Finds the function that an invocation names, and runs it now or later.

    Args:
        fetcher: finds functions by name.
        executor: runs functions.
        queue: keeps events.
        region: the server's region, for names without one. Functions of other regions are refused.
        account_id: the server's account, for names without one. Functions of other accounts are refused.
        concurrency: limits the invocations of functions with a reserved concurrency.
        logger: receives a REPORT line for each invocation.
        metrics: receives counts and durations; None for no metrics.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        executor: Executor,
        queue: EventQueue,
        *,
        region: str,
        account_id: str,
        concurrency: ReservedConcurrency,
        logger: logging.Logger = LOGGER,
        metrics: Metrics | None = None,
    ) -> None:
        self.fetcher = fetcher
        self._fetch_for = fetcher.fetch_for if isinstance(fetcher, RoutingFetcher) else None
        self._executor = executor
        self._queue = queue
        self._region = region
        self._account_id = account_id
        self._concurrency = concurrency
        self.logger = logger
        self._metrics = metrics

    def name(self, text: str, qualifier: str | None = None) -> FunctionName:
        """Return the function that a caller's ``text`` and ``qualifier`` name. Raises as `FunctionName.parse`."""
        return FunctionName.parse(text, qualifier, region=self._region, account_id=self._account_id)

    def check(self, invocation: Invocation) -> Function:
        """Return the function if the invocation may run. A dry run ends here.

        Raises as `resolve`, and `InvalidRequestContentException` if the payload is not valid JSON.
        """
        function = self.resolve(invocation.function_name, invocation.principal, invocation.request_id)
        invocation.event  # noqa: B018  (parses the payload once, for the executor too)
        return function

    def resolve(self, name: FunctionName, principal: str | None = None, request_id: str = "") -> Function:
        """Return the function of this name.

        Args:
            name: the function as the caller addressed it.
            principal: the caller's name for the error message.
            request_id: decides between the versions of an alias with weights.

        Raises:
            ResourceNotFoundException: if there is no such function, or it belongs to another region.
            AccessDeniedException: if it belongs to another account.
        """
        if name.region != self._region or name.account_id != self._account_id:
            raise self._not_here(name, principal, "lambda:InvokeFunction")
        try:
            if self._fetch_for:
                return as_function(self._fetch_for(name.name, name.qualifier or LATEST, request_id), name.name)
            return as_function(self.fetcher.fetch(name.name, name.qualifier or LATEST), name.name)
        except NotFoundError:
            raise ResourceNotFoundException(f"Function not found: {name.qualified_arn}") from None

    def require_here(self, name: FunctionName, principal: str | None, permission: str) -> None:
        """Raise as `resolve` for a function of another region or account.

        ``permission`` is AWS's name of the operation, such as ``lambda:GetFunction``.
        """
        if name.region != self._region or name.account_id != self._account_id:
            raise self._not_here(name, principal, permission)

    def _not_here(self, name: FunctionName, principal: str | None, permission: str) -> ServiceError:
        """Return the error for a function of another region or account."""
        if name.region != self._region:
            return ResourceNotFoundException(
                f"Functions from '{name.region}' are not reachable in this region ('{self._region}')"
            )
        return AccessDeniedException(
            f"User: {self._user_arn(principal)} is not authorized to perform: {permission} on resource: "
            f"{name.arn} because it belongs to another account than this server's ({self._account_id})"
        )

    def _user_arn(self, principal: str | None) -> str:
        """Return the caller's ARN, as AWS's messages have it. An authenticated caller belongs to this account."""
        if principal is None or principal.startswith("arn:"):
            return principal or "anonymous"
        return f"arn:{partition_of(self._region)}:iam::{self._account_id}:user/{principal}"

    def is_isolated(self, function: Function) -> bool:
        """Return whether ``function`` runs in a process of its own."""
        return isinstance(self._executor, IsolatingExecutor) and self._executor.is_isolated(function)

    def invoke(self, invocation: Invocation, age: float | None = None) -> Outcome:
        """Find the function and run it to its end.

        ``age`` is the seconds since an event was accepted; None for a synchronous call. Raises as `check`, and as
        `Executor.execute`.
        """
        return self.run(self.check(invocation), invocation, age)

    def run(self, function: Function, invocation: Invocation, age: float | None = None) -> Outcome:
        """Run a function that `check` returned, log its REPORT line and count it.

        ``age`` is the seconds since an event was accepted; None for a synchronous call. Raises as `Executor.execute`,
        and as `ReservedConcurrency.acquire`.
        """
        place = None if function.reserved is None else self._acquire_place(function)
        concurrent = self._metrics.mark_started(invocation) if self._metrics else 0
        try:
            outcome = self._executor.execute(function, invocation)
        except TooManyRequestsException:
            self._count(function.name, "Throttles")
            raise
        finally:
            if self._metrics:
                self._metrics.mark_ended(invocation)
            if place is not None:
                self._concurrency.release(place)
        log_report(self.logger, function, invocation, outcome)
        if overran := outcome.duration > function.timeout:
            self._warn_of_overrun(function, invocation, outcome)
        if self._metrics:
            failed = outcome.function_error is not None
            self._metrics.record_invocation(function.name, outcome.duration, failed, concurrent, age, overran)
            if outcome.provisioned is not None:
                self._metrics.record_provisioned(function.name, *outcome.provisioned)
        return outcome

    def _acquire_place(self, function: Function) -> Place:
        try:
            return self._concurrency.acquire(function)
        except TooManyRequestsException:
            self._count(function.name, "Throttles")
            raise

    def _warn_of_overrun(self, function: Function, invocation: Invocation, outcome: Outcome) -> None:
        self.logger.warning(
            "ran for %.2f s, over its timeout of %.2f s; code in the server's own process is not stopped",
            outcome.duration,
            function.timeout,
            extra={"request_id": invocation.request_id, "function_name": function.name},
        )

    def accept(self, invocation: Invocation, attempt_of: str = "") -> str:
        """Accept an event and return its request id. A repeated attempt returns the first request id.

        ``attempt_of`` is the caller's id of the event, ``amz-sdk-invocation-id``, equal in all attempts to send it; it
        is empty if the caller sent none. Raises as `check`, and as `EventQueue.put`.
        """
        return self._accept(invocation, _fingerprint(invocation, attempt_of) if attempt_of else "")

    def send(self, target: str, payload: bytes, trace_id: str, dedupe: str) -> str:
        """Accept an event from a destination of another event. Raises as `accept`, and as `name`."""
        from uuid import uuid4

        return self._accept(Invocation(self.name(target), payload, str(uuid4()), trace_id=trace_id), dedupe)

    def _accept(self, invocation: Invocation, dedupe: str) -> str:
        function = self.check(invocation)
        invocation.trace_id = extended(invocation.trace_id, invocation.function_name.lineage)
        try:
            request_id = self._queue.put(invocation, function.event_config or NO_CONFIG, dedupe)
        except TooManyRequestsException:
            self._count(function.name, "Throttles")
            raise
        if request_id == invocation.request_id:
            self._count(function.name, "AsyncEventsReceived")
        return request_id

    def _count(self, function_name: str, metric: str) -> None:
        if self._metrics:
            self._metrics.count(function_name, metric)


def _fingerprint(invocation: Invocation, attempt_of: str) -> str:
    """Return a digest that is equal only for equal callers, functions, payloads and ids of the event."""
    from hashlib import blake2b  # imports OpenSSL, and most servers accept no events

    digest = blake2b(invocation.payload, digest_size=16)
    for part in (invocation.principal or "", invocation.function_name.arn, attempt_of):
        digest.update(b"\0" + part.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
