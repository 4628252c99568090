"""Target groups of Application Load Balancers, with and without multi-value headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serverfull_wsgi.domain import Outcome, ValueOutcome
from serverfull_wsgi.gateway.formats import answers, parts
from serverfull_wsgi.gateway.formats.answers import Answer, BadResult, Page, Refusal
from serverfull_wsgi.gateway.formats.inputs import CONTEXT, REQUEST, HttpRequest, RequestContext
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID

BODY_LIMIT = 1024 * 1024  # bytes of a request's body, and of a result
TIMEOUT = None  # a load balancer waits for as long as the function's timeout

_DROPPED = frozenset({"transfer-encoding"})  # inferred: the body is whole; Connection is recorded to stay


def _page(title: str) -> bytes:
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n"
        f"<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    ).encode()


_PAGES = {
    Refusal.FUNCTION_ERROR: Page(502, _page("502 Bad Gateway"), content_type="text/html"),
    Refusal.TOO_LARGE: Page(413, _page("413 Request Entity Too Large"), content_type="text/html"),
    # Inferred: a target that does not answer is a bad gateway, and a name without a load balancer has no target.
    Refusal.BAD_REQUEST: Page(400, _page("400 Bad Request"), content_type="text/html"),
    Refusal.THROTTLED: Page(502, _page("502 Bad Gateway"), content_type="text/html"),
    Refusal.NOT_RUN: Page(502, _page("502 Bad Gateway"), content_type="text/html"),
    Refusal.UNKNOWN_API: Page(503, _page("503 Service Temporarily Unavailable"), content_type="text/html"),
}


@dataclass(frozen=True)
class TargetGroup:
    """A target group whose target is a Lambda function.

    Args:
        arn: the ARN of the target group.
        has_multi_value_headers: True if the attribute ``lambda.multi_value_headers.enabled`` is on.
        function: the target, as ``name`` or ``name:qualifier``. Events do not have it.
    """

    arn: str = f"arn:aws:elasticloadbalancing:us-east-1:{DEFAULT_ACCOUNT_ID}:targetgroup/local/0000000000000000"
    has_multi_value_headers: bool = False
    function: str = ""


GROUP = TargetGroup()


def event(request: HttpRequest, group: TargetGroup = GROUP, context: RequestContext = CONTEXT) -> dict[str, Any]:
    """Return the event of a request to a load balancer.

    Args:
        request: the request. Its query stays encoded in the event.
        group: the target group.
        context: the trace id; a load balancer has no other ids.

    >>> event(HttpRequest("GET", "/a", "x=1%202&x=3"))["queryStringParameters"]
    {'x': '3'}
    >>> event(HttpRequest("GET", "/a", "x=1%202&x=3"), TargetGroup(has_multi_value_headers=True))[
    ...     "multiValueQueryStringParameters"
    ... ]
    {'x': ['1%202', '3']}
    """
    headers = parts.headers_of(request, context, _DROPPED)
    headers.pop("content-length", None)
    if request.body:
        headers["content-length"] = [str(len(request.body))]
    is_binary = bool(request.body) and (
        "content-encoding" in headers or not parts.is_text(headers.get("content-type", [""])[-1])
    )
    query = parts.raw_query(request.query)
    is_multi = group.has_multi_value_headers
    return {
        "requestContext": {"elb": {"targetGroupArn": group.arn}},
        "httpMethod": request.method,
        "path": request.path,
        **({"multiValueQueryStringParameters": query} if is_multi else {"queryStringParameters": parts.last(query)}),
        **({"multiValueHeaders": headers} if is_multi else {"headers": parts.last(headers)}),
        "body": parts.body_text(request.body, is_binary),
        "isBase64Encoded": is_binary,
    }


def answer(
    outcome: Outcome, request: HttpRequest = REQUEST, group: TargetGroup = GROUP, context: RequestContext = CONTEXT
) -> Answer:
    """Return the answer of a load balancer. The result must be an object with ``statusCode``.

    Args:
        outcome: the function's outcome. Its payload is JSON of at most 1 MiB.
        request: the request.
        group: the target group. With multi-value headers, ``headers`` of the result is ignored; without them,
            ``multiValueHeaders`` is.
        context: not used; each kind has the same parameters.

    >>> answer(Outcome(b'{"statusCode": 200, "statusDescription": "200 OK", "body": "hello"}')).headers
    [('Content-Type', 'application/octet-stream'), ('Content-Length', '5')]
    """
    reason = answers.failed(outcome)
    if reason is None:
        try:
            return _answer(outcome, request, group)
        except BadResult as bad:
            reason = bad.reason
    return refuse(Refusal.FUNCTION_ERROR, request, context)._replace(reason=reason)


def _answer(outcome: Outcome, request: HttpRequest, group: TargetGroup) -> Answer:
    if not isinstance(outcome, ValueOutcome) and (size := len(outcome.payload)) > BODY_LIMIT:
        raise BadResult("too_large", f"the result has {size:,} bytes; a load balancer accepts {BODY_LIMIT:,}")
    value = answers.object_of(outcome)
    if value.get("statusCode") is None:
        raise BadResult("no_status", "the result has no statusCode")
    status = answers.status_code(value["statusCode"])
    _check_strings(value, "multiValueHeaders" if group.has_multi_value_headers else "headers")
    lines = answers.multi_headers(value) if group.has_multi_value_headers else answers.single_headers(value)
    body = answers.body_bytes(answers.body_string(value), answers.is_encoded(value, "isBase64Encoded"))
    return answers.complete(request, status, lines, body, "application/octet-stream")


def _check_strings(members: dict[str, Any], key: str) -> None:
    """Raise `BadResult` for a header that is not a string: a boolean is a 502 of a load balancer, and no other kind."""
    headers = members.get(key)
    for name, values in headers.items() if isinstance(headers, dict) else ():
        for value in values if isinstance(values, list) else [values]:
            if value is not None and answers.scalar(value) is not None and not isinstance(value, str):
                raise BadResult("bad_header_value", f"header {name[:80]!r} is not a string")


def refuse(refusal: Refusal, request: HttpRequest = REQUEST, context: RequestContext = CONTEXT) -> Answer:
    """Return the page of a load balancer for a request that the function does not answer.

    Args:
        refusal: the reason; any but NO_ROUTE, TIMEOUT, and those about callers.
        request: the request.
        context: not used; each kind has the same parameters.

    Raises:
        ValueError: for these.

    >>> refuse(Refusal.FUNCTION_ERROR).headers
    [('Content-Type', 'text/html'), ('Content-Length', '122'), ('Server', 'awselb/2.0')]
    """
    return answers.refused(_PAGES, refusal, request, [("Server", "awselb/2.0")])


def own_headers(request: HttpRequest, context: RequestContext) -> answers.Lines:
    """Return the headers that load balancers add to each answer: none."""
    return []
