"""Functions that routes name and that do not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from serverfull_wsgi.errors import NotFoundError, ResourceNotFoundException, ServiceError
from serverfull_wsgi.gateway.sites import Site
from serverfull_wsgi.names import LATEST
from serverfull_wsgi.protocols import Fetcher


def missing_functions(sites: Iterable[Site], fetcher: Fetcher) -> Iterator[str]:
    """Yield a warning for each function of a route, or of its authorizer, that the fetcher does not have."""
    routes: dict[str, dict[str, None]] = {}  # by function, in order
    for site in sites:
        for key, endpoint in site.endpoints.items():
            authorizer = endpoint.access.authorizer
            for function in (endpoint.route.function, authorizer.function if authorizer else ""):
                if function and endpoint.fixed is None and not endpoint.access.unsupported:
                    routes.setdefault(function, {})[_shown(site, key)] = None
    for function, those in routes.items():
        if not _exists(fetcher, function):
            yield (
                f"there is no function {function!r}, so requests to {', '.join(those)} are answered with an error; "
                "correct the route, or add the function"
            )


def _shown(site: Site, key: str) -> str:
    return f"{key} of {site.kind} {site.names[0]!r}" if site.is_api else f"{site.kind} {site.names[0]!r}"


def _exists(fetcher: Fetcher, function: str) -> bool:
    name, _, qualifier = function.partition(":")
    try:
        fetcher.fetch(name, qualifier or LATEST)
    except (NotFoundError, ResourceNotFoundException):
        return False
    except ServiceError:  # a function that cannot run has a warning of its own
        return True
    return True
