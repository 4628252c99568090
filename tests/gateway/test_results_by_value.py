"""A result reaches the gateway as a value or as JSON text, and clients cannot see which."""

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from serverfull_wsgi import Function, FunctionName, Invocation
from serverfull_wsgi.domain import ValueOutcome
from serverfull_wsgi.executors.inprocess import InProcessExecutor
from tests.gateway.formats.kinds import CONTEXT, KINDS, request, route
from tests.support.battery import SEED, share

pytestmark = pytest.mark.quick

NAME = FunctionName.parse("web", region="us-east-1", account_id="123456789012")
FEW = settings(max_examples=share(5_000, 150), deadline=None, suppress_health_check=list(HealthCheck))


class Text(str):
    __slots__ = ()


TEXT = st.one_of(st.text(max_size=8), st.sampled_from(["é", "\ud800", "\ud83d\ude00", Text("x"), "a" * 150_000]))
SCALAR = st.one_of(TEXT, st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=3))
NAMES = st.one_of(st.sampled_from(["X-A", "x-a", "Content-Type", "Set-Cookie"]), TEXT, st.integers(), st.none())
HEADERS = st.dictionaries(NAMES, st.one_of(TEXT, SCALAR, st.lists(TEXT, max_size=2)), max_size=3)
RESULTS = st.one_of(
    st.fixed_dictionaries(
        {"statusCode": st.one_of(st.sampled_from([200, 204, "201", 404, True, 10**20, 200.0]), SCALAR)},
        optional={
            "headers": st.one_of(HEADERS, SCALAR),
            "multiValueHeaders": st.one_of(HEADERS, SCALAR),
            "cookies": st.one_of(st.lists(TEXT, max_size=2), st.tuples(TEXT), SCALAR),
            "body": st.one_of(TEXT, SCALAR, st.dictionaries(TEXT, SCALAR, max_size=2)),
            "isBase64Encoded": st.one_of(st.booleans(), SCALAR),
        },
    ),
    st.dictionaries(NAMES, SCALAR, max_size=2),
    SCALAR,
)


def outcomes(result):
    """The outcomes of a handler: once as a value, once as JSON text."""
    executor, function = InProcessExecutor(), Function(lambda event, context: result, "web")
    by_value = executor.execute(function, Invocation(NAME, None, "8f507cfc-2a0a-4f19-9a8f-1d0f0c5a9e3b", event={}))
    by_text = executor.execute(function, Invocation(NAME, b"{}", "8f507cfc-2a0a-4f19-9a8f-1d0f0c5a9e3b"))
    return by_value, by_text


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_to_a_result_is_the_same_by_value_and_by_text(kind):
    @seed(SEED)
    @FEW
    @given(RESULTS)
    def check(result):
        by_value, by_text = (KINDS[kind].answer(it, request(), route(kind), CONTEXT) for it in outcomes(result))
        assert by_value == by_text

    check()


def test_the_payload_of_a_result_is_the_same_by_value_and_by_text():
    @seed(SEED)
    @FEW
    @given(RESULTS)
    def check(result):
        by_value, by_text = outcomes(result)
        assert by_value.payload == by_text.payload
        assert by_value._replace(duration=0.0)[1:] == by_text._replace(duration=0.0)[1:]

    check()


def test_a_page_is_taken_by_value_and_a_long_one_by_text():
    page = {"statusCode": 200, "headers": {"Content-Type": "text/html"}, "body": "<p>é</p>" * 1000}
    assert isinstance(outcomes(page)[0], ValueOutcome)
    assert not isinstance(outcomes({**page, "body": "x" * 150_000})[0], ValueOutcome)


def test_a_handler_may_change_a_result_that_it_has_returned():
    shared = {"statusCode": 200, "headers": {"X-A": "1"}, "body": "x"}
    by_value, _ = outcomes(shared)
    shared["headers"]["X-A"] = "2"
    shared.clear()
    assert by_value.value == {"statusCode": 200, "headers": {"X-A": "1"}, "body": "x"}
