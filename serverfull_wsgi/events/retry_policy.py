"""Retry rules: when an event runs again, when it ends, and the condition in its record.

All functions are pure: counts and times are arguments, times in seconds. The package's docstring has the rules as a
table, with their sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from serverfull_wsgi.event_config import MAX_EVENT_AGE, MAX_RETRY_ATTEMPTS, EventConfig

# Conditions of an event's end, as AWS's invocation record spells them.
SUCCESS = "Success"
EXHAUSTED = "RetriesExhausted"
TOO_OLD = "EventAgeExceeded"
ZERO_CONCURRENCY = "ZeroReservedConcurrency"
LOOP = "RecursiveInvocationDetected"  # this project's own: AWS does not document its condition for a loop

MAX_LOST_LEASES = 5  # this project's own: enough for a few restarts, few enough for an event that kills its worker
MAX_HOPS = 16  # AWS stops a loop after about 16 calls


class Failure(Enum):
    """Why a run of an event did not succeed."""

    FUNCTION_ERROR = "function error"  # or a timeout
    THROTTLE = "throttle"  # the function could not be started now
    ZERO_CONCURRENCY = "zero concurrency"  # the function may never start


@dataclass(frozen=True)
class Delays:
    """Seconds between the runs of an event. The defaults are AWS's; operators and tests can shorten them.

    Args:
        retries: seconds before the second attempt, the third, and so on; the last one repeats.
        throttle: seconds after the first throttle; each further throttle doubles them.
        longest_throttle: the bound of that doubling.
    """

    retries: Sequence[float] = (60.0, 120.0)
    throttle: float = 1.0
    longest_throttle: float = 300.0


class Limits(NamedTuple):
    """Limits of one event, fixed when it is accepted. The defaults are AWS's."""

    retries: int = MAX_RETRY_ATTEMPTS
    max_age: float = float(MAX_EVENT_AGE)  # seconds

    @classmethod
    def of(cls, config: EventConfig) -> Limits:
        """Return the limits of ``config``, with AWS's default for each value that is None.

        >>> Limits.of(EventConfig(maximum_retry_attempts=0))
        Limits(retries=0, max_age=21600.0)
        """
        retries, age = config.maximum_retry_attempts, config.maximum_event_age
        return cls(
            MAX_RETRY_ATTEMPTS if retries is None else retries, float(MAX_EVENT_AGE) if age is None else float(age)
        )


class Counts(NamedTuple):
    """Runs of one event so far: complete attempts, throttles, and lost leases."""

    attempts: int = 0
    throttles: int = 0
    lost: int = 0


class Step(NamedTuple):
    """The next step of an event: a retry after ``delay`` seconds, or its end if ``condition`` is set."""

    delay: float = 0.0
    condition: str = ""


def terminal_condition(counts: Counts, age: float, hops: int, limits: Limits) -> str:
    """Return the condition that ends an event before a run; empty if the event may run.

    ``age`` is the seconds since the event was accepted. ``hops`` is the number of earlier calls of the function in the
    event's chain (see `lineage`).

    >>> terminal_condition(Counts(), age=7.0, hops=16, limits=Limits())
    'RecursiveInvocationDetected'
    """
    if hops >= MAX_HOPS:
        return LOOP
    if counts.lost >= MAX_LOST_LEASES:
        return EXHAUSTED
    return TOO_OLD if age > limits.max_age else ""


def next_step(failure: Failure, counts: Counts, age: float, limits: Limits, delays: Delays) -> Step:
    """Return the step after a run that failed. ``counts`` includes that run.

    >>> [next_step(Failure.FUNCTION_ERROR, Counts(attempts), 5.0, Limits(), Delays()) for attempts in (1, 2)]
    [Step(delay=60.0, condition=''), Step(delay=120.0, condition='')]
    >>> next_step(Failure.FUNCTION_ERROR, Counts(attempts=3), 200.0, Limits(), Delays()).condition
    'RetriesExhausted'
    """
    if failure is Failure.ZERO_CONCURRENCY:
        return Step(condition=ZERO_CONCURRENCY)
    if failure is Failure.THROTTLE:
        delay = throttle_delay(counts.throttles, delays)
    elif counts.attempts > limits.retries:
        return Step(condition=EXHAUSTED)
    else:
        delay = retry_delay(counts.attempts, delays)
    return Step(delay) if age + delay <= limits.max_age else Step(condition=TOO_OLD)


def retry_delay(attempts: int, delays: Delays) -> float:
    """Return the seconds between attempt number ``attempts`` (1 or more) and the next one.

    Raises:
        ValueError: if the event has not been attempted.
    """
    if attempts < 1:
        raise ValueError(f"{attempts} attempts: nothing to retry yet")
    return delays.retries[min(attempts, len(delays.retries)) - 1]


def throttle_delay(throttles: int, delays: Delays) -> float:
    """Return the seconds after throttle number ``throttles`` (1 or more): doubling, up to a bound.

    >>> [throttle_delay(throttles, Delays()) for throttles in (1, 2, 3, 9, 10, 99)]
    [1.0, 2.0, 4.0, 256.0, 300.0, 300.0]
    """
    doublings = min(throttles - 1, 32)  # a float overflows after 1,023; 32 from 1 s are a century
    return min(delays.longest_throttle, delays.throttle * 2.0**doublings)


def redelivery_delay(tries: int, delays: Delays) -> float:
    """Return the seconds before a record is sent again, after ``tries`` (1 or more) that failed.

    This project's own rule, since AWS publishes none: the delays of a throttled event.
    """
    return throttle_delay(tries, delays)
