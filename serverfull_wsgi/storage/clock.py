"""The store's time: seconds that only go forward, whatever becomes of the wall clock.

Deadlines are kept in it, so that a wall clock that jumps by hours makes nothing expire and nothing stuck. Within one
boot of the machine it is the kernel's count of seconds, which all processes share; a new boot goes on where the wall
clock says, but never back.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

Clock = Callable[[], float]


class Anchor(NamedTuple):
    """Where store time stands: at ``ticks`` of this ``boot`` it was ``base``, and the wall clock said ``wall``."""

    boot: str
    ticks: float
    base: float
    wall: float

    @classmethod
    def read(cls, text: str) -> Anchor:
        return cls(*json.loads(text))

    def write(self) -> str:
        return json.dumps(self)

    def now(self, ticks: float) -> float:
        return self.base + ticks - self.ticks


def anchored(saved: Anchor | None, latest: float, boot: str, ticks: float, wall: float) -> Anchor:
    """The anchor to count from in this boot; ``latest`` is the latest store time that anything is known to have had.

    >>> old = Anchor("first boot", ticks=100.0, base=5000.0, wall=1000.0)
    >>> anchored(old, 5050.0, "first boot", ticks=160.0, wall=9e9) is old  # whatever the wall clock says
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


def machine() -> tuple[str, Clock]:
    """This boot's id and its count of seconds, which goes on while the machine sleeps."""
    if sys.platform == "linux":
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    return "wall", time.time  # nothing better that processes could share
