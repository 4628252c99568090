"""JWT authorizers of HTTP APIs: tokens that an issuer signed (the extra ``jwt``: PyJWT with cryptography).

The keys of an issuer come from the ``jwks_uri`` in its document ``/.well-known/openid-configuration``. They are kept,
and read again for a token with an unknown key, at most once in `REFRESH` seconds: invented tokens must not make the
server call the issuer all the time.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import jwt

from serverfull_wsgi.gateway.access import JwtAuthorizer
from serverfull_wsgi.gateway.formats import Refusal
from serverfull_wsgi.gateway.refused import Refused
from serverfull_wsgi.telemetry.scope import LOGGER

ALGORITHMS = ["RS256", "RS384", "RS512"]  # AWS accepts RSA only
REFRESH = 60.0  # seconds
LIFETIME = 7200.0  # seconds after which an issuer's keys are read again: AWS's documentation gives two hours
TIMEOUT = 5.0  # seconds for each request to an issuer
DOCUMENT_LIMIT = 1 << 20  # bytes
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _Keys(NamedTuple):
    """The keys of an issuer by id, the time until which they are good, and the time before which they stay unread."""

    keys: dict[str, Any]
    expires_at: float
    next_read_at: float


class Tokens:
    """Verifies tokens.

    Args:
        clock: seconds, for the age of keys.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keys: dict[str, _Keys] = {}  # by issuer
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def verify(self, authorizer: JwtAuthorizer, token: str) -> dict[str, str]:
        """Return the claims of a token as events have them. Raises `Refused` for a token that is not accepted."""
        token = token.removeprefix("Bearer ").removeprefix("bearer ").strip()
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(authorizer.issuer, str(header.get("kid", "")))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=authorizer.issuer,
                options={"verify_aud": False, "require": ["exp", "iss"], "verify_iat": True},
            )
        except jwt.PyJWTError as error:
            raise _unauthorized(f"the token is not valid: {error}") from None
        audience = claims.get("aud", claims.get("client_id"))
        audiences = audience if isinstance(audience, list) else [audience]
        if not set(map(str, audiences)) & set(authorizer.audience):
            raise _unauthorized("the token is for another audience")
        if authorizer.scopes and not set(authorizer.scopes) & _scopes(claims):
            raise Refused(Refusal.FORBIDDEN, "the token has none of the route's scopes")
        return claim_texts(claims)

    def _key(self, issuer: str, kid: str) -> Any:
        """Return the issuer's key of this id. Raises `PyJWTError` if there is none."""
        keys = self._keys_of(issuer, kid)
        if not kid and len(keys) == 1:
            return next(iter(keys.values()))
        if kid not in keys:
            raise jwt.InvalidKeyError("the issuer has no such key")
        return keys[kid]

    def _keys_of(self, issuer: str, kid: str) -> dict[str, Any]:
        with self._lock:
            lock = self._locks.setdefault(issuer, threading.Lock())
        with lock:  # one thread reads the keys, the others wait for it
            found, now = self._keys.get(issuer, _Keys({}, 0.0, 0.0)), self._clock()
            if now >= found.expires_at or (kid not in found.keys and now >= found.next_read_at):
                self._keys[issuer] = found = _read_again(issuer, found.keys, now)
            return found.keys


def _read_again(issuer: str, known: dict[str, Any], now: float) -> _Keys:
    """Return the issuer's keys, or the known ones for a while if the issuer does not answer."""
    try:
        return _Keys(_read_keys(issuer), now + LIFETIME, now + REFRESH)
    except (OSError, ValueError, RecursionError, HTTPException) as error:
        LOGGER.warning("cannot read the keys of the issuer %s, will try again in %g s: %s", issuer, REFRESH, error)
        return _Keys(known, now + REFRESH, now + REFRESH)


def claim_texts(claims: Mapping[str, Any]) -> dict[str, str]:
    """Return claims as events have them: as text, and lists in brackets.

    >>> claim_texts({"sub": "ada", "exp": 1783711144, "groups": ["a", "b"], "on": True})
    {'sub': 'ada', 'exp': '1783711144', 'groups': '[a b]', 'on': 'true'}
    """
    return {_utf8(name): _utf8(_text(value)) for name, value in claims.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{' '.join(map(_text, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def _utf8(text: str) -> str:
    """Return text that UTF-8 has a form for: JSON may have lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def _scopes(claims: Mapping[str, Any]) -> set[str]:
    scopes = claims.get("scope", claims.get("scp", ""))
    return set(map(str, scopes)) if isinstance(scopes, list) else set(str(scopes).split())


def _unauthorized(reason: str) -> Refused:
    header = ("www-authenticate", 'Bearer error="invalid_token"')
    return Refused(Refusal.UNAUTHORIZED, reason, [header])


def _read_keys(issuer: str) -> dict[str, Any]:
    """Return an issuer's RSA keys by id.

    Raises OSError and HTTPException, and ValueError and RecursionError for a document of a wrong form.
    """
    document = _read(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    uri = document.get("jwks_uri")
    if not isinstance(uri, str):
        raise ValueError("the issuer's configuration has no jwks_uri")
    listed = _read(uri).get("keys")
    keys = {}
    for members in listed if isinstance(listed, list) else []:
        if isinstance(members, dict) and members.get("kty") == "RSA" and members.get("use", "sig") == "sig":
            try:
                keys[str(members.get("kid", ""))] = jwt.PyJWK(members, algorithm="RS256").key
            except jwt.PyJWTError as error:  # the other keys stay good
                LOGGER.warning("cannot use the key %.100r of the issuer %s: %s", members.get("kid"), issuer, error)
    return keys


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError(f"{url!r} is neither https nor on the loopback")


def _read(url: str) -> dict[str, Any]:
    _check(url)
    with urlopen(Request(url, headers={"Accept": "application/json"}), timeout=TIMEOUT) as answer:  # noqa: S310
        _check(answer.url)  # after redirections
        text = answer.read(DOCUMENT_LIMIT + 1)
    if len(text) > DOCUMENT_LIMIT:
        raise ValueError(f"{url!r} has more than {DOCUMENT_LIMIT:,} bytes")
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{url!r} is not a JSON object")
    return value
