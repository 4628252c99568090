"""Gateway responses of REST APIs: the answers to requests that no function answers, as a template changes them.

AWS has a response type for each reason. A type without a response of its own has that of ``DEFAULT_4XX`` or
``DEFAULT_5XX``. A response may change the status, add headers, and replace the body.

Source: "Gateway response types" in the developer's guide of API Gateway.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from serverfull_wsgi.gateway.formats import Answer, HttpRequest, Refusal, RequestContext, Route, answers

TYPES = {  # response types by the reason of a refusal; other reasons have DEFAULT_4XX or DEFAULT_5XX
    Refusal.NO_ROUTE: "MISSING_AUTHENTICATION_TOKEN",
    Refusal.NOT_SIGNED: "MISSING_AUTHENTICATION_TOKEN",
    Refusal.UNAUTHORIZED: "UNAUTHORIZED",
    Refusal.DENIED: "ACCESS_DENIED",
    Refusal.DENIED_EXPLICITLY: "ACCESS_DENIED",
    Refusal.AUTHORIZER_FAILED: "AUTHORIZER_CONFIGURATION_ERROR",
    Refusal.TIMEOUT: "INTEGRATION_TIMEOUT",
    Refusal.TOO_LARGE: "REQUEST_TOO_LARGE",
    Refusal.BAD_REQUEST: "BAD_REQUEST_PARAMETERS",
    Refusal.NOT_RUN: "API_CONFIGURATION_ERROR",
}
_NAMES = frozenset(
    "error.message error.messageString error.responseType requestId extendedRequestId httpMethod path resourcePath "
    "stage".split()
)
_variable = re.compile(r"\$!?(?:\{context\.([A-Za-z.]+)\}|context\.([A-Za-z]+(?:\.[A-Za-z]+)*))")


class GatewayResponse(NamedTuple):
    """The answer for one response type.

    Args:
        status: the status; None for AWS's.
        headers: pairs of name and text.
        request_headers: pairs of name, and the name of the request's header whose value it has.
        template: the body, with variables such as ``$context.error.messageString``; None for AWS's body.
        content_type: the media type of the body.
    """

    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    request_headers: tuple[tuple[str, str], ...] = ()
    template: str | None = None
    content_type: str = "application/json"


def response_type(refusal: Refusal | None, needs_api_key: bool) -> str:
    """Return the response type of a refusal, or an empty text. ``needs_api_key`` is the condition of the route."""
    if refusal is Refusal.FORBIDDEN:
        return "INVALID_API_KEY" if needs_api_key else "ACCESS_DENIED"
    return TYPES.get(refusal, "") if refusal else ""


def changed(
    responses: Mapping[str, GatewayResponse],
    type: str,
    answer: Answer,
    request: HttpRequest,
    context: RequestContext,
    route: Route | None = None,
) -> Answer:
    """Return the answer to a refused request as the template changes it.

    Args:
        responses: the responses by type.
        type: the response type; empty for the default.
        answer: AWS's answer.
        request: the request.
        context: the ids of the request.
        route: the route of the request, or None.

    >>> responses = {"DEFAULT_4XX": GatewayResponse(headers=(("Access-Control-Allow-Origin", "*"),))}
    >>> changed(responses, "", Answer(403, [], b"{}"), HttpRequest(), RequestContext()).headers[0]
    ('Access-Control-Allow-Origin', '*')
    """
    response = responses.get(type) or responses.get(f"DEFAULT_{answer.status // 100}XX")
    if response is None:
        return answer
    sent = [(name, request.header(source.lower()) or "") for name, source in response.request_headers]
    lines = [*response.headers, *(line for line in sent if line[1] and line[1].isprintable())]
    names = {name.lower() for name, _ in lines}
    body, length = answer.body, []
    if response.template is None:
        length = [line for line in answer.headers if line[0].lower() == "content-length"]
    else:
        values = _values(type, answer, request, context, route)
        body = _variable.sub(lambda found: values[found[1] or found[2]], response.template).encode("utf-8", "replace")
        names.add("content-type")
    kept = [line for line in answer.headers if line[0].lower() not in names | {"content-length"}]
    made = answers.complete(request, response.status or answer.status, [*lines, *kept], body, response.content_type)
    if length and request.method == "HEAD":  # the body is not there any more
        made = made._replace(headers=[line for line in made.headers if line[0] != "Content-Length"] + length)
    return made._replace(reason=answer.reason, refusal=answer.refusal)


def unknown_variables(template: str) -> list[str]:
    """Return the variables of a template that are not known here, and its other directives of VTL.

    >>> unknown_variables('{"message": $context.error.messageString, "id": "$context.identity.sourceIp"}')
    ['$context.identity.sourceIp']
    """
    unknown = [found[0] for found in _variable.finditer(template) if (found[1] or found[2]) not in _NAMES]
    rest = _variable.sub("", template)
    return unknown + re.findall(r"\$!?\{?[A-Za-z_][\w.]*|#[a-z#*\[{]+", rest)


def _values(
    type: str, answer: Answer, request: HttpRequest, context: RequestContext, route: Route | None
) -> dict[str, str]:
    message = _message(answer.body)
    return {
        "error.message": message or "",
        "error.messageString": json.dumps(message, ensure_ascii=False),
        "error.responseType": type or f"DEFAULT_{answer.status // 100}XX",
        "requestId": context.request_id,
        "extendedRequestId": context.extended_request_id,
        "httpMethod": request.method,
        "path": request.path,
        "resourcePath": route.template if route else "",
        "stage": route.stage.name if route else "",
    }


def _message(body: bytes) -> str | None:
    try:
        members = json.loads(body)
    except ValueError:
        return None
    return next((members[name] for name in ("message", "Message") if name in members), None)
