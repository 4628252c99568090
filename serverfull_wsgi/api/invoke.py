"""The operations Invoke and InvokeAsync: HTTP to `Invocation`, `Outcome` to HTTP."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.auth.authorize import authorize
from serverfull_wsgi.auth.principal import EVENT as EVENT_ACTION
from serverfull_wsgi.auth.principal import INVOKE as INVOKE_ACTION
from serverfull_wsgi.dispatcher import Dispatcher
from serverfull_wsgi.domain import Invocation, Outcome
from serverfull_wsgi.errors import (
    InvalidParameterValueException,
    InvalidRequestContentException,
    RequestEntityTooLargeException,
    ServiceError,
    ValidationException,
    violation,
)
from serverfull_wsgi.names import FunctionName, name_violations, qualifier_violations
from serverfull_wsgi.payloads import parse_payload
from serverfull_wsgi.wsgi.ids import new_request_id, trace_id
from serverfull_wsgi.wsgi.requests import (
    PAYLOAD_LIMIT,
    REQUEST_ID,
    ROUTING_ARGS,
    TooLarge,
    first_value,
    read_body,
)
from serverfull_wsgi.wsgi.responses import NO_BODY, in_one_packet, refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

REQUEST_RESPONSE, EVENT, DRY_RUN = "RequestResponse", "Event", "DryRun"
INVOCATION_TYPES = (EVENT, REQUEST_RESPONSE, DRY_RUN)
LOG_TYPES = ("None", "Tail")
MOCK_ERROR = "Error"  # not AWS's: in mock mode the function raises one of its documented errors

# AWS's limits, in bytes
EVENT_LIMIT = 1_048_576  # of an event, since late 2025
INVOKE_ASYNC_LIMIT = 262_144  # of an event through InvokeAsync
CLIENT_CONTEXT_LIMIT = 3_583  # of a client context in base64

CLIENT_CONTEXT_DEPTH = 100  # nested objects and lists: far below the about 1,000 at which json.dumps fails

_SUCCESS_HEADERS = [("x-amzn-Remapped-Content-Length", "0")]


class Invoke:
    """``POST /2015-03-31/functions/{FunctionName}/invocations``: run a function now, or accept an event.

    This is a WSGI application. It reads the function's name, percent-decoded, from
    ``environ["wsgiorg.routing_args"][1]["FunctionName"]``, so any router that sets this key can serve it.

    Args:
        dispatcher: finds and runs the function.
        mock: True to accept the invocation type ``Error``.
    """

    def __init__(self, dispatcher: Dispatcher, *, mock: bool = False) -> None:
        self._dispatcher = dispatcher
        self._mock = mock
        self._parse_name = lru_cache(maxsize=1024)(self._parse)  # parsing costs 6 µs, and clients use few names

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request_id = environ.get(REQUEST_ID) or new_request_id()
        try:
            return self.respond(environ, start_response, environ[ROUTING_ARGS][1]["FunctionName"], request_id)
        except ServiceError as error:
            return refuse(error, request_id, environ, start_response, self._dispatcher.logger)

    def respond(
        self, environ: WSGIEnvironment, start_response: StartResponse, name: str, request_id: str
    ) -> Iterable[bytes]:
        """Respond to a request for the function ``name``, percent-decoded. The caller renders a `ServiceError`."""
        kind = environ.get("HTTP_X_AMZ_INVOCATION_TYPE") or REQUEST_RESPONSE
        log_type = environ.get("HTTP_X_AMZ_LOG_TYPE") or "None"
        try:
            payload = read_body(environ, EVENT_LIMIT if kind == EVENT else PAYLOAD_LIMIT)
        except TooLarge as error:
            raise _too_large(kind, error.size) from None
        if kind not in (REQUEST_RESPONSE, EVENT, DRY_RUN, MOCK_ERROR) or log_type not in LOG_TYPES:
            raise self._validation_error(name, environ.get("QUERY_STRING", ""), kind, log_type)
        function_name = self._parse_name(name, environ.get("QUERY_STRING", ""))
        principal = authorize(environ, EVENT_ACTION if kind == EVENT else INVOKE_ACTION, function_name)
        trace = trace_id(environ.get("HTTP_X_AMZN_TRACE_ID"))
        tail = log_type == "Tail" and kind != EVENT
        invocation = Invocation(function_name, payload, request_id, trace, tail, principal)
        if kind == EVENT:
            accepted_id = self._dispatcher.accept(invocation, environ.get("HTTP_AMZ_SDK_INVOCATION_ID", ""))
            return _send_accepted(accepted_id, invocation, start_response)
        if context := environ.get("HTTP_X_AMZ_CLIENT_CONTEXT"):
            invocation.client_context = _client_context(context)
        if kind == DRY_RUN:
            self._dispatcher.check(invocation)
            start_response("204 No Content", [("x-amzn-RequestId", request_id)])
            return NO_BODY
        if kind == MOCK_ERROR:
            outcome = self._mock_error(invocation, environ.get("HTTP_X_ERROR_TYPE", ""))
        else:
            outcome = self._dispatcher.invoke(invocation)
        return _send_outcome(outcome, invocation, environ, start_response)

    def _parse(self, name: str, query: str) -> FunctionName:
        return self._dispatcher.name(name, first_value(query, "Qualifier"))

    def _validation_error(self, name: str, query: str, kind: str, log_type: str) -> ValidationException:
        violations = name_violations(name) + qualifier_violations(first_value(query, "Qualifier"))
        if kind not in INVOCATION_TYPES:
            violations.append(_enum_violation(INVOCATION_TYPES, kind, "invocationType"))
        if log_type not in LOG_TYPES:
            violations.append(_enum_violation(LOG_TYPES, log_type, "logType"))
        return ValidationException(violations)

    def _mock_error(self, invocation: Invocation, name: str) -> Outcome:
        if not self._mock:
            raise InvalidParameterValueException(
                "The invocation type Error raises a function's documented errors in mock mode only, and this server "
                "is not in mock mode; start it with SERVERFULL_MOCK=true"
            )
        from serverfull_wsgi.fetchers.mocking import failing  # with values for mock mode

        return self._dispatcher.run(failing(self._dispatcher.check(invocation), name), invocation)


class InvokeAsync:
    """``POST /2014-11-13/functions/{FunctionName}/invoke-async``: AWS's older operation for events."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request_id = environ.get(REQUEST_ID) or new_request_id()
        try:
            return self._accept(environ, start_response, request_id)
        except ServiceError as error:
            return refuse(error, request_id, environ, start_response, self._dispatcher.logger)

    def _accept(self, environ: WSGIEnvironment, start_response: StartResponse, request_id: str) -> Iterable[bytes]:
        try:
            payload = read_body(environ, INVOKE_ASYNC_LIMIT)
        except TooLarge as error:
            raise _event_too_large(error.size, INVOKE_ASYNC_LIMIT) from None
        name = self._dispatcher.name(environ[ROUTING_ARGS][1]["FunctionName"])
        principal = authorize(environ, EVENT_ACTION, name)
        trace = trace_id(environ.get("HTTP_X_AMZN_TRACE_ID"))
        invocation = Invocation(name, payload, request_id, trace_id=trace, principal=principal)
        request_id = self._dispatcher.accept(invocation, environ.get("HTTP_AMZ_SDK_INVOCATION_ID", ""))
        return _send_accepted(request_id, invocation, start_response)


