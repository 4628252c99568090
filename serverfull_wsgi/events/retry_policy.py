"""The rules of delivering events: when one is tried again, when it is given up, and what is then said of it.

Pure: times are arguments, in seconds. Sources: AWS's Developer Guide, "Retry behavior" and "Capturing records of
asynchronous invocations", https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html

    an attempt comes to …            counts as     what follows
    a result                         attempt       the end: Success
    a function error, a timeout      attempt       again after 60 s, then 120 s, then the end: RetriesExhausted
    no room, no function, a fault    throttle      again after 1, 2, 4 … 300 s
    reserved concurrency of 0        nothing       the end: ZeroReservedConcurrency
    the end of its process           lost lease    again; the fifth is the end: RetriesExhausted

Whatever cannot begin before the event's greatest age ends it: EventAgeExceeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serverfull_wsgi.event_config import EventConfig

SUCCESS = "Success"
EXHAUSTED = "RetriesExhausted"
TOO_OLD = "EventAgeExceeded"
NO_CONCURRENCY = "ZeroReservedConcurrency"
LOOP = "RecursiveInvocationDetected"  # AWS does not document its own word for this one

MOST_LOST_LEASES = 5
MOST_HOPS = 16

ATTEMPT_FAILED, THROTTLED, NEVER = "failed", "throttled", "never"  # how an attempt came to nothing


@dataclass(frozen=True)
class Delays:
    """How long things rest, in seconds; AWS's own, unless an operator or a test shortens them."""

    retries: Sequence[float] = (60.0, 120.0)  # before the second attempt, and before each one after that
    throttle: float = 1.0  # after the first throttle; it doubles from there
    longest_throttle: float = 300.0


class Limits(NamedTuple):
    """What an event was stamped with when it was accepted."""

    retries: int = 2
    max_age: float = 21_600.0  # seconds

    @classmethod
    def of(cls, config: EventConfig) -> Limits:
        """With AWS's defaults in the place of what was not set.

        >>> Limits.of(EventConfig(maximum_retry_attempts=0))
        Limits(retries=0, max_age=21600.0)
        """
        retries, age = config.maximum_retry_attempts, config.maximum_event_age
        return cls(2 if retries is None else retries, 21_600.0 if age is None else float(age))


class Counts(NamedTuple):
    """How often an event was tried: attempts that ran to an end, throttles, and leases that were lost."""

    attempts: int = 0
    throttles: int = 0
    lost: int = 0


class Step(NamedTuple):
    """What follows: another try after ``delay`` seconds, or, where ``condition`` is set, the end."""

    delay: float = 0.0
    condition: str = ""


def before(counts: Counts, age: float, hops: int, limits: Limits) -> str:
    """The condition in which an event ends without being run; empty where it may run.

    ``age`` is in seconds since it was accepted, ``hops`` how often its function was called in its chain before.

    >>> before(Counts(), age=7.0, hops=16, limits=Limits())
    'RecursiveInvocationDetected'
    """
    if hops >= MOST_HOPS:
        return LOOP
    if counts.lost >= MOST_LOST_LEASES:
        return EXHAUSTED
    return TOO_OLD if age > limits.max_age else ""


def after(failure: str, counts: Counts, age: float, limits: Limits, delays: Delays) -> Step:
    """What follows an attempt that came to nothing; ``counts`` has it in already.

    >>> [after(ATTEMPT_FAILED, Counts(attempts), 5.0, Limits(), Delays()) for attempts in (1, 2)]
    [Step(delay=60.0, condition=''), Step(delay=120.0, condition='')]
    >>> after(ATTEMPT_FAILED, Counts(3), 200.0, Limits(), Delays()).condition
    'RetriesExhausted'
    """
    if failure == NEVER:
        return Step(condition=NO_CONCURRENCY)
    if failure == ATTEMPT_FAILED and counts.attempts > limits.retries:
        return Step(condition=EXHAUSTED)
    delay = retry_delay(counts.attempts, delays) if failure == ATTEMPT_FAILED else throttle_delay(counts, delays)
    return Step(delay) if age + delay <= limits.max_age else Step(condition=TOO_OLD)


def retry_delay(attempts: int, delays: Delays) -> float:
    """Seconds before the next attempt, after so many that failed (1 or more).

    Raises ValueError for an event that was never attempted.
    """
    if attempts < 1:
        raise ValueError(f"{attempts} attempts: nothing to retry yet")
    return delays.retries[min(attempts, len(delays.retries)) - 1]


def throttle_delay(counts: Counts, delays: Delays) -> float:
    """Seconds before the next try after so many throttles: doubling, to a bound.

    >>> [throttle_delay(Counts(throttles=times), Delays()) for times in (1, 2, 3, 9, 10, 99)]
    [1.0, 2.0, 4.0, 256.0, 300.0, 300.0]
    """
    return min(delays.longest_throttle, delays.throttle * 2.0 ** min(counts.throttles - 1, 32))


def backoff(tries: int, delays: Delays) -> float:
    """Seconds before a record is sent again, after so many tries (1 or more) that were not accepted."""
    return throttle_delay(Counts(throttles=tries), delays)
