"""The operations of AWS's Lambda API other than Invoke and InvokeAsync: HTTP to `Call`, result to HTTP.

    match ──▶ authorize the action ──▶ body ──▶ parse ──▶ validate ──▶ authorize the function ──▶ endpoint ──▶ response

A refused request's body is dropped unread, and so an unauthorized caller cannot send a package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from serverfull_wsgi.api.management import downloads
from serverfull_wsgi.api.management.calls import Call, Caller, Members
from serverfull_wsgi.api.management.endpoints import ENDPOINTS, SERVED_ELSEWHERE, refusal
from serverfull_wsgi.api.management.service import Management
from serverfull_wsgi.api.model import parsing, recorded, routing, validation
from serverfull_wsgi.api.model.responses import respond
from serverfull_wsgi.api.model.service import Operation
from serverfull_wsgi.auth.authorize import action_of, permission_of, principal_of
from serverfull_wsgi.auth.principal import DEPLOY, Principal
from serverfull_wsgi.auth.unsigned_deploys import UnsignedDeploys
from serverfull_wsgi.dispatcher import Dispatcher
from serverfull_wsgi.errors import AccessDeniedException, ServiceError, UnknownOperationException
from serverfull_wsgi.names import FunctionName
from serverfull_wsgi.registry.registry import Registry
from serverfull_wsgi.wsgi.bodies import content_of, drop_body, open_body
from serverfull_wsgi.wsgi.imports import WERKZEUG_LOCK
from serverfull_wsgi.wsgi.requests import TooLarge, raw_path
from serverfull_wsgi.wsgi.responses import NO_BODY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MESSAGE_LIMIT = 4096  # characters of an error's message, which may repeat a parameter of 6 MiB
FUNCTIONS = ("FunctionName", "Resource")  # members that name a function
_function_arn = re.compile(r"arn:[^:]*:lambda:[^:]*:[^:]*:function:.*", re.ASCII)
_host = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}", re.ASCII)


class Operations:
    """Responds to the management operations.

    Args:
        dispatcher: has the fetcher of all functions, and the server's region and account.
        registry: has the deployed functions; None if nothing can be deployed.
        unsigned: decides about requests without a principal.
    """

    def __init__(self, dispatcher: Dispatcher, registry: Registry | None, unsigned: UnsignedDeploys) -> None:
        self._dispatcher = dispatcher
        self._registry = registry
        self._management = Management(dispatcher, registry)
        self._unsigned = unsigned

    def respond(self, environ: WSGIEnvironment, start_response: StartResponse, request_id: str) -> Iterable[bytes]:
        """Respond to a request for an operation. The caller renders a `ServiceError`."""
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        match = routing.match(environ["REQUEST_METHOD"], raw_path(environ), query)
        if match is None or match.operation.name in SERVED_ELSEWHERE:
            raise UnknownOperationException(
                "No operation of the Lambda API that is served here has this method and path."
            )
        try:
            caller = self._authorize(environ, match.operation)
            parameters = self._parameters(environ, match, query)
            call = self._call(environ, match.operation, parameters, caller)
            result = ENDPOINTS[match.operation.name](self._management, call)
        except ServiceError as error:
            raise _bounded(error) from None
        return _send(match.operation, result, request_id, start_response)

    def _authorize(self, environ: WSGIEnvironment, operation: Operation) -> Caller:
        """Return the caller if it may call the operation on some function.

        Raises:
            AccessDeniedException: if it may not.
            InvalidParameterValueException: if this server does not support the operation.
        """
        action = action_of(operation)
        principal = principal_of(environ)
        if principal:
            self._check(environ, principal, action, operation)
        if operation.name not in ENDPOINTS:
            drop_body(environ)
            raise refusal(operation.name)
        if principal:
            return Caller(principal, may_see_all=True)
        reason = self._unsigned.refusal(environ)
        if reason and action == DEPLOY:
            drop_body(environ)
            raise AccessDeniedException(reason)
        return Caller(None, may_see_all=reason is None)

    @staticmethod
    def _check(environ: WSGIEnvironment, principal: Principal, action: str, operation: Operation) -> None:
        try:
            principal.require_management(action, permission_of(operation))
        except AccessDeniedException:
            drop_body(environ)
            raise

    def _parameters(self, environ: WSGIEnvironment, match: routing.Match, query: Mapping[str, list[str]]) -> Members:
        """Read the body, and return the parameters, which are valid."""
        operation = match.operation
        try:
            body = open_body(environ, recorded.body_limit(operation.name))
        except TooLarge:
            raise recorded.too_large(operation.name) from None
        with body:
            parameters = parsing.parse(operation, match.labels, query, _headers(environ), content_of(body))
        validation.validate(operation, parameters)
        return parameters

    def _call(self, environ: WSGIEnvironment, operation: Operation, parameters: dict[str, Any], caller: Caller) -> Call:
        """Return the call if the caller may make it for the function that it names."""
        function = self._function(parameters)
        if function:
            name = caller.principal.name if caller.principal else None
            self._dispatcher.require_here(function, name, permission_of(operation))
            if caller.principal:
                target = function if "Qualifier" in operation.input.members else function.without_qualifier()
                caller.principal.require_management(action_of(operation), permission_of(operation), target)
        return Call(operation, parameters, function, caller, _url(environ))

    def _function(self, parameters: dict[str, Any]) -> FunctionName | None:
        text = next((parameters[name] for name in FUNCTIONS if name in parameters), None)
        if text is None or (text == parameters.get("Resource") and not _function_arn.fullmatch(text)):
            return None
        return self._dispatcher.name(text, parameters.get("Qualifier"))

    def send_code(self, environ: WSGIEnvironment, start_response: StartResponse, request_id: str) -> Iterable[bytes]:
        """Send the package of a link. The caller renders a `ServiceError`."""
        if self._registry is None or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise UnknownOperationException("This server has no package at this path.")
        path, query = environ.get("PATH_INFO", ""), environ.get("QUERY_STRING", "")
        sha256 = downloads.verified(path, query, self._registry.secret())
        try:
            file = self._registry.packages.open(sha256)
        except FileNotFoundError:
            raise UnknownOperationException("The registry has no such package any more.") from None
        size = file.seek(0, 2)
        file.seek(0)
        headers = [
            ("Content-Type", "application/zip"),
            ("Content-Length", str(size)),
            ("Cache-Control", "private, no-store"),
            ("x-amzn-RequestId", request_id),
        ]
        start_response("200 OK", headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            file.close()
            return NO_BODY
        with WERKZEUG_LOCK:
            from werkzeug.wsgi import FileWrapper

        return FileWrapper(file)


def _send(operation: Operation, result: Members, request_id: str, start_response: StartResponse) -> Iterable[bytes]:
    response = respond(operation, result)
    status = HTTPStatus(response.status)
    headers = [*response.headers, ("x-amzn-RequestId", request_id)]
    if status != HTTPStatus.NO_CONTENT:  # RFC 9110: a 204 has no Content-Length
        headers.append(("Content-Length", str(len(response.body))))
    start_response(f"{status.value} {status.phrase}", headers)
    return [response.body] if response.body else NO_BODY


def _bounded(error: ServiceError) -> ServiceError:
    """Shorten the message of an error, which may repeat parameters."""
    if len(error.message) > MESSAGE_LIMIT:
        error.message = f"{error.message[:MESSAGE_LIMIT]}..."
    return error


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the request's headers by name in lower case."""
    return {name[5:].replace("_", "-").lower(): text for name, text in environ.items() if name.startswith("HTTP_")}


def _url(environ: WSGIEnvironment) -> str:
    """Return the URL under which the client reaches the application, without a final slash."""
    host: str = environ.get("HTTP_HOST", "")
    if not _host.fullmatch(host):
        host = f"{environ.get('SERVER_NAME', 'localhost')}:{environ.get('SERVER_PORT', '80')}"
    return f"{environ.get('wsgi.url_scheme', 'http')}://{host}{environ.get('SCRIPT_NAME', '')}"
