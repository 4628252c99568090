"""Optional abilities of fetchers: to list functions, and to report functions that cannot run.

The protocols are `ListableFetcher` and `ReportingFetcher`. The functions here accept every fetcher. They also accept a
wrapper that passes the methods on with ``__getattr__``, which `isinstance` does not see from Python 3.12 on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeGuard

from serverfull_wsgi.domain import Function, FunctionLike, as_function
from serverfull_wsgi.errors import ConfigurationError, NotFoundError
from serverfull_wsgi.names import LATEST
from serverfull_wsgi.protocols import Fetcher, ReportingFetcher, RoutingFetcher, is_listable

if TYPE_CHECKING:
    from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher


def list_functions(fetcher: Fetcher) -> list[Function]:
    """Return every version of every function. Raises `ConfigurationError` if the fetcher cannot list functions."""
    if not is_listable(fetcher):
        raise ConfigurationError(
            f"{type(fetcher).__name__} finds functions by name and has no functions() to list them"
        )
    return list(fetcher.functions())


def configured_functions(fetcher: Fetcher) -> list[Function]:
    """Return the functions that are known when the process starts: all, but those of a registry.

    Raises `ConfigurationError` if the fetcher cannot list functions.
    """
    configured = getattr(fetcher, "configured_functions", None)
    return list(configured()) if callable(configured) else list_functions(fetcher)


def has_deployed_functions(fetcher: Fetcher) -> bool:
    """Return whether the fetcher has functions of a registry, which may change while the process runs."""
    return callable(getattr(fetcher, "configured_functions", None))


def function_names(fetcher: Fetcher) -> list[str]:
    """Return the names of all functions, each once. Raises `ConfigurationError` if the fetcher cannot list them."""
    names = getattr(fetcher, "names", None)
    return list(names()) if callable(names) else list(dict.fromkeys(one.name for one in list_functions(fetcher)))


def routed(fetcher: Fetcher) -> Callable[[str, str, str], FunctionLike]:
    """Return `fetch_for` of a `RoutingFetcher`, or ``fetch`` of another one, with the same arguments."""
    if isinstance(fetcher, RoutingFetcher):
        return fetcher.fetch_for
    return lambda name, qualifier, request_id: fetcher.fetch(name, qualifier)


def find_function(fetcher: Fetcher, target: str) -> Function:
    """Return the function of a name, or of ``name:qualifier``.

    Raises `ConfigurationError` if there is none; the message lists the functions of the fetcher.
    """
    name, _, qualifier = target.partition(":")
    try:
        return as_function(fetcher.fetch(name, qualifier or LATEST), name)
    except NotFoundError:
        raise ConfigurationError(f"there is no function {target!r}; {_choices(fetcher)}") from None


def _choices(fetcher: Fetcher) -> str:
    try:
        functions = list_functions(fetcher)
    except ConfigurationError as error:
        return str(error)
    return f"there are: {', '.join(map(_key, functions))}" if functions else "there are none"


def _key(function: Function) -> str:
    return function.name if function.version == LATEST else f"{function.name}:{function.version}"


def reporting(fetcher: Fetcher) -> ReportingFetcher:
    """Return the fetcher itself if it reports, otherwise a `ReportingFetcher` with nothing to report."""
    return fetcher if is_reporting(fetcher) else _NothingToReport()


def is_reporting(fetcher: Fetcher) -> TypeGuard[ReportingFetcher]:
    """Return True if the fetcher has all methods of `ReportingFetcher`."""
    return all(callable(getattr(fetcher, name, None)) for name in ("refused", "problems", "notes"))


def logical_ids(fetcher: Fetcher) -> dict[str, str]:
    """Return the logical ids of the functions that a template declares, by name."""
    ids = getattr(fetcher, "logical_ids", None)
    return dict(ids()) if callable(ids) else {}


def watched_paths(fetcher: Fetcher) -> list[str]:
    """Return the files and code folders in which a change makes the fetcher's functions out of date."""
    watched = getattr(fetcher, "watched_paths", None)
    return list(watched()) if callable(watched) else []


def template_fetchers(fetcher: Fetcher) -> list[SamFetcher]:
    """Return the fetchers of templates among this fetcher and those inside of it."""
    found = getattr(fetcher, "template_fetchers", None)
    return list(found()) if callable(found) else []


class _NothingToReport:
    def refused(self) -> dict[str, list[str]]:
        return {}

    def problems(self) -> list[str]:
        return []

    def notes(self) -> list[str]:
        return []
