"""Mutated requests for management operations get documented statuses only, and change nothing without permission."""

import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from serverfull_wsgi.api.model.service import load
from tests.api.model import calls
from tests.support import management
from tests.support.battery import SEED, share
from tests.support.signing import Sent, call

OPERATIONS = list(load().operations.values())
DOCUMENTED = {200, 201, 202, 204, 400, 403, 404, 409, 412, 413, 429}
TEXTS = ["", "\0", "\ud800", "x" * 300, "../../etc/passwd", "hello:1"]
JUNK = st.sampled_from([None, True, -1, 1e308, *TEXTS, [], {}, [None], {"": None}, {"A": 1}])


@st.composite
def requests(draw):
    """Return a request of boto3's form for any operation, with some of its parts replaced."""
    operation = draw(st.sampled_from(OPERATIONS))
    path = operation.path
    for member in operation.input.members.values():
        if member.location == "uri":
            text = draw(st.sampled_from(["hello", "hello:1", "absent", "a/b", "%", "é", "arn:aws:lambda:x", "x" * 200]))
            path = path.replace(f"{{{member.wire_name}}}", quote(text, safe=""))
    query = [f"{name}={value}" for name, value in operation.fixed_query]
    for member in operation.input.members.values():
        if member.location == "querystring" and draw(st.booleans()):
            text = draw(st.sampled_from(["", "1", "$LATEST", "prod", "ALL", "-1", "99999999999", "%00", "x" * 200]))
            query.append(f"{member.wire_name}={quote(text)}")
    members = draw(calls.parameters(operation))
    body = {member.wire_name: members.get(member.name) for member in operation.input.body_members().values()}
    for name in list(body):
        if draw(st.integers(0, 3)) == 0:
            body[name] = draw(JUNK)
    text = json.dumps(body, default=str).encode()
    if draw(st.integers(0, 5)) == 0:
        text = draw(st.sampled_from([b"", b"{", b"[]", b"null", b"\xff", b'{"a":' * 2000, text[: len(text) // 2]]))
    return Sent(operation.method, path + ("?" + "&".join(query) if query else ""), body=text)


@pytest.mark.battery
def test_any_request_gets_a_documented_status(tmp_path):
    with management.deployable(tmp_path, deploy_unsigned=True) as application, management.client(application) as aws:
        management.create(aws, Publish=True)

        @seed(SEED)
        @settings(
            max_examples=share(50_000, 200), deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(requests())
        def check(request):
            response = call(application, request.environ(REMOTE_ADDR="127.0.0.1"))
            assert response.status in DOCUMENTED, response.body
            if response.status >= 400:
                assert response.headers["x-amzn-errortype"]
                assert len(response.body) < 20_000

        check()
