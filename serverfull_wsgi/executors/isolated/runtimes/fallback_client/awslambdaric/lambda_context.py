"""The context, a handler's second argument, with the attributes of AWS's."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any

W3C_ALLOWED_FIELDS = ("traceparent", "tracestate", "baggage")


class LambdaContext:
    """The context of one invocation.

    Args:
        invoke_id: the request id.
        client_context: the caller's client context; its member ``w3c`` is removed.
        cognito_identity: the caller's identity.
        epoch_deadline_time_in_ms: the end of the function's time, in milliseconds since 1970.
        invoked_function_arn: the function's ARN, as the caller addressed it.
        tenant_id: the caller's tenant.
    """

    def __init__(
        self,
        invoke_id: str,
        client_context: dict[str, Any] | None,
        cognito_identity: dict[str, Any] | None,
        epoch_deadline_time_in_ms: int,
        invoked_function_arn: str | None = None,
        tenant_id: str | None = None,
    ) -> None:
        self.aws_request_id = invoke_id
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = invoked_function_arn
        self.tenant_id = tenant_id
        self._w3c_fields = _pop_w3c_fields(client_context)
        self.client_context = None if client_context is None else ClientContext(client_context)
        self.identity = CognitoIdentity(cognito_identity or {})
        self._epoch_deadline_time_in_ms = epoch_deadline_time_in_ms

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function's timeout, 0 after it."""
        return max(0, self._epoch_deadline_time_in_ms - int(time.time() * 1000))

    def log(self, msg: object) -> None:
        """Write to the function's log. No line end is added."""
        for handler in logging.getLogger().handlers:
            if sink := getattr(handler, "log_sink", None):
                sink.log(str(msg))
                return
        sys.stdout.write(str(msg))

    def w3c(self) -> dict[str, str]:
        """Return the W3C trace context of the client context."""
        return dict(self._w3c_fields)

    def __repr__(self) -> str:
        shown = (
            *("aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb"),
            *("function_version", "invoked_function_arn", "client_context", "identity", "tenant_id"),
        )
        return _text(self, shown)


class _Record:
    """An object with a fixed set of attributes, from a dict. Its ``repr`` shows all of them."""

    __slots__: tuple[str, ...] = ()
    _KEYS: tuple[str, ...] = ()  # of the dict, if they are not the attributes' names

    def __init__(self, members: dict[str, Any]) -> None:
        for name, key in zip(self.__slots__, self._KEYS or self.__slots__, strict=True):
            setattr(self, name, members.get(key))

    def __repr__(self) -> str:
        return _text(self, self.__slots__)


class CognitoIdentity(_Record):
    """The caller's Amazon Cognito identity. It is always present, and often empty."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")
    _KEYS = ("cognitoIdentityId", "cognitoIdentityPoolId")
    cognito_identity_id: str | None
    cognito_identity_pool_id: str | None


class Client(_Record):
    """The calling application, as it describes itself."""

    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")  # noqa: RUF023 (AWS's order)


class ClientContext(_Record):
    """The client context that the caller sent. Other keys are dropped."""

    __slots__ = ("custom", "env", "client")  # noqa: RUF023 (AWS's order)

    def __init__(self, members: dict[str, Any]) -> None:
        super().__init__(members)
        self.client: Any
        self.client = None if self.client is None else Client(self.client)


def _text(record: object, names: tuple[str, ...]) -> str:
    return f"{type(record).__name__}([{','.join(f'{name}={getattr(record, name)}' for name in names)}])"


def _pop_w3c_fields(client_context: Any) -> dict[str, str]:
    given = client_context.pop("w3c", None) if isinstance(client_context, dict) else None
    if not isinstance(given, dict):
        return {}
    return {name: given[name] for name in W3C_ALLOWED_FIELDS if isinstance(given.get(name), str)}
