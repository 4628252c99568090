"""Parts of events that several kinds share: headers, query, path parameters, body and time.

All functions are pure, and none raises for any request.
"""

from __future__ import annotations

import binascii
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from serverfull_wsgi.gateway.formats.inputs import HttpRequest, RequestContext

HOP_BY_HOP = frozenset({"connection", "transfer-encoding"})
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()

Values = dict[str, list[str]]


def headers_of(request: HttpRequest, context: RequestContext, dropped: frozenset[str] = HOP_BY_HOP) -> Values:
    """Return the values of each header by its name in lower case, with the headers that AWS adds.

    >>> headers_of(HttpRequest(headers=[("X-Forwarded-For", "192.0.2.7")]), RequestContext())["x-forwarded-for"]
    ['192.0.2.7, 127.0.0.1']
    """
    headers: Values = {}
    for name, value in request.headers:
        lower = name.lower()
        if lower in headers:
            headers[lower].append(value)
        elif lower not in dropped:
            headers[lower] = [value]
    headers.setdefault("host", [request.host or "localhost"])
    headers.setdefault("x-amzn-trace-id", [context.trace_id])
    headers["x-forwarded-for"] = [", ".join([*headers.get("x-forwarded-for", ()), request.source_ip])]
    headers["x-forwarded-port"] = [str(request.port)]
    headers["x-forwarded-proto"] = [request.scheme]
    return headers


def joined_headers(request: HttpRequest, context: RequestContext) -> dict[str, str]:
    """Return the headers as `headers_of`, with the values of each name joined. The last Host counts.

    >>> joined_headers(HttpRequest(headers=[("A", "1"), ("a", "2")]), RequestContext())["a"]
    '1,2'
    """
    headers: dict[str, str] = {}
    for name, value in request.headers:
        lower = name.lower()
        if lower in headers and lower != "host":
            headers[lower] += _SEPARATORS.get(lower, ",") + value
        elif lower not in HOP_BY_HOP:
            headers[lower] = value
    headers.setdefault("host", request.host or "localhost")
    headers.setdefault("x-amzn-trace-id", context.trace_id)
    sent = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = request.source_ip if sent is None else f"{sent}, {request.source_ip}"
    headers["x-forwarded-port"] = str(request.port)
    headers["x-forwarded-proto"] = request.scheme
    return headers


_SEPARATORS = {"cookie": "; ", "x-forwarded-for": ", "}


def last(values: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the last value of each name."""
    return {name: several[-1] for name, several in values.items()}


def joined(values: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the values of each name, joined with commas."""
    return {name: several[0] if len(several) == 1 else ",".join(several) for name, several in values.items()}


def title_case(name: str) -> str:
    """Return a header's name as HTTP/1.1 programs write it.

    >>> title_case("x-amzn-trace-id")
    'X-Amzn-Trace-Id'
    """
    return _short_title_case(name) if len(name) <= 64 else _title_case(name)  # long names would fill the cache's memory


def _title_case(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


_short_title_case = lru_cache(maxsize=1024)(_title_case)


def raw_query(query: str) -> Values:
    """Return the values of each parameter, as the client sent them. A name without ``=`` has an empty value.

    >>> raw_query("a=1&b=x%20y&a=2&c")
    {'a': ['1', '2'], 'b': ['x%20y'], 'c': ['']}
    """
    values: Values = {}
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            values.setdefault(name, []).append(value)
    return values


def query_values(query: str) -> Values:
    """Return the values of each parameter, decoded.

    >>> query_values("a=1%2B1&a=1+1")
    {'a': ['1+1', '1 1']}
    """
    if "%" not in query and "+" not in query:
        return raw_query(query)
    values: Values = {}
    for name, several in raw_query(query).items():
        values.setdefault(_decoded(name), []).extend(map(_decoded, several))
    return values


def _decoded(text: str) -> str:
    return unquote(text.replace("+", " "))


def path_parameters(template: str, path: str) -> dict[str, str]:
    """Return the path's segments that a template names, percent-encoded as in ``path``.

    >>> path_parameters("/pets/{id}/{rest+}", "/pets/7/a%20b/c")
    {'id': '7', 'rest': 'a%20b/c'}
    """
    if "{" not in template:
        return {}
    segments = path.split("/")
    return {
        name: "/".join(segments[index:]) if is_greedy else segments[index]
        for index, name, is_greedy in _variables(template)
        if index < len(segments)
    }


@lru_cache(maxsize=16_384)
def _variables(template: str) -> list[tuple[int, str, bool]]:
    """Return index, name and greediness of each variable of a template."""
    return [
        (index, segment[1:-1].removesuffix("+"), segment.endswith("+}"))
        for index, segment in enumerate(template.split("/"))
        if segment.startswith("{") and segment.endswith("}")
    ]


def media_type(content_type: str) -> str:
    """Return the media type of a Content-Type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


@lru_cache(maxsize=256)
def is_text(content_type: str) -> bool:
    """Return whether HTTP APIs, function URLs and load balancers pass a body of this type on as text.

    >>> [is_text(type) for type in ("text/csv", "application/json; charset=utf-8", "application/ld+json", "")]
    [True, True, False, False]
    """
    type = media_type(content_type)
    return type.startswith("text/") or type in ("application/json", "application/xml", "application/javascript")


def body_text(body: bytes, is_binary: bool) -> str:
    """Return the body as base64, or as text in which U+FFFD replaces each invalid byte."""
    if is_binary:
        return binascii.b2a_base64(body, newline=False).decode()
    return body.decode("utf-8", "replace")


@lru_cache(maxsize=128)
def matches(media_types: tuple[str, ...], content_type: str) -> bool:
    """Return whether a type is among a REST API's binary media types, such as ``image/png``, ``image/*``, ``*/*``.

    >>> matches(("image/*",), "image/png; q=0.8")
    True
    """
    type = media_type(content_type)
    wildcard = type.partition("/")[0] + "/*"
    return any(binary in ("*/*", wildcard, type) for binary in map(str.lower, media_types))


def domain_of(request: HttpRequest, host: str) -> tuple[str, str]:
    """Return the domain name, and its first label. ``host`` is the Host header."""
    domain = request.host or host
    return domain, domain.partition(".")[0].partition(":")[0]


@lru_cache(maxsize=1)  # requests of one second have one text
def _second(seconds: int) -> str:
    t = time.gmtime(seconds)
    return f"{t.tm_mday:02d}/{MONTHS[t.tm_mon - 1]}/{t.tm_year:04d}:{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} +0000"


def request_time(seconds: float) -> tuple[str, int]:
    """Return a time as text in the form of access logs, and in milliseconds since 1970.

    >>> request_time(1783711144.836)
    ('10/Jul/2026:19:19:04 +0000', 1783711144836)
    """
    milliseconds = round(seconds * 1000)
    return _second(milliseconds // 1000), milliseconds


def iam_members(context: RequestContext) -> dict[str, Any] | None:
    """Return ``authorizer.iam`` of payload 2.0, or None if the request was not signed."""
    iam = context.caller.iam
    if iam is None:
        return None
    return {
        "accessKey": iam.access_key,
        "accountId": iam.account_id,
        "callerId": iam.caller_id,
        "cognitoIdentity": None,
        "principalOrgId": iam.principal_org_id,
        "userArn": iam.user_arn,
        "userId": iam.user_id,
    }
