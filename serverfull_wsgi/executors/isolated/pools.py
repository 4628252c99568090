"""The environments of one function and version that wait for work, and what is remembered of those that ended."""

from __future__ import annotations

import os
from time import monotonic

from serverfull_wsgi.domain import Function
from serverfull_wsgi.executors.isolated.environment import Environment
from serverfull_wsgi.executors.isolated.execution import FailedStart

RETRIED = 2  # failed starts in a row that are each tried again at once
BACK_OFF = 0.25  # seconds until the next try after that, doubled with each failure
LONGEST = 10.0  # seconds


class Pool:
    """Used under its executor's lock."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.key = function.name, function.version
        self.idle: list[Environment] = []  # the most recent last
        self._tmps: list[tuple[str, float]] = []  # temporary files of those that ended, and since when
        self._failures = 0
        self._failed: FailedStart | None = None
        self._retry_at = 0.0

    def started(self, failed: FailedStart | None) -> None:
        """An environment has started, or failed to."""
        self._failed = failed
        self._failures = self._failures + 1 if failed else 0
        if self._failures > RETRIED:
            self._retry_at = monotonic() + min(LONGEST, BACK_OFF * 2 ** (self._failures - RETRIED - 1))

    def recent_failure(self) -> FailedStart | None:
        """What a start would come to, since the last ones just did; None: it is worth a try."""
        return self._failed if self._failures > RETRIED and monotonic() < self._retry_at else None

    def keep_tmp(self, path: str) -> None:
        """Keeps temporary files for the next environment, if their directory is still one."""
        if os.path.isdir(path) and not os.path.islink(path):
            self._tmps.append((path, monotonic()))

    def take_tmp(self) -> str | None:
        """Temporary files for a new environment: on AWS they outlive a process that is replaced."""
        return self._tmps.pop()[0] if self._tmps else None

    def leaving(self, since: float) -> tuple[list[Environment], list[str]]:
        """Takes out what has not been used since then, or has died: environments, and temporary files."""
        stay = [one for one in self.idle if one.used >= since and one.is_alive()]
        gone = [one for one in self.idle if one not in stay]
        self.idle = stay
        files = [path for path, when in self._tmps if when < since]
        self._tmps = [(path, when) for path, when in self._tmps if when >= since]
        return gone, files
