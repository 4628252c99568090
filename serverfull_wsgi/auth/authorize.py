"""Authorization: may the caller of this request do this?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serverfull_wsgi.auth.principal import PRINCIPAL, Principal
from serverfull_wsgi.names import FunctionName
from serverfull_wsgi.settings.settings import is_process_variable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def authorize(environ: WSGIEnvironment, action: str, function: FunctionName | None = None) -> str | None:
    """Return the name of the request's caller, or None if no middleware authenticated it.

    ``action`` is one of `principal.ACTIONS`, on ``function`` or, if that is None, on the server. A middleware may also
    put a text into the environ. It becomes the name of a `Principal` that may do everything.

    Raises `AccessDeniedException` if the caller's permissions do not include the action.
    """
    principal = environ.get(PRINCIPAL)
    if principal is None:
        return None
    if not isinstance(principal, Principal):
        principal = environ[PRINCIPAL] = Principal(str(principal))
    principal.require(action, function)
    return principal.name


def is_authenticated(environ: WSGIEnvironment) -> bool:
    """Return whether middleware or a server in front has authenticated the caller.

    The command granian copies the process's variables into ``environ``. A REMOTE_USER from there is no caller's.
    """
    user: str = environ.get("REMOTE_USER", "")
    return environ.get(PRINCIPAL) is not None or (bool(user) and not is_process_variable("REMOTE_USER", user))
