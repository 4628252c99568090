"""Who signed this request? AWS Signature Version 4 in front of a WSGI application."""

from __future__ import annotations

import io
import logging
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING
from urllib.parse import unquote

from serverfull_wsgi.auth.credentials import Credential, Credentials
from serverfull_wsgi.auth.principal import OPERATE, PRINCIPAL, Principal
from serverfull_wsgi.auth.sigv4.errors import (
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)
from serverfull_wsgi.auth.sigv4.parsing import Request, SignatureFields, claim_of, pairs_of
from serverfull_wsgi.auth.sigv4.replay_guard import ReplayGuard
from serverfull_wsgi.auth.sigv4.signature import (
    MISMATCH,
    check_payload,
    check_scope,
    check_signed_headers,
    check_time,
    matches,
)
from serverfull_wsgi.errors import RequestEntityTooLargeException, ServiceError, ServiceException
from serverfull_wsgi.names import partition_of
from serverfull_wsgi.server_exits import raised_by_server
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.wsgi.requests import PAYLOAD_LIMIT, TooLarge, new_ids, read_body
from serverfull_wsgi.wsgi.responses import render

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HIDDEN_PATH = (
    "this WSGI server hides the path as the client sent it, or something in front of the application changed it: "
    "RAW_URI or REQUEST_URI must be there and mean the same as SCRIPT_NAME and PATH_INFO, or signatures of paths with "
    "other than plain characters cannot be verified; gunicorn, waitress and uWSGI pass it on"
)
_invocation = re.compile(r"(/2015-03-31/functions/[^/]+/invocations|/2014-11-13/functions/[^/]+/invoke-async/?)\Z")
_scheme_and_host = re.compile(r"\Ahttps?://[^/?]*", re.IGNORECASE)  # of a request that names the whole URL
_plain = re.compile(r"[A-Za-z0-9/._~-]*")  # characters that no client would percent-encode


