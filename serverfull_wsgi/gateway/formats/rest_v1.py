"""REST APIs of API Gateway, with payload 1.0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from serverfull_wsgi.domain import Outcome
from serverfull_wsgi.gateway.formats import answers, parts, payload_v1
from serverfull_wsgi.gateway.formats.answers import Answer, BadResult, Lines, Page, Refusal
from serverfull_wsgi.gateway.formats.inputs import CONTEXT, REQUEST, ROUTE, HttpRequest, RequestContext, Route

BODY_LIMIT = 10 * 1024 * 1024  # bytes of a request's body; the event with the body may have 6 MiB
TIMEOUT = 29.0  # seconds after which the API answers instead of the function
DEFAULT_STAGE = "Prod"  # SAM's, for an API that the template does not declare

_DROPPED = frozenset(
    "connection content-length content-md5 expect max-forwards proxy-authenticate server te trailer transfer-encoding "
    "upgrade www-authenticate".split()
)
_SPELLED = {  # headers that AWS spells itself; Authorization at edge-optimised APIs, which are SAM's default
    "authorization": "Authorization",
    "host": "Host",
    "user-agent": "User-Agent",
    "x-amzn-trace-id": "X-Amzn-Trace-Id",
    "x-forwarded-for": "X-Forwarded-For",
    "x-forwarded-port": "X-Forwarded-Port",
    "x-forwarded-proto": "X-Forwarded-Proto",
}


def _page_of_denial(end: str = "") -> bytes:
    return f'{{"Message":"User is not authorized to access this resource{end}"}}'.encode()


_FAILED = Page(502, b'{"message": "Internal server error"}', "InternalServerErrorException")  # with the space
_PAGES = {
    Refusal.NO_ROUTE: Page(403, b'{"message":"Missing Authentication Token"}', "MissingAuthenticationTokenException"),
    Refusal.UNKNOWN_API: Page(403, b'{"message":"Forbidden"}', "ForbiddenException"),  # inferred: on AWS DNS fails
    Refusal.FUNCTION_ERROR: _FAILED,
    Refusal.FORBIDDEN: Page(403, b'{"message":"Forbidden"}', "ForbiddenException"),
    Refusal.NOT_SIGNED: Page(403, b'{"message":"Missing Authentication Token"}', "MissingAuthenticationTokenException"),
    Refusal.UNAUTHORIZED: Page(401, b'{"message":"Unauthorized"}', "UnauthorizedException"),
    Refusal.DENIED: Page(403, _page_of_denial(), "AccessDeniedException"),
    Refusal.DENIED_EXPLICITLY: Page(403, _page_of_denial(" with an explicit deny"), "AccessDeniedException"),
    Refusal.AUTHORIZER_FAILED: Page(500, b'{"message":null}', "AuthorizerConfigurationException"),
    # The error types of the next two are inferred, and so are the last three.
    Refusal.TIMEOUT: Page(504, b'{"message": "Endpoint request timed out"}', "InternalServerErrorException"),
    Refusal.TOO_LARGE: Page(413, b'{"message":"Request Too Long"}', "RequestTooLargeException"),
    Refusal.BAD_REQUEST: Page(400, b'{"message":"Bad Request"}', "BadRequestException"),
    Refusal.THROTTLED: Page(500, b'{"message": "Internal server error"}', "InternalServerErrorException"),
    Refusal.NOT_RUN: Page(500, b'{"message": "Internal server error"}', "InternalServerErrorException"),
}


def event(request: HttpRequest, route: Route = ROUTE, context: RequestContext = CONTEXT) -> dict[str, Any]:
    """Return the event of a request to a REST API.

    Args:
        request: the request. The names of its headers stay as the client spelled them.
        route: the route that matches the request, with its stage. Bodies of the stage's binary media types are base64.
        context: ids, time and caller.

    >>> members = event(HttpRequest("GET", "/pets/a%20b/"), Route("ANY /{proxy+}"))
    >>> members["path"], members["pathParameters"], members["requestContext"]["path"]
    ('/pets/a%20b/', {'proxy': 'pets/a%20b'}, '/Prod/pets/a%20b/')
    """
    stage = route.stage
    name = stage.name or DEFAULT_STAGE
    headers = parts.headers_of(request, context, _DROPPED)
    domain, prefix = parts.domain_of(request, headers["host"][-1])
    user_agent = headers["user-agent"][-1] if "user-agent" in headers else None
    content_type = headers.get("content-type", ["application/json"])[-1]
    is_binary = bool(request.body) and parts.matches(tuple(stage.binary_media_types), content_type)
    path = "/" + request.path.lstrip("/")
    spelled = {name.lower(): name for name, _ in reversed(request.headers)} | _SPELLED  # the first spelling counts
    multi = {spelled[lower]: values for lower, values in headers.items()}
    text, milliseconds = parts.request_time(context.time)
    return {
        "resource": route.template,
        "path": stage.base_path + path,
        "httpMethod": request.method,
        "headers": parts.last(multi),
        "multiValueHeaders": multi,
        **payload_v1.query_members(request),
        "pathParameters": parts.path_parameters(route.template, path.rstrip("/")) or None,
        "stageVariables": dict(stage.variables) or None,
        "requestContext": {
            "accountId": stage.account_id,
            "apiId": stage.api_id or prefix,
            **_authorizer(context),
            "deploymentId": stage.deployment_id,
            "domainName": domain,
            "domainPrefix": prefix,
            "extendedRequestId": context.extended_request_id,
            "httpMethod": request.method,
            "identity": payload_v1.identity(request, context, user_agent),
            **({} if route.operation_name is None else {"operationName": route.operation_name}),
            "path": stage.prefix(name) + request.path,
            "protocol": request.protocol,
            "requestId": context.request_id,
            "requestTime": text,
            "requestTimeEpoch": milliseconds,
            "resourceId": route.resource_id,
            "resourcePath": route.template,
            "stage": name,
        },
        "body": parts.body_text(request.body, is_binary) if request.body else None,
        "isBase64Encoded": is_binary,
    }


def _authorizer(context: RequestContext) -> dict[str, Any]:
    caller = context.caller
    if caller.claims is not None:
        return {"authorizer": {"claims": dict(caller.claims)}}
    if caller.lambda_context is not None or caller.principal_id:
        return {"authorizer": payload_v1.lambda_authorizer(context)}
    return {}


def answer(
    outcome: Outcome, request: HttpRequest = REQUEST, route: Route = ROUTE, context: RequestContext = CONTEXT
) -> Answer:
    """Return the answer of a REST API. The result must be an object without unknown members.

    Args:
        outcome: the function's outcome. Its payload is JSON.
        request: the request. A body in base64 is decoded only if the first type of its Accept header is one of the
            stage's binary media types.
        route: the route, with its stage.
        context: the ids of the request.

    >>> answer(Outcome(b'{"message": "hello"}'))[::3]
    (502, Reason(code='unknown_key', detail="the result has the unknown key 'message'"))
    """
    reason = answers.failed(outcome)
    if reason is None:
        try:
            return _answer(outcome, request, route, context)
        except BadResult as bad:
            reason = bad.reason
    return refuse(Refusal.FUNCTION_ERROR, request, context)._replace(reason=reason)


def _answer(outcome: Outcome, request: HttpRequest, route: Route, context: RequestContext) -> Answer:
    value = answers.object_of(outcome)
    unknown = next((key for key in value if key not in payload_v1.RESULT_KEYS), None)
    if unknown is not None:
        raise BadResult("unknown_key", f"the result has the unknown key {unknown[:80]!r}")
    status = 200 if value.get("statusCode") is None else answers.status_code(value["statusCode"])
    lines = merged(answers.multi_headers(value), answers.single_headers(value))
    is_encoded = answers.is_encoded(value, "isBase64Encoded", "base64Encoded")
    is_decoded = is_encoded and parts.matches(tuple(route.stage.binary_media_types), _accepted(request))
    body = answers.body_bytes(answers.body_string(value), is_decoded)
    own = [*own_headers(request, context), ("X-Amzn-Trace-Id", answers.trace_header(request, context))]
    return answers.complete(request, status, lines, body, "application/json", own)


def _accepted(request: HttpRequest) -> str:
    """Return the first type of the Accept header. Inferred: a request without this header accepts each type."""
    accept = request.header("accept")
    return "*/*" if accept is None else accept.partition(",")[0]


def merged(multi: Lines, single: Lines) -> Lines:
    """Return the headers of both members: for each name the multiple values first, in their spelling.

    A pair of name and value that both have is given once.

    >>> merged([("X-A", "1"), ("X-A", "2")], [("x-a", "3"), ("x-a", "1"), ("b", "4")])
    [('X-A', '1'), ('X-A', '2'), ('X-A', '3'), ('b', '4')]
    """
    if not multi:
        return single
    groups: dict[str, Lines] = {}
    for name, value in multi:
        groups.setdefault(name.lower(), []).append((name, value))
    several = {lower: lines[0][0] for lower, lines in groups.items()}
    for name, value in single:
        line = (several.get(name.lower(), name), value)
        lines = groups.setdefault(name.lower(), [])
        if name.lower() not in several or line not in lines:
            lines.append(line)
    return [line for lines in groups.values() for line in lines]


def refuse(refusal: Refusal, request: HttpRequest = REQUEST, context: RequestContext = CONTEXT) -> Answer:
    """Return the answer to a request that the function does not answer. It has no X-Amzn-Trace-Id.

    Args:
        refusal: the reason.
        request: the request.
        context: the ids of the request.

    >>> refuse(Refusal.NO_ROUTE).body
    b'{"message":"Missing Authentication Token"}'
    """
    return answers.refused(_PAGES, refusal, request, own_headers(request, context))


def refuse_missing(names: Sequence[str], request: HttpRequest, context: RequestContext) -> Answer:
    """Return the answer to a request without required parameters.

    >>> refuse_missing(["id"], HttpRequest(), CONTEXT).body
    b'{"message": "Missing required request parameters: [id]"}'
    """
    body = json.dumps({"message": f"Missing required request parameters: [{', '.join(names)}]"}).encode()
    lines = [("Content-Type", "application/json"), ("x-amzn-ErrorType", "BadRequestException")]
    answer = answers.complete(request, 400, lines, body, "", own_headers(request, context))
    return answer._replace(refusal=Refusal.BAD_REQUEST)


def own_headers(request: HttpRequest, context: RequestContext) -> Lines:
    """Return the headers that REST APIs add to each answer. The answer of a function has its trace too."""
    return [("x-amzn-RequestId", context.request_id), ("x-amz-apigw-id", context.extended_request_id)]
