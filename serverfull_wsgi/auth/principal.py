"""Principals: authenticated callers and their permissions."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from serverfull_wsgi.errors import AccessDeniedException
from serverfull_wsgi.names import LATEST, FunctionName

PRINCIPAL = "serverfull.principal"  # the key in a WSGI environ; its value is a `Principal`
EVERYTHING = ("*",)  # the pattern of all functions

INVOKE, EVENT, OPERATE = "invoke", "event", "operate"
ACTIONS = {  # with the names that AWS's error messages use
    INVOKE: "lambda:InvokeFunction",
    EVENT: "lambda:InvokeAsync",
    OPERATE: "serverfull:Operate",  # every request that is not an invocation; AWS has no single name for it
}


@dataclass(frozen=True)
class Principal:
    """An authenticated caller and its permissions.

    Args:
        name: the caller's name in logs; ``str()`` returns it.
        arn: the caller's ARN in error messages; empty if it has none.
        access_key_id: the key that signed the request; empty for other kinds of authentication.
        functions: patterns of function names, with ``*`` and ``?``. A pattern without a colon covers all versions and
            aliases of a function, ``name:qualifier`` only one. A call without a qualifier is a call of ``$LATEST``.
        actions: the permitted actions, among ``invoke``, ``event`` and ``operate``.

    Raises:
        TypeError: for ``functions`` that are one text.

    >>> ada = Principal("ada", "arn:aws:iam::123456789012:user/ada", functions=("report-*",))
    >>> name = FunctionName.parse("report-daily", region="eu-west-1", account_id="123456789012")
    >>> ada.may(INVOKE, name)
    True
    """

    name: str
    arn: str = ""
    access_key_id: str = ""
    functions: tuple[str, ...] = EVERYTHING
    actions: frozenset[str] = frozenset(ACTIONS)

    def __post_init__(self) -> None:
        if isinstance(self.functions, str):  # each character would be a pattern, and one of them may be ``*``
            raise TypeError("functions must be a tuple of patterns, even for a single pattern")

    def __str__(self) -> str:
        return self.name

    def may(self, action: str, function: FunctionName | None = None) -> bool:
        """Return whether ``action`` is permitted on ``function``, or on the server if that is None."""
        return action in self.actions and (function is None or self._covers(function))

    def _covers(self, function: FunctionName) -> bool:
        qualified = f"{function.name}:{function.qualifier or LATEST}"
        return any(fnmatchcase(qualified if ":" in pattern else function.name, pattern) for pattern in self.functions)

    def require(self, action: str, function: FunctionName | None = None) -> None:
        """Raise `AccessDeniedException`, in AWS's words, unless `may` permits the action."""
        if not self.may(action, function):
            operation, resource = ACTIONS[action], function.arn if function else "*"
            raise AccessDeniedException(
                f"User: {self.arn or self.name} is not authorized to perform: {operation} on resource: {resource} "
                f"because no identity-based policy allows the {operation} action"
            )
