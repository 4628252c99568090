"""Parameters of requests that boto3 does not send: other clients' forms, wrong types and broken bodies."""

import json
from datetime import datetime, timedelta, timezone

import pytest
from werkzeug.datastructures import EnvironHeaders

from serverfull_wsgi.api.model.parsing import parse
from serverfull_wsgi.api.model.service import load
from serverfull_wsgi.errors import InvalidRequestContentException, SerializationException

pytestmark = pytest.mark.quick

OPERATIONS = load().operations


def parsed(operation, body=b"", labels=None, query=None, headers=None):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse(OPERATIONS[operation], labels or {}, query or {}, headers or {}, body)


@pytest.mark.parametrize(
    ("operation", "body", "parameters"),
    [
        ("CreateFunction", b"", {}),
        ("CreateFunction", {}, {}),
        ("CreateFunction", b' {"FunctionName" : "a"} ', {"FunctionName": "a"}),
        ("CreateFunction", {"Unknown": [1], "Timeout": 3}, {"Timeout": 3}),
        ("CreateFunction", {"Timeout": None, "VpcConfig": {"SubnetIds": None}}, {"VpcConfig": {}}),
        ("CreateFunction", {"timeout": 3}, {}),
        ("CreateFunction", {"Timeout": 3.0}, {"Timeout": 3}),
        ("CreateFunction", {"Layers": ["a", None]}, {"Layers": ["a", None]}),
        ("CreateFunction", {"Environment": {"Variables": {"A": None}}}, {"Environment": {"Variables": {"A": None}}}),
        (
            "CreateFunction",
            {"Layers": [], "Tags": {}, "Description": ""},
            {"Layers": [], "Tags": {}, "Description": ""},
        ),
        ("CreateFunction", {"Code": {"ZipFile": "UEs="}}, {"Code": {"ZipFile": b"PK"}}),
        ("CreateFunction", {"Code": {"ZipFile": ""}}, {"Code": {"ZipFile": b""}}),
        ("CreateFunction", b'{"Timeout":1,"Timeout":2}', {"Timeout": 2}),
        ("CreateFunction", {"Description": "\ud800"}, {"Description": "\ud800"}),
        (
            "UpdateAlias",
            {"RoutingConfig": {"AdditionalVersionWeights": {"2": 1}}},
            {"RoutingConfig": {"AdditionalVersionWeights": {"2": 1.0}}},
        ),
        ("GetFunction", b"not JSON, and not read", {}),
        ("Invoke", b"", {}),
        ("Invoke", b"\xff\x00", {"Payload": b"\xff\x00"}),
        ("StopDurableExecution", b"{}", {}),
    ],
)
def test_a_body_gives_parameters(operation, body, parameters):
    assert parsed(operation, body) == parameters


UTC = timezone.utc


