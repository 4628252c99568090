"""Configuration of a function's events: retries, maximum age, and destinations."""

from __future__ import annotations

import re
from dataclasses import dataclass

from serverfull_wsgi.errors import ConfigurationError

# AWS's limits (PutFunctionEventInvokeConfig); its defaults are the two maxima.
MAX_RETRY_ATTEMPTS = 2  # after the first attempt
MIN_EVENT_AGE, MAX_EVENT_AGE = 60, 21_600  # seconds: a minute and six hours
# Patterns. `re` compiles them with their first use, which most servers do not reach: it takes 1 ms.
_WORD = r"[a-z_-]{0,20}"  # a token of this form and length is unlikely
_URL = r"(?is)([a-z][a-z0-9+.-]*://)([^/?#]*)([^?#]*)(.*)"
_TARGET = (
    r"(?a)"
    r"https?://[^/\s]\S*|arn:aws[a-z-]*:(sqs:[a-z0-9-]+:\d{12}:[A-Za-z0-9-_.]+|sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9-_.]+"
    r"|events:[a-z0-9-]+:\d{12}:event-bus/[A-Za-z0-9-_./]+"
    r"|lambda:[a-z0-9-]+:\d{12}:function:[A-Za-z0-9-_.]+(:[$A-Za-z0-9-_]+)?)"
    r"|[A-Za-z0-9-_.]{1,140}(:[$A-Za-z0-9-_]+)?"
)


@dataclass(frozen=True)
class EventConfig:
    """Retries, maximum age and destinations of one function's events.

    A target is a function of this server (name or ARN), an ``http://`` or ``https://`` URL, or the ARN of an SQS queue,
    an SNS topic or an EventBridge bus. A queue without retries and destinations, such as `MemoryQueue`, logs that it
    has none.

    Args:
        maximum_retry_attempts: retries after a function error, 0 to 2; None for AWS's default, 2.
        maximum_event_age: age in seconds at which an event ends without a run, 60 to 21,600; None for AWS's default,
            21,600.
        on_success: target of AWS's invocation record of each event that succeeded.
        on_failure: target of AWS's invocation record of each event that failed.
        dead_letter: target of the payload of each event that failed.

    Raises:
        ConfigurationError: for values that AWS refuses, and for a target of another form.

    >>> EventConfig(maximum_retry_attempts=0, on_failure="https://example.com/failed").maximum_event_age
    """

    maximum_retry_attempts: int | None = None
    maximum_event_age: int | None = None
    on_success: str | None = None
    on_failure: str | None = None
    dead_letter: str | None = None

    def __post_init__(self) -> None:
        self._check_range("maximum_retry_attempts", 0, MAX_RETRY_ATTEMPTS)
        self._check_range("maximum_event_age", MIN_EVENT_AGE, MAX_EVENT_AGE)
        for name in ("on_success", "on_failure", "dead_letter"):
            target = getattr(self, name)
            if target is not None and not (isinstance(target, str) and re.fullmatch(_TARGET, target)):
                raise ConfigurationError(
                    f"event_config: {name}={masked_target(target)!r} must be a function's name or ARN, an http(s) URL, "
                    "or the ARN of an SQS queue, an SNS topic or an EventBridge bus"
                )

    def _check_range(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if value is not None and not (type(value) in (int, float) and value % 1 == 0 and least <= value <= most):
            raise ConfigurationError(f"event_config: {name}={value!r} must be a whole number, {least} to {most}")


def masked_target(target: object) -> object:
    """Return a target as logs and look-ups show it: of a URL the host, the port, and the first part of its path.

    User info, query, fragment and the rest of the path may be passwords and tokens, and so may a first part that is not
    a word in lower case. Any other target is returned as it is.

    >>> masked_target("https://user:password@example.com:8443/failed?token=secret")
    'https://***@example.com:8443/failed?***'
    >>> masked_target("https://hooks.example.com/services/T024BE7LD/secret")
    'https://hooks.example.com/services/***'
    >>> masked_target("clean-up")
    'clean-up'
    """
    if not isinstance(target, str) or not (url := re.match(_URL, target.lstrip())):
        return target
    scheme, authority, path, rest = url.groups()
    _, at, host = authority.rpartition("@")
    if not re.fullmatch(r"[^:]*(:\d*)?|\[[^\]]*\](:\d*)?", host):  # a password with a slash ends the authority early
        return f"{scheme}***"
    return f"{scheme}{'***@' if at else ''}{host}{_masked_path(path)}{rest and rest[0] + '***'}"


def _masked_path(path: str) -> str:
    first, slash, others = path[1:].partition("/")
    shown = first if re.fullmatch(_WORD, first) else "***"
    return f"{path[:1]}{shown}{slash}{others and '***'}"
