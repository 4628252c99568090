"""Errors of the package, and their form in a response. `auth.sigv4.errors` has those of signatures.

    ServerfullError
    ├── ConfigurationError               the configuration cannot be served; also a ValueError
    ├── NotFoundError                    the fetcher has no such function; also a LookupError
    ├── RuntimeFault                     a function that AWS's runtime cannot load, or its result
    └── ServiceError                     the error response to one request, in AWS's words
        ├── ValidationException              400
        ├── InvalidParameterValueException   400
        │   └── UntypedInvalidParameterValue
        ├── InvalidRequestContentException   400
        ├── SerializationException           400
        ├── SnapStartException               400
        ├── AccessDeniedException            403
        ├── ResourceNotFoundException        404
        ├── UnknownOperationException        404
        ├── UnknownRequestMockError          404
        ├── RequestTimeoutException          408
        ├── SnapStartTimeoutException        408
        ├── ResourceConflictException        409
        ├── PreconditionFailedException      412
        ├── RequestEntityTooLargeException   413
        ├── TooManyRequestsException         429
        │   └── ZeroReservedConcurrency
        ├── ServiceException                 500
        └── InvalidRuntimeException          502

A `ServiceError` has its own code, status and JSON. It is raised where the problem is found, and rendered once
(`wsgi.responses.render`). The header ``x-amzn-ErrorType`` carries the code. As on AWS, the key of the message is
``message`` for some errors and ``Message`` for others. `api.model.exceptions` makes a class of each other exception
of AWS's service model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import ClassVar

from serverfull_wsgi.evidence import reason


class ServerfullError(Exception):
    """The base class of all errors that this package raises."""


class ConfigurationError(ServerfullError, ValueError):
    """A configuration that cannot be served. The message names the input, the rule and the cure."""


class NotFoundError(ServerfullError, LookupError):
    """A fetcher has no function of this name and qualifier. ``id`` is ``name`` or ``name:qualifier``."""

    def __init__(self, id: str) -> None:
        super().__init__(f"no function {id!r}")
        self.id = id


class RuntimeFault(ServerfullError):
    """A handler that cannot be loaded, or a result that JSON cannot represent.

    Args:
        type: AWS's type of the error, such as ``Runtime.ImportModuleError``.
        message: the function error's ``errorMessage``.
        stack_trace: the lines of the function error's ``stackTrace``. Most errors have none.
    """

    def __init__(self, type: str, message: str, stack_trace: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.type = type
        self.stack_trace = tuple(stack_trace)


class ServiceError(ServerfullError):
    """An error response in AWS's form: a status, a code, and a JSON body with a message."""

    code: ClassVar[str] = "ServiceException"
    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    message_key: ClassVar[str] = "message"
    fault: ClassVar[str | None] = "User"  # the body's "Type"; None where AWS sends none

    def __init__(self, message: str, *, quoted: Iterable[str] = ()) -> None:
        """Keep the message. ``quoted`` are the parts of it that a caller wrote and that may be long."""
        super().__init__(message)
        self.message = message
        self._quoted = tuple(quoted)

    @property
    def evidence(self) -> str:
        """The reason for the server's log, with long values of the caller clipped. It may be more exact."""
        return reason(self.message, self._quoted)

    def members(self) -> dict[str, str]:
        """Return the members of the body, in AWS's order."""
        typed = {"Type": self.fault} if self.fault else {}
        return {**typed, self.message_key: self.message}

    def body(self) -> bytes:
        """Return the body as JSON text."""
        return json.dumps(self.members(), separators=(",", ":")).encode()

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers that this error adds to those of all errors."""
        return []


class ValidationException(ServiceError):
    """Parameters that break a pattern, a length or an enumeration. One message names all of them.

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
        super().__init__(f"{count} validation {noun} detected: {'; '.join(violations)}", quoted=_values(violations))
        self.violations = tuple(violations)


def _values(violations: Sequence[str]) -> Iterator[str]:
    """Return the values in these texts of broken constraints."""
    for text in violations:
        if found := _violation.fullmatch(text):
            yield found[1]


_violation = re.compile(r"Value '(.*)' at '[^']*' failed to satisfy constraint: .*", re.DOTALL)


def violation(value: str, member: str, rule: str) -> str:
    """Return the text of one broken constraint, in AWS's words, for a `ValidationException`."""
    return f"Value '{value}' at '{member}' failed to satisfy constraint: Member must {rule}"


class InvalidParameterValueException(ServiceError):
    """A parameter that is well-formed and not valid, such as two different qualifiers."""

    code = "InvalidParameterValueException"
    status = HTTPStatus.BAD_REQUEST


class UntypedInvalidParameterValue(InvalidParameterValueException):
    """The same error in the few cases in which AWS's body has no "Type"."""

    fault = None


