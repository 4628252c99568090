"""The pace of work whose amount a function decides: pauses in which the server's other threads have the interpreter."""

from __future__ import annotations

import time

PIECES = 64  # lines of output or chunks of a response, each some microseconds of work
PAUSE = 0.0001  # seconds


def yield_gil(count: int = PIECES) -> None:
    """After each `PIECES` pieces a pause; ``count`` counts them from 1, and without it there is one."""
    if not count % PIECES:
        time.sleep(PAUSE)
