"""Responses as AWS sends them."""

import json
from datetime import datetime, timedelta, timezone

import pytest

from serverfull_wsgi.api.model import recorded
from serverfull_wsgi.api.model.pagination import page
from serverfull_wsgi.api.model.responses import respond
from serverfull_wsgi.api.model.service import load
from serverfull_wsgi.errors import InvalidParameterValueException

pytestmark = pytest.mark.quick

OPERATIONS = load().operations


@pytest.mark.parametrize(
    ("operation", "result", "status", "headers", "body"),
    [
        ("CreateFunction", {"FunctionName": "a"}, 201, {"Content-Type": "application/json"}, b'{"FunctionName":"a"}'),
        ("GetFunctionCodeSigningConfig", {}, 200, {"Content-Type": "application/json"}, b"{}"),
        ("DeleteAlias", {}, 204, {}, b""),
        ("DeleteFunction", {}, 204, {}, b""),
        ("DeleteFunction", {"StatusCode": 202}, 202, {"Content-Type": "application/json"}, b"{}"),
        ("PutProvisionedConcurrencyConfig", {"Status": "IN_PROGRESS"}, 202, {"Content-Type": "application/json"},
         b'{"Status":"IN_PROGRESS"}'),
        ("Invoke", {"Payload": b"null", "ExecutedVersion": "1"}, 200,
         {"Content-Type": "application/json", "X-Amz-Executed-Version": "1"}, b"null"),
        ("Invoke", {"StatusCode": 202}, 202, {}, b""),
        ("Invoke", {"StatusCode": None, "FunctionError": None, "Payload": None}, 200, {}, b""),
        ("Invoke", {"StatusCode": 204, "Payload": b"x"}, 204, {}, b""),
        ("InvokeAsync", {}, 202, {"Content-Type": "application/json"}, b"{}"),
    ],
)  # fmt: skip
def test_a_result_gives_a_response(operation, result, status, headers, body):
    response = respond(OPERATIONS[operation], result)
    assert (response.status, dict(response.headers), response.body) == (status, headers, body)


@pytest.mark.parametrize(
    ("operation", "result", "body"),
    [
        ("CreateFunction", {"FunctionName": None, "VpcConfig": {"VpcId": None, "SubnetIds": []}, "Layers": None},
         {"VpcConfig": {"SubnetIds": []}}),
        ("GetFunction", {"Configuration": {"Environment": {"Variables": {}}}, "Tags": None},
         {"Configuration": {"Environment": {"Variables": {}}}}),
        ("GetAlias", {"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1}}, "Description": ""},
         {"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1}}, "Description": ""}),
        ("ListAliases", {"Aliases": [], "NextMarker": None}, {"Aliases": []}),
        ("GetFunctionConcurrency", {"ReservedConcurrentExecutions": 0}, {"ReservedConcurrentExecutions": 0}),
        ("GetFunctionConfiguration", {"VpcConfig": {"Ipv6AllowedForDualStack": False}},
         {"VpcConfig": {"Ipv6AllowedForDualStack": False}}),
    ],
)  # fmt: skip
def test_absent_members_are_left_out_and_empty_ones_are_not(operation, result, body):
    assert json.loads(respond(OPERATIONS[operation], result).body) == body


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 11, 24, 12, 30, tzinfo=timezone.utc), b"1795523400"),
        (datetime(2026, 11, 24, 14, 30, tzinfo=timezone(timedelta(hours=2))), b"1795523400"),
        (datetime(2026, 11, 24, 12, 30, 0, 250_000, tzinfo=timezone.utc), b"1795523400.25"),
        (datetime(1969, 12, 31, 23, 59, 59, tzinfo=timezone.utc), b"-1"),
    ],
)
def test_a_timestamp_is_the_seconds_since_1970(time, text):
    response = respond(OPERATIONS["GetFunctionEventInvokeConfig"], {"LastModified": time})
    assert response.body == b'{"LastModified":%s}' % text


@pytest.mark.parametrize(
    ("operation", "result", "message"),
    [
        ("GetFunction", {"Unknown": 1}, "GetFunctionResponse has no member Unknown"),
        ("GetFunction", {"Configuration": {"Unknown": 1}}, "FunctionConfiguration has no member Unknown"),
        ("DeleteAlias", {"Name": "a"}, "DeleteAlias has no member Name"),
        ("InvokeWithResponseStream", {}, "an event stream is not one body"),
    ],
)
def test_a_result_that_the_model_does_not_have_is_an_error_of_the_program(operation, result, message):
    with pytest.raises(ValueError, match=message):
        respond(OPERATIONS[operation], result)


def test_items_of_lists_lack_the_state():
    configuration = {
        "FunctionName": "f",
        "State": "Active",
        "RuntimeVersionConfig": {},
        "LastUpdateStatus": "Successful",
    }
    assert recorded.list_item(configuration) == {"FunctionName": "f"}


# Pages


def paged(operation, items, key=int, **parameters):
    return page(OPERATIONS[operation], items, parameters, key)


def test_the_last_page_has_no_marker():
    assert paged("ListFunctions", [1, 2, 3], MaxItems=3) == {"Functions": [1, 2, 3]}
    assert paged("ListFunctions", []) == {"Functions": []}


@pytest.mark.parametrize(
    ("operation", "limit", "size"),
    [
        ("ListFunctions", None, 50),
        ("ListFunctions", 10_000, 50),
        ("ListFunctions", 7, 7),
        ("ListEventSourceMappings", None, 100),
        ("ListEventSourceMappings", 10_000, 100),
        ("ListAliases", None, 50),
        ("ListAliases", 120, 120),
        ("ListDurableExecutionsByFunction", 0, 50),
    ],
)
def test_a_page_has_at_most_the_items_that_aws_documents(operation, limit, size):
    result = paged(operation, range(1, 131), **({} if limit is None else {"MaxItems": limit}))
    assert len(result[OPERATIONS[operation].pagination.result_key]) == size
    assert "NextMarker" in result


def test_a_page_is_right_after_items_were_added_and_removed():
    marker = paged("ListFunctions", [10, 20, 30], MaxItems=2)["NextMarker"]
    assert paged("ListFunctions", [5, 10, 25, 30], Marker=marker) == {"Functions": [25, 30]}
    assert paged("ListFunctions", [], Marker=marker) == {"Functions": []}


def test_a_list_may_begin_with_the_greatest_key():
    operation, items = OPERATIONS["ListLayerVersions"], [3, 2, 1]
    first = page(operation, items, {"MaxItems": 1}, int, descending=True)
    assert first["LayerVersions"] == [3]
    second = page(operation, [4, 2, 1], {"Marker": first["NextMarker"]}, int, descending=True)
    assert second == {"LayerVersions": [2, 1]}


@pytest.mark.parametrize("marker", ["x", "é", "W10=", "bnVsbA==", "dHJ1ZQ==", "ImEi", "e", "WzFd" * 9, "W1tb" * 20_000])
def test_a_marker_of_another_list_is_refused(marker):
    with pytest.raises(InvalidParameterValueException, match="Use the NextMarker of a response"):
        paged("ListFunctions", [1, 2], Marker=marker)


def test_an_operation_without_pages_is_an_error_of_the_program():
    with pytest.raises(ValueError, match="GetFunction has no pages"):
        paged("GetFunction", [])
