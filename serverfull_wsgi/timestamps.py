"""Points in time as AWS writes them, in log lines, in invocation records and for operators."""

from __future__ import annotations

import time
from functools import lru_cache


def timestamp(seconds: float) -> str:
    """Return seconds since 1970 as text in UTC, with milliseconds.

    >>> timestamp(1764025868.123)
    '2025-11-24T23:11:08.123Z'
    """
    milliseconds = int(seconds * 1000)
    return f"{_whole_seconds(milliseconds // 1000)}.{str(milliseconds % 1000).zfill(3)}Z"


@lru_cache(maxsize=1)  # a log line mostly falls into the second of the line before; formatting takes 1 µs
def _whole_seconds(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
