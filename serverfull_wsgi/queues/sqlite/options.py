"""The settings of a `SqliteQueue`, as its session and its workers read them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from serverfull_wsgi.events.retry_policy import Delays

if TYPE_CHECKING:
    from serverfull_wsgi.telemetry.metrics import Metrics


class Options(NamedTuple):
    """The arguments of `SqliteQueue`, which describes them."""

    path: Path
    owner: str | None
    workers: int
    drain: float  # seconds
    lease: float  # seconds
    retention: float  # seconds
    max_bytes: int  # of the file; 0 for no limit
    delays: Delays
    endpoint: str | None
    logger: logging.Logger
    metrics: Metrics | None
