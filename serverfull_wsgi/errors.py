"""Every refusal, and how it looks on the wire (those of signatures are in middleware/refusals.py).

    ServerfullError
    ├── ConfigurationError               the start is refused; also a ValueError
    ├── NotFoundError                    a fetcher has no such function; also a LookupError
    ├── RuntimeFault                     what AWS's runtime itself finds wrong with a function
    └── ServiceError                     an answer to one request, in AWS's words
        ├── ValidationException              400
        ├── InvalidParameterValueException   400
        ├── InvalidRequestContentException   400
        ├── AccessDeniedException            403
        ├── ResourceNotFoundException        404
        ├── UnknownOperationException        404
        ├── UnknownRequestMockError          404
        ├── ResourceConflictException        409
        ├── RequestEntityTooLargeException   413
        ├── TooManyRequestsException         429
        │   └── ZeroReservedConcurrency
        ├── ServiceException                 500
        └── InvalidRuntimeException          502

The code of an answer travels in the header ``x-amzn-ErrorType``; the case of the message's key differs from error
to error, as it does on AWS.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import ClassVar


class ServerfullError(Exception):
    """The root of every error this package raises on purpose."""


class ConfigurationError(ServerfullError, ValueError):
    """What was configured cannot be served; the message names the input, the rule and the cure."""


class NotFoundError(ServerfullError, LookupError):
    """A fetcher knows no function of this name and qualifier; ``id`` is what was looked for."""

    def __init__(self, id: str) -> None:
        super().__init__(f"no function {id!r}")
        self.id = id


class RuntimeFault(ServerfullError):
    """A handler that cannot be loaded or a result that is no JSON; ``type`` is AWS's, ``Runtime.ImportModuleError``.

    ``stack_trace`` has the form of a function error's ``stackTrace``; it is empty for most.
    """

    def __init__(self, type: str, message: str, stack_trace: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.type = type
        self.stack_trace = tuple(stack_trace)


class ServiceError(ServerfullError):
    """A refusal in AWS's form: a status, a code, and a JSON body with a message."""

    code: ClassVar[str] = "ServiceException"
    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    message_key: ClassVar[str] = "message"
    fault: ClassVar[str | None] = "User"  # the body's "Type"; None where AWS sends none

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def members(self) -> dict[str, str]:
        """The members of the body, in AWS's order."""
        typed = {"Type": self.fault} if self.fault else {}
        return {**typed, self.message_key: self.message}

    def body(self) -> bytes:
        return json.dumps(self.members(), separators=(",", ":")).encode()

    def headers(self) -> list[tuple[str, str]]:
        """The headers that this kind of error adds to those of every error."""
        return []


class ValidationException(ServiceError):
    """Parameters that break a pattern, a length or an enumeration, all of them named at once.

    >>> print(ValidationException([violation("Tale", "logType", "satisfy enum value set: [None, Tail]")]))
    1 validation error detected: Value 'Tale' at 'logType' failed to satisfy constraint: \
Member must satisfy enum value set: [None, Tail]
    """

    code = "ValidationException"
    status = HTTPStatus.BAD_REQUEST
    fault = None

    def __init__(self, violations: Sequence[str]) -> None:
        count = len(violations)
        noun = "error" if count == 1 else "errors"
        super().__init__(f"{count} validation {noun} detected: {'; '.join(violations)}")
        self.violations = tuple(violations)


def violation(value: str, member: str, rule: str) -> str:
    """One broken constraint in AWS's words, for a `ValidationException`."""
    return f"Value '{value}' at '{member}' failed to satisfy constraint: Member must {rule}"


class InvalidParameterValueException(ServiceError):
    """A parameter that is well-formed and still cannot be meant."""

    code = "InvalidParameterValueException"
    status = HTTPStatus.BAD_REQUEST


class InvalidRequestContentException(ServiceError):
    """A body that is no JSON or not whole, or a client context that is none."""

    code = "InvalidRequestContentException"
    status = HTTPStatus.BAD_REQUEST


class AccessDeniedException(ServiceError):
    """What is asked for is somebody else's, or not for this caller."""

    code = "AccessDeniedException"
    status = HTTPStatus.FORBIDDEN
    message_key = "Message"
    fault = None


class ResourceNotFoundException(ServiceError):
    """No such function, version or alias; the message names its ARN."""

    code = "ResourceNotFoundException"
    status = HTTPStatus.NOT_FOUND
    message_key = "Message"


class UnknownOperationException(ServiceError):
    """No operation of the Lambda API that is served here has this method and path."""

    code = "UnknownOperationException"
    status = HTTPStatus.NOT_FOUND


class UnknownRequestMockError(ServiceError):
    """Mock mode was asked for an error that the function does not document; ``choices`` are those it does."""

    code = "UnknownRequestMockError"
    status = HTTPStatus.NOT_FOUND

    def __init__(self, wanted: str, choices: Sequence[str]) -> None:
        known = ", ".join(choices) if choices else "none; list them with Function(handler, errors=[...])"
        super().__init__(f"Unknown mock error '{wanted}'. Choose with the X-Error-Type header from: {known}")
        self.choices = tuple(choices)


class ResourceConflictException(ServiceError):
    """What is asked for is in a state that does not allow it, such as a function that cannot run."""

    code = "ResourceConflictException"
    status = HTTPStatus.CONFLICT


class RequestEntityTooLargeException(ServiceError):
    """A body over the limit of its operation, in bytes."""

    code = "RequestEntityTooLargeException"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    fault = None


class TooManyRequestsException(ServiceError):
    """No room now. ``reason`` is one of AWS's reasons; ``retry_after`` is in whole seconds."""

    code = "TooManyRequestsException"
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, reason: str = "ConcurrentInvocationLimitExceeded", retry_after: int = 1) -> None:
        super().__init__("Rate Exceeded.")
        self.reason = reason
        self.retry_after = retry_after

    def members(self) -> dict[str, str]:
        return {"Reason": self.reason, **super().members()}

    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(self.retry_after))]


class ZeroReservedConcurrency(TooManyRequestsException):
    """The function may not run at all, its reserved concurrency being 0; an event of it ends without a try."""

    def __init__(self) -> None:
        super().__init__("ReservedFunctionConcurrentInvocationLimitExceeded")


class ServiceException(ServiceError):
    """A failure of the server's own. Ours never say more than that, and the log has the rest."""

    message_key = "Message"


class InvalidRuntimeException(ServiceError):
    """A function whose runtime is not known or cannot be had; the message says what to do."""

    code = "InvalidRuntimeException"
    status = HTTPStatus.BAD_GATEWAY
    message_key = "Message"
