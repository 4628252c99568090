"""Authorization of requests to routes: API keys, and Lambda authorizers with their cache.

::

    request ──▶ identity sources     one is missing: 401, and the authorizer does not run
                      │
                      ▼
                    cache            the authorizer's result for this identity, while it is fresh
                      │
                      ▼
            function of the authorizer ──▶ policy, or isAuthorized
                      │
                      ▼
            decision for this route: the caller, or a refusal

The cache keeps the result and not the decision, as AWS does: a policy that names one route denies the next one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

from serverfull_wsgi.dispatcher import Dispatcher
from serverfull_wsgi.domain import Invocation
from serverfull_wsgi.errors import InvalidRequestContentException, ServiceError
from serverfull_wsgi.gateway.access import JwtAuthorizer, LambdaAuthorizer
from serverfull_wsgi.gateway.bounded_calls import run_for
from serverfull_wsgi.gateway.formats import (
    Caller,
    HttpRequest,
    Refusal,
    RequestContext,
    Route,
    http_v1,
    http_v2,
    rest_v1,
)
from serverfull_wsgi.gateway.formats.answers import scalar
from serverfull_wsgi.gateway.formats.http_api import decoded_path
from serverfull_wsgi.gateway.formats.parts import query_values
from serverfull_wsgi.gateway.policies import Decision, evaluate
from serverfull_wsgi.gateway.refused import Refused
from serverfull_wsgi.gateway.spellings import has_dots, is_unusual, spellings
from serverfull_wsgi.names import partition_of
from serverfull_wsgi.payloads import parse_payload, render_payload
from serverfull_wsgi.wsgi.ids import new_request_id

HTTP_TIMEOUT = 10.0  # seconds; "Quotas for configuring and running an HTTP API" in the developer's guide
REST_TIMEOUT = 30.0  # seconds; inferred, as the time-out of an integration does not count
CACHED_RESULTS = 10_000  # of one process; the oldest is dropped, so that invented identities do not fill the memory
NESTING_LIMIT = 100  # levels of a context; the event that has it must be within the limit of Python's recursion


class TokenVerifier(Protocol):
    """Verifies JSON web tokens; see `json_web_tokens.Tokens`."""

    def verify(self, authorizer: JwtAuthorizer, token: str) -> dict[str, str]:
        """Return the claims of a token as events have them. Raises `Refused`."""
        ...


class _Key(NamedTuple):
    """The key of a cached result. Two APIs never share a result: their authorizer may have looked at the API."""

    authorizer: LambdaAuthorizer
    api_id: str
    stage: str
    identity: bytes  # a digest, since clients choose the length of the values


class _Result(NamedTuple):
    """The result of an authorizer: a policy, or the boolean of a simple answer."""

    allowed: bool | Mapping[str, Any]
    principal_id: str
    context: Mapping[str, Any]


class Authorizers:
    """Decides who may call a route.

    Args:
        dispatcher: runs the functions of authorizers.
        api_keys: the values of the header ``x-api-key`` that are accepted.
        clock: seconds, for the age of cached results.
        tokens: verifies JSON web tokens; None to refuse each of them.
        timeout: seconds for which the gateway waits for an authorizer; None for AWS's limits, 0 for no limit.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        api_keys: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        tokens: TokenVerifier | None = None,
        timeout: float | None = None,
    ) -> None:
        self._tokens = tokens
        self._timeout = timeout
        self._dispatcher = dispatcher
        self._api_keys = [key.encode() for key in api_keys]
        self._clock = clock
        self._results: OrderedDict[_Key, tuple[float, _Result]] = OrderedDict()
        self._lock = threading.Lock()

    def check_api_key(self, request: HttpRequest, caller: Caller) -> Caller:
        """Return the caller with its API key. All keys are compared, in constant time. Raises `Refused`."""
        sent = request.header("x-api-key") or ""
        matches = [hmac.compare_digest(sent.encode("utf-8", "replace"), key) for key in self._api_keys]
        if not any(matches):
            raise Refused(Refusal.FORBIDDEN, "no valid API key" if matches else "no API keys are set")
        return caller._replace(api_key=sent, api_key_id=hashlib.sha256(sent.encode()).hexdigest()[:10])

    def check_token(self, authorizer: JwtAuthorizer, request: HttpRequest, caller: Caller) -> Caller:
        """Return the caller with the claims of its token. Raises `Refused`."""
        place, name = authorizer.source
        token = request.header(name.lower()) if place == "header" else _query_value(request, name)
        if not token:
            raise Refused(Refusal.UNAUTHORIZED, "there is no token", [("www-authenticate", "Bearer")])
        if self._tokens is None:
            raise Refused(Refusal.NOT_RUN, "no token can be verified here")
        claims = self._tokens.verify(authorizer, token)
        return caller._replace(claims=claims, scopes=list(authorizer.scopes) or None)

    def authorize(
        self, authorizer: LambdaAuthorizer, request: HttpRequest, route: Route, context: RequestContext
    ) -> Caller:
        """Return the caller that the authorizer identified. Raises `Refused`."""
        identity = tuple(_value(source, request, route, context) for source in authorizer.sources)
        if not all(identity):
            raise Refused(Refusal.UNAUTHORIZED, "an identity source of the authorizer is missing")
        if authorizer.validation and identity and not re.search(authorizer.validation, identity[0]):
            raise Refused(Refusal.UNAUTHORIZED, "the token does not match the authorizer's expression")
        api, path = self._api_arn(authorizer, request, route), _policy_path(authorizer, request)
        arn = api + path
        is_cached = authorizer.ttl > 0 and bool(identity)
        key = _Key(authorizer, route.stage.api_id, route.stage.name, _digest(identity))
        result = self._cached(key) if is_cached else None
        if result is None:
            result = self._run(authorizer, request, route, context, identity, arn)
            if is_cached:
                self._keep(key, result)
        _decide(result, api, path)
        return context.caller._replace(lambda_context=result.context, principal_id=result.principal_id)

    def _cached(self, key: _Key) -> _Result | None:
        with self._lock:
            end, result = self._results.get(key, (0.0, None))
        return result if self._clock() < end else None

    def _keep(self, key: _Key, result: _Result) -> None:
        with self._lock:
            self._results[key] = self._clock() + key.authorizer.ttl, result
            self._results.move_to_end(key)
            if len(self._results) > CACHED_RESULTS:
                self._results.popitem(last=False)

    def _run(
        self,
        authorizer: LambdaAuthorizer,
        request: HttpRequest,
        route: Route,
        context: RequestContext,
        identity: tuple[str, ...],
        arn: str,
    ) -> _Result:
        timeout = (REST_TIMEOUT if authorizer.is_rest else HTTP_TIMEOUT) if self._timeout is None else self._timeout
        event = _event(authorizer, request, route, context, identity, arn)
        payload = render_payload(event)
        try:
            name = self._dispatcher.name(authorizer.function)
            invocation = Invocation(name, payload, new_request_id(), trace_id=context.trace)
            outcome = run_for(self._dispatcher, self._dispatcher.check(invocation), invocation, timeout)
        except ServiceError as error:
            raise Refused(Refusal.AUTHORIZER_FAILED, f"the authorizer did not run: {error.evidence}") from None
        if outcome is None:
            raise Refused(Refusal.AUTHORIZER_FAILED, f"the authorizer had no result after {timeout:g} s; it runs on")
        value = _parsed(outcome.payload)
        if outcome.function_error:
            if authorizer.is_rest and isinstance(value, dict) and value.get("errorMessage") == "Unauthorized":
                raise Refused(Refusal.UNAUTHORIZED, "the authorizer raised Unauthorized")
            raise Refused(Refusal.AUTHORIZER_FAILED, "the authorizer failed")
        return _result(authorizer, value)

    def _api_arn(self, authorizer: LambdaAuthorizer, request: HttpRequest, route: Route) -> str:
        """Return the ARN of a method without the path."""
        name = self._dispatcher.name(authorizer.function)
        stage = route.stage.name or (rest_v1.DEFAULT_STAGE if authorizer.is_rest else "$default")
        api = f"arn:{partition_of(name.region)}:execute-api:{name.region}:{name.account_id}:{route.stage.api_id}"
        return f"{api}/{stage}/{_literal(request.method)}/"


