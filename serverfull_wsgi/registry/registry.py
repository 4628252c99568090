"""The registry as the management API and the fetcher use it: reading, and changing by compare and swap."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, NoReturn
from uuid import uuid4

from serverfull_wsgi.errors import ResourceConflictException, ResourceNotFoundException, ServiceException
from serverfull_wsgi.names import LATEST
from serverfull_wsgi.registry import aliases, concurrency, functions, rollback, tags, versions, views
from serverfull_wsgi.registry.account import Account
from serverfull_wsgi.registry.documents import (
    BadDocument,
    Change,
    Configuration,
    Document,
    Moment,
    Revision,
    decode,
    decode_history,
    encode,
    extended,
    package_of,
    packages_of,
)
from serverfull_wsgi.registry.layers import Layers
from serverfull_wsgi.registry.objects import Busy, Changed, DirectoryStore, Missing, Stored
from serverfull_wsgi.registry.packages import FOLDER as CODE
from serverfull_wsgi.registry.packages import Package, PackageStore
from serverfull_wsgi.registry.servable import check_servable
from serverfull_wsgi.telemetry.scope import LOGGER

FUNCTIONS, SECRETS = "functions", "secrets"
PATIENCE = 30.0  # seconds in which a change that loses races is tried again
PRUNE_GRACE = 3600.0  # seconds in which an unused package is kept: its document may be about to be written
_name = re.compile(r"[a-zA-Z0-9-_]{1,140}", re.ASCII)

Changer = Callable[[Document, Moment], Change]
Creator = Callable[[Document | None, Moment], Change]


class Summary(NamedTuple):
    """The parts of a function that count for the account."""

    code_size: int  # bytes of the packages of all versions
    reserved: int  # reserved concurrency, 0 without one


def _summary(document: Document) -> Summary:
    configurations = [document["latest"], *document["versions"].values()]
    return Summary(sum(each["CodeSize"] for each in configurations), document["reserved"] or 0)


class Pruned(NamedTuple):
    """What a prune deleted."""

    packages: dict[str, int]  # sizes in bytes by SHA-256
    unpacked: int  # unpacked packages of this machine


class Registry:
    """Functions that are deployed through the management API.

    Every change takes ``by``, the caller's name for the audit line. Requests have passed the constraints of AWS's model
    before. Answers are members of the operations' outputs.

    Args:
        store: keeps the documents and packages.
        packages: the packages.
        account: the account of the functions.
        layers: the layers that this server has.
        is_served_elsewhere: returns whether the configuration has a function of a name. Such a name cannot be deployed.
        logger: receives the audit lines, and the reasons of failures.
        clock: returns the seconds since 1970.
        new_id: returns a new RevisionId.

    All methods raise `ServiceException` if the store fails.
    """

    def __init__(
        self,
        store: DirectoryStore,
        packages: PackageStore,
        account: Account,
        *,
        layers: Layers | None = None,
        is_served_elsewhere: Callable[[str], bool] = lambda name: False,
        logger: logging.Logger = LOGGER,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self.packages, self.account = packages, account
        self.layers = layers or Layers({})
        self._store, self.is_served_elsewhere = store, is_served_elsewhere
        self._logger, self._clock, self._new_id = logger, clock, new_id
        self._summaries: dict[str, tuple[str, Summary]] = {}  # etags and summaries by name

    # Reading

    def names(self) -> list[str]:
        """Return the names of all functions, sorted."""
        try:
            return sorted(key.partition("/")[2] for key in self._store.list(FUNCTIONS))
        except OSError as error:
            self._fail("list the functions", error)

    def watch(self, name: str) -> Callable[[], object] | None:
        """Return a function that returns a value, which differs after every change of the function ``name``.

        The value is None if the function does not exist. None is returned if it cannot have this name.
        """
        return self._store.watch(f"{FUNCTIONS}/{name}") if _name.fullmatch(name) else None

    def read(self, name: str) -> tuple[Document, str] | None:
        """Return a function's document and its etag, or None if it does not exist. Treat the document as frozen."""
        stored = self._stored(name)
        return None if stored is None else (self._decode(name, stored), stored.etag)

    def get(self, name: str) -> Document:
        """Return a function's document. Raises `ResourceNotFoundException`."""
        found = self.read(name)
        if found is None:
            raise self.account.not_found(name)
        return found[0]

    def history(self, name: str) -> list[Revision]:
        """Return a function's last revisions, the latest last. Raises `ResourceNotFoundException`."""
        stored = self._stored(name)
        if stored is None:
            raise self.account.not_found(name)
        self._decode(name, stored)
        return self._decode_history(name, stored)

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
            etags = self._store.list(FUNCTIONS)
        except OSError as error:
            self._fail("list the functions", error)
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
            if (stored := self._store.get(key)) is None:
                with contextlib.suppress(Changed):  # another process was faster
                    self._store.put_new(key, secrets.token_bytes(32))
                stored = self._store.get(key)
        except (OSError, Busy) as error:
            self._fail("read the key of package URLs", error)
        if stored is None:
            raise ServiceException
        return stored.body

    def _stored(self, name: str) -> Stored | None:
        if not _name.fullmatch(name):
            return None
        try:
            return self._store.get(f"{FUNCTIONS}/{name}")
        except OSError as error:
            self._fail(f"read function {name}", error)

    def _decode(self, name: str, stored: Stored) -> Document:
        try:
            return decode(stored.body)
        except BadDocument as error:
            self._fail(f"read the document {FUNCTIONS}/{name}", error)

    def _decode_history(self, name: str, stored: Stored) -> list[Revision]:
        try:
            return decode_history(stored.body)
        except BadDocument as error:
            self._fail(f"read the history in {FUNCTIONS}/{name}", error)

    def _fail(self, action: str, error: Exception) -> NoReturn:
        """Log the reason of a failure, and raise `ServiceException`, whose message does not reveal it."""
        self._logger.error("registry: cannot %s: %s", action, error)
        raise ServiceException from error

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
        return self._change_existing(name, update, by, "UpdateFunctionCode")

    def update_configuration(self, name: str, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Change a function's configuration. Raises as `functions.update_configuration`."""
        update = partial(
            functions.update_configuration, request=request, account=self.account, layer_size=self.layers.size
        )
        return self._change_existing(name, update, by, "UpdateFunctionConfiguration")

    def delete_function(self, name: str, qualifier: str | None, by: str) -> None:
        """Delete a function or a version. Raises as `functions.delete`."""
        functions.check_deletion(qualifier)
        self._change_existing(name, partial(functions.delete, qualifier=qualifier), by, "DeleteFunction")

    def publish_version(self, name: str, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Publish a version. Raises as `versions.publish`."""
        publish = partial(versions.publish, request=request, account=self.account)
        return self._change_existing(name, publish, by, "PublishVersion")

    # Aliases, tags, concurrency

    def create_alias(self, name: str, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Create an alias. Raises as `aliases.create`."""
        create = partial(aliases.create, request=request, account=self.account)
        return self._change_existing(name, create, by, "CreateAlias", request["FunctionVersion"])

    def update_alias(self, name: str, alias: str, request: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Change an alias. Raises as `aliases.update`."""
        update = partial(aliases.update, name=alias, request=request, account=self.account)
        return self._change_existing(name, update, by, "UpdateAlias")

    def delete_alias(self, name: str, alias: str, by: str) -> None:
        """Delete an alias. Raises `ResourceNotFoundException` if the function does not exist."""
        self._change_existing(name, partial(aliases.delete, name=alias), by, "DeleteAlias")

    def tag(self, name: str, added: Mapping[str, str], by: str) -> None:
        """Add tags. Raises as `tags.tag`."""
        self._change_existing(name, partial(tags.tag, tags=added), by, "TagResource")

    def untag(self, name: str, keys: Iterable[str], by: str) -> None:
        """Remove tags. Raises `ResourceNotFoundException`."""
        self._change_existing(name, partial(tags.untag, keys=list(keys)), by, "UntagResource")

    def tags(self, name: str) -> dict[str, str]:
        """Return a function's tags. Raises `ResourceNotFoundException`."""
        return dict(self.get(name)["tags"])

    def put_concurrency(self, name: str, executions: int, by: str) -> dict[str, Any]:
        """Set the reserved concurrency. Raises `ResourceNotFoundException`."""
        reserve = partial(concurrency.reserve, executions=executions)
        return self._change_existing(name, reserve, by, "PutFunctionConcurrency", LATEST)

    def delete_concurrency(self, name: str, by: str) -> None:
        """Remove the reserved concurrency. Raises `ResourceNotFoundException`."""
        reserve = partial(concurrency.reserve, executions=None)
        self._change_existing(name, reserve, by, "DeleteFunctionConcurrency")

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

        self._change_existing(name, change, by, "rollback")

    def prune(self) -> Pruned:
        """Delete the packages that no version and none of the last revisions needs.

        Packages that were written in the last hour stay, and unpacked packages that were needed in the last day.
        """
        try:
            deleted = self._store.delete_unused(CODE, self._used, self._clock() - PRUNE_GRACE)
        except (OSError, Busy) as error:
            self._fail("delete unused packages", error)
        needed = {key.partition("/")[2] for key in self._used()}
        sizes = {key.partition("/")[2]: size for key, size in deleted.items()}
        return Pruned(sizes, self.packages.delete_unpacked(needed))

    def _used(self) -> set[str]:
        used: set[str] = set()
        for name in self.names():
            if (stored := self._stored(name)) is not None:
                used |= packages_of(self._decode(name, stored), self._decode_history(name, stored))
        return {f"{CODE}/{package}" for package in used}

    # Changing

    def _change_existing(
        self, name: str, change: Changer, by: str, what: str, qualifier: str | None = None
    ) -> dict[str, Any]:
        """Change a function that exists. ``qualifier`` is the one that AWS's error names for an unknown function."""

        def checked(document: Document | None, moment: Moment) -> Change:
            if document is None:
                raise self.account.not_found(name, qualifier)
            return change(document, moment)

        return self.change(name, checked, by, what)

    def change(self, name: str, change: Creator, by: str, what: str) -> dict[str, Any]:
        """Apply a change and return its answer. The change is on the disk after this.

        If another process changes the function meanwhile, the change is applied to the new document.

        Args:
            name: the function's name.
            change: a pure function of the document, or None, and the moment.
            by: the caller's name.
            what: the operation's name.

        Raises:
            ResourceConflictException: if the name belongs to the configuration, or if too many others change it.
            InvalidParameterValueException: if the function could not run after the change.
        """
        if self.is_served_elsewhere(name):
            raise ResourceConflictException(
                f"The function {name} is part of this server's configuration, so it cannot be deployed; "
                "choose another name, or remove it from the configuration"
            )
        try:
            with contextlib.suppress(Changed):
                return self._attempt(name, change, by, what)
            deadline = time.monotonic() + PATIENCE
            with self._store.turn():
                while time.monotonic() < deadline:
                    with contextlib.suppress(Changed):
                        return self._attempt(name, change, by, what)
        except (OSError, Busy, Missing) as error:
            self._fail(f"write function {name}", error)
        raise ResourceConflictException(
            f"The operation cannot be performed at this time. An update is in progress for resource: "
            f"{self.account.arn(name)}"
        )

    def _attempt(self, name: str, change: Creator, by: str, what: str) -> dict[str, Any]:
        """Read a function, apply a change, and write it. Raises `Changed` if another process was faster."""
        stored = self._stored(name)
        old = None if stored is None else self._decode(name, stored)
        moment = Moment(self._clock(), self._new_id)
        changed = change(old, moment)
        if changed.document is old:
            return changed.answer
        if changed.document is not None:
            check_servable(changed.document)
        self._write(name, stored, old, changed.document, moment, by, what)
        return changed.answer

    def _write(
        self,
        name: str,
        stored: Stored | None,
        old: Document | None,
        new: Document | None,
        moment: Moment,
        by: str,
        what: str,
    ) -> None:
        key = f"{FUNCTIONS}/{name}"
        if new is None:
            if stored is not None:
                self._store.delete(key, stored.etag)
        else:
            new = {**new, "revision": old["revision"] + 1 if old else 1}
            history = self._decode_history(name, stored) if stored else []
            time = views.last_modified(moment.seconds)
            body = encode(new, extended(history, old, new, by, what, time))
            used = packages_of(new, []) - (packages_of(old, []) if old else set())
            needs = tuple(f"{CODE}/{package}" for package in sorted(used))
            if stored is None:
                self._store.put_new(key, body, needs)
            else:
                self._store.replace(key, body, stored.etag, needs)
        self._logger.info("registry: %s of function %s by %s: %s", what, name, by, _revisions(old, new))


def _revisions(old: Document | None, new: Document | None) -> str:
    """Return the revision of $LATEST before and after a change. Not every change makes a new one.

    >>> _revisions(None, {"latest": {"RevisionId": "a"}}), _revisions(*[{"latest": {"RevisionId": "a"}}] * 2)
    ('revision none -> a', 'revision a')
    """
    before, after = (it["latest"]["RevisionId"] if it else "none" for it in (old, new))
    return f"revision {after}" if before == after else f"revision {before} -> {after}"
