"""HTTP APIs of API Gateway with payload 2.0, SAM's default."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from serverfull_wsgi.domain import Outcome
from serverfull_wsgi.gateway.formats import answers, parts
from serverfull_wsgi.gateway.formats.answers import Answer, BadResult, Refusal
from serverfull_wsgi.gateway.formats.http_api import (
    BODY_LIMIT,
    DEFAULT_STAGE,
    TIMEOUT,
    decoded_path,
    is_valid_path,
    own_headers,
    refuse,
)
from serverfull_wsgi.gateway.formats.inputs import CONTEXT, REQUEST, ROUTE, HttpRequest, RequestContext, Route
from serverfull_wsgi.gateway.formats.payload_v2 import body_members, cookie_members, query_members

__all__ = ["BODY_LIMIT", "TIMEOUT", "answer", "event", "is_valid_path", "own_headers", "refuse"]


def event(request: HttpRequest, route: Route = ROUTE, context: RequestContext = CONTEXT) -> dict[str, Any]:
    """Return the event of a request to an HTTP API with payload 2.0.

    Args:
        request: the request. AWS refuses a path for which `is_valid_path` is false.
        route: the route that matches the request, with its stage.
        context: ids, time and caller. The event's request id is ``extended_request_id``.

    >>> event(HttpRequest("GET", "/pets/a%20b"), Route("GET /pets/{id}"))["pathParameters"]
    {'id': 'a b'}
    """
    stage = route.stage
    name = stage.name or DEFAULT_STAGE
    headers = parts.joined_headers(request, context)
    cookie = headers.pop("cookie", None)
    headers["content-length"] = str(len(request.body))
    domain, prefix = parts.domain_of(request, headers["host"])
    path = stage.prefix(name) + decoded_path(request.path)
    text, milliseconds = parts.request_time(context.time)
    parameters = {
        name: decoded_path(value) for name, value in parts.path_parameters(route.template, request.path).items()
    }
    members = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": path,
        "rawQueryString": request.query,
        **cookie_members(cookie),
        "headers": headers,
        **query_members(request),
        "requestContext": {
            "accountId": stage.account_id,
            "apiId": stage.api_id or prefix,
            **_authorizer(context),
            "domainName": domain,
            "domainPrefix": prefix,
            "http": {
                "method": request.method,
                "path": path,
                "protocol": request.protocol,
                "sourceIp": request.source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": context.extended_request_id,
            "routeKey": route.key,
            "stage": name,
            "time": text,
            "timeEpoch": milliseconds,
        },
        **({"pathParameters": parameters} if parameters else {}),
        **body_members(request, headers),
    }
    if stage.variables:
        members["stageVariables"] = dict(stage.variables)
    return members


def _authorizer(context: RequestContext) -> dict[str, Any]:
    """Return ``authorizer`` of the request context, if the caller is known. Values of a Lambda keep their types."""
    caller = context.caller
    if caller.iam is not None:
        return {"authorizer": {"iam": parts.iam_members(context)}}
    if caller.claims is not None:
        scopes = None if caller.scopes is None else list(caller.scopes)
        return {"authorizer": {"jwt": {"claims": dict(caller.claims), "scopes": scopes}}}
    if caller.lambda_context is not None:
        return {"authorizer": {"lambda": deepcopy(dict(caller.lambda_context))}}  # an authorizer's result is kept
    return {}


def answer(
    outcome: Outcome, request: HttpRequest = REQUEST, route: Route = ROUTE, context: RequestContext = CONTEXT
) -> Answer:
    """Return the answer of an HTTP API with payload 2.0. A result without ``statusCode`` is the body.

    Args:
        outcome: the function's outcome. Its payload is JSON. If it is not an object with ``statusCode``, the client
            receives the payload's bytes as they are, and a JSON string without its quotes.
        request: the request.
        route: not used; each kind has the same parameters.
        context: the ids of the request.

    >>> answer(Outcome(b'{"statusCode": 201, "body": "made"}')).status
    201
    >>> answer(Outcome(b'{"statusCode": 200.5}'))[::3]
    (500, Reason(code='bad_status', detail='statusCode is 200.5; it must be a whole number from 200 to 599'))
    """
    reason = answers.failed(outcome)
    if reason is None:
        try:
            return _answer(outcome, request, context)
        except BadResult as bad:
            reason = bad.reason
    return refuse(Refusal.FUNCTION_ERROR, request, context)._replace(reason=reason)


def _answer(outcome: Outcome, request: HttpRequest, context: RequestContext) -> Answer:
    value = answers.result_of(outcome)
    if not isinstance(value, dict) or "statusCode" not in value:
        body = value.encode("utf-8", "replace") if isinstance(value, str) else outcome.payload
        return answers.complete(request, 200, [], body, "application/json", own_headers(request, context))
    status = answers.status_code(value["statusCode"])
    lines = [(parts.title_case(name), text) for name, text in answers.single_headers(value)] + answers.cookies(value)
    body = answers.body_bytes(answers.body_json(value), answers.is_encoded(value, "isBase64Encoded"))
    return answers.complete(request, status, lines, body, "text/plain; charset=utf-8", own_headers(request, context))
