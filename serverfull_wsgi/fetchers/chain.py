"""Functions of several fetchers, served as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from serverfull_wsgi.domain import Function, FunctionLike
from serverfull_wsgi.errors import ConfigurationError, NotFoundError
from serverfull_wsgi.fetchers.abilities import list_functions, logical_ids, reporting, template_fetchers, watched_paths
from serverfull_wsgi.names import LATEST
from serverfull_wsgi.protocols import ListableFetcher

if TYPE_CHECKING:
    from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher


class ChainFetcher:
    """Serve the functions of several fetchers, for example of a template and of a `StaticFetcher`.

    The chain lists the functions of its fetchers once, when it is made. Each name belongs to one fetcher.

    Args:
        fetchers: fetchers that can list their functions. A `ReportingFetcher` among them also reports here.

    Raises:
        ConfigurationError: if two fetchers have a function of the same name, or one cannot list its functions.

    >>> from serverfull_wsgi import StaticFetcher
    >>> first, second = StaticFetcher({"hello": print}), StaticFetcher({"total": sum})
    >>> ChainFetcher([first, second]).fetch("total").name
    'total'
    """

    def __init__(self, fetchers: Sequence[ListableFetcher]) -> None:
        self._fetchers = list(fetchers)
        self._owners: dict[str, ListableFetcher] = {}
        for fetcher in self._fetchers:
            for name in [*{function.name for function in list_functions(fetcher)}, *reporting(fetcher).refused()]:
                if self._owners.setdefault(name, fetcher) is not fetcher:
                    owners = f"{type(self._owners[name]).__name__} and {type(fetcher).__name__}"
                    raise ConfigurationError(f"function {name!r} is in both {owners}; give one of them another name")

    def fetch(self, name: str, qualifier: str = LATEST) -> FunctionLike:
        """Return the function from the fetcher that has its name. Raises `NotFoundError` if none has it."""
        if name not in self._owners:
            raise NotFoundError(name if qualifier == LATEST else f"{name}:{qualifier}")
        return self._owners[name].fetch(name, qualifier)

    def functions(self) -> list[Function]:
        """Return every version of every function, in the order of the fetchers."""
        return [function for fetcher in self._fetchers for function in fetcher.functions()]

    def refused(self) -> dict[str, list[str]]:
        """Return the functions that exist and cannot run, by name, each with the lines that give the reasons."""
        return {name: lines for fetcher in self._fetchers for name, lines in reporting(fetcher).refused().items()}

    def problems(self) -> list[str]:
        """Return one line for each reason, over all functions."""
        return [line for fetcher in self._fetchers for line in reporting(fetcher).problems()]

    def notes(self) -> list[str]:
        """Return remarks about functions that do run."""
        return [line for fetcher in self._fetchers for line in reporting(fetcher).notes()]

    def logical_ids(self) -> dict[str, str]:
        """Return the logical ids of the functions of templates, by name."""
        return {name: id for fetcher in self._fetchers for name, id in logical_ids(fetcher).items()}

    def template_fetchers(self) -> list[SamFetcher]:
        """Return the fetchers of templates among the fetchers."""
        return [found for fetcher in self._fetchers for found in template_fetchers(fetcher)]

    def watched_paths(self) -> list[str]:
        """Return the files and code folders in which a change makes a function out of date."""
        return [path for fetcher in self._fetchers for path in watched_paths(fetcher)]