class SigV4Middleware:
    """Lets through what is signed with one of ``credentials``, for ``region`` and ``service``; refuses the rest.

    ``credentials`` are a mapping, or a callable, from access key id to a secret, to a pair of secret and session
    token, or to a `Credential`; None or no such key stands for a key nobody has. Whose key it was is in
    ``environ["serverfull.principal"]``, a `Principal`. Its ``account_id`` makes up the ARN that refusals name.

    ``open_paths`` are paths below the application that anyone may GET. ``body_limit`` is in bytes: a body has to be
    read whole before its signature can be verified. ``replay_guard`` is how many signatures are remembered, so that
    each is good for one request; with 0 it may be sent again while its time lasts, as clients do that try again
    without signing again. ``clock`` gives seconds since 1970.
    """

    def __init__(
        self,
        app: WSGIApplication,
        credentials: Credentials,
        region: str,
        service: str = "lambda",
        *,
        account_id: str = "123456789012",
        open_paths: Collection[str] = ("/healthcheck",),
        body_limit: int = PAYLOAD_LIMIT,
        replay_guard: int = 0,
        clock: Callable[[], float] = time.time,
        logger: logging.Logger = LOGGER,
    ) -> None:
        self._app = app
        self._find = credentials if callable(credentials) else credentials.get
        self._region, self._service = region, service
        self._users = f"arn:{partition_of(region)}:iam::{account_id}:user/"
        self._open_paths = frozenset([open_paths] if isinstance(open_paths, str) else open_paths)
        self._body_limit = body_limit
        self._replays = ReplayGuard(replay_guard) if replay_guard else None
        self._clock = clock
        self._logger = logger
        self._nobodys_secret = secrets.token_hex(20)
        self._told = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in self._open_paths and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self._app(environ, start_response)
        request_id = new_ids().request_id
        try:
            environ[PRINCIPAL] = self._verified(environ)
        except ServiceError as error:
            refusal = error
            reason = getattr(error, "evidence", "") or error.message
            self._logger.info("refused: %s: %s", error.code, reason, extra={"request_id": request_id})
        except BaseException as error:  # of credentials that come from elsewhere; they may even exit
            if raised_by_server(error):
                raise
            refusal = ServiceException("The service failed; its log has the reason.")
            self._logger.exception("a signature could not be verified", extra={"request_id": request_id})
        else:
            return self._app(environ, start_response)
        _discard(environ)
        return render(refusal, request_id, environ, start_response)

    def _verified(self, environ: WSGIEnvironment) -> Principal:
        """Who signed the request, whose body this reads and puts back. Raises `ServiceError`."""
        try:
            headers, query = _headers(environ), pairs_of(environ.get("QUERY_STRING", ""))
            claim = claim_of(headers, query)
            if not claim:
                raise MissingAuthenticationTokenException()
            now = int(self._clock())
            until = self._checked(claim, headers, now)
            request = Request(environ["REQUEST_METHOD"], self._sent_path(environ), query, headers)
            principal = self._holder(claim, request, self._digest(environ, headers))
        except UnicodeEncodeError:  # text that no WSGI server makes
            raise InvalidSignatureException(MISMATCH) from None
        if self._replays:
            self._replays.admit(claim.signature, until, now)
        if not _invocation.search(environ.get("PATH_INFO", "")):
            principal.require(OPERATE)
        return principal

    def _checked(self, claim: SignatureFields, headers: Mapping[str, str], now: int) -> int:
        """Whatever can be refused without a look at keys, so that it is the same for all. Until when it is good."""
        until = check_time(claim, now)
        check_scope(claim, self._region, self._service)
        check_signed_headers(claim, headers)
        return until

    def _digest(self, environ: WSGIEnvironment, headers: Mapping[str, str]) -> str:
        """The SHA-256 of the body, in hexadecimal; the body itself is left to be read once more."""
        body = b""
        try:
            body = read_body(environ, self._body_limit)
        except TooLarge:
            raise RequestEntityTooLargeException(
                f"Request must be smaller than {self._body_limit} bytes for the InvokeFunction operation"
            ) from None
        finally:
            environ["wsgi.input"], environ["wsgi.input_terminated"] = io.BytesIO(body), True
        digest = sha256(body).hexdigest()
        check_payload(headers, digest)
        return digest

    def _holder(self, claim: SignatureFields, request: Request, digest: str) -> Principal:
        """Whose key it is. One that nobody has costs what a wrong signature does, and is refused in the same words."""
        credential = self._credential(claim.access_key_id)
        secret = credential.secret if credential else self._nobodys_secret
        if not matches(claim, request, digest, secret) or not credential:
            reason = "the signature differs" if credential else "nobody has it"
            raise InvalidSignatureException(MISMATCH, f"key {claim.access_key_id[:128]}: {reason}")
        if not compare_digest(claim.session_token.encode("latin-1"), (credential.session_token or "").encode()):
            raise UnrecognizedClientException()
        return credential.principal(claim.access_key_id, self._users)

    def _credential(self, access_key_id: str) -> Credential | None:
        with suppress(LookupError):
            found = self._find(access_key_id)
            if isinstance(found, str):
                return Credential(found)
            return Credential(*found) if isinstance(found, tuple) else found
        return None

    def _sent_path(self, environ: WSGIEnvironment) -> str:
        """The whole path as the client sent it, which is what it signed: with the prefix of a mount.

        It has to mean what the application sees. That alone is not enough: ``%2F`` and ``/`` look the same there.
        """
        seen = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
        path = _scheme_and_host.sub("", target).partition("?")[0] if target else seen
        if unquote(path, "latin-1") == seen and (target or _plain.fullmatch(seen)):
            return path
        if not self._told:
            self._told = True
            self._logger.error(HIDDEN_PATH)
        raise InvalidSignatureException("The signature cannot be verified: this server does not see the path as sent.")


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    """A request's headers by their names in lower case; WSGI makes one of those that come twice."""
    named = {key[5:]: value for key, value in environ.items() if key.startswith("HTTP_")}
    named |= {key: environ[key] for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(key)}
    return {name.replace("_", "-").lower(): value.strip(" \t") for name, value in named.items()}


def _discard(environ: WSGIEnvironment) -> None:
    """Takes what the client is sending, within bounds: one that cannot finish never reads its answer."""
    with suppress(ServiceError, TooLarge, OSError):
        read_body(environ, 0)
