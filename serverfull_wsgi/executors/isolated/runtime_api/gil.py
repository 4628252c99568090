"""The pace of work whose amount a function decides: pauses in which the server's other threads have the interpreter."""

from __future__ import annotations

import time

PIECES = 64  # lines of output or chunks of a response, each some microseconds of work
PAUSE = 0.0001  # seconds


def breathe(number: int = PIECES) -> None:
    """After each `PIECES` pieces a pause; ``number`` counts them from 1, and without it there is one."""
    if not number % PIECES:
        time.sleep(PAUSE)
