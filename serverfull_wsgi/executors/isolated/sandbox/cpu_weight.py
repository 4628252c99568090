"""The weight of an environment on a busy CPU: its memory size, and less in the course of a long invocation."""

from __future__ import annotations

from time import monotonic

from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group

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
        self._group, self._memory_size = group, memory_size
        self._is_full, self._full_until = True, float("inf")

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
        if self._group:
            self._group.set_cpu_weight(self._memory_size * (1 if is_full else REDUCTION))
