"""AWS's behaviour of Invoke and InvokeAsync, row by row, in every host of the application."""

import base64
import json
from uuid import uuid4

import pytest

from tests.rows import ROWS
from tests.rows.row import FILE
from tests.support.servers import ROOT
from tests.support.waiting import wait_until


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("left-by-handlers")


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ROWS if row.request])
def test_a_request_gets_the_response_of_aws(host, row, request, folder):
    file, sent = folder / uuid4().hex, row.request
    expected = row.where.get(
        request.node.callspec.params["host"].removesuffix("-http").removesuffix("-fallback"), row.response
    )
    response = host.request(sent.method, sent.target, sent.payload.replace(FILE, str(file).encode()), sent.headers)
    assert response.status == expected.status, response
    assert_headers(response.headers, expected)
    assert response.headers.get("Content-Length", "0") == str(len(response.body)) or sent.method == "HEAD"
    assert_body(response, expected.body)
    if expected.log:
        assert own(response, base64.b64decode(response.headers["X-Amz-Log-Result"])).decode() == expected.log
    if expected.file:
        wait_until(lambda: file.exists() and own(response, file.read_bytes()).decode() == expected.file)
    if expected.file == "":
        assert not file.exists()


def assert_headers(headers, expected):
    assert {name: headers.get(name) for name in expected.headers} == expected.headers
    assert ("X-Amz-Log-Result" in headers) == bool(expected.log)


def assert_body(response, expected):
    body = own(response, response.body)
    if isinstance(expected, bytes):
        assert body == expected
    elif isinstance(expected, int):
        assert len(body) == expected
    elif isinstance(expected, dict):
        members = json.loads(body)
        assert members == expected
        assert type(expected) is not dict or list(members) == list(expected)
    else:
        assert body.decode() == expected


def own(response, data):
    """Return ``data`` with ``ID`` in the place of the request's own id, as in the rows."""
    return data.replace(response.headers.get("x-amzn-RequestId", "ID").encode(), b"ID")


def test_every_row_has_its_own_statement():
    ids = [row.id for row in ROWS]
    assert [id for id in ids if ids.count(id) > 1] == []


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ROWS if not row.request])
def test_a_row_without_a_request_names_a_test_or_a_reason(row):
    assert row.test or row.reason
    if row.test:
        file, _, name = row.test.partition("::")
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text()


# The differences from AWS, as the documentation lists them


def listed(text):
    return [" ".join(item.split()) for item in text.split("\n- ")]


@pytest.fixture(scope="module")
def differences():
    return (ROOT / "docs/compatibility.md").read_text().partition("## What is not like AWS\n")[2]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ROWS if row.reason])
def test_a_row_that_does_not_hold_is_documented_with_its_reason(row, differences):
    assert any(row.reason in item for item in listed(differences))


def test_each_documented_difference_of_in_process_functions_is_a_row(differences):
    section = differences.partition("### Functions in the server's process\n")[2].partition("\n### ")[0]
    items = listed(section)[1:]
    assert len(items) > 5
    assert [item for item in items if not any(row.reason and row.reason in item for row in ROWS)] == []
