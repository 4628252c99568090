"""Where *which*, *how* and *when* meet. Every door asks the dispatcher, and none asks its parts."""

from __future__ import annotations

import logging
from hashlib import blake2b
from uuid import uuid4

from serverfull_wsgi.domain import (
    EventQueue,
    Executor,
    Fetcher,
    Function,
    Invocation,
    Outcome,
    as_function,
)
from serverfull_wsgi.errors import (
    AccessDeniedException,
    NotFoundError,
    ResourceNotFoundException,
    TooManyRequestsException,
)
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.events.lineage import extended
from serverfull_wsgi.names import LATEST, FunctionName, partition_of
from serverfull_wsgi.telemetry.logs import log_report
from serverfull_wsgi.telemetry.metrics import Metrics
from serverfull_wsgi.telemetry.scope import LOGGER

NO_CONFIG = EventConfig()


class Dispatcher:
    """Finds the function an invocation names and has it run, now or later.

    ``region`` and ``account_id`` are the server's own; names that leave them out mean these.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        executor: Executor,
        queue: EventQueue,
        *,
        region: str,
        account_id: str,
        logger: logging.Logger = LOGGER,
        metrics: Metrics | None = None,
    ) -> None:
        self.fetcher = fetcher
        self._executor = executor
        self._queue = queue
        self._region = region
        self._account_id = account_id
        self._logger = logger
        self._metrics = metrics

    def name(self, text: str, qualifier: str | None = None) -> FunctionName:
        """``text`` and ``qualifier`` as given by a caller. Raises as `FunctionName.parse`."""
        return FunctionName.parse(text, qualifier, region=self._region, account_id=self._account_id)

    def check(self, invocation: Invocation) -> Function:
        """The function, if this invocation may run: its dry run.

        Raises `ResourceNotFoundException`, `AccessDeniedException` or, for a payload that is no JSON,
        `InvalidRequestContentException`.
        """
        function = self.resolve(invocation.function_name, invocation.principal)
        invocation.event  # noqa: B018  (raises for what is no JSON; parsed once, for whoever runs it)
        return function

    def resolve(self, name: FunctionName, principal: str | None = None) -> Function:
        """The function of this name, if it exists in this region and account; a refusal names who asked."""
        if name.region != self._region:
            raise ResourceNotFoundException(
                f"Functions from '{name.region}' are not reachable in this region ('{self._region}')"
            )
        if name.account_id != self._account_id:
            raise AccessDeniedException(
                f"User: {self._user(principal)} is not authorized to perform: lambda:InvokeFunction on resource: "
                f"{name.arn} because it belongs to another account than this server's ({self._account_id})"
            )
        try:
            return as_function(self.fetcher.fetch(name.name, name.qualifier or LATEST), name.name)
        except NotFoundError:
            raise ResourceNotFoundException(f"Function not found: {name.qualified_arn}") from None

    def _user(self, principal: str | None) -> str:
        """Who asked, as AWS names users: those that are known here belong to this account."""
        if principal is None or principal.startswith("arn:"):
            return principal or "anonymous"
        return f"arn:{partition_of(self._region)}:iam::{self._account_id}:user/{principal}"

    def invoke(self, invocation: Invocation, age: float | None = None) -> Outcome:
        """Runs the function to its end; ``age`` is how many seconds ago an event was accepted, None for a call.

        Raises as `check` does, and `TooManyRequestsException`.
        """
        return self.run(self.check(invocation), invocation, age)

    def run(self, function: Function, invocation: Invocation, age: float | None = None) -> Outcome:
        """Runs a function that was checked, and tells of it: the REPORT line and the metrics."""
        concurrent = self._metrics.mark_started(invocation) if self._metrics else 0
        try:
            outcome = self._executor.execute(function, invocation)
        except TooManyRequestsException:
            self._count(function.name, "Throttles")
            raise
        finally:
            if self._metrics:
                self._metrics.mark_ended(invocation)
        self._tell(function, invocation, outcome, concurrent, age)
        return outcome

    def _tell(
        self, function: Function, invocation: Invocation, outcome: Outcome, concurrent: int, age: float | None
    ) -> None:
        log_report(
            self._logger,
            function.name,
            invocation.request_id,
            outcome.duration,
            function.memory_size,
            invocation.principal,
            memory=outcome.memory,
            init_duration=outcome.init_duration,
            status=outcome.status,
        )
        overran = outcome.duration > function.timeout
        if overran:
            self._logger.warning(
                "ran for %.2f s, over its timeout of %.2f s; nothing here stops code in the server's own process",
                outcome.duration,
                function.timeout,
                extra={"request_id": invocation.request_id, "function_name": function.name},
            )
        if self._metrics:
            failed = outcome.function_error is not None
            self._metrics.record_invocation(function.name, outcome.duration, failed, concurrent, age, overran)

    def accept(self, invocation: Invocation, attempt_of: str = "") -> str:
        """Takes an invocation to run later and returns its request id, the first one for an accept tried again.

        ``attempt_of`` is the caller's own id of what it tries, ``amz-sdk-invocation-id``; empty where it has none.
        Raises as `check`, and as `EventQueue.put`.
        """
        return self._accept(invocation, _fingerprint(invocation, attempt_of) if attempt_of else "")

    def send(self, target: str, payload: bytes, trace_id: str, dedupe: str) -> str:
        """Accepts an event that comes from within, as a destination's record does. Raises as `accept`, and `name`."""
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
    """The same for the same caller, function, payload and id of what is tried, and for nothing else."""
    digest = blake2b(invocation.payload, digest_size=16)
    for part in (invocation.principal or "", invocation.function_name.arn, attempt_of):
        digest.update(b"\0" + part.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
