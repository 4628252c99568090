"""Who a request comes from, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from serverfull_wsgi.errors import AccessDeniedException
from serverfull_wsgi.names import LATEST, FunctionName

PRINCIPAL = "serverfull.principal"  # where a WSGI environ has it
EVERYTHING = ("*",)

INVOKE, EVENT, OPERATE = "invoke", "event", "operate"
ACTIONS = {  # and what AWS calls them
    INVOKE: "lambda:InvokeFunction",
    EVENT: "lambda:InvokeAsync",
    OPERATE: "serverfull:Operate",  # whatever is not an invocation; AWS has no one name for it
}


@dataclass(frozen=True)
class Principal:
    """Who signed a request. ``str()`` of it is the name, as the logs have it.

    ``functions`` are patterns of names, with ``*`` and ``?``. One without a colon covers all versions and aliases of a
    function, ``name:qualifier`` only the one; an unqualified call is one of ``$LATEST``. ``actions`` are among ACTIONS.

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
        if isinstance(self.functions, str):  # whose characters would be patterns, and one of them ``*``
            raise TypeError("functions is a tuple of patterns, also where it has but one")

    def __str__(self) -> str:
        return self.name

    def may(self, action: str, function: FunctionName | None = None) -> bool:
        """Whether ``action``, one of ACTIONS, is allowed: upon ``function``, or upon the server where that is None."""
        return action in self.actions and (function is None or self._covers(function))

    def _covers(self, function: FunctionName) -> bool:
        qualified = f"{function.name}:{function.qualifier or LATEST}"
        return any(fnmatchcase(qualified if ":" in it else function.name, it) for it in self.functions)

    def require(self, action: str, function: FunctionName | None = None) -> None:
        """Raises `AccessDeniedException`, in AWS's words, for what this principal may not do."""
        if not self.may(action, function):
            operation, resource = ACTIONS[action], function.arn if function else "*"
            raise AccessDeniedException(
                f"User: {self.arn or self.name} is not authorized to perform: {operation} on resource: {resource} "
                f"because no identity-based policy allows the {operation} action"
            )
