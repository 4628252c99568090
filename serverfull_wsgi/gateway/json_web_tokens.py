"""JWT authorizers of HTTP APIs: tokens that an issuer signed (the extra ``jwt``: PyJWT with cryptography).

The keys of an issuer come from the ``jwks_uri`` in its document ``/.well-known/openid-configuration``. They are kept,
and read again for a token with an unknown key, at most once in `REFRESH` seconds: invented tokens must not make the
server call the issuer all the time. One thread reads the keys. Tokens with a known key do not wait for it: a slow
issuer must not stop the callers that it has identified before.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import jwt

from serverfull_wsgi.gateway.access import JwtAuthorizer
from serverfull_wsgi.gateway.formats import Refusal
from serverfull_wsgi.gateway.refused import Refused
from serverfull_wsgi.telemetry.scope import LOGGER

ALGORITHMS = ["RS256", "RS384", "RS512"]  # AWS accepts RSA only
REFRESH = 60.0  # seconds
LIFETIME = 7200.0  # seconds after which an issuer's keys are read again: AWS's documentation gives two hours
TIMEOUT = 5.0  # seconds for each answer of an issuer, and for each of its packets
DOCUMENT_LIMIT = 1 << 20  # bytes
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


# The errors of a token. PyJWT before 2.11 raises others than its own for claims and headers of a wrong type.
_TOKEN_ERRORS = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class _Keys(NamedTuple):
    """The keys of an issuer by id, the time until which they are good, and the time before which they stay unread."""

    keys: dict[str, Any] = {}  # noqa: RUF012  (never changed)
    expires_at: float = 0.0
    next_read_at: float = 0.0

    def are_good(self, kid: str, now: float) -> bool:
        """Return whether the keys need not be read again for a token with the key ``kid``."""
        return now < self.expires_at and (kid in self.keys or now < self.next_read_at)


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
            claims = self._claims(authorizer, token)
            texts = claim_texts(claims)
        except _TOKEN_ERRORS as error:
            raise _unauthorized(f"the token is not valid: {error}") from None
        audience = claims.get("aud", claims.get("client_id"))
        audiences = audience if isinstance(audience, list) else [audience]
        if not set(map(str, audiences)) & set(authorizer.audience):
            raise _unauthorized("the token is for another audience")
        if authorizer.scopes and not set(authorizer.scopes) & _scopes(claims):
            raise Refused(Refusal.FORBIDDEN, "the token has none of the route's scopes")
        return texts

    def _claims(self, authorizer: JwtAuthorizer, token: str) -> dict[str, Any]:
        """Return the claims of a valid token. Raises one of `_TOKEN_ERRORS` for any other."""
        header = jwt.get_unverified_header(token)
        key = self._key(authorizer.issuer, str(header.get("kid", "")))
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            issuer=authorizer.issuer,
            options={"verify_aud": False, "require": ["exp", "iss"], "verify_iat": True},
        )
        return claims

    def _key(self, issuer: str, kid: str) -> Any:
        """Return the issuer's key of this id. Raises `PyJWTError` if there is none."""
        keys = self._keys_of(issuer, kid)
        if not kid and len(keys) == 1:
            return next(iter(keys.values()))
        if kid not in keys:
            raise jwt.InvalidKeyError("the issuer has no such key")
        return keys[kid]

    def _keys_of(self, issuer: str, kid: str) -> dict[str, Any]:
        found = self._keys.get(issuer, _Keys())
        if found.are_good(kid, self._clock()):
            return found.keys
        with self._lock:
            lock = self._locks.setdefault(issuer, threading.Lock())
        if not lock.acquire(blocking=kid not in found.keys):
            return found.keys  # another thread reads them again
        try:
            found, now = self._keys.get(issuer, _Keys()), self._clock()
            if not found.are_good(kid, now):
                self._keys[issuer] = found = _read_again(issuer, found.keys, now)
            return found.keys
        finally:
            lock.release()


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
    is_local = urlsplit(issuer).scheme == "http"
    document = _read(f"{issuer.rstrip('/')}/.well-known/openid-configuration", is_local)
    uri = document.get("jwks_uri")
    if not isinstance(uri, str):
        raise ValueError("the issuer's configuration has no jwks_uri")
    listed = _read(uri, is_local).get("keys")
    keys = {}
    for members in listed if isinstance(listed, list) else []:
        if isinstance(members, dict) and members.get("kty") == "RSA" and members.get("use", "sig") == "sig":
            try:
                keys[str(members.get("kid", ""))] = jwt.PyJWK(members, algorithm="RS256").key
            except _TOKEN_ERRORS as error:  # the other keys stay good
                LOGGER.warning("cannot use the key %.100r of the issuer %s: %s", members.get("kid"), issuer, error)
    return keys


class _Redirections(HTTPRedirectHandler):
    """Follows redirections to addresses that may have keys. The others are never called."""

    def __init__(self, is_local: bool) -> None:
        self._is_local = is_local

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        _check(newurl, self._is_local)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check(url: str, is_local: bool) -> None:
    """Raise ValueError for an address that may not have keys: only an issuer on the loopback may do without TLS."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (is_local and parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError(f"{url!r} is neither https nor, with its issuer, on the loopback")


def _read(url: str, is_local: bool) -> dict[str, Any]:
    _check(url, is_local)
    end, text = time.monotonic() + TIMEOUT, b""
    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310  (checked above)
    with build_opener(_Redirections(is_local)).open(request, timeout=TIMEOUT) as answer:
        while piece := answer.read1(DOCUMENT_LIMIT + 1 - len(text)):
            text += piece
            if time.monotonic() > end:
                raise TimeoutError(f"{url!r} was not read within {TIMEOUT:g} s")
    if len(text) > DOCUMENT_LIMIT:
        raise ValueError(f"{url!r} has more than {DOCUMENT_LIMIT:,} bytes")
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{url!r} is not a JSON object")
    return value
