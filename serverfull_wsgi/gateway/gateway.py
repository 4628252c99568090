"""The gateway: from an HTTP request to a function's call and back.

One request::

    HttpRequest ──▶ preflight?  answered from the CORS configuration, without a function
         │
         ▼
    find endpoint       none, or a stricter one for another spelling of the path: a refusal of the kind
         │
         ▼
    key, signature, authorizer     a refusal of the kind
         │
         ▼
    fixed answer?       of a mock integration, without a function
         │
         ▼
    read body           over the kind's limit: 413
         │
         ▼
    event ──▶ Dispatcher ──▶ Outcome ──▶ answer ──▶ CORS headers
                  └ longer than the gateway's timeout: the call runs on, and its result is dropped
"""

from __future__ import annotations

import logging
import time
from binascii import b2a_base64
from functools import lru_cache
from typing import Protocol

from serverfull_wsgi.auth.principal import INVOKE
from serverfull_wsgi.auth.sigv4.errors import MissingAuthenticationTokenException
from serverfull_wsgi.auth.sigv4.verifier import Verified
from serverfull_wsgi.dispatcher import Dispatcher
from serverfull_wsgi.domain import Invocation
from serverfull_wsgi.errors import InvalidRequestContentException, ServiceError, TooManyRequestsException
from serverfull_wsgi.evidence import clipped
from serverfull_wsgi.gateway import cors
from serverfull_wsgi.gateway.authorizers import Authorizers
from serverfull_wsgi.gateway.bounded_calls import run_for
from serverfull_wsgi.gateway.formats import (
    Answer,
    HttpRequest,
    IamIdentity,
    Refusal,
    RequestContext,
    answers,
    function_url,
    rest_v1,
)
from serverfull_wsgi.gateway.formats.http_api import is_valid_path
from serverfull_wsgi.gateway.formats.inputs import ANONYMOUS
from serverfull_wsgi.gateway.gateway_responses import changed, response_type
from serverfull_wsgi.gateway.refused import Refused
from serverfull_wsgi.gateway.sites import HTTP_API, Endpoint, Site
from serverfull_wsgi.gateway.spellings import stricter_route
from serverfull_wsgi.gateway.validation import missing_parameters
from serverfull_wsgi.wsgi.ids import new_request_id, new_trace_digits, trace_id
from serverfull_wsgi.wsgi.requests import PAYLOAD_LIMIT, TooLarge

UNMEASURED_BODY = 256 * 1024  # bytes; the event of a smaller body would need 4 MiB of headers to be over its limit


class Incoming(Protocol):
    """The parts of a request that are read on demand."""

    def read(self, limit: int) -> bytes:
        """Return the whole body. Raises `TooLarge`, and `InvalidRequestContentException` for a body that breaks off."""
        ...

    def verify(self, service: str, limit: int) -> Verified:
        """Return the caller that signed the request for a service. Raises as `read`, and `ServiceError`."""
        ...


