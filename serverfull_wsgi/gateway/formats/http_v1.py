"""HTTP APIs of API Gateway with payload 1.0."""

from __future__ import annotations

from typing import Any

from serverfull_wsgi.domain import Outcome
from serverfull_wsgi.gateway.formats import answers, parts, payload_v1
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

__all__ = ["BODY_LIMIT", "TIMEOUT", "answer", "event", "is_valid_path", "own_headers", "refuse"]


def event(request: HttpRequest, route: Route = ROUTE, context: RequestContext = CONTEXT) -> dict[str, Any]:
    """Return the event of a request to an HTTP API with payload 1.0.

    Args:
        request: the request. AWS refuses a path for which `is_valid_path` is false.
        route: the route that matches the request, with its stage.
        context: ids, time and caller. The event's request id is ``extended_request_id``.

    >>> event(HttpRequest("GET", "/pets/7"), Route("GET /pets/{id}"))["requestContext"]["resourceId"]
    'GET /pets/{id}'
    """
    stage = route.stage
    name = stage.name or DEFAULT_STAGE
    headers = parts.headers_of(request, context)
    headers["content-length"] = [str(len(request.body))]
    domain, domain_prefix = parts.domain_of(request, headers["host"][-1])
    user_agent = headers.get("user-agent", [""])[-1]
    is_binary = bool(request.body) and not parts.is_text(headers.get("content-type", [""])[-1])
    multi = {parts.title_case(name): values for name, values in headers.items()}
    parameters = {
        name: decoded_path(value) for name, value in parts.path_parameters(route.template, request.path).items()
    }
    prefix = stage.prefix(name)
    text, milliseconds = parts.request_time(context.time)
    return {
        "version": "1.0",
        "resource": route.template,
        "path": prefix + request.path,
        "httpMethod": request.method,
        "headers": parts.last(multi),
        "multiValueHeaders": multi,
        **payload_v1.query_members(request),
        "pathParameters": parameters or None,
        "stageVariables": dict(stage.variables) or None,
        "requestContext": {
            "accountId": stage.account_id,
            "apiId": stage.api_id or domain_prefix,
            "authorizer": _authorizer(context),
            "domainName": domain,
            "domainPrefix": domain_prefix,
            "extendedRequestId": context.extended_request_id,
            "httpMethod": request.method,
            "identity": payload_v1.identity(request, context, user_agent),
            "path": prefix + decoded_path(request.path),
            "protocol": request.protocol,
            "requestId": context.extended_request_id,
            "requestTime": text,
            "requestTimeEpoch": milliseconds,
            "resourceId": route.key,
            "resourcePath": route.template,
            "stage": name,
        },
        "body": parts.body_text(request.body, is_binary) if request.body else None,
        "isBase64Encoded": is_binary,
    }


def _authorizer(context: RequestContext) -> dict[str, Any]:
    caller = context.caller
    if caller.lambda_context is not None or caller.principal_id:
        return payload_v1.lambda_authorizer(context)
    return {
        "claims": None if caller.claims is None else dict(caller.claims),
        "scopes": None if caller.scopes is None else list(caller.scopes),
    }


def answer(
    outcome: Outcome, request: HttpRequest = REQUEST, route: Route = ROUTE, context: RequestContext = CONTEXT
) -> Answer:
    """Return the answer of an HTTP API with payload 1.0. The result must be an object with ``statusCode``.

    Args:
        outcome: the function's outcome. Its payload is JSON.
        request: the request.
        route: not used; each kind has the same parameters.
        context: the ids of the request.

    >>> answer(Outcome(b'"hello"'))[::3]
    (500, Reason(code='not_an_object', detail='the result is a string; it must be an object with statusCode'))
    """
    reason = answers.failed(outcome)
    if reason is None:
        try:
            return _answer(outcome, request, context)
        except BadResult as bad:
            reason = bad.reason
    return refuse(Refusal.FUNCTION_ERROR, request, context)._replace(reason=reason)


def _answer(outcome: Outcome, request: HttpRequest, context: RequestContext) -> Answer:
    value = answers.object_of(outcome)
    if value.get("statusCode") is None:
        raise BadResult("no_status", "the result has no statusCode")
    status = answers.status_code(value["statusCode"])
    lines = answers.single_headers(value) + answers.multi_headers(value)  # in this order, as recorded
    lines = [(parts.title_case(name), text) for name, text in lines]
    body = answers.body_bytes(answers.body_string(value), answers.is_encoded(value, "isBase64Encoded"))
    return answers.complete(request, status, lines, body, "text/plain; charset=utf-8", own_headers(request, context))
