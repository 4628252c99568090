"""Functions from several places, served as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from serverfull_wsgi.domain import Fetcher, Function, FunctionLike
from serverfull_wsgi.errors import ConfigurationError, NotFoundError
from serverfull_wsgi.fetchers.listing import notes_of, problems_of, refused_of
from serverfull_wsgi.names import LATEST


class ListingFetcher(Fetcher, Protocol):
    """A fetcher that knows its functions beforehand."""

    def functions(self) -> list[Function]: ...


class ChainFetcher:
    """Serves what all of ``fetchers`` serve. Raises `ConfigurationError` for a name that two of them have."""

    def __init__(self, fetchers: Sequence[ListingFetcher]) -> None:
        self._fetchers = list(fetchers)
        self._owners: dict[str, ListingFetcher] = {}
        for fetcher in self._fetchers:
            for name in [*{function.name for function in fetcher.functions()}, *refused_of(fetcher)]:
                if self._owners.setdefault(name, fetcher) is not fetcher:
                    owners = f"{type(self._owners[name]).__name__} and {type(fetcher).__name__}"
                    raise ConfigurationError(f"function {name!r} is in both {owners}; give one of them another name")

    def fetch(self, name: str, qualifier: str = LATEST) -> FunctionLike:
        if name not in self._owners:
            raise NotFoundError(name if qualifier == LATEST else f"{name}:{qualifier}")
        return self._owners[name].fetch(name, qualifier)

    def functions(self) -> list[Function]:
        """Every version of every function, in the order of the fetchers."""
        return [function for fetcher in self._fetchers for function in fetcher.functions()]

    def refused(self) -> dict[str, list[str]]:
        """See `listing.refused_of`."""
        return {name: lines for fetcher in self._fetchers for name, lines in refused_of(fetcher).items()}

    def problems(self) -> list[str]:
        """See `listing.problems_of`."""
        return [line for fetcher in self._fetchers for line in problems_of(fetcher)]

    def notes(self) -> list[str]:
        """See `listing.notes_of`."""
        return [line for fetcher in self._fetchers for line in notes_of(fetcher)]
