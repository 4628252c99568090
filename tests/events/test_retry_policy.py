"""The rules of delivering events, as tables and against a small model."""

import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from serverfull_wsgi import ConfigurationError, EventConfig
from serverfull_wsgi.events import retry_policy
from serverfull_wsgi.events.lineage import extended, hops
from serverfull_wsgi.events.retry_policy import ATTEMPT_FAILED, NEVER, THROTTLED, Counts, Delays, Limits, Step
from serverfull_wsgi.storage.clock import Anchor, anchored
from tests.support.battery import SEED, share

FAILED = [  # attempts so far, age, retries, max age → what follows
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


@pytest.mark.parametrize(("attempts", "age", "retries", "max_age", "step"), FAILED)
def test_what_follows_a_function_error(attempts, age, retries, max_age, step):
    assert retry_policy.after(ATTEMPT_FAILED, Counts(attempts), age, Limits(retries, max_age), Delays()) == step


def test_throttles_wait_from_a_second_to_five_minutes_and_eat_no_retry(battery):
    waits, age, counts = [], 0.0, Counts()
    while (
        not (step := retry_policy.after(THROTTLED, counts, age, Limits(), Delays())).condition
        if counts.throttles
        else True
    ):
        if counts.throttles:
            waits.append(step.delay)
            age += step.delay
        counts = counts._replace(throttles=counts.throttles + 1)
    battery.record("A8 throttles until the age limit", tries=len(waits), first=waits[:3], longest=max(waits))
    assert waits[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert set(waits[9:]) == {300}
    assert step.condition == "EventAgeExceeded"
    assert counts.attempts == 0


def test_a_function_that_may_not_run_at_all_is_recorded_at_once():
    assert retry_policy.after(NEVER, Counts(), 0.0, Limits(), Delays()).condition == "ZeroReservedConcurrency"


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
def test_what_keeps_an_event_from_being_run(counts, age, hops, condition):
    assert retry_policy.before(counts, age, hops, Limits()) == condition


def test_an_event_that_was_never_attempted_has_no_retry():
    with pytest.raises(ValueError, match="nothing to retry yet"):
        retry_policy.retry_delay(0, Delays())


def model(tries, retries, max_age):
    """The same in other words: (attempt or throttle)s until they end, by AWS's text alone."""
    age, attempts, throttles = 0.0, 0, 0
    for how, duration in tries:
        if age > max_age:
            return "EventAgeExceeded", attempts
        age += duration
        if how == "ok":
            return "Success", attempts + 1
        if how == "throttled":
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


def ruled(tries, limits):
    counts, age = Counts(), 0.0
    for how, duration in tries:
        if condition := retry_policy.before(counts, age, 0, limits):
            return condition, counts.attempts
        age += duration
        if how == "ok":
            return "Success", counts.attempts + 1
        throttled = how == "throttled"
        counts = Counts(counts.attempts + (not throttled), counts.throttles + throttled)
        step = retry_policy.after(THROTTLED if throttled else ATTEMPT_FAILED, counts, age, limits, Delays())
        if step.condition:
            return step.condition, counts.attempts
        age += step.delay
    return "", counts.attempts


TRIES = st.tuples(st.sampled_from(["ok", *["failed"] * 2, *["throttled"] * 4]), st.floats(0.0, 900.0))


def over_schedules(count):
    """Runs what takes ``tries``, ``retries`` and ``max_age`` with so many random ones."""
    random_ones = given(
        tries=st.lists(TRIES, min_size=1, max_size=100),
        retries=st.sampled_from([0, 1, 2]),
        max_age=st.one_of(st.sampled_from([60, 21_600]), st.integers(60, 21_600)),
    )
    so_many = settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    return lambda test: seed(SEED)(so_many(random_ones(test)))


def test_random_schedules_end_as_a_small_model_says(battery):
    """A7."""
    ends = Counter()

    @over_schedules(share(5000, 300))
    def schedule(tries, retries, max_age):
        found = ruled(tries, Limits(retries, max_age))
        assert found == model(tries, retries, max_age)
        ends[found[0]] += 1

    schedule()
    battery.record("A7 schedules against a model", schedules=ends.total(), differing=0, ends=dict(ends))
    assert set(ends) >= {"Success", "RetriesExhausted", "EventAgeExceeded"}


# What is stamped


@pytest.mark.parametrize(
    "values",
    [
        {"maximum_retry_attempts": 3},
        {"maximum_retry_attempts": -1},
        {"maximum_retry_attempts": True},
        {"maximum_event_age": 59},
        {"maximum_event_age": 21_601},
        {"on_success": "ftp://example.com"},
        {"on_failure": ""},
        {"dead_letter": "arn:aws:s3:::bucket"},
    ],
)
def test_what_aws_does_not_take_is_refused(values):
    with pytest.raises(ConfigurationError, match=f"event_config: {next(iter(values))}="):
        EventConfig(**values)


@pytest.mark.parametrize(
    "target",
    [
        "next",
        "next:prod",
        "arn:aws:lambda:us-east-1:123456789012:function:next:1",
        "https://example.com/hook?x=1",
        "arn:aws:sqs:eu-west-1:123456789012:jobs.fifo",
        "arn:aws:sns:eu-west-1:123456789012:topic",
        "arn:aws:events:eu-west-1:123456789012:event-bus/default",
    ],
)
def test_targets(target):
    assert EventConfig(on_failure=target).on_failure == target


# The lineage


def test_a_chain_counts_each_of_its_functions():
    trace = "Root=1-64f7ba59-40378aa81e4eecc34002f96a;Sampled=0"
    for function in ("aaaaaaaa", "bbbbbbbb", "aaaaaaaa", "aaaaaaaa"):
        trace = extended(trace, function)
    assert trace.endswith(";Lineage=bbbbbbbb:0|aaaaaaaa:2")
    assert (hops(trace, "aaaaaaaa"), hops(trace, "cccccccc")) == (2, 0)


@pytest.mark.parametrize("lineage", ["", "::|", "zz:1", "68fd508a:x", "68fd508a:99999", "|"])
def test_a_lineage_that_is_none_counts_nothing(lineage):
    assert hops(f"Root=1;Lineage={lineage}", "68fd508a") == 0
    assert extended(f"Root=1;Lineage={lineage}", "68fd508a") == "Root=1;Lineage=68fd508a:0"


# The clock


def test_the_stores_time_never_goes_back(battery):
    rng = random.Random(SEED)
    anchor, latest, boot, ticks = None, 0.0, 0, 100.0
    for _ in range(share(1000, 1000)):
        wall = 1e9 + rng.choice([-7 * 3600, 7 * 3600, -1, 1])
        if rng.random() < 0.1:
            boot, ticks = boot + 1, 0.0
        ticks += rng.random()
        anchor = anchored(anchor, latest, str(boot), ticks, wall)
        assert anchor.now(ticks) >= latest
        latest = anchor.now(ticks)
    assert isinstance(Anchor.read(anchor.write()), Anchor)
    battery.record("A9 wall clock jumps, the store's time", jumps=1000, went_back=0, boots=boot)
