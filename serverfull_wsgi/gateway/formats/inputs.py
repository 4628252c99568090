"""The inputs of the formats: request, route, stage, and the facts that AWS adds to a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID


class HttpRequest(NamedTuple):
    """An HTTP request as the client sent it.

    Args:
        method: ``"GET"``, ``"POST"`` and others, in upper case.
        path: the path, percent-encoded as the client sent it, without the stage and the query.
        query: the query string as the client sent it, without ``?``.
        headers: pairs of name and value, in the client's order and spelling.
        body: the whole body. A chunked body is given without its chunks.
        source_ip: the address of the client. It is appended to X-Forwarded-For.
        host: the host in the event's ``domainName``; if empty, the value of the Host header.
        scheme: ``"https"`` or ``"http"``, for X-Forwarded-Proto.
        port: the port that the client connected to, for X-Forwarded-Port.
        protocol: the protocol in the event.

    >>> HttpRequest("GET", "/pets/7", "color=red", [("Accept", "*/*")]).source_ip
    '127.0.0.1'
    """

    method: str = "GET"
    path: str = "/"
    query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    source_ip: str = "127.0.0.1"
    host: str = ""
    scheme: str = "https"
    port: int = 443
    protocol: str = "HTTP/1.1"

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None. ``name`` is in lower case."""
        for spelled, value in self.headers:
            if spelled.lower() == name:
                return value
        return None


@dataclass(frozen=True)
class Stage:
    """A stage of an API: the facts that all its routes share.

    Args:
        name: the stage's name; if empty, the default of the kind: ``Prod`` for REST (SAM's), ``$default`` for HTTP.
        api_id: the API's id, or a function URL's; if empty, the first label of the host.
        account_id: the account that owns the API.
        deployment_id: the id of the deployment, in the events of REST APIs.
        variables: the stage variables.
        binary_media_types: of a REST API, such as ``["image/png", "image/*"]``. Bodies of these types are base64.
        is_in_path: False for a custom domain. Then the paths in events do not begin with the stage.
        base_path: the base path of a custom domain, such as ``/orders``. Payload 1.0 has it in the paths of events.
    """

    name: str = ""
    api_id: str = ""
    account_id: str = DEFAULT_ACCOUNT_ID
    deployment_id: str = "000000"
    variables: Mapping[str, str] = field(default_factory=dict)
    binary_media_types: Sequence[str] = ()
    is_in_path: bool = True
    base_path: str = ""

    def prefix(self, name: str) -> str:
        """Return the part of a path before the route: the stage ``name``, or the base path of a custom domain.

        >>> Stage().prefix("dev"), Stage().prefix("$default"), Stage(is_in_path=False, base_path="/shop").prefix("dev")
        ('/dev', '', '/shop')
        """
        return f"/{name}" if self.is_in_path and name != "$default" else self.base_path


@dataclass(frozen=True)
class Route:
    """A route of an API, as its configuration has it.

    Args:
        key: method and path template, such as ``"GET /pets/{id}"`` or ``"ANY /{proxy+}"``, or ``"$default"``.
        function: the function behind the route, as ``name`` or ``name:qualifier``. Events do not have it.
        stage: the stage of the route.
        resource_id: the id of the resource, in the events of REST APIs.
        operation_name: the ``operationId`` of an OpenAPI document, in the events of REST APIs.

    >>> Route("GET /pets/{id}").template
    '/pets/{id}'
    """

    key: str = "$default"
    function: str = ""
    stage: Stage = field(default_factory=Stage)
    resource_id: str = "000000"
    operation_name: str | None = None
    template: str = field(init=False, repr=False)  # the key's path; "$default" for that route

    def __post_init__(self) -> None:
        object.__setattr__(self, "template", self.key.rpartition(" ")[2])


class IamIdentity(NamedTuple):
    """The identity of a caller that signed the request with an IAM key."""

    access_key: str
    account_id: str
    caller_id: str
    user_arn: str
    user_id: str
    principal_org_id: str | None = None


class Caller(NamedTuple):
    """The facts about the caller that an authorizer or an API key gives to the event.

    Args:
        lambda_context: the context that a Lambda authorizer returned.
        principal_id: the principal that a Lambda authorizer returned.
        claims: the claims of a JSON web token, or of a Cognito user pool.
        scopes: the scopes of the route's JWT authorizer.
        iam: the identity of a signed request.
        api_key: the API key of the request, and ``api_key_id`` its id.
    """

    lambda_context: Mapping[str, Any] | None = None
    principal_id: str = ""
    claims: Mapping[str, str] | None = None
    scopes: Sequence[str] | None = None
    iam: IamIdentity | None = None
    api_key: str | None = None
    api_key_id: str | None = None


ANONYMOUS = Caller()


class RequestContext(NamedTuple):
    """The facts that AWS adds to a request. The defaults are fixed, so events in tests are repeatable.

    Args:
        request_id: a UUID. For a function URL it is the invocation's request id.
        extended_request_id: 15 characters and ``=``. It is the request id of HTTP APIs.
        trace_id: ``Root=1-``, 8 hexadecimal digits of the time, ``-``, and 24 random ones. A trace of the client counts
            before it.
        time: seconds since 1970.
        caller: the caller, if the route identifies callers.
        trace: the whole trace of the function's call: ``trace_id``, and fields that the client sent.
    """

    request_id: str = "00000000-0000-4000-8000-000000000000"
    extended_request_id: str = "AAAAAAAAAAAAAAA="
    trace_id: str = "Root=1-00000000-000000000000000000000000"
    time: float = 0.0
    caller: Caller = ANONYMOUS
    trace: str = ""


REQUEST = HttpRequest()
ROUTE = Route()
CONTEXT = RequestContext()
