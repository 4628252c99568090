"""Rollback: a function as it was after one of its last revisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.registry import views
from serverfull_wsgi.registry.documents import Alias, Change, Document, Moment, Revision


def roll_back(
    document: Document, moment: Moment, *, history: Sequence[Revision], revision: int | None = None
) -> Change:
    """Return the function as it was after a revision, as a new revision.

    $LATEST, the aliases, tags and the reserved concurrency are restored, and versions that were deleted since. Versions
    that were published since stay.

    Args:
        document: the function.
        moment: the time of the rollback.
        history: the function's last revisions.
        revision: the number of the revision; None for the one before the last.

    Raises:
        ConfigurationError: if there is no such revision.
    """
    target = document["revision"] - 1 if revision is None else revision
    undone = [each for each in history if target < each["revision"] <= document["revision"]]
    choices = [each["revision"] - 1 for each in history if each["before"] is not None]
    if target not in choices:
        raise ConfigurationError(
            f"function {document['name']!r} cannot return to revision {target}; "
            + (f"the oldest one is {choices[0]}" if choices else "there is no earlier one")
            + f", and the present one is {document['revision']}"
        )
    parts: dict[str, Any] = {}
    versions = dict(document["versions"])
    for each in reversed(undone):
        before = each["before"] or {}
        parts |= {name: value for name, value in before.items() if name != "versions"}
        versions |= before.get("versions", {})
    latest = {
        **parts.get("latest", document["latest"]),
        "RevisionId": moment.new_id(),
        "LastModified": views.last_modified(moment.seconds),
    }
    new: Document = {
        **document,
        "latest": latest,
        "versions": {number: versions[number] for number in sorted(versions, key=int)},
        "aliases": _renewed(parts.get("aliases", document["aliases"]), document["aliases"], moment),
        "tags": parts.get("tags", document["tags"]),
        "reserved": parts.get("reserved", document["reserved"]),
    }
    return Change(new, {})


def _renewed(aliases: dict[str, Alias], present: dict[str, Alias], moment: Moment) -> dict[str, Alias]:
    """Return aliases, with new RevisionIds for those that differ from the present ones."""
    return {
        name: alias if alias == present.get(name) else {**alias, "RevisionId": moment.new_id()}
        for name, alias in aliases.items()
    }
