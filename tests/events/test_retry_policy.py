"""The retry rules, as tables and against a small model of AWS's documentation."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from serverfull_wsgi.events import retry_policy
from serverfull_wsgi.events.retry_policy import Counts, Delays, Failure, Limits, Step
from tests.support.battery import SEED, share

pytestmark = pytest.mark.quick

AFTER_FUNCTION_ERRORS = [  # attempts so far, age, retries, max age, next step
    (1, 3.0, 2, 21_600, Step(60.0)),
    (2, 63.0, 2, 21_600, Step(120.0)),
    (3, 183.0, 2, 21_600, Step(condition="RetriesExhausted")),
    (1, 3.0, 1, 21_600, Step(60.0)),
    (2, 63.0, 1, 21_600, Step(condition="RetriesExhausted")),
    (1, 3.0, 0, 21_600, Step(condition="RetriesExhausted")),
    (1, 0.0, 2, 60, Step(60.0)),
    (1, 0.1, 2, 60, Step(condition="EventAgeExceeded")),
    (3, 9999.0, 2, 60, Step(condition="RetriesExhausted")),
]


@pytest.mark.parametrize(("attempts", "age", "retries", "max_age", "step"), AFTER_FUNCTION_ERRORS)
def test_a_function_error_is_retried_after_one_minute_and_then_two(attempts, age, retries, max_age, step):
    limits = Limits(retries, max_age)
    assert retry_policy.next_step(Failure.FUNCTION_ERROR, Counts(attempts), age, limits, Delays()) == step


def test_throttles_wait_from_a_second_to_five_minutes_and_use_up_no_attempt(battery):
    delays, age, throttles = [], 0.0, 1
    while not (step := throttle_step(throttles, age)).condition:
        delays.append(step.delay)
        age += step.delay
        throttles += 1
    battery.record("A8 throttles until the age limit", tries=len(delays), first=delays[:3], longest=max(delays))
    assert delays[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert set(delays[9:]) == {300}
    assert step.condition == "EventAgeExceeded"


def throttle_step(throttles, age):
    return retry_policy.next_step(Failure.THROTTLE, Counts(throttles=throttles), age, Limits(), Delays())


def test_a_reserved_concurrency_of_zero_ends_an_event_at_once():
    step = retry_policy.next_step(Failure.ZERO_CONCURRENCY, Counts(), 0.0, Limits(), Delays())
    assert step.condition == "ZeroReservedConcurrency"


@pytest.mark.parametrize(
    ("counts", "age", "hops", "condition"),
    [
        (Counts(), 0.0, 0, ""),
        (Counts(lost=4), 0.0, 15, ""),
        (Counts(lost=5), 0.0, 0, "RetriesExhausted"),
        (Counts(), 21_600.0, 0, ""),
        (Counts(), 21_600.1, 0, "EventAgeExceeded"),
        (Counts(), 0.0, 16, "RecursiveInvocationDetected"),
    ],
)
def test_lost_leases_age_and_hops_end_an_event_before_a_run(counts, age, hops, condition):
    assert retry_policy.terminal_condition(counts, age, hops, Limits()) == condition


def test_the_retry_delay_of_an_event_without_attempts_is_an_error():
    with pytest.raises(ValueError, match="nothing to retry yet"):
        retry_policy.retry_delay(0, Delays())


def model(tries, retries, max_age):
    """Return the end of an event by AWS's text alone: its condition, or "" if it has not ended, and its attempts.

    ``tries`` are pairs of a result (ok, failed or throttled) and a duration in seconds.
    """
    age, attempts, throttles = 0.0, 0, 0
    for result, duration in tries:
        if age > max_age:
            return "EventAgeExceeded", attempts
        age += duration
        if result == "ok":
            return "Success", attempts + 1
        if result == "throttled":
            wait = min(300, 2**throttles)
            throttles += 1
        else:
            attempts += 1
            if attempts == retries + 1:
                return "RetriesExhausted", attempts
            wait = 60 if attempts == 1 else 120
        if age + wait > max_age:
            return "EventAgeExceeded", attempts
        age += wait
    return "", attempts


def by_rules(tries, limits):
    """Return the same by the functions of `retry_policy`."""
    counts, age = Counts(), 0.0
    for result, duration in tries:
        if condition := retry_policy.terminal_condition(counts, age, 0, limits):
            return condition, counts.attempts
        age += duration
        if result == "ok":
            return "Success", counts.attempts + 1
        failure = Failure.THROTTLE if result == "throttled" else Failure.FUNCTION_ERROR
        is_throttled = failure is Failure.THROTTLE
        counts = Counts(counts.attempts + (not is_throttled), counts.throttles + is_throttled)
        step = retry_policy.next_step(failure, counts, age, limits, Delays())
        if step.condition:
            return step.condition, counts.attempts
        age += step.delay
    return "", counts.attempts


TRIES = st.tuples(st.sampled_from(["ok", *["failed"] * 2, *["throttled"] * 4]), st.floats(0.0, 900.0))


def over_schedules(count):
    """Return a decorator that runs a test of ``tries``, ``retries`` and ``max_age`` with ``count`` random examples."""
    examples = given(
        tries=st.lists(TRIES, min_size=1, max_size=100),
        retries=st.sampled_from([0, 1, 2]),
        max_age=st.one_of(st.sampled_from([60, 21_600]), st.integers(60, 21_600)),
    )
    limited = settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    return lambda test: seed(SEED)(limited(examples(test)))


def test_random_schedules_end_as_the_model_computes(battery):
    ends = Counter()

    @over_schedules(share(5000, 300))
    def schedule(tries, retries, max_age):
        end = by_rules(tries, Limits(retries, max_age))
        assert end == model(tries, retries, max_age)
        ends[end[0]] += 1

    schedule()
    battery.record("A7 schedules against a model", schedules=ends.total(), differing=0, ends=dict(ends))
    assert set(ends) >= {"Success", "RetriesExhausted", "EventAgeExceeded"}
