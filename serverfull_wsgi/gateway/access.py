"""The conditions under which a caller may use a route, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

PLACES = ("header", "querystring", "stageVariables", "context")  # of identity sources
FACTS = frozenset(  # names of the place ``context``
    "accountId apiId http.method http.path http.sourceIp http.userAgent httpMethod identity.sourceIp "
    "identity.userAgent path requestId resourcePath routeKey stage".split()
)


def is_known_source(place: str, name: str) -> bool:
    """Return whether requests can have an identity source.

    >>> is_known_source("header", "Authorization"), is_known_source("context", "identity.cognitoIdentityId")
    (True, False)
    """
    return bool(name) and place in PLACES and (place != "context" or name in FACTS)


@dataclass(frozen=True)
class LambdaAuthorizer:
    """A function that decides who may call a route.

    Args:
        function: the function, as ``name`` or ``name:qualifier``.
        is_rest: True for a REST API, False for an HTTP API.
        type: ``"TOKEN"`` or ``"REQUEST"``; HTTP APIs have the latter only.
        payload: the version of its event at an HTTP API, ``"1.0"`` or ``"2.0"``.
        is_simple: True if it returns ``isAuthorized`` instead of a policy (HTTP APIs).
        sources: the identity sources: pairs of a place (``header``, ``querystring``, ``stageVariables``, ``context``)
            and a name.
        validation: a regular expression that the token must match; empty for none.
        ttl: seconds for which a result is used again for the same identity; 0 for never.
    """

    function: str
    is_rest: bool
    type: str = "REQUEST"
    payload: str = "1.0"
    is_simple: bool = False
    sources: tuple[tuple[str, str], ...] = ()
    validation: str = ""
    ttl: float = 0.0


@dataclass(frozen=True)
class JwtAuthorizer:
    """An issuer of JSON web tokens that identify the callers of a route of an HTTP API.

    Args:
        issuer: the URL of the issuer, which tokens have as ``iss``.
        audience: the values of ``aud``, or else of ``client_id``, that are accepted.
        source: the place of the token: ``header`` or ``querystring``, and a name.
        scopes: a token must have one of these scopes; empty for no such rule.
    """

    issuer: str
    audience: tuple[str, ...]
    source: tuple[str, str] = ("header", "Authorization")
    scopes: tuple[str, ...] = ()


class Access(NamedTuple):
    """The conditions of a route.

    Args:
        unsupported: the condition that is configured and not supported here. Then each request is refused. Empty for
            none.
        authorizer: a Lambda authorizer that decides about each request, or None.
        needs_api_key: True if a request must have an API key.
        needs_signature: True if a request must have the signature of a key that may invoke the function (IAM).
        token: the issuer of the JSON web token that a request must have, or None.
        required: the headers and query parameters that a request must have: pairs of a place and a name.
    """

    unsupported: str = ""
    authorizer: LambdaAuthorizer | None = None
    needs_api_key: bool = False
    needs_signature: bool = False
    token: JwtAuthorizer | None = None
    required: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """Return the conditions in words, for a list of routes: empty if every caller may use the route.

        >>> Access(needs_api_key=True, needs_signature=True).text
        'API key, IAM'
        """
        if self.unsupported:
            return "refused"
        conditions = {
            "API key": self.needs_api_key,
            "IAM": self.needs_signature,
            "JWT": self.token,
            f"authorizer {self.authorizer.function}" if self.authorizer else "": self.authorizer,
        }
        return ", ".join(name for name, is_set in conditions.items() if is_set)

    def includes(self, other: Access) -> bool:
        """Return whether a caller that meets these conditions meets those of the other too.

        >>> Access(needs_api_key=True).includes(OPEN), OPEN.includes(Access(needs_api_key=True))
        (True, False)
        """
        return bool(self.unsupported) or self.both(other) == self

    def both(self, other: Access) -> Access:
        """Return the conditions of both."""
        problem = self.unsupported or other.unsupported
        if self.authorizer and other.authorizer and self.authorizer != other.authorizer:
            problem = problem or "a second authorizer"
        if self.token and other.token and self.token != other.token:
            problem = problem or "a second JWT authorizer"
        return Access(
            problem,
            self.authorizer or other.authorizer,
            self.needs_api_key or other.needs_api_key,
            self.needs_signature or other.needs_signature,
            self.token or other.token,
            tuple(dict.fromkeys(self.required + other.required)),
        )


OPEN = Access()
