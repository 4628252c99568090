"""Cross-origin resource sharing (CORS) of HTTP APIs and function URLs, as pure functions.

A browser sends a preflight request before a page's request to another origin. The gateway answers the preflight from
the configuration, before routes and authorizers, and runs no function. On other answers the configured headers
replace those of the function. AWS's function URLs add theirs beside the function's, and browsers refuse the doubled
values; the documentation says that the configuration wins, and here it does.

REST APIs have no such configuration: SAM's ``Cors`` makes an ordinary OPTIONS route with a fixed answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serverfull_wsgi.gateway.formats import Answer, HttpRequest
from serverfull_wsgi.gateway.values import is_true, mapping, texts, whole_number

Lines = list[tuple[str, str]]

ALLOW_ORIGIN = "Access-Control-Allow-Origin"
_PREFIX = "access-control-"


@dataclass(frozen=True)
class Cors:
    """A CORS configuration.

    Args:
        origins: the origins whose pages may send requests, such as ``https://shop.example``; ``*`` is each origin, and
            ``https://*`` each one with this scheme.
        methods: the methods that such a page may use; ``*`` is each one.
        headers: the request headers that such a page may set; ``*`` is each one.
        exposed_headers: the headers of an answer that such a page may read.
        max_age: seconds for which a browser keeps the answer to a preflight; None for the browser's default.
        is_credentialed: True if the browser may send cookies and Authorization.
    """

    origins: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    exposed_headers: tuple[str, ...] = ()
    max_age: int | None = None
    is_credentialed: bool = False

    def allows(self, origin: str) -> bool:
        """Return whether pages of this origin may send requests.

        >>> Cors(("https://*",)).allows("https://shop.example"), Cors(("https://*",)).allows("http://shop.example")
        (True, False)
        """
        scheme, _, _ = origin.lower().partition("://")
        return any(allowed.lower() in ("*", f"{scheme}://*", origin.lower()) for allowed in self.origins)


def parse_cors(value: Any) -> Cors | None:
    """Return the configuration that a template or an OpenAPI document has, or None without one.

    The names of its members begin with a capital, or with a small letter. True allows each origin.

    >>> parse_cors({"allowOrigins": ["https://shop.example"], "maxAge": 60}).max_age
    60
    """
    if is_true(value):
        return Cors(("*",))
    members = {str(name)[:1].upper() + str(name)[1:]: member for name, member in mapping(value).items()}
    if not members:
        return None
    return Cors(
        _values(members.get("AllowOrigins")),
        _values(members.get("AllowMethods")),
        _values(members.get("AllowHeaders")),
        _values(members.get("ExposeHeaders")),
        whole_number(members.get("MaxAge")),
        is_true(members.get("AllowCredentials")),
    )


def _values(value: Any) -> tuple[str, ...]:
    """Return the texts of a list that a header may have: a line break in it would make each answer fail."""
    return tuple(text for text in texts(value) if text.isprintable())


def is_preflight(request: HttpRequest) -> bool:
    """Return whether a browser sends this request before another one, which needs permission."""
    return (
        request.method == "OPTIONS"
        and request.header("origin") is not None
        and request.header("access-control-request-method") is not None
    )


def preflight_headers(cors: Cors, request: HttpRequest) -> Lines:
    """Return the headers of the answer to a preflight. They are empty for an origin that is not allowed."""
    headers = _origin_headers(cors, request)
    if not headers:
        return []
    for name, values in (("Allow-Methods", cors.methods), ("Allow-Headers", cors.headers)):
        if values:
            headers.append((f"Access-Control-{name}", ",".join(values)))
    if cors.max_age is not None:
        headers.append(("Access-Control-Max-Age", str(cors.max_age)))
    return headers


def shared(answer: Answer, cors: Cors, request: HttpRequest) -> Answer:
    """Return an answer with the configured headers in the place of the function's.

    >>> answer = Answer(200, [("access-control-allow-origin", "evil"), ("X", "1")], b"")
    >>> shared(answer, Cors(("*",)), HttpRequest(headers=[("Origin", "https://shop.example")])).headers
    [('X', '1'), ('Access-Control-Allow-Origin', '*')]
    """
    headers = [line for line in answer.headers if not line[0].lower().startswith(_PREFIX)]
    own = _origin_headers(cors, request)
    if own and cors.exposed_headers:
        own.append(("Access-Control-Expose-Headers", ",".join(cors.exposed_headers)))
    return answer._replace(headers=headers + own)


def _origin_headers(cors: Cors, request: HttpRequest) -> Lines:
    """Return the headers that allow the request's origin. With credentials browsers do not accept ``*``."""
    origin = request.header("origin")
    if origin is None or not cors.allows(origin):
        return []
    if "*" in cors.origins and not cors.is_credentialed:
        return [(ALLOW_ORIGIN, "*")]
    headers = [(ALLOW_ORIGIN, origin), ("Vary", "Origin")]
    return [*headers, ("Access-Control-Allow-Credentials", "true")] if cors.is_credentialed else headers
