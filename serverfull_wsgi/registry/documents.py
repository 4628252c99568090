"""Documents: a function with all its versions and aliases, and its last revisions.

A document is two lines of JSON. The first line is the function, and is all that a call reads. The second line is the
history, which grows with every write up to `KEPT` revisions. Both are in one object, so that one write changes both.

Configurations have AWS's member names, without FunctionArn, which depends on how a request names the function. They
never change in place: a change makes a new document from the parts of the old one.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypedDict

from serverfull_wsgi.errors import PreconditionFailedException

FORMAT = 1
KEPT = 20  # revisions to which `serverfull rollback` can return

Configuration = dict[str, Any]  # members of AWS's FunctionConfiguration
Alias = dict[str, Any]  # members of AWS's AliasConfiguration, without AliasArn


class Published(TypedDict):
    """The version that was published last, and the fingerprint of $LATEST at that time."""

    Version: str
    fingerprint: str


class Document(TypedDict):
    """One function."""

    format: int
    name: str
    revision: int  # the number of writes
    latest: Configuration
    versions: dict[str, Configuration]  # in the order of their numbers
    next_version: int
    published: Published | None
    aliases: dict[str, Alias]
    tags: dict[str, str]
    reserved: int | None  # concurrency


class Revision(TypedDict):
    """One write: the audit line, and the parts of the document before the write, for a rollback."""

    revision: int
    time: str
    by: str  # the caller's name
    what: str  # the operation
    old: str | None  # RevisionIds of $LATEST
    new: str | None
    before: dict[str, Any] | None  # the parts that the write changed; None for the first write


class Moment(NamedTuple):
    """The time of a change, and a source of ids: the only inputs of a change beside the document and the request."""

    seconds: float  # since 1970
    new_id: Callable[[], str]  # returns a new RevisionId


class Change(NamedTuple):
    """The result of a change: the new document, and the members of the operation's answer.

    The document is None if the function is to be deleted, and the old document itself if nothing is to be written.
    """

    document: Document | None
    answer: dict[str, Any]


class BadDocument(Exception):
    """A document that this version cannot read. The message has the reason and the cure."""


def encode(document: Document, history: list[Revision]) -> bytes:
    """Return the bytes of a document."""
    lines = (json.dumps(part, separators=(",", ":"), sort_keys=False) for part in (document, history))
    return ("\n".join(lines) + "\n").encode()


def decode(body: bytes) -> Document:
    """Return the function of a document. Raises `BadDocument`."""
    document: Document = _json(body.partition(b"\n")[0])
    version = document.get("format") if isinstance(document, dict) else None
    if not isinstance(version, int) or version < 1:
        raise BadDocument("it is not a document of a registry; restore it from a backup, or delete it")
    if version > FORMAT:
        raise BadDocument(
            f"it has the format {version}, and this version of serverfull-wsgi reads formats up to {FORMAT}; "
            "upgrade serverfull-wsgi"
        )
    return document


def decode_history(body: bytes) -> list[Revision]:
    """Return the revisions of a document, the latest last. Raises `BadDocument`."""
    history: list[Revision] = _json(body.partition(b"\n")[2] or b"[]")
    return history


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadDocument(f"it is damaged: {error}; restore it from a backup, or delete it") from None


def extended(
    history: list[Revision], old: Document | None, new: Document, by: str, what: str, time: str
) -> list[Revision]:
    """Return the history with one more revision."""
    revision = Revision(
        revision=new["revision"],
        time=time,
        by=by,
        what=what,
        old=old["latest"]["RevisionId"] if old else None,
        new=new["latest"]["RevisionId"],
        before=_changed_parts(old, new) if old else None,
    )
    return [*history, revision][-KEPT:]


def _changed_parts(old: Document, new: Document) -> dict[str, Any]:
    """Return the parts of the old document that a rollback needs. Versions never change, so only removed ones count."""
    parts: dict[str, Any] = {
        name: value
        for name, value in (
            ("latest", old["latest"]),
            ("aliases", old["aliases"]),
            ("tags", old["tags"]),
            ("reserved", old["reserved"]),
        )
        if value != new[name]  # type: ignore[literal-required]
    }
    removed = {number: it for number, it in old["versions"].items() if number not in new["versions"]}
    return parts | ({"versions": removed} if removed else {})


def package_of(configuration: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a configuration's package, in hexadecimal."""
    return b64decode(configuration["CodeSha256"]).hex()


def packages_of(document: Document, history: list[Revision]) -> set[str]:
    """Return the SHA-256 of each package that a version or one of the last revisions needs."""
    configurations = [document["latest"], *document["versions"].values()]
    for revision in history:
        before = revision["before"] or {}
        configurations += [*filter(None, [before.get("latest")]), *before.get("versions", {}).values()]
    return {package_of(configuration) for configuration in configurations}


def weights_of(alias: Mapping[str, Any]) -> dict[str, float]:
    """Return the additional versions of an alias, with their weights."""
    weights: dict[str, float] = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    return weights


def check_revision(holder: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    """Raise `PreconditionFailedException` if the request has a RevisionId that is not the holder's."""
    if request.get("RevisionId") and request["RevisionId"] != holder["RevisionId"]:
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )
