"""Calls of management operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serverfull_wsgi.api.model.service import Operation
from serverfull_wsgi.auth.principal import EVERYTHING, READ, Principal
from serverfull_wsgi.names import FunctionName

ANONYMOUS = "anonymous"  # the caller of an unsigned request, in the registry's audit lines

Members = dict[str, Any]  # of a request or a result, by AWS's names


@dataclass(frozen=True)
class Caller:
    """The sender of a request.

    Args:
        principal: the authenticated caller; None for an unsigned request.
        may_see_all: True if results may have environment variables and links to code.
    """

    principal: Principal | None
    may_see_all: bool

    @property
    def name(self) -> str:
        """The name for audit lines and messages."""
        return self.principal.name if self.principal else ANONYMOUS

    @property
    def may_read_all(self) -> bool:
        """Return whether the caller may see all functions."""
        return self.principal is None or self.principal.functions == EVERYTHING

    def may_read(self, function: FunctionName) -> bool:
        """Return whether the caller may see that the function exists."""
        return self.may_read_all or (self.principal is not None and self.principal.may_manage(READ, function))


@dataclass(frozen=True)
class Call:
    """One call of an operation. Its parameters are valid, and its caller may make it.

    Args:
        operation: the operation.
        parameters: by AWS's names. Absent members are absent.
        function: the function that the parameters name; None if the operation has none.
        caller: the sender.
        url: the application's URL as the sender reached it, without a final slash.
    """

    operation: Operation
    parameters: Members
    function: FunctionName | None
    caller: Caller
    url: str

    @property
    def named(self) -> FunctionName:
        """The function, of an operation that has one."""
        assert self.function is not None  # noqa: S101  (the model requires it of these operations)
        return self.function
