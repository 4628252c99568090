"""Calls with any values in any place: each is accepted, or refused with an error of AWS."""

import json

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from serverfull_wsgi.api.model import parsing, routing, validation
from serverfull_wsgi.errors import ServiceError
from tests.api.model import calls
from tests.support.battery import SEED, share

OPERATIONS = list(calls.SERVICE.operations.values())
CODES = {
    "InvalidParameterValueException",
    "InvalidRequestContentException",
    "SerializationException",
    "ValidationException",
}

texts = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["", "0", "-1", "true", "x" * 300, "arn:aws:lambda:", "\ud800"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.just(10**400)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


def near(shape):
    """Return a strategy for JSON that has the form of a shape, or in some places another form."""
    if shape.type == "structure":
        members = shape.body_members().values()
        optional = {m.wire_name: st.deferred(lambda m=m: near(m.shape)) for m in members}
        form = st.fixed_dictionaries({}, optional=optional)
    elif shape.type == "list":
        form = st.lists(st.deferred(lambda: near(shape.element)), max_size=3)
    elif shape.type == "map":
        form = st.dictionaries(texts, st.deferred(lambda: near(shape.element)), max_size=3)
    else:
        form = scalars
    return form | form | form | anything


@st.composite
def broken_calls(draw):
    operation = draw(st.sampled_from(OPERATIONS))
    members = operation.input.members.values()
    payload = operation.input.payload
    body = draw(near(operation.input.members[payload].shape if payload else operation.input))
    sent = json.dumps(body).encode() if draw(st.integers(0, 9)) else draw(st.binary(max_size=30))
    labels = {m.wire_name: draw(texts) for m in members if m.location == "uri"}
    query = {m.wire_name: draw(st.lists(texts, max_size=2)) for m in members if m.location == "querystring"}
    headers = {m.wire_name.lower(): draw(texts) for m in members if m.location == "header"}
    return operation, labels, query, headers, sent


@pytest.mark.battery
@seed(SEED)
@settings(max_examples=share(50_000, 500), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(broken_calls())
def test_a_broken_call_is_accepted_or_refused_with_an_error_of_aws(call):
    error = refusal(*call)
    if error:
        assert (error.code in CODES, error.status) == (True, 400)
        assert isinstance(json.loads(error.body())[error.message_key], str)


def refusal(operation, *parts):
    """Return the error for a call; None if it is accepted."""
    try:
        validation.validate(operation, parsing.parse(operation, *parts))
    except ServiceError as error:
        return error
    return None


@pytest.mark.quick
@seed(SEED)
@settings(max_examples=500, deadline=None, database=None)
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "get", ""]),
    st.lists(texts | st.sampled_from(["2015-03-31", "functions", "%2F", "%", "%zz"]), max_size=6).map("/".join),
    st.dictionaries(texts, st.lists(texts, max_size=2), max_size=2),
)
def test_any_address_belongs_to_one_operation_or_to_none(method, path, query):
    found = routing.match(method, path, query)
    assert found is None or all(found.labels.values())
