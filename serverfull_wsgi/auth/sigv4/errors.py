"""How requests are refused that are not signed as they should be, in AWS's words."""

from __future__ import annotations

from http import HTTPStatus

from serverfull_wsgi.errors import ServiceError


class MissingAuthenticationTokenException(ServiceError):
    """The request is not signed."""

    code = "MissingAuthenticationTokenException"
    status = HTTPStatus.FORBIDDEN
    fault = None

    def __init__(self) -> None:
        super().__init__("Missing Authentication Token")


class IncompleteSignatureException(ServiceError):
    """The request is signed in a form that is not Signature Version 4's."""

    code = "IncompleteSignatureException"
    status = HTTPStatus.FORBIDDEN
    fault = None


class InvalidSignatureException(ServiceError):
    """The signature is not this request's, not of this time or not for this service; or nobody has the key.

    ``evidence`` is for the server's log only.
    """

    code = "InvalidSignatureException"
    status = HTTPStatus.FORBIDDEN
    fault = None

    def __init__(self, message: str, evidence: str = "") -> None:
        super().__init__(message)
        self.evidence = evidence


class UnrecognizedClientException(ServiceError):
    """The signature is right, and the session token beside it is not the key's."""

    code = "UnrecognizedClientException"
    status = HTTPStatus.FORBIDDEN
    fault = None

    def __init__(self) -> None:
        super().__init__("The security token included in the request is invalid.")
