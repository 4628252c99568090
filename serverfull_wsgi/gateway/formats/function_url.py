"""Function URLs: events in payload 2.0, and answers of any result."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from serverfull_wsgi.domain import Outcome
from serverfull_wsgi.gateway.formats import answers, parts
from serverfull_wsgi.gateway.formats.answers import Answer, BadResult, Page, Refusal
from serverfull_wsgi.gateway.formats.inputs import CONTEXT, REQUEST, ROUTE, HttpRequest, RequestContext, Route
from serverfull_wsgi.gateway.formats.payload_v2 import body_members, cookie_members, query_members

BODY_LIMIT = 6 * 1024 * 1024  # bytes of a request's body
TIMEOUT = None  # a URL waits for as long as the function's timeout
ROUTE_KEY = "$default"  # of each URL, and its stage too

_TLS = {"x-amzn-tls-version": "TLSv1.3", "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256"}  # as recorded

_NOT_SIGNED = (
    b'{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see: '
    b'https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"}'
)

_PAGES = {
    Refusal.UNKNOWN_API: Page(403, b'{"Message":null}', "AccessDeniedException"),
    Refusal.FUNCTION_ERROR: Page(502, b"Internal Server Error"),
    Refusal.NOT_SIGNED: Page(403, _NOT_SIGNED, "AccessDeniedException"),
    Refusal.FORBIDDEN: Page(403, _NOT_SIGNED, "AccessDeniedException"),
    # Inferred: the documentation gives the status only.
    Refusal.TOO_LARGE: Page(413, b'{"Message":"Request Entity Too Large"}', "RequestEntityTooLargeException"),
    Refusal.THROTTLED: Page(429, b'{"Message":"Rate Exceeded"}', "TooManyRequestsException"),
    # Inferred.
    Refusal.BAD_REQUEST: Page(400, b'{"Message":"Bad Request"}', "BadRequestException"),
    Refusal.NOT_RUN: Page(500, b'{"Message":"Internal Server Error"}', "InternalServerErrorException"),
}


def event(request: HttpRequest, route: Route = ROUTE, context: RequestContext = CONTEXT) -> dict[str, Any]:
    """Return the event of a request to a function URL.

    Args:
        request: the request.
        route: a route whose stage has the URL's id and account. Each path and method goes to the function, so the key
            of the route does not matter.
        context: ids, time and caller. ``request_id`` is the request id of the invocation.

    >>> event(HttpRequest("GET", "/my%20path", "a=1&a=2"))["queryStringParameters"]
    {'a': '1,2'}
    """
    headers = parts.joined_headers(request, context)
    headers.pop("content-length", None)
    domain, prefix = parts.domain_of(request, headers["host"])
    if request.body:
        headers["content-length"] = str(len(request.body))
    if request.scheme == "https":
        headers.update(_TLS)
    iam = parts.iam_members(context)
    text, milliseconds = parts.request_time(context.time)
    return {
        "version": "2.0",
        "routeKey": ROUTE_KEY,
        "rawPath": request.path,
        "rawQueryString": request.query,
        **cookie_members(headers.get("cookie")),
        "headers": headers,
        **query_members(request),
        "requestContext": {
            "accountId": route.stage.account_id if iam else "anonymous",
            "apiId": route.stage.api_id or prefix,
            **({"authorizer": {"iam": iam}} if iam else {}),
            "domainName": domain,
            "domainPrefix": prefix,
            "http": {
                "method": request.method,
                "path": unquote(request.path),
                "protocol": request.protocol,
                "sourceIp": request.source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": context.request_id,
            "routeKey": ROUTE_KEY,
            "stage": ROUTE_KEY,
            "time": text,
            "timeEpoch": milliseconds,
        },
        **body_members(request, headers),
    }


def answer(
    outcome: Outcome, request: HttpRequest = REQUEST, route: Route = ROUTE, context: RequestContext = CONTEXT
) -> Answer:
    """Return the answer to the client of a function URL. A result without ``statusCode`` is the body.

    Args:
        outcome: the function's outcome. A payload that is not JSON is sent as it is.
        request: the request.
        route: not used; each kind has the same parameters.
        context: the ids of the request.

    >>> answer(Outcome(b'["hello", 3, true]')).body
    b'["hello",3,true]'
    """
    reason = answers.failed(outcome)
    if reason is None:
        try:
            return _answer(outcome, request, context)
        except BadResult as bad:
            reason = bad.reason
    return refuse(Refusal.FUNCTION_ERROR, request, context)._replace(reason=reason)


def _answer(outcome: Outcome, request: HttpRequest, context: RequestContext) -> Answer:
    own = own_headers(request, context)
    try:
        value = answers.result_of(outcome)
    except BadResult:
        return answers.complete(request, 200, [], outcome.payload, "application/json", own)
    if not isinstance(value, dict) or "statusCode" not in value:
        body = value.encode("utf-8", "replace") if isinstance(value, str) else answers.compact(value)
        return answers.complete(request, 200, [], body, "application/json", own)
    status = answers.status_code(value["statusCode"])  # inferred for null: as a wrong status
    lines = answers.single_headers(value) + answers.cookies(value)
    body = answers.body_bytes(answers.body_json(value), answers.is_encoded(value, "isBase64Encoded"))
    return answers.complete(request, status, lines, body, "application/json", own)


def refuse(refusal: Refusal, request: HttpRequest = REQUEST, context: RequestContext = CONTEXT) -> Answer:
    """Return the answer to a request that the function does not answer.

    Args:
        refusal: the reason; any but NO_ROUTE, TIMEOUT and those of API keys and authorizers.
        request: the request.
        context: the ids of the request.

    Raises:
        ValueError: for these.

    >>> refuse(Refusal.UNKNOWN_API).body
    b'{"Message":null}'
    """
    return answers.refused(_PAGES, refusal, request, own_headers(request, context))


def own_headers(request: HttpRequest, context: RequestContext) -> answers.Lines:
    """Return the headers that function URLs add to each answer."""
    return [
        ("x-amzn-RequestId", context.request_id),
        ("X-Amzn-Trace-Id", answers.trace_header(request, context)),
    ]
