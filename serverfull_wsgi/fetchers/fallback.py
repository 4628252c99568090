"""Functions of one fetcher, and of a second one for all other names."""

from __future__ import annotations

from typing import Any

from serverfull_wsgi.domain import Function, FunctionLike
from serverfull_wsgi.errors import NotFoundError
from serverfull_wsgi.fetchers.abilities import function_names, list_functions, reporting, routed
from serverfull_wsgi.names import LATEST
from serverfull_wsgi.protocols import Fetcher, ListableFetcher, is_listable


class FallbackFetcher:
    """Serve the functions that the configuration names, and for other names those of a registry.

    A name belongs to one fetcher with all its versions and aliases. The first fetcher wins. In contrast to
    `ChainFetcher`, the functions of the second one may change at any time.

    Args:
        first: the functions of the configuration. If the fetcher can list them, it gets no calls for other names.
        second: all other functions.

    >>> from serverfull_wsgi import StaticFetcher
    >>> first, second = StaticFetcher({"hello": print}), StaticFetcher({"hello": sum, "total": sum})
    >>> fetcher = FallbackFetcher(first, second)
    >>> fetcher.fetch("hello").handler is print, fetcher.fetch("total").handler is sum
    (True, True)
    """

    def __init__(self, first: Fetcher, second: ListableFetcher) -> None:
        self._first, self._second = first, second
        self._names: frozenset[str] | None = None  # of the first fetcher; None if it cannot list them
        if is_listable(first):
            self._names = frozenset(function.name for function in list_functions(first)) | {*reporting(first).refused()}
        self._first_for, self._second_for = routed(first), routed(second)

    def fetch(self, name: str, qualifier: str = LATEST) -> FunctionLike:
        """Return the function. Raises `NotFoundError` if neither fetcher has it."""
        return self.fetch_for(name, qualifier, "")

    def fetch_for(self, name: str, qualifier: str, request_id: str) -> FunctionLike:
        """Return the function for one request. Raises as `fetch`."""
        fetch_for = self._first_for if self.is_configured(name) else self._second_for
        return fetch_for(name, qualifier, request_id)

    def is_configured(self, name: str) -> bool:
        """Return whether the first fetcher has functions of this name."""
        return name in self._names if self._names is not None else has_function(self._first, name)

    def functions(self) -> list[Function]:
        """Return every version of every function. Raises `ConfigurationError` if the first fetcher cannot list them."""
        configured = list_functions(self._first)
        return [*configured, *(one for one in list_functions(self._second) if not self.is_configured(one.name))]

    def names(self) -> list[str]:
        """Return the names of all functions. Raises `ConfigurationError` if the first fetcher cannot list them."""
        deployed = (name for name in function_names(self._second) if not self.is_configured(name))
        return [*function_names(self._first), *deployed]

    def configured_functions(self) -> list[Function]:
        """Return the functions of the first fetcher, which are known when the process starts."""
        return list_functions(self._first)

    def refused(self) -> dict[str, list[str]]:
        """Return the functions that exist and cannot run, by name, each with the lines that give the reasons."""
        return {**reporting(self._second).refused(), **reporting(self._first).refused()}

    def problems(self) -> list[str]:
        """Return one line for each reason, over all functions."""
        return [*reporting(self._first).problems(), *reporting(self._second).problems()]

    def notes(self) -> list[str]:
        """Return remarks about functions that do run."""
        return [*reporting(self._first).notes(), *reporting(self._second).notes()]

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the first fetcher, such as ``logical_ids`` and ``watched_paths``."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._first, name)


def has_function(fetcher: Fetcher, name: str) -> bool:
    """Return whether a fetcher has a function of this name, even one that cannot run."""
    try:
        fetcher.fetch(name)
    except NotFoundError:
        return False
    except Exception:
        return True
    return True
