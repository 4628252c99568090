"""The store's clock under jumps of the wall clock."""

import random

import pytest

from serverfull_wsgi.storage.clock import Anchor, anchored
from tests.support.battery import SEED

pytestmark = pytest.mark.quick

JUMPS = 1000


def test_store_time_never_goes_back(battery):
    rng = random.Random(SEED)
    anchor, latest, boot, ticks = None, 0.0, 0, 100.0
    for _ in range(JUMPS):
        wall = 1e9 + rng.choice([-7 * 3600, 7 * 3600, -1, 1])
        if rng.random() < 0.1:
            boot, ticks = boot + 1, 0.0
        ticks += rng.random()
        anchor = anchored(anchor, latest, str(boot), ticks, wall)
        assert anchor.now(ticks) >= latest
        latest = anchor.now(ticks)
    assert isinstance(Anchor.from_json(anchor.to_json()), Anchor)
    battery.record("A9 wall clock jumps, the store's time", jumps=JUMPS, went_back=0, boots=boot)
