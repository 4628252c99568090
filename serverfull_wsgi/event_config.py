"""How a function's events are retried, and who is told of their end."""

from __future__ import annotations

import re
from dataclasses import dataclass

from serverfull_wsgi.errors import ConfigurationError


@dataclass(frozen=True)
class EventConfig:
    """How a function's events are retried, and where what became of them is sent; None stands for AWS's default.

    A target is a function of this server (name or ARN), an ``http://`` or ``https://`` URL, or the ARN of an SQS queue,
    an SNS topic or an EventBridge bus. ``on_success`` and ``on_failure`` get AWS's invocation record, ``dead_letter``
    the event itself. A queue that cannot retry or deliver says so.

    Raises `ConfigurationError` for values AWS does not take, and for what is no target.

    >>> EventConfig(maximum_retry_attempts=0, on_failure="https://example.com/failed").maximum_event_age
    """

    maximum_retry_attempts: int | None = None  # 0..2, after the first; None: 2
    maximum_event_age: int | None = None  # seconds, 60..21600; None: 21600
    on_success: str | None = None
    on_failure: str | None = None
    dead_letter: str | None = None

    def __post_init__(self) -> None:
        self._check_range("maximum_retry_attempts", 0, 2)
        self._check_range("maximum_event_age", 60, 21_600)
        for name in ("on_success", "on_failure", "dead_letter"):
            target = getattr(self, name)
            if target is not None and not (isinstance(target, str) and _target.fullmatch(target)):
                raise ConfigurationError(
                    f"event_config: {name}={target!r} must be a function's name or ARN, an http(s) URL, or the ARN of "
                    "an SQS queue, an SNS topic or an EventBridge bus"
                )

    def _check_range(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if value is not None and not (type(value) in (int, float) and value % 1 == 0 and least <= value <= most):
            raise ConfigurationError(f"event_config: {name}={value!r} must be a whole number, {least} to {most}")


_target = re.compile(
    r"https?://[^/\s]\S*|arn:aws[a-z-]*:(sqs:[a-z0-9-]+:\d{12}:[A-Za-z0-9-_.]+|sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9-_.]+"
    r"|events:[a-z0-9-]+:\d{12}:event-bus/[A-Za-z0-9-_./]+"
    r"|lambda:[a-z0-9-]+:\d{12}:function:[A-Za-z0-9-_.]+(:[$A-Za-z0-9-_]+)?)"
    r"|[A-Za-z0-9-_.]{1,140}(:[$A-Za-z0-9-_]+)?",
    re.ASCII,
)