def _policy_path(authorizer: LambdaAuthorizer, request: HttpRequest) -> str:
    """Return the path for a policy, as the function decodes it: a policy must not depend on the spelling of a path."""
    return _literal(unquote(request.path).strip("/") if authorizer.is_rest else decoded_path(request.path)[1:])


def _literal(text: str) -> str:
    """Return a client's text for an ARN. The characters that are patterns in a policy are percent-encoded.

    An authorizer that allows the ARN of a request to ``/*`` would otherwise allow each path while its result is kept.
    """
    return text.replace("*", "%2A").replace("?", "%3F")


def _event(
    authorizer: LambdaAuthorizer,
    request: HttpRequest,
    route: Route,
    context: RequestContext,
    identity: tuple[str, ...],
    arn: str,
) -> dict[str, Any]:
    """Return the event of an authorizer's function. It has no body."""
    if authorizer.type == "TOKEN":
        return {"type": "TOKEN", "authorizationToken": identity[0], "methodArn": arn}
    if authorizer.is_rest:
        event = rest_v1.event(request, route, context)
        return {"type": "REQUEST", "methodArn": arn, **_without_body(event)}
    if authorizer.payload == "1.0":
        event = http_v1.event(request, route, context)
        joined = ",".join(identity)
        extra = {"type": "REQUEST", "methodArn": arn, "identitySource": joined, "authorizationToken": joined}
        return {"version": "1.0", **extra, **_without_body(event)}
    event = http_v2.event(request, route, context)
    sources = list(identity) or None
    return {"version": "2.0", "type": "REQUEST", "routeArn": arn, "identitySource": sources, **_without_body(event)}


def _without_body(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in ("body", "isBase64Encoded", "version")}


