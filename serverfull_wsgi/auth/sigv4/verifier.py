"""The verification of a request's signature, without a decision about its caller's permissions."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hmac import compare_digest
from typing import TYPE_CHECKING, NamedTuple

from serverfull_wsgi.auth.credentials import Credential, Credentials
from serverfull_wsgi.auth.principal import Principal
from serverfull_wsgi.auth.sigv4.errors import (
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)
from serverfull_wsgi.auth.sigv4.parsing import Request, SignatureFields, parse_signature, query_pairs
from serverfull_wsgi.auth.sigv4.replay_guard import MAX_EXPIRES, ReplayGuard
from serverfull_wsgi.auth.sigv4.signature import (
    MISMATCH,
    check_payload,
    check_scope,
    check_signed_headers,
    check_time,
    matches,
)
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID, partition_of
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.wsgi.requests import signable_paths

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

HIDDEN_PATH = (
    "cannot verify a signature: a proxy or a middleware changed the path; "
    "RAW_URI or REQUEST_URI must mean the same as SCRIPT_NAME and PATH_INFO"
)


class Verified(NamedTuple):
    """A request with a valid signature.

    Args:
        principal: the caller that signed the request.
        admit: counts the signature in the replay guard. Call it after the caller's permission is checked, so that only
            permitted requests count. It raises `ServiceError` for a signature that was used before.
    """

    principal: Principal
    admit: Callable[[], None]


class Verifier:
    """Verifies the signatures of requests to one service.

    Args:
        credentials: a mapping, or a callable, from an access key id to a secret, a pair of secret and session token,
            or a `Credential`. None, or a `LookupError`, stands for an unknown key.
        region: the region that signatures must name.
        service: the service that signatures must name.
        account_id: the account in the principals' ARNs.
        replay_guard: the number of signatures to remember; 0 for none.
        clock: a callable that returns seconds since 1970.
        logger: receives an error if the server hides the path that clients sign.
    """

    def __init__(
        self,
        credentials: Credentials,
        region: str,
        service: str = "lambda",
        *,
        account_id: str = DEFAULT_ACCOUNT_ID,
        replay_guard: int = 0,
        clock: Callable[[], float] = time.time,
        logger: logging.Logger = LOGGER,
    ) -> None:
        self._credentials = credentials if callable(credentials) else credentials.get
        self._region, self._service = region, service
        self._user_arn = f"arn:{partition_of(region)}:iam::{account_id}:user/"
        self._replay_guard = ReplayGuard(replay_guard) if replay_guard else None
        self._clock = clock
        self._logger = logger
        self._dummy_secret = secrets.token_hex(20)
        self._warned_of_path = False

    def verify(self, environ: WSGIEnvironment, read_digest: Callable[[], str]) -> Verified:
        """Return the caller that signed a request.

        Args:
            environ: the request.
            read_digest: reads the body, puts it back, and returns its SHA-256 in hexadecimal. It is called after the
                checks that need no body.

        Raises:
            ServiceError: for a request without a valid signature, and as ``read_digest``.
        """
        try:
            headers, query = _headers(environ), query_pairs(environ.get("QUERY_STRING", ""))
            fields = parse_signature(headers, query)
            if not fields:
                raise MissingAuthenticationTokenException()
            now = int(self._clock())
            expires = self._check_fields(fields, headers, now)
            requests = [
                Request(environ["REQUEST_METHOD"], path, query, headers) for path in self._signable_paths(environ)
            ]
            digest = read_digest()
            check_payload(headers, digest)
            principal = self._principal(fields, requests, digest)
        except UnicodeEncodeError:  # a character that no WSGI server puts into an environ
            raise InvalidSignatureException(MISMATCH) from None

        def admit() -> None:
            if self._replay_guard:
                self._replay_guard.admit(fields.access_key_id, fields.signature, expires, now)

        return Verified(principal, admit)

    def _check_fields(self, fields: SignatureFields, headers: Mapping[str, str], now: int) -> int:
        """Check all rules that need no key, so that their errors are the same for all keys.

        Returns the end of the signature's life, in seconds since 1970.
        """
        if self._replay_guard and fields.expires is not None and fields.expires > MAX_EXPIRES:
            raise IncompleteSignatureException(
                f"X-Amz-Expires must be at most {MAX_EXPIRES} seconds, since this server accepts each signature once."
            )
        expires = check_time(fields, now)
        check_scope(fields, self._region, self._service)
        check_signed_headers(fields, headers)
        return expires

    def _principal(self, fields: SignatureFields, requests: list[Request], digest: str) -> Principal:
        """Return the principal of the key that signed one of the requests, which differ by the form of their path.

        An unknown key takes as long as a wrong signature and raises the same error.
        """
        credential = self._credential(fields.access_key_id)
        secret = credential.secret if credential else self._dummy_secret
        results = [matches(fields, request, digest, secret) for request in requests]  # each, for a constant time
        if not any(results) or not credential:
            reason = "the signature differs" if credential else "the key is unknown"
            # 128 characters: AWS's limit for an access key id
            raise InvalidSignatureException(MISMATCH, f"key {fields.access_key_id[:128]}: {reason}")
        if not compare_digest(fields.session_token.encode("latin-1"), (credential.session_token or "").encode()):
            raise UnrecognizedClientException()
        return credential.principal(fields.access_key_id, self._user_arn)

    def _credential(self, access_key_id: str) -> Credential | None:
        with suppress(LookupError):
            credential = self._credentials(access_key_id)
            if isinstance(credential, str):
                return Credential(credential)
            return Credential(*credential) if isinstance(credential, tuple) else credential
        return None

    def _signable_paths(self, environ: WSGIEnvironment) -> tuple[str, ...]:
        """Return the paths that the client may have signed."""
        paths = signable_paths(environ)
        if not paths:
            if not self._warned_of_path:
                self._warned_of_path = True
                self._logger.error(HIDDEN_PATH)
            raise InvalidSignatureException(
                "The signature cannot be verified: this server does not see the path as sent."
            )
        return paths


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the request's headers by name in lower case. WSGI joins headers of one name."""
    headers = {key[5:]: value for key, value in environ.items() if key.startswith("HTTP_")}
    headers |= {key: environ[key] for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(key)}
    return {name.replace("_", "-").lower(): value.strip(" \t") for name, value in headers.items()}