def _too_large(kind: str, size: int) -> RequestEntityTooLargeException:
    if kind == EVENT:
        return _event_too_large(size, EVENT_LIMIT)
    return RequestEntityTooLargeException(
        f"Request must be smaller than {PAYLOAD_LIMIT} bytes for the InvokeFunction operation"
    )


def _event_too_large(size: int, limit: int) -> RequestEntityTooLargeException:
    return RequestEntityTooLargeException(
        f"{size} byte payload is too large for the Event invocation type (limit {limit} bytes)"
    )


def _enum_violation(choices: tuple[str, ...], value: str, member: str) -> str:
    return violation(value, member, f"satisfy enum value set: [{', '.join(choices)}]")


def _client_context(header: str) -> dict[str, Any]:
    """Decode a client context. Raises `InvalidRequestContentException` if it is not base64 of a JSON object."""
    if len(header) > CLIENT_CONTEXT_LIMIT:
        raise InvalidRequestContentException(
            f"Client context must be at most {CLIENT_CONTEXT_LIMIT} bytes of Base64, but is {len(header)}."
        )
    try:
        context = parse_payload(base64.b64decode(header, validate=True))
    except (binascii.Error, ValueError, InvalidRequestContentException):
        context = None
    if not isinstance(context, dict) or _depth(context) > CLIENT_CONTEXT_DEPTH:
        raise InvalidRequestContentException("Client context must be a valid Base64-encoded JSON object.")
    return context


def _depth(value: Any) -> int:
    """Return how deep objects and lists are nested. A recursive function could exceed Python's limit."""
    depth, values = 0, [value]
    while containers := [value for value in values if isinstance(value, (dict, list))]:
        depth += 1
        values = [inner for outer in containers for inner in (outer.values() if isinstance(outer, dict) else outer)]
    return depth


def _trace_header(invocation: Invocation) -> str:
    """Return the trace as AWS's responses have it: in lower case, with the function in its lineage."""
    trace = invocation.trace_id.lower()
    return trace if "lineage=" in trace else f"{trace};lineage={invocation.function_name.lineage}:0"


def _send_accepted(request_id: str, invocation: Invocation, start_response: StartResponse) -> Iterable[bytes]:
    start_response(
        "202 Accepted",
        [
            ("Content-Type", "application/json"),
            ("Content-Length", "0"),
            ("x-amzn-RequestId", request_id),
            ("X-Amzn-Trace-Id", _trace_header(invocation)),
            *_SUCCESS_HEADERS,
        ],
    )
    return NO_BODY


def _send_outcome(
    outcome: Outcome, invocation: Invocation, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    headers = [
        ("Content-Type", outcome.content_type),
        ("Content-Length", str(len(outcome.payload))),
        ("x-amzn-RequestId", invocation.request_id),
        ("X-Amzn-Trace-Id", _trace_header(invocation)),
        ("X-Amz-Executed-Version", outcome.executed_version),
        *_SUCCESS_HEADERS,
    ]
    if outcome.function_error:
        headers.append(("X-Amz-Function-Error", outcome.function_error))
    if invocation.tail:
        headers.append(("X-Amz-Log-Result", base64.b64encode(outcome.log).decode()))
    start_response("200 OK", headers)
    if environ.get("gunicorn.socket") and environ["wsgi.multithread"]:
        return in_one_packet(environ["gunicorn.socket"], outcome.payload)
    return [outcome.payload]  # in one piece: a second piece costs gunicorn 26 µs
