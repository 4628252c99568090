"""Principals: authenticated callers and their permissions."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from serverfull_wsgi.errors import AccessDeniedException
from serverfull_wsgi.names import LATEST, FunctionName

PRINCIPAL = "serverfull.principal"  # the key in a WSGI environ; its value is a `Principal`
EVERYTHING = ("*",)  # the pattern of all functions

INVOKE, EVENT, OPERATE, READ, DEPLOY = "invoke", "event", "operate", "read", "deploy"
ACTIONS = {  # with the names that AWS's error messages use, and names of our own where AWS has no single one
    INVOKE: "lambda:InvokeFunction",
    EVENT: "lambda:InvokeAsync",
    OPERATE: "serverfull:Operate",  # every other path: the events console, and routes of the user's own
    READ: "serverfull:Read",  # operations that return functions, with their environment variables and their code
    DEPLOY: "serverfull:Deploy",  # operations that change functions, which is to run code on this machine
}
DEFAULT_ACTIONS = frozenset({INVOKE, EVENT, OPERATE})  # of a caller without a list: the others must be named


@dataclass(frozen=True)
class Principal:
    """An authenticated caller and its permissions.

    Args:
        name: the caller's name in logs; ``str()`` returns it.
        arn: the caller's ARN in error messages; empty if it has none.
        access_key_id: the key that signed the request; empty for other kinds of authentication.
        functions: patterns of function names, with ``*`` and ``?``. A pattern without a colon covers all versions and
            aliases of a function, ``name:qualifier`` only one. A call without a qualifier is a call of ``$LATEST``. To
            read or change a function as a whole takes a pattern without a colon.
        actions: the permitted actions, among ``invoke``, ``event``, ``operate``, ``read`` and ``deploy``. The last two
            must be named.

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
    actions: frozenset[str] = DEFAULT_ACTIONS

    def __post_init__(self) -> None:
        if isinstance(self.functions, str):  # each character would be a pattern, and one of them may be ``*``
            raise TypeError("functions must be a tuple of patterns, even for a single pattern")

    def __str__(self) -> str:
        return self.name

    def may(self, action: str, function: FunctionName | None = None) -> bool:
        """Return whether ``action`` is permitted on ``function``, or on the server if that is None."""
        return action in self.actions and (function is None or self._covers(function))

    def may_manage(self, action: str, function: FunctionName | None = None) -> bool:
        """Return whether ``read`` or ``deploy`` is permitted on ``function``, or on the server if that is None.

        A name without a qualifier is the whole function, with all its versions and aliases.
        """
        if function is None or function.qualifier:
            return self.may(action, function)
        whole = [pattern for pattern in self.functions if ":" not in pattern]
        return action in self.actions and any(fnmatchcase(function.name, pattern) for pattern in whole)

    def _covers(self, function: FunctionName) -> bool:
        qualified = f"{function.name}:{function.qualifier or LATEST}"
        return any(fnmatchcase(qualified if ":" in pattern else function.name, pattern) for pattern in self.functions)

    def require(self, action: str, function: FunctionName | None = None) -> None:
        """Raise `AccessDeniedException`, in AWS's words, unless `may` permits the action."""
        if not self.may(action, function):
            raise self._denied(ACTIONS[action], function)

    def require_management(self, action: str, permission: str, function: FunctionName | None = None) -> None:
        """Raise `AccessDeniedException` unless `may_manage` permits the action.

        ``permission`` is AWS's name of the operation, such as ``lambda:CreateFunction``.
        """
        if not self.may_manage(action, function):
            cure = "" if action in self.actions else f"; the key's serverfull_actions must name '{action}'"
            raise self._denied(permission, function, cure)

    def _denied(self, permission: str, function: FunctionName | None, cure: str = "") -> AccessDeniedException:
        return AccessDeniedException(
            f"User: {self.arn or self.name} is not authorized to perform: {permission} on resource: "
            f"{function.arn if function else '*'} because no identity-based policy allows the {permission} action{cure}"
        )