class Gateway:
    """Answers HTTP requests to sites by calls of functions.

    Args:
        dispatcher: finds and runs the functions.
        authorizers: decides who may call a route.
        timeout: seconds after which an API answers in the place of a function; None for AWS's limits, 0 for no limit.
        logger: receives a line for each function whose result cannot be sent, and for each refused request.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        authorizers: Authorizers | None = None,
        *,
        timeout: float | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._authorizers = authorizers or Authorizers(dispatcher, timeout=timeout)
        self._timeout = timeout
        self._logger = logger or dispatcher.logger
        self._name = lru_cache(maxsize=1024)(dispatcher.name)  # parsing costs 6 µs, and routes name few functions

    def answer(self, site: Site, request: HttpRequest, context: RequestContext, incoming: Incoming) -> Answer:
        """Return the answer to a request. No request and no function makes this raise.

        Args:
            site: the site that the request addresses.
            request: the request without its body, and without the stage in its path.
            context: the ids and the time of the request.
            incoming: reads the body, and verifies the signature.
        """
        if site.cors is None:
            answer = self._answer(site, request, context, incoming)
            return _changed(answer, site, request, context) if site.responses and answer.refusal else answer
        if cors.is_preflight(request):
            lines = [*cors.preflight_headers(site.cors, request), *_length(site.preflight_status)]
            return Answer(site.preflight_status, [*lines, *site.format.own_headers(request, context)], b"")
        return cors.shared(self._answer(site, request, context, incoming), site.cors, request)

    def _answer(self, site: Site, request: HttpRequest, context: RequestContext, incoming: Incoming) -> Answer:
        if site.kind == HTTP_API and not is_valid_path(request.path):
            return site.format.refuse(Refusal.BAD_REQUEST, request, context)
        endpoint = site.find(request.method, request.path)
        if endpoint is None:
            self._logger.info(
                "HTTP request refused: no route of %s %r has its path and the method %s",
                site.kind,
                site.names[0],
                clipped(request.method),
                extra={"request_id": context.request_id},
            )
            return site.format.refuse(Refusal.NO_ROUTE, request, context)
        if endpoint.access.unsupported:
            self._log(endpoint, context, f"this server does not support {endpoint.access.unsupported}")
            return endpoint.format.refuse(Refusal.NOT_RUN, request, context)
        if site.is_mixed and (stricter := stricter_route(site, endpoint, request.method, request.path)):
            self._log(
                endpoint, context, f"another spelling of the path has the route {stricter!r}, with more conditions"
            )
            return endpoint.format.refuse(Refusal.FORBIDDEN, request, context)
        try:
            context = self._identified(endpoint, request, incoming, context)
            if endpoint.access.required and (missing := missing_parameters(endpoint.access.required, request)):
                return rest_v1.refuse_missing(missing, request, context)
            if endpoint.fixed is not None:
                status, lines, body, content_type = endpoint.fixed
                own = endpoint.format.own_headers(request, context)
                return answers.complete(request, status, list(lines), body, content_type, own)
            request = request._replace(body=incoming.read(endpoint.format.BODY_LIMIT))
        except Refused as refused:
            self._log(endpoint, context, refused.reason)
            answer = endpoint.format.refuse(refused.refusal, request, context)
            return answer._replace(headers=answer.headers + refused.headers)
        except TooLarge as error:
            self._log(endpoint, context, f"its body has {error.size} bytes; {endpoint.format.BODY_LIMIT} are allowed")
            return endpoint.format.refuse(Refusal.TOO_LARGE, request, context)
        except InvalidRequestContentException as error:
            self._log(endpoint, context, error.evidence)
            return endpoint.format.refuse(Refusal.BAD_REQUEST, request, context)
        return self._call(endpoint, request, context)

    def _identified(
        self, endpoint: Endpoint, request: HttpRequest, incoming: Incoming, context: RequestContext
    ) -> RequestContext:
        """Return the context with the caller, if it meets the conditions of the route. Raises `Refused`."""
        access = endpoint.access
        if access.needs_api_key:
            context = context._replace(caller=self._authorizers.check_api_key(request, context.caller))
        if access.needs_signature:
            identity = self._signer(endpoint, incoming)
            context = context._replace(caller=context.caller._replace(iam=identity))
        if access.token is not None:
            context = context._replace(caller=self._authorizers.check_token(access.token, request, context.caller))
        if access.authorizer is not None:
            caller = self._authorizers.authorize(access.authorizer, request, endpoint.route, context)
            context = context._replace(caller=caller)
        return context

    def _signer(self, endpoint: Endpoint, incoming: Incoming) -> IamIdentity:
        """Return the identity of the key that signed the request, if it may invoke the function. Raises `Refused`."""
        function = self._name(endpoint.route.function)
        service = "lambda" if endpoint.format is function_url else "execute-api"
        try:
            principal, admit = incoming.verify(service, endpoint.format.BODY_LIMIT)
            principal.require(INVOKE, function)
            admit()
        except MissingAuthenticationTokenException:
            raise Refused(Refusal.NOT_SIGNED, "the request is not signed") from None
        except InvalidRequestContentException:
            raise
        except ServiceError as error:
            raise Refused(Refusal.FORBIDDEN, error.evidence) from None
        key = principal.access_key_id
        return IamIdentity(key, function.account_id, principal.name, principal.arn, principal.name)

    def _call(self, endpoint: Endpoint, request: HttpRequest, context: RequestContext) -> Answer:
        format, route = endpoint.format, endpoint.route
        try:
            # the request id of a function URL is that of the call; an API has one of its own
            request_id = context.request_id if format is function_url else new_request_id()
            name = self._name(route.function)
            iam = context.caller.iam
            invocation = Invocation(
                name,
                None,
                request_id,
                event=format.event(request, route, context),
                trace_id=context.trace,
                principal=iam and iam.caller_id,
            )
            if len(request.body) > UNMEASURED_BODY and len(invocation.payload) > PAYLOAD_LIMIT:
                self._log(
                    endpoint, context, f"its event has {len(invocation.payload)} bytes; {PAYLOAD_LIMIT} are allowed"
                )
                return format.refuse(Refusal.TOO_LARGE, request, context)
            function = self._dispatcher.check(invocation)
            timeout = endpoint.timeout if self._timeout is None or endpoint.timeout is None else self._timeout
            outcome = run_for(self._dispatcher, function, invocation, timeout)
        except TooManyRequestsException as error:
            self._log(endpoint, context, error.evidence)
            return format.refuse(Refusal.THROTTLED, request, context)
        except ServiceError as error:
            self._log(endpoint, context, error.evidence)
            return format.refuse(Refusal.NOT_RUN, request, context)
        if outcome is None:
            self._log(endpoint, context, f"no result after {timeout:g} s; the call runs on without a client")
            return format.refuse(Refusal.TIMEOUT, request, context)
        answer = format.answer(outcome, request, route, context)
        if answer.reason is not None:
            self._log(endpoint, context, f"{answer.reason.code}: {answer.reason.detail}")
        return answer

    def _log(self, endpoint: Endpoint, context: RequestContext, reason: str) -> None:
        fields = {"request_id": context.request_id, "function_name": endpoint.route.function}
        self._logger.warning("HTTP request not answered by its function: %s", clipped(reason), extra=fields)


def _changed(answer: Answer, site: Site, request: HttpRequest, context: RequestContext) -> Answer:
    """Return the answer to a refused request as the gateway responses of its API change it."""
    endpoint = site.find(request.method, request.path)
    type = response_type(answer.refusal, endpoint is not None and endpoint.access.needs_api_key)
    return changed(site.responses, type, answer, request, context, endpoint.route if endpoint else None)


def new_context(request: HttpRequest) -> RequestContext:
    """Return new ids for a request, and the time. Well-formed fields of the client's trace are kept."""
    extended = b2a_base64(bytes.fromhex(new_trace_digits()[:22]), newline=False).decode()  # 15 characters and "="
    trace = trace_id(request.header("x-amzn-trace-id"))
    return RequestContext(new_request_id(), extended, trace.partition(";")[0], time.time(), ANONYMOUS, trace)


def _length(status: int) -> list[tuple[str, str]]:
    return [] if status == 204 else [("Content-Length", "0")]
