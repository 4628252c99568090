"""The registry: the operations on deployed functions, as the management API, the fetcher and operators use them."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from serverfull_wsgi.errors import ResourceNotFoundException, ServiceException
from serverfull_wsgi.names import LATEST
from serverfull_wsgi.registry import aliases, concurrency, functions, rollback, tags, versions, views
from serverfull_wsgi.registry.account import Account
from serverfull_wsgi.registry.documents import Change, Configuration, Document, Moment, package_of
from serverfull_wsgi.registry.function_store import FUNCTIONS, FunctionStore
from serverfull_wsgi.registry.layers import Layers
from serverfull_wsgi.registry.objects import Busy, Changed, DirectoryStore
from serverfull_wsgi.registry.packages import FOLDER as CODE
from serverfull_wsgi.registry.packages import Package, PackageStore

SECRETS = "secrets"
PRUNE_GRACE = 3600.0  # seconds in which an unused package is kept: its document may be about to be written


class Summary(NamedTuple):
    """The parts of a function that count for the account."""

    code_size: int  # bytes of the packages of all versions
    reserved: int  # reserved concurrency, 0 without one


def _summary(document: Document) -> Summary:
    configurations = [document["latest"], *document["versions"].values()]
    return Summary(sum(each["CodeSize"] for each in configurations), document["reserved"] or 0)


class Pruned(NamedTuple):
    """The packages that a prune deleted."""

    packages: dict[str, int]  # sizes in bytes by SHA-256
    unpacked: int  # unpacked packages of this machine


class Registry(FunctionStore):
    """Functions that are deployed through the management API.

    Requests have passed the constraints of AWS's model before. Answers are members of the operations' outputs.

    Args:
        store: keeps the documents and packages.
        packages: the packages.
        account: the account of the functions.
        layers: the layers that this server has.
        more: further arguments of `FunctionStore`.

    All methods raise `ServiceException` if the store fails.
    """

    def __init__(
        self,
        store: DirectoryStore,
        packages: PackageStore,
        account: Account,
        *,
        layers: Layers | None = None,
        **more: Any,
    ) -> None:
        super().__init__(store, account, **more)
        self.packages, self.layers = packages, layers or Layers({})
        self._summaries: dict[str, tuple[str, Summary]] = {}  # etags and summaries by name

    # Reading

    def configuration(self, name: str, qualifier: str | None = None) -> tuple[Document, Configuration]:
        """Return a function's document, and the stored configuration of a version or alias.

        Raises `ResourceNotFoundException`.
        """
        document = self.get(name)
        alias = document["aliases"].get(qualifier or "")
        version = alias["FunctionVersion"] if alias else qualifier or LATEST
        configuration = document["latest"] if version == LATEST else document["versions"].get(version)
        if configuration is None:
            raise self.account.not_found(name, qualifier)
        return document, configuration

    def function_configuration(self, name: str, qualifier: str | None = None) -> dict[str, Any]:
        """Return the answer of GetFunctionConfiguration. Raises `ResourceNotFoundException`."""
        _, configuration = self.configuration(name, qualifier)
        return views.active(configuration, self.account.arn(name, qualifier))

    def package(self, name: str, qualifier: str | None = None) -> str:
        """Return the SHA-256 of a function's package, in hexadecimal. Raises `ResourceNotFoundException`."""
        return package_of(self.configuration(name, qualifier)[1])

    def all_configurations(self, name: str) -> list[dict[str, Any]]:
        """Return $LATEST and all versions in the order of their numbers, with qualified ARNs.

        Raises `ResourceNotFoundException`.
        """
        document = self.get(name)
        configurations = [document["latest"], *document["versions"].values()]
        return [views.active(each, self.account.arn(name, each["Version"])) for each in configurations]

    def list_functions(self, *, all_versions: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the functions by name, each as one configuration with an unqualified ARN, or with all versions."""
        for name in self.names():
            try:
                yield from self.all_configurations(name) if all_versions else (self.function_configuration(name),)
            except ResourceNotFoundException:  # it was deleted meanwhile
                continue

    def summaries(self) -> dict[str, Summary]:
        """Return the summary of each function by name, sorted. Only functions that have changed are read again."""
        try:
            etags = self.objects.list(FUNCTIONS)
        except OSError as error:
            self.fail("list the functions", error)
        fresh: dict[str, tuple[str, Summary]] = {}
        for key in sorted(etags):
            name = key.partition("/")[2]
            known = self._summaries.get(name)
            if known is not None and known[0] == etags[key]:
                fresh[name] = known
            elif (found := self.read(name)) is not None:
                fresh[name] = found[1], _summary(found[0])
        self._summaries = fresh
        return {name: summary for name, (_, summary) in fresh.items()}

    def alias(self, name: str, alias: str) -> dict[str, Any]:
        """Return the answer of GetAlias. Raises `ResourceNotFoundException`."""
        found = self.read(name)
        if found is None or alias not in found[0]["aliases"]:
            raise ResourceNotFoundException(f"Cannot find alias arn: {self.account.arn(name, alias)}")
        return views.alias(self.account, found[0], alias)

    def aliases(self, name: str, version: str | None = None) -> list[dict[str, Any]]:
        """Return the aliases of a function, or of one version, by name. Raises `ResourceNotFoundException`."""
        document = self.get(name)
        found = (views.alias(self.account, document, alias) for alias in sorted(document["aliases"]))
        return [alias for alias in found if version in (None, alias["FunctionVersion"])]

    def secret(self) -> bytes:
        """Return 32 random bytes that all processes of this registry share. The first use makes them."""
        key = f"{SECRETS}/location"
        try:
            if (stored := self.objects.get(key)) is None:
                with contextlib.suppress(Changed):  # another process was faster
                    self.objects.put_new(key, secrets.token_bytes(32))
                stored = self.objects.get(key)
        except (OSError, Busy) as error:
            self.fail("read the key of package URLs", error)
        if stored is None:
            raise ServiceException
        return stored.body

    # Functions and versions

    def create_function(
        self, name: str, request: Mapping[str, Any], package: Package | None, by: str
    ) -> dict[str, Any]:
        """Create a function. Raises as `functions.create`."""
        create = partial(
            functions.create,
            name=name,
            request=request,
            package=package,
            account=self.account,
            layer_size=self.layers.size,
        )
        return self.change(name, create, by, "CreateFunction")

    def update_code(self, name: str, request: Mapping[str, Any], package: Package | None, by: str) -> dict[str, Any]:
        """Replace a function's code. Raises as `functions.update_code`."""
        update = partial(functions.update_code, request=request, package=package, account=self.account)
        return self.change_existing(name, update, by, "UpdateFunctionCode")

    def update_configuration(self, name: str, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Change a function's configuration. Raises as `functions.update_configuration`."""
        update = partial(
            functions.update_configuration, request=request, account=self.account, layer_size=self.layers.size
        )
        return self.change_existing(name, update, by, "UpdateFunctionConfiguration")

    def delete_function(self, name: str, qualifier: str | None, by: str) -> None:
        """Delete a function or a version. Raises as `functions.delete`."""
        functions.check_deletion(qualifier)
        self.change_existing(name, partial(functions.delete, qualifier=qualifier), by, "DeleteFunction")

    def publish_version(self, name: str, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Publish a version. Raises as `versions.publish`."""
        publish = partial(versions.publish, request=request, account=self.account)
        return self.change_existing(name, publish, by, "PublishVersion")

    # Aliases, tags, concurrency

    def create_alias(self, name: str, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Create an alias. Raises as `aliases.create`."""
        create = partial(aliases.create, request=request, account=self.account)
        return self.change_existing(name, create, by, "CreateAlias", request["FunctionVersion"])

    def update_alias(self, name: str, alias: str, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Change an alias. Raises as `aliases.update`."""
        update = partial(aliases.update, name=alias, request=request, account=self.account)
        return self.change_existing(name, update, by, "UpdateAlias")

    def delete_alias(self, name: str, alias: str, by: str) -> None:
        """Delete an alias. Raises `ResourceNotFoundException` if the function does not exist."""
        self.change_existing(name, partial(aliases.delete, name=alias), by, "DeleteAlias")

    def tag(self, name: str, added: Mapping[str, str], by: str) -> None:
        """Add tags. Raises as `tags.tag`."""
        self.change_existing(name, partial(tags.tag, tags=added), by, "TagResource")

    def untag(self, name: str, keys: Iterable[str], by: str) -> None:
        """Remove tags. Raises `ResourceNotFoundException`."""
        self.change_existing(name, partial(tags.untag, keys=list(keys)), by, "UntagResource")

    def tags(self, name: str) -> dict[str, str]:
        """Return a function's tags. Raises `ResourceNotFoundException`."""
        return dict(self.get(name)["tags"])

    def put_concurrency(self, name: str, executions: int, by: str) -> dict[str, Any]:
        """Set the reserved concurrency. Raises `ResourceNotFoundException`."""
        reserve = partial(concurrency.reserve, executions=executions)
        return self.change_existing(name, reserve, by, "PutFunctionConcurrency", LATEST)

    def delete_concurrency(self, name: str, by: str) -> None:
        """Remove the reserved concurrency. Raises `ResourceNotFoundException`."""
        reserve = partial(concurrency.reserve, executions=None)
        self.change_existing(name, reserve, by, "DeleteFunctionConcurrency")

    def concurrency(self, name: str) -> dict[str, int]:
        """Return the answer of GetFunctionConcurrency. Raises `ResourceNotFoundException`."""
        reserved = self.get(name)["reserved"]
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    # Operators

    def roll_back(self, name: str, revision: int | None, by: str) -> None:
        """Return a function to one of its last revisions; None for the one before the last.

        Raises `ResourceNotFoundException`, and `ConfigurationError` if there is no such revision.
        """

        def change(document: Document, moment: Moment) -> Change:
            # If the history is newer than the document, the function has changed, and the write is tried again.
            return rollback.roll_back(document, moment, history=self.history(name), revision=revision)

        self.change_existing(name, change, by, "rollback")

    def prune(self) -> Pruned:
        """Delete the packages that no version and none of the last revisions needs.

        Packages that were written in the last hour stay, and unpacked packages that were needed in the last day.
        """
        try:
            deleted = self.objects.delete_unused(CODE, self.used_packages, self.clock() - PRUNE_GRACE)
        except (OSError, Busy) as error:
            self.fail("delete unused packages", error)
        needed = {key.partition("/")[2] for key in self.used_packages()}
        sizes = {key.partition("/")[2]: size for key, size in deleted.items()}
        return Pruned(sizes, self.packages.delete_unpacked(needed))
