"""Changes of tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from serverfull_wsgi.errors import InvalidParameterValueException
from serverfull_wsgi.registry.documents import Change, Document, Moment

TAG_LIMIT = 50


def check_count(tags: Mapping[str, str]) -> None:
    """Raise `InvalidParameterValueException` for too many tags."""
    if len(tags) > TAG_LIMIT:
        raise InvalidParameterValueException("Number of tags exceeds resource tag limit.")


def tag(document: Document, moment: Moment, *, tags: Mapping[str, str]) -> Change:
    """Add tags, and replace those with the same keys. Raises `InvalidParameterValueException`."""
    if not tags:
        raise InvalidParameterValueException("An error occurred and the request cannot be processed.")
    merged = {**document["tags"], **tags}
    check_count(merged)
    return Change({**document, "tags": merged}, {})


def untag(document: Document, moment: Moment, *, keys: Iterable[str]) -> Change:
    """Remove tags. Unknown keys are ignored."""
    removed = set(keys)
    return Change({**document, "tags": {key: it for key, it in document["tags"].items() if key not in removed}}, {})
