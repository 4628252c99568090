"""Pauses in loops of a length that a function decides, so that the server's other threads get the interpreter."""

from __future__ import annotations

import time

PIECES = 64  # lines of output or chunks of a response between two pauses; a piece takes a few microseconds
PAUSE = 0.0001  # seconds; a waiting thread takes the interpreter at once, so that the length hardly matters


def yield_gil(count: int = PIECES) -> None:
    """Pause if ``count``, the pieces done so far, is a multiple of `PIECES`; without ``count``, always pause."""
    if not count % PIECES:
        time.sleep(PAUSE)