def _parsed(payload: bytes) -> Any:
    """Return a result as an event can have it, without lone surrogates and infinite numbers. None if it is not JSON."""
    try:
        return parse_payload(render_payload(json.loads(payload)))
    except (ValueError, RecursionError, InvalidRequestContentException):
        return None


def _result(authorizer: LambdaAuthorizer, value: Any) -> _Result:
    """Return the checked result of an authorizer's function. Raises `Refused` for a result of a wrong form."""
    if not isinstance(value, dict):
        raise Refused(Refusal.AUTHORIZER_FAILED, "the authorizer did not return an object")
    context = value.get("context")
    context = {} if context is None else context
    if not isinstance(context, dict):
        raise Refused(Refusal.AUTHORIZER_FAILED, "the authorizer's context is not an object")
    if not _is_nested_at_most(NESTING_LIMIT, context):
        reason = f"the authorizer's context is nested more than {NESTING_LIMIT} levels deep"
        raise Refused(Refusal.AUTHORIZER_FAILED, reason)
    if authorizer.is_simple:
        if not isinstance(value.get("isAuthorized"), bool):
            raise Refused(Refusal.AUTHORIZER_FAILED, "the authorizer's isAuthorized is not a boolean")
        return _Result(value["isAuthorized"], "", context)
    if authorizer.is_rest and any(item is not None and scalar(item) is None for item in context.values()):
        raise Refused(Refusal.AUTHORIZER_FAILED, "the authorizer's context has an object or a list")
    policy, principal = value.get("policyDocument"), value.get("principalId")
    if not isinstance(policy, dict) or not isinstance(principal, str) or not principal:
        raise Refused(Refusal.AUTHORIZER_FAILED, "the authorizer did not return principalId and policyDocument")
    return _Result(policy, principal, context)


def _is_nested_at_most(levels: int, value: Any) -> bool:
    """Return whether objects and lists are in each other at most so often.

    >>> _is_nested_at_most(2, {"a": []}), _is_nested_at_most(2, {"a": [{}]})
    (True, False)
    """
    if not isinstance(value, (dict, list)):
        return True
    members = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_nested_at_most(levels - 1, member) for member in members)


def _digest(identity: tuple[str, ...]) -> bytes:
    return hashlib.sha256(json.dumps(identity).encode()).digest()


def _decide(result: _Result, api: str, path: str) -> None:
    """Raise `Refused` unless the result allows a call of the route. ``api`` is the ARN up to the ``path``."""
    if isinstance(result.allowed, bool):
        decision = Decision.ALLOW if result.allowed else Decision.DENY
    else:
        try:
            decision = _decision(result.allowed, api, path)
        except ValueError as error:
            raise Refused(Refusal.AUTHORIZER_FAILED, f"the authorizer's policy: {error}") from None
    if decision is Decision.EXPLICIT_DENY:
        raise Refused(Refusal.DENIED_EXPLICITLY, "the authorizer's policy denies the call")
    if decision is Decision.DENY:
        raise Refused(Refusal.DENIED, "the authorizer does not allow the call")


def _decision(policy: Mapping[str, Any], api: str, path: str) -> Decision:
    """Return the decision of a policy about a path.

    A web framework may resolve dots, merge slashes, and ignore a slash at the end. What the policy denies explicitly is
    denied in each of these forms. A path with dots must be allowed with its dots resolved too.
    """
    decision = evaluate(policy, api + path)
    if decision is Decision.ALLOW and is_unusual(f"/{path}"):
        others = list(spellings(f"/{path}"))
        decisions = {other: evaluate(policy, api + other[1:]) for other in dict.fromkeys(others)}
        if Decision.EXPLICIT_DENY in decisions.values():
            return Decision.EXPLICIT_DENY
        is_allowed = [decisions[other] is Decision.ALLOW for other in others]
        pairs = zip(is_allowed[::2], is_allowed[1::2], strict=True)  # without a slash at the end, and with one
        if has_dots(f"/{path}") and not all(map(any, pairs)):
            return Decision.DENY
    return decision


def _value(source: tuple[str, str], request: HttpRequest, route: Route, context: RequestContext) -> str:
    """Return the value of an identity source; an empty text if it is missing."""
    place, name = source
    if place == "header":
        return request.header(name.lower()) or ""
    if place == "querystring":
        return _query_value(request, name)
    if place == "stageVariables":
        return route.stage.variables.get(name, "")
    facts = {  # `access.FACTS` has their names
        "accountId": route.stage.account_id,
        "apiId": route.stage.api_id,
        "httpMethod": request.method,
        "http.method": request.method,
        "path": request.path,
        "http.path": request.path,
        "identity.sourceIp": request.source_ip,
        "http.sourceIp": request.source_ip,
        "identity.userAgent": request.header("user-agent") or "",
        "http.userAgent": request.header("user-agent") or "",
        "resourcePath": route.template,
        "routeKey": route.key,
        "stage": route.stage.name,
        "requestId": context.request_id,
    }
    return facts.get(name, "") if place == "context" else ""


def _query_value(request: HttpRequest, name: str) -> str:
    return (query_values(request.query).get(name) or [""])[-1]