@pytest.mark.parametrize(
    ("operation", "query", "parameters"),
    [
        ("ListFunctions", {"MaxItems": ["3"], "Marker": ["m"], "other": ["x"]}, {"MaxItems": 3, "Marker": "m"}),
        ("ListFunctions", {"MaxItems": ["3", "4"]}, {"MaxItems": 3}),
        ("ListFunctions", {"MaxItems": ["-1"]}, {"MaxItems": -1}),
        ("GetFunction", {"Qualifier": [""]}, {"Qualifier": ""}),
        ("UntagResource", {"tagKeys": ["a", "b", "a"]}, {"TagKeys": ["a", "b", "a"]}),
        ("ListDurableExecutionsByFunction", {"ReverseOrder": ["true"]}, {"ReverseOrder": True}),
        ("ListDurableExecutionsByFunction", {"ReverseOrder": ["false"]}, {"ReverseOrder": False}),
    ],
)
def test_a_query_string_gives_parameters(operation, query, parameters):
    assert parsed(operation, query=query) == parameters


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-24T12:30:00Z", datetime(2026, 11, 24, 12, 30, tzinfo=UTC)),
        ("2026-11-24T12:30:00", datetime(2026, 11, 24, 12, 30, tzinfo=UTC)),
        ("2026-11-24T12:30:00.5Z", datetime(2026, 11, 24, 12, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-11-24T12:30:00.123Z", datetime(2026, 11, 24, 12, 30, 0, 123_000, tzinfo=UTC)),
        ("2026-11-24T12:30:00.123456789Z", datetime(2026, 11, 24, 12, 30, 0, 123_456, tzinfo=UTC)),
        ("2026-11-24T12:30:00+02:00", datetime(2026, 11, 24, 12, 30, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_a_time_in_a_query_string_is_of_iso_8601(text, time):
    assert parsed("ListDurableExecutionsByFunction", query={"StartedAfter": [text]}) == {"StartedAfter": time}


def test_a_time_in_a_body_is_in_seconds():
    time = datetime(2026, 11, 24, 12, 30, 0, 250_000, tzinfo=UTC)
    body = {"StartingPositionTimestamp": time.timestamp()}
    assert parsed("CreateEventSourceMapping", body) == {"StartingPositionTimestamp": time}


def test_headers_have_any_case():
    environ = {"HTTP_X_AMZ_INVOCATION_TYPE": "Event", "HTTP_X_AMZ_LOG_TYPE": "Tail"}
    expected = {"InvocationType": "Event", "LogType": "Tail"}
    assert parsed("Invoke", headers=EnvironHeaders(environ)) == expected
    assert parsed("Invoke", headers={"x-amz-invocation-type": "Event", "x-amz-log-type": "Tail"}) == expected


def test_a_label_is_a_number_where_the_model_has_one():
    labels = {"LayerName": "a", "VersionNumber": "12"}
    assert parsed("GetLayerVersion", labels=labels) == {"LayerName": "a", "VersionNumber": 12}


@pytest.mark.parametrize(
    ("operation", "body", "message"),
    [
        ("CreateFunction", {"Timeout": "3"}, "STRING_VALUE can not be converted to an Integer"),  # recorded
        ("CreateFunction", {"Timeout": True}, "TRUE_VALUE can not be converted to an Integer"),
        ("CreateFunction", {"Timeout": 3.5}, "NUMBER_VALUE can not be converted to an Integer"),
        ("CreateFunction", b'{"Timeout":1e400}', "NUMBER_VALUE can not be converted to an Integer"),
        ("CreateFunction", {"Timeout": {}}, "Start of structure or map found where not expected."),
        ("CreateFunction", {"Timeout": []}, "Start of list found where not expected."),
        ("CreateFunction", {"Publish": "true"}, "STRING_VALUE can not be converted to a Boolean"),
        ("CreateFunction", {"Publish": 1}, "NUMBER_VALUE can not be converted to a Boolean"),
        ("CreateFunction", {"Description": 5}, "NUMBER_VALUE can not be converted to a String"),
        ("CreateFunction", {"Description": False}, "FALSE_VALUE can not be converted to a String"),
        ("CreateFunction", {"Description": ["x"]}, "Start of list found where not expected."),
        ("CreateFunction", {"Layers": "x"}, "STRING_VALUE can not be converted to a List"),
        ("CreateFunction", {"Layers": [1]}, "NUMBER_VALUE can not be converted to a String"),
        ("CreateFunction", {"Layers": {}}, "Start of structure or map found where not expected."),
        ("CreateFunction", {"Tags": 1}, "NUMBER_VALUE can not be converted to a Map"),
        ("CreateFunction", {"Tags": []}, "Start of list found where not expected."),
        ("CreateFunction", {"Tags": {"a": 1}}, "NUMBER_VALUE can not be converted to a String"),
        ("CreateFunction", {"TracingConfig": 5}, "Unexpected field type"),
        ("CreateFunction", {"TracingConfig": []}, "Start of list found where not expected."),
        ("CreateFunction", {"Code": {"ZipFile": 5}}, "NUMBER_VALUE can not be converted to a Blob"),
        (
            "CreateFunction",
            {"Code": {"ZipFile": "é"}},
            "STRING_VALUE can not be converted to a Blob: it is not valid Base64",
        ),
        (
            "CreateFunction",
            {"Code": {"ZipFile": "abc"}},
            "STRING_VALUE can not be converted to a Blob: it is not valid Base64",
        ),
        ("CreateFunction", [], "Start of list found where not expected."),
        ("CreateFunction", b"5", "Unexpected field type"),
        ("CreateFunction", b"null", "Unexpected field type"),
        ("StopDurableExecution", b'"x"', "Unexpected field type"),
        (
            "CreateFunction",
            {"Code": {"ZipFile": "UE s="}},
            "STRING_VALUE can not be converted to a Blob: it is not valid Base64",
        ),
        (
            "UpdateAlias",
            {"RoutingConfig": {"AdditionalVersionWeights": {"2": "x"}}},
            "STRING_VALUE can not be converted to a Double",
        ),
        (
            "UpdateAlias",
            b'{"RoutingConfig":{"AdditionalVersionWeights":{"2":1' + b"0" * 400 + b"}}}",
            "NUMBER_VALUE can not be converted to a Double",
        ),
        (
            "CreateEventSourceMapping",
            {"StartingPositionTimestamp": "2026-11-24"},
            "STRING_VALUE can not be converted to a Date",
        ),
        (
            "CreateEventSourceMapping",
            {"StartingPositionTimestamp": 1e300},
            "NUMBER_VALUE can not be converted to a Date: it is out of range",
        ),
    ],
)
def test_a_value_of_a_wrong_type_is_refused(operation, body, message):
    with pytest.raises(SerializationException) as raised:
        parsed(operation, body)
    assert json.loads(raised.value.body()) == {"Message": message}


@pytest.mark.parametrize("text", ["", "x", "1.5", "1_0", " 1", "+1", "١", "9" * 5000])
def test_a_text_that_is_not_an_integer_is_refused(text):
    with pytest.raises(SerializationException, match=r"^STRING_VALUE can not be converted to an Integer$"):
        parsed("ListFunctions", query={"MaxItems": [text]})


@pytest.mark.parametrize(
    ("name", "text"),
    [("ReverseOrder", "True"), ("ReverseOrder", ""), ("StartedAfter", "yesterday"), ("StartedAfter", "2026-13-01")],
)
def test_a_text_that_is_not_a_truth_value_or_a_time_is_refused(name, text):
    with pytest.raises(SerializationException, match=r"^STRING_VALUE can not be converted to a (Boolean|Date)$"):
        parsed("ListDurableExecutionsByFunction", query={name: [text]})


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"x",
        b"{} {}",
        b'{"Timeout": NaN}',
        b'{"Timeout": Infinity}',
        b'{"Timeout": ' + b"1" * 5000 + b"}",
        b'{"Description": "\xff"}',
        "{}".encode("utf-16"),
        b'{"Unknown": ' + b"[" * 200_000,
    ],
    ids=range(9),
)
def test_a_body_that_is_not_json_is_refused(body):
    with pytest.raises(InvalidRequestContentException, match=r"^Could not parse request body into json: "):
        parsed("CreateFunction", body)
