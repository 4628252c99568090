"""The settings of a `SqliteQueue`, as its session and its workers read them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.telemetry.metrics import Metrics


@dataclass(frozen=True)
class Options:
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
