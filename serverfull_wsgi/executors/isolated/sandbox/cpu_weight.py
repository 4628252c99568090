"""The weight of an environment on a busy CPU: its memory size, and less in the course of a long invocation."""

from __future__ import annotations

import contextlib
import os
from time import monotonic

from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group, WeightFile

FULL_SECONDS = 0.005  # a warm invocation that only answers is over by then, and should not wait behind long ones
REDUCTION = 1 / 16  # enough that a short invocation runs almost at once beside a long one


class CpuWeight:
    """The CPU weight of one environment; without a control group all methods do nothing.

    ::

        full --(an invocation has run for FULL_SECONDS)--> reduced
          ^------------(the next invocation starts)----------|

    A new group starts at full weight, so that the start of a runtime is not slowed.
    """

    def __init__(self, group: Group | None, memory_size: int) -> None:
        self._memory_size = memory_size
        self._is_full, self._full_until = True, float("inf")
        self._group = group
        self._file: WeightFile | None = None
        self._fd = -1  # of the file, open from its first use on: opening takes five times as long as writing

    def restore(self) -> None:
        """Return to full weight, at the start of an invocation."""
        self._full_until = monotonic() + FULL_SECONDS
        if not self._is_full:
            self._set(is_full=True)

    def seconds_until_due(self) -> float:
        """Return the seconds until `lower_if_due` has an effect; infinity if it has none."""
        return max(0.0, self._full_until - monotonic()) if self._is_full else float("inf")

    def lower_if_due(self) -> None:
        """Reduce the weight if an invocation started long enough ago."""
        if self._is_full and monotonic() >= self._full_until:
            self._set(is_full=False)

    def _set(self, *, is_full: bool) -> None:
        self._is_full = is_full
        with contextlib.suppress(OSError):
            if self._group and not self._file:
                self._open(self._group)
            if self._file:
                text = self._file.text(self._memory_size * (1 if is_full else REDUCTION))
                os.pwrite(self._fd, text.encode(), 0)

    def _open(self, group: Group) -> None:
        if file := group.weight_file():
            self._fd = os.open(file.path, os.O_WRONLY | os.O_CLOEXEC)
            self._file = file

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._file, self._group = -1, None, None
