"""Values of templates and OpenAPI documents. Their form is not known before these functions read them."""

from __future__ import annotations

import re
from typing import Any

_function = re.compile(r":function:([^/]+)(?:/|\Z)")


def mapping(value: Any) -> dict[str, Any]:
    """Return a mapping, or an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """Return a list, or an empty one for any other value."""
    return value if isinstance(value, list) else []


def texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, or of a single value; none for None."""
    if isinstance(value, list):
        return tuple(map(str, value))
    return () if value is None else (str(value),)


def whole_number(value: Any) -> int | None:
    """Return a whole number of up to nine digits, or the text of one; None for any other value."""
    text = str(value) if isinstance(value, (int, str)) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def is_true(value: Any) -> bool:
    """Return whether a value is true, or the text ``true``."""
    return value is True or value == "true"


def has_transform(value: Any) -> bool:
    """Return whether a value is a mapping to which a macro adds members at AWS, such as ``AWS::Include``.

    Nobody knows the members here, and they may be conditions for callers.
    """
    return isinstance(value, dict) and "Fn::Transform" in value


def is_pattern(text: str) -> bool:
    """Return whether a text is a regular expression."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def function_in(text: Any) -> str:
    """Return the function in an ARN, or in the URI of an integration; an empty text without one.

    >>> function_in("arn:aws:lambda:eu-west-1:123456789012:function:pets:live")
    'pets:live'
    """
    found = _function.search(str(text))
    return found[1] if found else ""
