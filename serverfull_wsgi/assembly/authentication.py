"""The middleware that checks signatures, as settings describe it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from serverfull_wsgi.settings.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def create_authentication(settings: Settings) -> Callable[[WSGIApplication], WSGIApplication] | None:
    """Return the middleware that checks signatures, or None if no credentials file is set."""
    if not settings.credentials_file:
        return None
    from serverfull_wsgi.auth.credentials import CredentialsFile
    from serverfull_wsgi.auth.sigv4.middleware import SigV4Middleware  # imports AWS's API model

    return partial(
        SigV4Middleware,
        credentials=CredentialsFile(settings.credentials_file),
        region=settings.region,
        account_id=settings.account_id,
        open_paths=(settings.healthcheck,),
        deploys=bool(settings.registry),
        replay_guard=settings.replay_guard,
    )
