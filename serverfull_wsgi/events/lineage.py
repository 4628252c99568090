"""Lineage of a trace header: the functions that a chain of events has called, and how often.

AWS writes it into X-Amzn-Trace-Id, for example ``Lineage=a87bd80c:0|68fd508a:5``: for each function eight hex digits,
and the number of its earlier calls in this chain. A function that forwards the header when it calls another keeps the
chain together, so that a loop of functions can be detected.
"""

from __future__ import annotations

import re

_MAX_FUNCTIONS = 40  # bounds the lineage to about 500 bytes; the latest functions are kept

_lineage = re.compile(r"(?:^|;)Lineage=([^;]*)")
_entry = re.compile(r"([0-9a-f]{8}):([0-9]{1,4})")


def hops(trace_id: str, function: str) -> int:
    """Return the number of earlier calls of ``function``, eight hex digits, in the chain.

    >>> hops("Root=1-64f7ba59-40378aa81e4eecc34002f96a;Lineage=a87bd80c:0|68fd508a:5", "68fd508a")
    5
    """
    return _counts(trace_id).get(function, 0)


def extended(trace_id: str, function: str) -> str:
    """Return the header for a call of ``function``: added to the lineage, or counted once more if present.

    >>> extended("Root=1-64f7ba59-40378aa81e4eecc34002f96a;Lineage=68fd508a:0|a87bd80c:0", "68fd508a")
    'Root=1-64f7ba59-40378aa81e4eecc34002f96a;Lineage=a87bd80c:0|68fd508a:1'
    """
    counts = _counts(trace_id)
    count = counts.pop(function, -1) + 1
    entries = [*counts.items(), (function, count)][-_MAX_FUNCTIONS:]
    lineage = "|".join(f"{name}:{times}" for name, times in entries)
    return ";".join(filter(None, [_lineage.sub("", trace_id).lstrip(";"), f"Lineage={lineage}"]))


def _counts(trace_id: str) -> dict[str, int]:
    match = _lineage.search(trace_id)
    entries = map(_entry.fullmatch, match[1].split("|") if match else ())
    return {entry[1]: int(entry[2]) for entry in entries if entry}
