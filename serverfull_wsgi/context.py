"""The context, a handler's second argument. It has the attributes of AWS's own context, and no others."""

from __future__ import annotations

import sys
from time import monotonic
from typing import Any

from serverfull_wsgi.domain import Invocation

W3C_FIELDS = ("traceparent", "tracestate", "baggage")  # AWS's runtime drops other members of a client context's "w3c"


class LambdaContext:
    """The context of one invocation, as AWS's Python runtime makes it.

    ``deadline`` is a value of `time.monotonic`, so that a step of the wall clock does not move it. The other arguments
    are the attributes of the same name.
    """

    def __init__(
        self,
        aws_request_id: str,
        *,
        function_name: str,
        function_version: str,
        memory_limit_in_mb: str,
        invoked_function_arn: str,
        log_group_name: str,
        log_stream_name: str,
        deadline: float,
        client_context: dict[str, Any] | None = None,
    ) -> None:
        self.aws_request_id = aws_request_id
        self.log_group_name = log_group_name
        self.log_stream_name = log_stream_name
        self.function_name = function_name
        self.memory_limit_in_mb = memory_limit_in_mb  # a string, as on AWS
        self.function_version = function_version
        self.invoked_function_arn = invoked_function_arn
        self.tenant_id: str | None = None
        self._w3c_fields = _w3c_fields(client_context) if client_context else ()
        self.client_context = None if client_context is None else ClientContext(client_context)
        self.identity = CognitoIdentity()
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function's timeout, 0 after it."""
        return max(0, int((self._deadline - monotonic()) * 1000))

    def log(self, msg: object) -> None:
        """Write to the function's log. No line end is added."""
        sys.stdout.write(str(msg))

    def w3c(self) -> dict[str, str]:
        """Return the W3C trace context of the client context."""
        return dict(self._w3c_fields)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(["
            f"aws_request_id={self.aws_request_id},"
            f"log_group_name={self.log_group_name},"
            f"log_stream_name={self.log_stream_name},"
            f"function_name={self.function_name},"
            f"memory_limit_in_mb={self.memory_limit_in_mb},"
            f"function_version={self.function_version},"
            f"invoked_function_arn={self.invoked_function_arn},"
            f"client_context={self.client_context},"
            f"identity={self.identity},"
            f"tenant_id={self.tenant_id}"
            "])"
        )


def context_like(context: LambdaContext, invocation: Invocation, deadline: float) -> LambdaContext:
    """Return the context of ``invocation``, which runs the same function as the invocation of ``context``.

    A function's contexts have most attributes in common. To copy these takes 0.5 to 1 µs less than to set each. The
    values that they share are immutable.
    """
    copy = object.__new__(LambdaContext)
    attributes = copy.__dict__ = context.__dict__.copy()
    attributes["aws_request_id"] = invocation.request_id
    attributes["invoked_function_arn"] = invocation.function_name.arn
    attributes["identity"] = CognitoIdentity()
    attributes["_deadline"] = deadline
    if (members := invocation.client_context) is not None:
        copy._w3c_fields, copy.client_context = _w3c_fields(members), ClientContext(members)
    return copy


class _Record:
    """An object with a fixed set of attributes. Its ``repr`` shows all of them."""

    __slots__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{','.join(f'{name}={getattr(self, name)}' for name in self.__slots__)}])"


class CognitoIdentity(_Record):
    """The caller's Amazon Cognito identity. It is always present and always empty: this server does not use Cognito."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self) -> None:
        self.cognito_identity_id: str | None = None
        self.cognito_identity_pool_id: str | None = None


class Client(_Record):
    """The calling application, as it describes itself. A member that it leaves out is None."""

    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")  # noqa: RUF023 (AWS's order)

    def __init__(self, members: dict[str, Any]) -> None:
        for name in self.__slots__:
            setattr(self, name, members.get(name))


class ClientContext(_Record):
    """The client context that the caller sent. Keys unknown to AWS are dropped."""

    __slots__ = ("custom", "env", "client")  # noqa: RUF023 (AWS's order)

    def __init__(self, members: dict[str, Any]) -> None:
        self.custom = members.get("custom")
        self.env = members.get("env")
        client = members.get("client")
        self.client = None if client is None else Client(client)


def _w3c_fields(client_context: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    given = client_context.get("w3c")
    if not isinstance(given, dict):
        return ()
    return tuple((name, given[name]) for name in W3C_FIELDS if isinstance(given.get(name), str))
