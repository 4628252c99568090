"""The store's time: seconds that never go back, even if the wall clock does.

Deadlines are in store time, so a wall clock that jumps by hours makes nothing expire and nothing stick. Within one boot
of the machine, store time is the kernel's count of seconds, which all processes share. After a reboot, store time
advances by the time that passed on the wall clock, and never goes back.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

Ticks = Callable[[], float]  # a count of seconds that goes on while the machine sleeps


class Anchor(NamedTuple):
    """A point of store time: at ``ticks`` seconds of ``boot``, store time was ``base`` and the wall clock ``wall``."""

    boot: str
    ticks: float
    base: float
    wall: float

    @classmethod
    def from_json(cls, text: str) -> Anchor:
        return cls(*json.loads(text))

    def to_json(self) -> str:
        return json.dumps(self)

    def now(self, ticks: float) -> float:
        """Return the store time at ``ticks`` of the same boot."""
        return self.base + ticks - self.ticks


def anchored(saved: Anchor | None, latest: float, boot: str, ticks: float, wall: float) -> Anchor:
    """Return the anchor for this boot. ``latest`` is the latest store time in the store's rows.

    >>> old = Anchor("first boot", ticks=100.0, base=5000.0, wall=1000.0)
    >>> anchored(old, 5050.0, "first boot", ticks=160.0, wall=9e9) is old  # the wall clock does not matter
    True
    >>> anchored(old, 5050.0, "second boot", ticks=1.0, wall=1060.0).base
    5060.0
    >>> anchored(old, 5050.0, "second boot", ticks=1.0, wall=0.0).base  # a wall clock that went back
    5050.0
    """
    if saved is None:
        return Anchor(boot, ticks, wall, wall)
    if saved.boot == boot:
        return saved
    return Anchor(boot, ticks, max(latest, saved.base, saved.base + wall - saved.wall), wall)


def boot_clock() -> tuple[str, Ticks]:
    """Return the id of this boot and its count of seconds."""
    if sys.platform == "linux":
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    return "wall", time.time  # other systems have no better clock that processes share
