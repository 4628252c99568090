"""Errors of requests without a valid signature, in AWS's words."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from serverfull_wsgi.errors import ServiceError


class MissingAuthenticationTokenException(ServiceError):
    """A request without a signature."""

    code = "MissingAuthenticationTokenException"
    status = HTTPStatus.FORBIDDEN
    fault = None

    def __init__(self) -> None:
        super().__init__("Missing Authentication Token")


class IncompleteSignatureException(ServiceError):
    """A signature that does not have the form of Signature Version 4."""

    code = "IncompleteSignatureException"
    status = HTTPStatus.FORBIDDEN
    fault = None


class InvalidSignatureException(ServiceError):
    """A signature of another request, time or service, or by an unknown key.

    ``evidence`` is the exact reason. Only the server's log may show it.
    """

    code = "InvalidSignatureException"
    status = HTTPStatus.FORBIDDEN
    fault = None

    def __init__(self, message: str, evidence: str = "", *, quoted: Iterable[str] = ()) -> None:
        super().__init__(message, quoted=quoted)
        self._evidence = evidence

    @property
    def evidence(self) -> str:
        return self._evidence or super().evidence


class UnrecognizedClientException(ServiceError):
    """A valid signature with a session token that does not belong to the key."""

    code = "UnrecognizedClientException"
    status = HTTPStatus.FORBIDDEN
    fault = None

    def __init__(self) -> None:
        super().__init__("The security token included in the request is invalid.")
