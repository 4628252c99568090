"""What an environment weighs where the CPU is busy: as its memory says, and less once an invocation takes long."""

from __future__ import annotations

from time import monotonic

from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group

SHORT = 0.005  # seconds for which an invocation has its whole weight
LATER = 1 / 16  # of it are left then


class CpuWeight:
    """The weight of an environment with ``memory_size`` MiB; nothing where it has no ``group``.

    A new group has its whole weight, and keeps it until an invocation takes long.
    """

    def __init__(self, group: Group | None, memory_size: int) -> None:
        self._group, self._memory_size = group, memory_size
        self._whole, self._until = True, float("inf")

    def restore(self) -> None:
        """An invocation begins."""
        self._until = monotonic() + SHORT
        if not self._whole:
            self._weigh(whole=True)

    def seconds_until_due(self) -> float:
        """In how many seconds to look; infinity where time changes nothing."""
        return max(0.0, self._until - monotonic()) if self._whole else float("inf")

    def lower_if_due(self) -> None:
        """Time has passed."""
        if self._whole and monotonic() >= self._until:
            self._weigh(whole=False)

    def _weigh(self, *, whole: bool) -> None:
        self._whole = whole
        if self._group:
            self._group.set_cpu_weight(self._memory_size * (1 if whole else LATER))
