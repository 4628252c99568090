"""Values of callers in log lines: short, so that no request can fill the log."""

from __future__ import annotations

from collections.abc import Iterable

EVIDENCE_LENGTH = 200  # characters of one value: enough for an ARN
REASON_LENGTH = 1000  # characters of a whole reason: several values, with the server's own text around them


def clipped(text: str, length: int = EVIDENCE_LENGTH) -> str:
    """Return ``text``, a value that a caller sent, with at most ``length`` characters.

    >>> len(clipped("x" * 1000)), clipped("short")
    (200, 'short')
    """
    return text if len(text) <= length else text[: length - 1] + "…"


def reason(message: str, quoted: Iterable[str]) -> str:
    """Return an error's message for the log, with each of the ``quoted`` values clipped and all other text kept.

    >>> len(reason(f"The marker '{'x' * 1000}' is not valid.", ["x" * 1000]))
    227
    """
    for value in quoted:
        if len(value) > EVIDENCE_LENGTH:
            message = message.replace(value, clipped(value))
    return clipped(message, REASON_LENGTH)
