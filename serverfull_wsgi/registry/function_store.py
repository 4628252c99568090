"""The documents of functions: reading, and changing by compare and swap."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable
from typing import Any, NoReturn
from uuid import uuid4

from serverfull_wsgi.errors import ResourceConflictException, ServiceException
from serverfull_wsgi.registry import views
from serverfull_wsgi.registry.account import Account
from serverfull_wsgi.registry.documents import (
    BadDocument,
    Change,
    Document,
    Moment,
    Revision,
    decode,
    decode_history,
    encode,
    extended,
    packages_of,
)
from serverfull_wsgi.registry.objects import Busy, Changed, DirectoryStore, Missing, Stored
from serverfull_wsgi.registry.packages import FOLDER as CODE
from serverfull_wsgi.registry.servable import check_servable
from serverfull_wsgi.telemetry.scope import LOGGER

FUNCTIONS = "functions"
PATIENCE = 30.0  # seconds in which a change that loses races is tried again
_name = re.compile(r"[a-zA-Z0-9-_]{1,140}", re.ASCII)

Changer = Callable[[Document, Moment], Change]
Creator = Callable[[Document | None, Moment], Change]


class FunctionStore:
    """The documents of functions in a store of objects. A change takes ``by``, the caller's name for the audit line.

    Args:
        store: keeps the documents and packages.
        account: the account of the functions.
        is_served_elsewhere: returns whether the configuration has a function of a name. Such a name cannot be deployed.
        logger: receives the audit lines, and the reasons of failures.
        clock: returns the seconds since 1970.
        new_id: returns a new RevisionId.

    All methods raise `ServiceException` if the store fails.
    """

    def __init__(
        self,
        store: DirectoryStore,
        account: Account,
        *,
        is_served_elsewhere: Callable[[str], bool] = lambda name: False,
        logger: logging.Logger = LOGGER,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self.objects, self.account, self.is_served_elsewhere = store, account, is_served_elsewhere
        self.clock, self._logger, self._new_id = clock, logger, new_id

    # Reading

    def names(self) -> list[str]:
        """Return the names of all functions, sorted."""
        try:
            return sorted(key.partition("/")[2] for key in self.objects.list(FUNCTIONS))
        except OSError as error:
            self.fail("list the functions", error)

    def watch(self, name: str) -> Callable[[], object] | None:
        """Return a function that returns a value, which differs after every change of the function ``name``.

        The value is None if the function does not exist. None is returned if it cannot have this name.
        """
        return self.objects.watch(f"{FUNCTIONS}/{name}") if _name.fullmatch(name) else None

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

    def used_packages(self) -> set[str]:
        """Return the keys of the packages that a version, or one of the last revisions, needs."""
        used: set[str] = set()
        for name in self.names():
            if (stored := self._stored(name)) is not None:
                used |= packages_of(self._decode(name, stored), self._decode_history(name, stored))
        return {f"{CODE}/{package}" for package in used}

    # Changing

    def change_existing(
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
            with self.objects.turn():
                while time.monotonic() < deadline:
                    with contextlib.suppress(Changed):
                        return self._attempt(name, change, by, what)
        except (OSError, Busy, Missing) as error:
            self.fail(f"write function {name}", error)
        raise ResourceConflictException(
            f"The operation cannot be performed at this time. An update is in progress for resource: "
            f"{self.account.arn(name)}"
        )

    def _attempt(self, name: str, change: Creator, by: str, what: str) -> dict[str, Any]:
        """Read a function, apply a change, and write it. Raises `Changed` if another process was faster."""
        stored = self._stored(name)
        old = None if stored is None else self._decode(name, stored)
        moment = Moment(self.clock(), self._new_id)
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
                self.objects.delete(key, stored.etag)
        else:
            new = {**new, "revision": old["revision"] + 1 if old else 1}
            history = self._decode_history(name, stored) if stored else []
            time = views.last_modified(moment.seconds)
            body = encode(new, extended(history, old, new, by, what, time))
            used = packages_of(new, []) - (packages_of(old, []) if old else set())
            needs = tuple(f"{CODE}/{package}" for package in sorted(used))
            if stored is None:
                self.objects.put_new(key, body, needs)
            else:
                self.objects.replace(key, body, stored.etag, needs)
        self._logger.info("registry: %s of function %s by %s: %s", what, name, by, _revisions(old, new))

    # Objects

    def _stored(self, name: str) -> Stored | None:
        if not _name.fullmatch(name):
            return None
        try:
            return self.objects.get(f"{FUNCTIONS}/{name}")
        except OSError as error:
            self.fail(f"read function {name}", error)

    def _decode(self, name: str, stored: Stored) -> Document:
        try:
            return decode(stored.body)
        except BadDocument as error:
            self.fail(f"read the document {FUNCTIONS}/{name}", error)

    def _decode_history(self, name: str, stored: Stored) -> list[Revision]:
        try:
            return decode_history(stored.body)
        except BadDocument as error:
            self.fail(f"read the history in {FUNCTIONS}/{name}", error)

    def fail(self, action: str, error: Exception) -> NoReturn:
        """Log the reason of a failure, and raise `ServiceException`, whose message does not reveal it."""
        self._logger.error("registry: cannot %s: %s", action, error)
        raise ServiceException from error


def _revisions(old: Document | None, new: Document | None) -> str:
    """Return the revision of $LATEST before and after a change. Not every change makes a new one.

    >>> _revisions(None, {"latest": {"RevisionId": "a"}}), _revisions(*[{"latest": {"RevisionId": "a"}}] * 2)
    ('revision none -> a', 'revision a')
    """
    before, after = (it["latest"]["RevisionId"] if it else "none" for it in (old, new))
    return f"revision {after}" if before == after else f"revision {before} -> {after}"
