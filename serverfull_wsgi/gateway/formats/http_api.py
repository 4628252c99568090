"""Rules of HTTP APIs that do not depend on the payload's version: paths, limits and refusals."""

from __future__ import annotations

import re
from urllib.parse import unquote

from serverfull_wsgi.gateway.formats import answers
from serverfull_wsgi.gateway.formats.answers import Answer, Page, Refusal
from serverfull_wsgi.gateway.formats.inputs import CONTEXT, REQUEST, HttpRequest, RequestContext

BODY_LIMIT = 10 * 1024 * 1024  # bytes of a request's body
TIMEOUT = 30.0  # seconds after which the API answers instead of the function
DEFAULT_STAGE = "$default"

_PAGES = {
    Refusal.NO_ROUTE: Page(404, b'{"message":"Not Found"}'),
    Refusal.UNKNOWN_API: Page(404, b'{"message":"Not Found"}'),
    Refusal.BAD_REQUEST: Page(400, b'{"message":"Bad Request"}'),
    Refusal.FUNCTION_ERROR: Page(500, b'{"message":"Internal Server Error"}'),
    Refusal.TIMEOUT: Page(503, b'{"message":"Service Unavailable"}'),
    Refusal.TOO_LARGE: Page(413, b'{"message":"Request Entity Too Large"}'),
    Refusal.FORBIDDEN: Page(403, b'{"message":"Forbidden"}'),
    Refusal.NOT_SIGNED: Page(403, b'{"message":"Forbidden"}'),
    Refusal.UNAUTHORIZED: Page(401, b'{"message":"Unauthorized"}'),
    Refusal.DENIED: Page(403, b'{"message":"Forbidden"}'),
    Refusal.DENIED_EXPLICITLY: Page(403, b'{"message":"Forbidden"}'),
    Refusal.AUTHORIZER_FAILED: Page(500, b'{"message":"Internal Server Error"}'),
    # The next two are inferred.
    Refusal.THROTTLED: Page(503, b'{"message":"Service Unavailable"}'),
    Refusal.NOT_RUN: Page(500, b'{"message":"Internal Server Error"}'),
}

_broken_escape = re.compile(r"%(?![0-9A-Fa-f]{2})")


def decoded_path(path: str) -> str:
    """Return a path as HTTP APIs decode it: once, up to a ``?`` that this reveals, and then once more.

    This is how AWS behaves, as recorded in July 2026. An escape that is not valid stays as it is.

    >>> decoded_path("/a%20b/c%2Fd"), decoded_path("/a%252Fb"), decoded_path("/a%3Fb")
    ('/a b/c/d', '/a/b', '/a')
    """
    if "%" not in path:
        return path
    return unquote(unquote(path).partition("?")[0])


def is_valid_path(path: str) -> bool:
    """Return False for a path that AWS answers with 400: an escape is not valid, before or after the first decoding.

    >>> is_valid_path("/100%25"), is_valid_path("/100%2525")
    (False, True)
    """
    if "%" not in path:
        return True
    return not (_broken_escape.search(path) or _broken_escape.search(unquote(path).partition("?")[0]))


def refuse(refusal: Refusal, request: HttpRequest = REQUEST, context: RequestContext = CONTEXT) -> Answer:
    """Return the answer to a request that the function does not answer.

    Args:
        refusal: the reason. HTTP APIs have an answer for each one.
        request: the request.
        context: the ids of the request.

    >>> refuse(Refusal.NO_ROUTE).status
    404
    """
    return answers.refused(_PAGES, refusal, request, own_headers(request, context))


def own_headers(request: HttpRequest, context: RequestContext) -> answers.Lines:
    """Return the header that HTTP APIs add to each answer."""
    return [("Apigw-Requestid", context.extended_request_id)]