class InvalidRequestContentException(ServiceError):
    """A body that is not valid JSON or not complete, or a client context that is not valid."""

    code = "InvalidRequestContentException"
    status = HTTPStatus.BAD_REQUEST


class SerializationException(ServiceError):
    """A value in a request whose type is not the type of the service model, such as a text for an integer."""

    code = "SerializationException"
    status = HTTPStatus.BAD_REQUEST
    message_key = "Message"
    fault = None


class AccessDeniedException(ServiceError):
    """A request for another account's function, or one that the caller has no permission for."""

    code = "AccessDeniedException"
    status = HTTPStatus.FORBIDDEN
    message_key = "Message"
    fault = None


class ResourceNotFoundException(ServiceError):
    """A function, version or alias that does not exist. The message names its ARN."""

    code = "ResourceNotFoundException"
    status = HTTPStatus.NOT_FOUND
    message_key = "Message"


class UnknownOperationException(ServiceError):
    """A method and path that belong to no operation of the Lambda API that is served here."""

    code = "UnknownOperationException"
    status = HTTPStatus.NOT_FOUND


class UnknownRequestMockError(ServiceError):
    """A mock error that the function does not document. ``choices`` are the documented ones."""

    code = "UnknownRequestMockError"
    status = HTTPStatus.NOT_FOUND

    def __init__(self, wanted: str, choices: Sequence[str]) -> None:
        known = ", ".join(choices) if choices else "none; list them with Function(handler, errors=[...])"
        message = f"Unknown mock error '{wanted}'. Choose with the X-Error-Type header from: {known}"
        super().__init__(message, quoted=[wanted])
        self.choices = tuple(choices)


class RequestTimeoutException(ServiceError):
    """A request that its client sends too slowly. ``seconds`` is the time for the next 64 KiB, or for the rest."""

    code = "RequestTimeoutException"
    status = HTTPStatus.REQUEST_TIMEOUT

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The client sent neither the rest of its request nor 64 KiB of it within {seconds:g} s; "
            "SERVERFULL_CLIENT_TIMEOUT sets this time."
        )


class ResourceConflictException(ServiceError):
    """A resource whose state does not allow the request, such as a function that cannot run."""

    code = "ResourceConflictException"
    status = HTTPStatus.CONFLICT


class PreconditionFailedException(ServiceError):
    """A RevisionId that is not the latest one."""

    code = "PreconditionFailedException"
    status = HTTPStatus.PRECONDITION_FAILED


class RequestEntityTooLargeException(ServiceError):
    """A body over its operation's limit."""

    code = "RequestEntityTooLargeException"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    fault = None


class TooManyRequestsException(ServiceError):
    """A limit is reached. ``reason`` is one of AWS's reasons, ``retry_after`` is in whole seconds."""

    code = "TooManyRequestsException"
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, reason: str = "ConcurrentInvocationLimitExceeded", retry_after: int = 1) -> None:
        super().__init__("Rate Exceeded.")
        self.reason = reason
        self.retry_after = retry_after

    @property
    def evidence(self) -> str:
        return f"{self.message} {self.reason}"

    def members(self) -> dict[str, str]:
        return {"Reason": self.reason, **super().members()}

    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(self.retry_after))]


class ZeroReservedConcurrency(TooManyRequestsException):
    """A function whose reserved concurrency is 0, so that it never runs. Its events end without an attempt."""

    def __init__(self) -> None:
        super().__init__("ReservedFunctionConcurrentInvocationLimitExceeded")


class ServiceException(ServiceError):
    """A failure of the server itself. The message reveals nothing; the server's log has the reason."""

    message_key = "Message"

    def __init__(self, message: str = "The service failed; its log has the reason.") -> None:
        super().__init__(message)


class SnapStartException(ServiceError):
    """A function with SnapStart whose hook after a restore has raised an error. The function's log has the error."""

    code = "SnapStartException"
    status = HTTPStatus.BAD_REQUEST
    message_key = "Message"

    def __init__(
        self, message: str = "The after-restore hook encountered an error. For more information, check the logs."
    ) -> None:
        super().__init__(message)


class SnapStartTimeoutException(ServiceError):
    """A function with SnapStart whose hooks after a restore take too long."""

    code = "SnapStartTimeoutException"
    status = HTTPStatus.REQUEST_TIMEOUT
    message_key = "Message"

    def __init__(self, message: str = "Lambda couldn't restore the snapshot within the timeout limit.") -> None:
        super().__init__(message)


class InvalidRuntimeException(ServiceError):
    """A function whose runtime is unknown or not installed. The message names the cure."""

    code = "InvalidRuntimeException"
    status = HTTPStatus.BAD_GATEWAY
    message_key = "Message"
