"""All functions of a server, configured and deployed, for the endpoints of management operations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from serverfull_wsgi.api.management import configured
from serverfull_wsgi.api.management.calls import Call, Members
from serverfull_wsgi.dispatcher import Dispatcher
from serverfull_wsgi.domain import Function, as_function
from serverfull_wsgi.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    NotFoundError,
    ResourceConflictException,
    ResourceNotFoundException,
)
from serverfull_wsgi.fetchers.abilities import configured_functions, reporting
from serverfull_wsgi.names import LATEST, FunctionName
from serverfull_wsgi.protocols import is_listable
from serverfull_wsgi.registry.registry import Registry

NO_REGISTRY = (
    "This server has no registry of functions, so functions cannot be changed. Set SERVERFULL_REGISTRY to a directory, "
    "and start it again."
)


class Management:
    """The functions that the management operations read and change.

    Args:
        dispatcher: has the fetcher of all functions.
        registry: has the deployed functions; None if nothing can be deployed.
    """

    def __init__(self, dispatcher: Dispatcher, registry: Registry | None) -> None:
        self._dispatcher = dispatcher
        self.registry = registry

    # Deployed functions

    def deployed(self, name: str) -> Registry | None:
        """Return the registry if it serves the function of this name, otherwise None."""
        registry = self.registry
        if registry is None or registry.is_served_elsewhere(name) or registry.read(name) is None:
            return None
        return registry

    def writable(self, call: Call) -> Registry:
        """Return the registry for a change of the call's function.

        Raises:
            AccessDeniedException: if there is no registry.
            ResourceConflictException: if the function is a configured one.
            InvalidParameterValueException: if the name has a qualifier, and the operation is on the whole function.
        """
        if self.registry is None:
            raise AccessDeniedException(NO_REGISTRY)
        name = call.named
        if name.qualifier not in (None, LATEST) and "Qualifier" not in call.operation.input.members:
            raise InvalidParameterValueException(
                f"{call.operation.name} changes the function as a whole, so its name may not have the qualifier "
                f"'{name.qualifier}'."
            )
        if self.registry.is_served_elsewhere(name.name):
            raise ResourceConflictException(
                f"The function '{name.name}' is in the configuration of this server (SERVERFULL_FUNCTIONS or a "
                "template), so it cannot be deployed. Choose another name, or remove it from the configuration."
            )
        return self.registry

    # Configured functions

    def configuration(self, name: FunctionName) -> Members:
        """Return the configuration of a function as a call names it. Raises `ResourceNotFoundException`."""
        if registry := self.deployed(name.name):
            return registry.function_configuration(name.name, name.qualifier)
        return self._configured(name)

    def require(self, name: FunctionName) -> None:
        """Raise `ResourceNotFoundException` if there is no function of this name. The qualifier does not count."""
        if not self.deployed(name.name):
            self._configured(name.without_qualifier())

    def concurrency(self, name: FunctionName) -> Members:
        """Return the reserved concurrency of a function; an empty result if it has none.

        Raises `ResourceNotFoundException`.
        """
        if registry := self.deployed(name.name):
            return dict(registry.concurrency(name.name))
        reserved = None
        if name.name not in reporting(self._dispatcher.fetcher).refused():
            reserved = self._fetched(name.without_qualifier()).reserved
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    def _configured(self, name: FunctionName) -> Members:
        fetcher = self._dispatcher.fetcher
        if name.name in reporting(fetcher).refused() and name.qualifier in (None, LATEST):
            return configured.refused_configuration(name.name, name.arn)
        return configured.configuration(self._fetched(name), name.arn)

    def _fetched(self, name: FunctionName) -> Function:
        try:
            return as_function(self._dispatcher.fetcher.fetch(name.name, name.qualifier or LATEST), name.name)
        except NotFoundError:
            raise ResourceNotFoundException(f"Function not found: {name.arn}") from None

    def names(self) -> list[str]:
        """Return the names of all functions, sorted.

        Raises `InvalidParameterValueException` if the server's fetcher finds functions by name only.
        """
        fetcher = self._dispatcher.fetcher
        if not is_listable(fetcher):
            raise InvalidParameterValueException(
                f"This server's fetcher, {type(fetcher).__name__}, finds functions by name and cannot list them. Call "
                "GetFunction with a name."
            )
        configured = {function.name for function in configured_functions(fetcher)}
        return sorted({*self._deployed_names(), *configured, *reporting(fetcher).refused()})

    def existing(self, names: Iterable[str]) -> Iterator[Members]:
        """Yield the configurations of functions, without those that were deleted meanwhile."""
        for name in names:
            with suppress(ResourceNotFoundException):
                yield self.configuration(self.name(name))

    def all_versions(self) -> Iterator[Members]:
        """Yield the configurations of all versions of all functions, with qualified ARNs.

        Raises as `names`.
        """
        for name in self.names():
            with suppress(ResourceNotFoundException):
                yield from self.versions(self.name(name))

    def versions(self, name: FunctionName) -> list[Members]:
        """Return the configurations of all versions of a function, ``$LATEST`` first, with qualified ARNs.

        Raises `ResourceNotFoundException`.
        """
        if registry := self.deployed(name.name):
            return registry.all_configurations(name.name)
        self.require(name)
        fetcher = self._dispatcher.fetcher
        functions = configured_functions(fetcher) if is_listable(fetcher) else []
        own = [function for function in functions if function.name == name.name]
        items = [configured.configuration(it, self.name(it.name, it.version).arn) for it in own]
        latest = self._configured(self.name(name.name, LATEST)) if not items else None
        return [latest] if latest else sorted(items, key=version_number)

    def usage(self) -> Members:
        """Return the size of all packages in bytes, the number of functions, and their reserved concurrency."""
        summaries = self.registry.summaries() if self.registry else {}
        deployed = [
            it for name, it in summaries.items() if self.registry and not self.registry.is_served_elsewhere(name)
        ]
        return {
            "TotalCodeSize": sum(it.code_size for it in deployed),
            "FunctionCount": len(self.names()) if is_listable(self._dispatcher.fetcher) else len(deployed),
            "Reserved": sum(it.reserved for it in deployed),
        }

    def _deployed_names(self) -> list[str]:
        """Return the names of the deployed functions that no configured function hides."""
        if self.registry is None:
            return []
        return [name for name in self.registry.names() if not self.registry.is_served_elsewhere(name)]

    def aliases(self, name: FunctionName) -> list[Members]:
        """Return the aliases of a function by name."""
        if registry := self.deployed(name.name):
            return registry.aliases(name.name)
        self.require(name)
        found: Iterable[tuple[str, str]] = configured.aliases_of(self._dispatcher.fetcher).items()
        pairs = ((key.partition(":"), version) for key, version in found)
        own = sorted((alias, version) for (function, _, alias), version in pairs if function == name.name)
        return [configured.alias(alias, version, self.name(name.name, alias).arn) for alias, version in own]

    def name(self, name: str, qualifier: str | None = None) -> FunctionName:
        """Return a function of this server by its plain name."""
        return self._dispatcher.name(name, qualifier)


def version_number(item: Members) -> int:
    """Return the sort key of a configuration among those of one function: ``$LATEST`` is before all numbers."""
    return int(item["Version"]) if item["Version"].isdigit() else 0
