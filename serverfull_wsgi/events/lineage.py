"""The lineage in a trace header: which functions a chain of events has come through, and how often.

``Lineage=a87bd80c:0|68fd508a:5`` in an X-Amzn-Trace-Id: each function as eight hex digits, and how many times it had
been called in this chain before. Who forwards the header to the functions it calls keeps the chain together.
"""

from __future__ import annotations

import re

_LONGEST = 40  # functions: what the header has room for

_lineage = re.compile(r"(?:^|;)Lineage=([^;]*)")
_entry = re.compile(r"([0-9a-f]{8}):([0-9]{1,4})")


def hops(trace_id: str, function: str) -> int:
    """How many times ``function`` was called in this chain before this call.

    >>> hops("Root=1-64f7ba59-40378aa81e4eecc34002f96a;Lineage=a87bd80c:0|68fd508a:5", "68fd508a")
    5
    """
    return _entries(trace_id).get(function, 0)


def extended(trace_id: str, function: str) -> str:
    """The header for a call of ``function``: in its lineage, and counted once more where it was before.

    >>> extended("Root=1-64f7ba59-40378aa81e4eecc34002f96a;Lineage=68fd508a:0|a87bd80c:0", "68fd508a")
    'Root=1-64f7ba59-40378aa81e4eecc34002f96a;Lineage=a87bd80c:0|68fd508a:1'
    """
    entries = _entries(trace_id)
    count = entries.pop(function, -1) + 1
    kept = [*entries.items(), (function, count)][-_LONGEST:]
    lineage = "|".join(f"{name}:{times}" for name, times in kept)
    return ";".join(filter(None, [_lineage.sub("", trace_id).lstrip(";"), f"Lineage={lineage}"]))


def _entries(trace_id: str) -> dict[str, int]:
    found = _lineage.search(trace_id)
    matches = map(_entry.fullmatch, found[1].split("|") if found else ())
    return {match[1]: int(match[2]) for match in matches if match}
