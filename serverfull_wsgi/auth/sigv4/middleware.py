"""The WSGI middleware that verifies AWS Signature Version 4."""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from serverfull_wsgi.api.model import recorded
from serverfull_wsgi.api.model.routing import match_below
from serverfull_wsgi.api.model.service import Operation
from serverfull_wsgi.auth.authorize import action_of, permission_of
from serverfull_wsgi.auth.credentials import Credentials
from serverfull_wsgi.auth.principal import EVENT, INVOKE, OPERATE, PRINCIPAL, Principal
from serverfull_wsgi.auth.sigv4.verifier import Verifier
from serverfull_wsgi.errors import RequestEntityTooLargeException, ServiceError, ServiceException
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID, FunctionName
from serverfull_wsgi.server_exits import raised_by_server
from serverfull_wsgi.telemetry.scope import LOGGER
from serverfull_wsgi.wsgi.bodies import digest_of, drop_body, open_body
from serverfull_wsgi.wsgi.ids import new_request_id
from serverfull_wsgi.wsgi.requests import (
    CODE_PATH,
    PAYLOAD_LIMIT,
    TooLarge,
    first_value,
    read_body,
    text_of,
)
from serverfull_wsgi.wsgi.responses import log_fields, refuse, render

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_invocation = re.compile(
    r"(?:/2015-03-31/functions/([^/]+)/invocations|/2014-11-13/functions/([^/]+)/invoke-async/?)\Z"
)


class SigV4Middleware:
    """A WSGI middleware that passes on requests with a valid signature and refuses all others.

    The application finds the key's holder, a `Principal`, in ``environ["serverfull.principal"]``.

    Args:
        app: the WSGI application to protect.
        credentials: a mapping, or a callable, from an access key id to a secret, a pair of secret and session token,
            or a `Credential`. None, or a `LookupError`, stands for an unknown key.
        region: the region that signatures must name.
        service: the service that signatures must name.
        account_id: the account in the principals' ARNs, which error messages show.
        open_paths: paths below the application that need no signature for GET and HEAD.
        body_limit: bytes. A body must be read whole before its signature can be verified.
        deploys: True if the application has a registry of functions. Then the operations that hold a package may have
            up to AWS's 70,167,211 bytes, and the signed links to packages below ``/serverfull/code/`` are open.
        replay_guard: the number of signatures to remember, so that each is accepted once. 0 turns this off: a request
            may then be sent again while its signature is valid, as clients do that retry without signing again. With
            a guard, presigned requests that are valid for more than an hour are refused.
        clock: a callable that returns seconds since 1970, to check a signature's date with.
        logger: receives a line for each refused request.
    """

    def __init__(
        self,
        app: WSGIApplication,
        credentials: Credentials,
        region: str,
        service: str = "lambda",
        *,
        account_id: str = DEFAULT_ACCOUNT_ID,
        open_paths: Collection[str] = ("/healthcheck",),
        body_limit: int = PAYLOAD_LIMIT,
        deploys: bool = False,
        replay_guard: int = 0,
        clock: Callable[[], float] = time.time,
        logger: logging.Logger = LOGGER,
    ) -> None:
        self._app = app
        self._verifier = Verifier(
            credentials,
            region,
            service,
            account_id=account_id,
            replay_guard=replay_guard,
            clock=clock,
            logger=logger,
        )
        self._region, self._account_id = region, account_id
        self._open_paths = frozenset([open_paths] if isinstance(open_paths, str) else open_paths)
        self._body_limit = body_limit
        self._deploys = deploys
        self._has_replay_guard = replay_guard > 0
        self._logger = logger

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") and self._is_open(environ.get("PATH_INFO", "")):
            return self._app(environ, start_response)
        request_id = new_request_id()
        try:
            environ[PRINCIPAL] = self._authenticate(environ)
        except ServiceError as error:
            drop_body(environ)
            return refuse(error, request_id, environ, start_response, self._logger)
        except BaseException as error:  # raised by a user's credentials, which may even call sys.exit()
            if raised_by_server(error):
                raise
            self._logger.exception("cannot verify a signature", extra=log_fields(environ, request_id))
            drop_body(environ)
            return render(ServiceException(), request_id, environ, start_response)
        return self._app(environ, start_response)

    def _is_open(self, path: str) -> bool:
        """Return whether a GET of this path needs no signature of Signature Version 4."""
        return path in self._open_paths or (self._deploys and path.startswith(CODE_PATH))

    def _authenticate(self, environ: WSGIEnvironment) -> Principal:
        """Return the principal that signed the request. The body is read and put back. Raises `ServiceError`."""
        invocation = _invocation.search(environ.get("PATH_INFO", ""))
        operation = None if invocation else _operation(environ)

        def read_digest() -> str:
            if operation and self._deploys and operation.name in recorded.BODY_LIMITS:
                return _package_digest(environ, operation)
            return self._body_digest(environ, operation)

        verified = self._verifier.verify(environ, read_digest)
        self._authorize(verified.principal, environ, invocation, operation)
        verified.admit()
        return verified.principal

    def _authorize(
        self,
        principal: Principal,
        environ: WSGIEnvironment,
        invocation: re.Match[str] | None,
        operation: Operation | None,
    ) -> None:
        """Require the principal's permission, so that only permitted requests count in the replay guard.

        The application requires the permission for the function anyway, so without a guard only the action of other
        requests is checked. The name of a function that is not valid is left to the application, which refuses it.
        """
        if operation:
            principal.require_management(action_of(operation), permission_of(operation))
        elif not invocation:
            principal.require(OPERATE)
        elif self._has_replay_guard:
            is_event = invocation[2] or environ.get("HTTP_X_AMZ_INVOCATION_TYPE") == "Event"
            qualifier = first_value(environ.get("QUERY_STRING", ""), "Qualifier") if invocation[1] else None
            name = text_of(invocation[1] or invocation[2])
            try:
                function = FunctionName.parse(name, qualifier, region=self._region, account_id=self._account_id)
            except ServiceError:
                return
            principal.require(EVENT if is_event else INVOKE, function)

    def _body_digest(self, environ: WSGIEnvironment, operation: Operation | None) -> str:
        """Read the body, put it back for the application, and return its SHA-256 in hexadecimal."""
        body = b""
        try:
            body = read_body(environ, self._body_limit)
        except TooLarge:
            name = permission_of(operation).partition(":")[2] if operation else "InvokeFunction"
            raise RequestEntityTooLargeException(
                f"Request must be smaller than {self._body_limit} bytes for the {name} operation"
            ) from None
        finally:
            environ["wsgi.input"], environ["wsgi.input_terminated"] = io.BytesIO(body), True
        return sha256(body).hexdigest()


def _package_digest(environ: WSGIEnvironment, operation: Operation) -> str:
    """Do as `_body_digest` does for a body that may hold a package. A large one is in a file."""
    try:
        body = open_body(environ, recorded.body_limit(operation.name))
    except TooLarge:
        environ["wsgi.input"] = io.BytesIO()
        raise recorded.too_large(operation.name) from None
    environ["wsgi.input"], environ["wsgi.input_terminated"] = body, True
    return digest_of(body)


def _operation(environ: WSGIEnvironment) -> Operation | None:
    """Return the operation of the Lambda API that a request addresses, other than by the path of an invocation."""
    with suppress(UnicodeEncodeError):  # a character that no WSGI server puts into an environ; `Verifier` refuses it
        found = match_below(environ)
        return found.operation if found else None
    return None
