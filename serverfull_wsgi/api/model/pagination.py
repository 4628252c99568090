"""Pages of a list: a marker names the place after which the next page starts.

A marker holds the sort key of the last item of its page, so that a page is right also if items were added or removed
since. AWS's markers are opaque; clients send them back as they are.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from serverfull_wsgi.api.model import recorded
from serverfull_wsgi.api.model.service import Operation
from serverfull_wsgi.errors import InvalidParameterValueException

DEFAULT_SIZE = 50  # items, where the request has no limit and AWS documents no maximum


def page(
    operation: Operation,
    items: Iterable[Any],
    parameters: Mapping[str, Any],
    key: Callable[[Any], str | int],
    *,
    descending: bool = False,
) -> dict[str, Any]:
    """Return the result of a listing operation: one page, and the marker of the next page if there is one.

    Args:
        operation: an operation with pages.
        items: all items, in the order of their keys.
        parameters: of the request: its marker and its limit are used.
        key: the sort key of an item, which is unique.
        descending: whether the greatest key comes first.

    Raises:
        InvalidParameterValueException: for a marker that this function did not return.

    >>> from serverfull_wsgi.api.model.service import load
    >>> versions = load().operations["ListAliases"]
    >>> first = page(versions, ["a", "b", "c"], {"MaxItems": 2}, str)
    >>> first["Aliases"], page(versions, ["a", "b", "c"], {"Marker": first["NextMarker"]}, str)
    (['a', 'b'], {'Aliases': ['c']})
    """
    pages = operation.pagination
    if pages is None:
        raise ValueError(f"{operation.name} has no pages")
    left = list(items)
    if (marker := parameters.get(pages.input_token)) not in (None, ""):
        last = _key_of(str(marker), left[:1] and key(left[0]))
        left = [item for item in left if (last > key(item) if descending else last < key(item))]
    size = _size(operation.name, parameters.get(pages.limit_key))
    result: dict[str, Any] = {pages.result_key: left[:size]}
    if len(left) > size:
        result[pages.output_token] = _marker_of(key(left[size - 1]))
    return result


def _size(operation: str, limit: int | None) -> int:
    """Return the number of items on a page."""
    maximum = recorded.PAGE_SIZES.get(operation)
    if not limit:  # one operation of AWS's model permits 0, which stands for its default
        return maximum or DEFAULT_SIZE
    return min(limit, maximum) if maximum else limit


def _marker_of(key: str | int) -> str:
    return urlsafe_b64encode(json.dumps(key).encode()).decode("ascii")


def _key_of(marker: str, example: Any) -> Any:
    """Return the key in a marker. ``example`` is a key of the list, so that both have one type; empty without items."""
    try:
        key = json.loads(urlsafe_b64decode(marker.encode("ascii")))
    except (ValueError, RecursionError):
        key = None
    if type(key) not in (str, int) or (example != [] and type(key) is not type(example)):
        message = f"The marker '{marker}' is not valid. Use the NextMarker of a response."
        raise InvalidParameterValueException(message, quoted=[marker])
    return key
