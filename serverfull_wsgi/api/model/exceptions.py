"""A class for each exception of AWS's service model.

`serverfull_wsgi.errors` has the exceptions that the core raises. The others are made here, from the model: their code,
status, key of the message, and further members of the body or the headers.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any, ClassVar

from serverfull_wsgi import errors
from serverfull_wsgi.api.model.service import Shape, load
from serverfull_wsgi.errors import ServiceError

_WRITTEN = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ServiceError) and kind.__name__ == kind.code
}


class ModelledException(ServiceError):
    """An exception of the model. ``members`` are those that the model has beside the message and the type."""

    shape: ClassVar[Shape]

    def __init__(self, message: str, **members: str) -> None:
        super().__init__(message)
        if unknown := members.keys() - (self.shape.members.keys() - {"Type", self.message_key}):
            raise TypeError(f"{self.code} has no member {', '.join(sorted(unknown))}")
        self._members = members

    def members(self) -> dict[str, str]:
        """Return the members of the body."""
        return {**self._of("body"), **super().members()}

    def headers(self) -> list[tuple[str, str]]:
        """Return the members that are headers."""
        return list(self._of("header").items())

    def _of(self, location: str) -> dict[str, str]:
        members = {name: self.shape.members[name] for name in self._members}
        return {
            member.wire_name: self._members[name] for name, member in members.items() if member.location == location
        }


@cache
def exception(code: str) -> type[ServiceError]:
    """Return the class of a modelled exception. KeyError if the model has no such exception.

    >>> error = exception("CodeSigningConfigNotFoundException")("The code signing configuration cannot be found.")
    >>> error.status.value, error.body()
    (404, b'{"Type":"User","Message":"The code signing configuration cannot be found."}')
    """
    shape = load().exceptions()[code]
    return _WRITTEN.get(code) or _made(shape)


def _made(shape: Shape) -> type[ServiceError]:
    """Return a new class for an exception's shape."""
    attributes: dict[str, Any] = {
        "__doc__": f"The exception {shape.name} of AWS's service model.",
        "__module__": __name__,
        "shape": shape,
        "code": shape.name,
        "status": HTTPStatus(shape.error_status or 500),
        "message_key": "message" if "message" in shape.members else "Message",
    }
    return type(shape.name, (ModelledException,), attributes)
