"""Authorization: may the caller of this request do this?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serverfull_wsgi.auth.principal import DEPLOY, INVOKE, PRINCIPAL, READ, Principal
from serverfull_wsgi.names import FunctionName
from serverfull_wsgi.settings.settings import is_process_variable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from serverfull_wsgi.api.model.service import Operation


def authorize(environ: WSGIEnvironment, action: str, function: FunctionName | None = None) -> str | None:
    """Return the name of the request's caller, or None if no middleware authenticated it.

    ``action`` is one of `principal.ACTIONS`, on ``function`` or, if that is None, on the server.

    Raises `AccessDeniedException` if the caller's permissions do not include the action.
    """
    principal = principal_of(environ)
    if principal is None:
        return None
    principal.require(action, function)
    return principal.name


def is_authenticated(environ: WSGIEnvironment) -> bool:
    """Return whether middleware or a server in front has authenticated the caller.

    The command granian copies the process's variables into ``environ``. A REMOTE_USER from there is no caller's.
    """
    user: str = environ.get("REMOTE_USER", "")
    return environ.get(PRINCIPAL) is not None or (bool(user) and not is_process_variable("REMOTE_USER", user))


def principal_of(environ: WSGIEnvironment) -> Principal | None:
    """Return the request's caller, or None if no middleware authenticated it.

    A middleware may also put a text into the environ. The text becomes the name of a `Principal` that may do
    everything but ``read`` and ``deploy``.
    """
    principal = environ.get(PRINCIPAL)
    if principal is not None and not isinstance(principal, Principal):
        principal = environ[PRINCIPAL] = Principal(str(principal))
    return principal


def action_of(operation: Operation) -> str:
    """Return the action that an operation of AWS's service model needs.

    >>> from serverfull_wsgi.api.model.service import load
    >>> [action_of(load().operations[name]) for name in ("Invoke", "ListFunctions", "DeleteFunction")]
    ['invoke', 'read', 'deploy']
    """
    if operation.name.startswith("Invoke"):
        return INVOKE
    return READ if operation.method == "GET" else DEPLOY


def permission_of(operation: Operation) -> str:
    """Return AWS's name of an operation's permission, for messages."""
    from serverfull_wsgi.api.model import recorded  # not imported by servers that only invoke

    return f"lambda:{recorded.NAMES_IN_MESSAGES.get(operation.name, operation.name)}"
