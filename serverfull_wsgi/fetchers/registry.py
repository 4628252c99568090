"""Functions that are deployed through the management API."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from zlib import crc32

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import NotFoundError, ResourceNotFoundException
from serverfull_wsgi.names import LATEST
from serverfull_wsgi.registry.documents import Alias, package_of, weights_of
from serverfull_wsgi.registry.registry import Registry
from serverfull_wsgi.registry.servable import function_of


def draw_of(request_id: str) -> float:
    """Return a number from 0 to 1, without 1, that is the same in all attempts to run one event."""
    return crc32(request_id.encode()) / 2**32


class RegistryFetcher:
    """Serve the functions of a registry. A change is in force at the next call, in every process.

    Each call compares the document's file with the one that was read, which takes one system call. So no process has
    old code after a deploy. A call that has its function already goes on with it.

    Args:
        registry: the registry.
        draw: returns the number from 0 to 1 that decides between the versions of an alias, from a request id.
    """

    def __init__(self, registry: Registry, *, draw: Callable[[str], float] = draw_of) -> None:
        self._registry, self._draw = registry, draw
        self._entries: dict[str, _Entry] = {}

    def fetch(self, name: str, qualifier: str = LATEST) -> Function:
        """Return the function. An alias with weights gives one of its versions at random.

        Raises:
            NotFoundError: if there is no such function, version or alias.
            ServiceException: if the registry cannot be read.
        """
        return self.fetch_for(name, qualifier, "")

    def fetch_for(self, name: str, qualifier: str, request_id: str) -> Function:
        """Return the function for one request: the same version in all its attempts. Raises as `fetch`."""
        entry = self._entries.get(name)
        if entry is None or entry.stamp() != entry.read_at:
            entry = self._read(name, qualifier)
        function = entry.functions.get(qualifier)
        return function if function is not None else self._resolve(entry, name, qualifier, request_id)

    def _read(self, name: str, qualifier: str) -> _Entry:
        """Read the function's document. The stamp is taken before, so that a later change is never missed."""
        stamp = self._registry.watch(name)
        read_at = stamp() if stamp else None
        found = self._registry.read(name) if read_at is not None else None
        if stamp is None or found is None:
            self._entries.pop(name, None)
            raise _not_found(name, qualifier)
        entry = self._entries[name] = _Entry(stamp, read_at, found[0]["aliases"], {})
        return entry

    def _resolve(self, entry: _Entry, name: str, qualifier: str, request_id: str) -> Function:
        """Return the function of a version that was not called since the last change, or of an alias."""
        alias = entry.aliases.get(qualifier)
        if alias is None:
            function = entry.functions[qualifier] = self._load(name, qualifier, qualifier)
            return function
        weights = weights_of(alias)
        version: str = alias["FunctionVersion"]
        if weights:
            draw = self._draw(request_id) if request_id else random.random()  # noqa: S311
            version = _chosen(version, weights, draw)
        if version not in entry.functions:
            entry.functions[version] = self._load(name, version, qualifier)
        return entry.functions[version]

    def _load(self, name: str, version: str, qualifier: str) -> Function:
        """Return the function of a version, and unpack its package if this machine has not done so."""
        try:
            document, configuration = self._registry.configuration(name, version)
        except ResourceNotFoundException:
            raise _not_found(name, qualifier) from None
        code = self._registry.packages.directory(package_of(configuration))
        layers = [self._registry.layers.directory(layer["Arn"]) for layer in configuration.get("Layers", ())]
        return function_of(document, configuration, code, layers)

    def names(self) -> list[str]:
        """Return the names of all functions. No document is read."""
        return self._registry.names()

    def functions(self) -> list[Function]:
        """Return every version of every function, without layers. Packages are not unpacked."""
        found = []
        for name in self._registry.names():
            if (read := self._registry.read(name)) is None:  # it was deleted meanwhile
                continue
            document, _ = read
            for configuration in (document["latest"], *document["versions"].values()):
                path = self._registry.packages.path(package_of(configuration))
                found.append(function_of(document, configuration, path, ()))
        return found


class _Entry(NamedTuple):
    """The parts of a document that calls need."""

    stamp: Callable[[], Any]  # returns the document's present stamp
    read_at: Any  # the stamp when the document was read
    aliases: dict[str, Alias]
    functions: dict[str, Function]  # by version: those that were called


def _chosen(version: str, weights: Mapping[str, float], draw: float) -> str:
    """Return the version that a number from 0 to 1 selects.

    >>> [_chosen("1", {"2": 0.25}, draw) for draw in (0.0, 0.2, 0.25, 0.9)]
    ['2', '2', '1', '1']
    """
    for number, weight in weights.items():
        if draw < weight:
            return number
        draw -= weight
    return version


def _not_found(name: str, qualifier: str) -> NotFoundError:
    return NotFoundError(name if qualifier == LATEST else f"{name}:{qualifier}")
