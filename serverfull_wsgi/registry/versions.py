"""Changes of versions: publishing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from serverfull_wsgi.errors import InvalidParameterValueException
from serverfull_wsgi.registry import views
from serverfull_wsgi.registry.account import Account
from serverfull_wsgi.registry.configuration import refuse_members
from serverfull_wsgi.registry.documents import Change, Configuration, Document, Moment, Published, check_revision

_VOLATILE = ("RevisionId", "LastModified", "Version")


def publish(document: Document, moment: Moment, *, request: Mapping[str, Any], account: Account) -> Change:
    """Publish $LATEST as a new version. Without a change since the last version, that version is the answer.

    Raises:
        PreconditionFailedException: if the request has a RevisionId that is not the latest.
        InvalidParameterValueException: if it has a CodeSha256 that is not the one of $LATEST.
    """
    latest = document["latest"]
    refuse_members(request)
    check_revision(latest, request)
    if request.get("CodeSha256") and request["CodeSha256"] != latest["CodeSha256"]:
        raise InvalidParameterValueException(
            f"CodeSHA256 ({request['CodeSha256']}) is different from current CodeSHA256 in $LATEST "
            f"({latest['CodeSha256']}). Please try again with the CodeSHA256 in $LATEST."
        )
    new, version = published(document, moment, request.get("Description"))
    return Change(new, views.active(version, account.arn(document["name"], version["Version"])))


def published(document: Document, moment: Moment, description: str | None = None) -> tuple[Document, Configuration]:
    """Return the document with $LATEST as a version, and the version.

    Returns the document itself if the last version is the same code and configuration.
    """
    latest, last = document["latest"], document["published"]
    fingerprint = _fingerprint(latest)
    if last and last["fingerprint"] == fingerprint and last["Version"] in document["versions"]:
        return document, document["versions"][last["Version"]]
    number = str(document["next_version"])
    version = {**latest, "Version": number, "RevisionId": moment.new_id()}
    if description:
        version["Description"] = description
    if latest["SnapStart"]["ApplyOn"] == "PublishedVersions":
        version["SnapStart"] = {**latest["SnapStart"], "OptimizationStatus": "On"}
    new: Document = {
        **document,
        "latest": {**latest, "RevisionId": moment.new_id()},
        "versions": {**document["versions"], number: version},
        "next_version": document["next_version"] + 1,
        "published": Published(Version=number, fingerprint=fingerprint),
    }
    return new, version


def _fingerprint(latest: Configuration) -> str:
    """Return a digest of a configuration's code and members, without those that differ after a redundant update."""
    lasting = {name: value for name, value in latest.items() if name not in _VOLATILE}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()
