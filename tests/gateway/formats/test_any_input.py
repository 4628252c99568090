"""No request makes an event fail, and no result makes an answer fail."""

import json
import re

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from serverfull_wsgi import Outcome
from serverfull_wsgi.gateway.formats import Caller, HttpRequest, Route, Stage
from tests.gateway.formats.kinds import CONTEXT, KINDS, MULTI, TargetGroup
from tests.support.battery import SEED, share

pytestmark = pytest.mark.quick

FEW = settings(max_examples=share(10_000, 60), deadline=None, suppress_health_check=list(HealthCheck))
NAMES = st.sampled_from(
    "Host Cookie Content-Type Content-Length Content-Encoding Accept User-Agent Authorization X-Forwarded-For "
    "X-Amzn-Trace-Id Connection".split()
)
HEADERS = st.lists(st.tuples(st.one_of(NAMES, st.text(max_size=8)), st.text(max_size=20)), max_size=8)
REQUESTS = st.builds(
    HttpRequest,
    method=st.sampled_from(["GET", "POST", "HEAD", "X"]),
    path=st.one_of(st.text(max_size=30), st.from_regex(r"/[a-z%/?#+.0-9]{0,30}", fullmatch=True)),
    query=st.one_of(st.text(max_size=30), st.from_regex(r"[a-c=&%+;2F]{0,30}", fullmatch=True)),
    headers=HEADERS,
    body=st.binary(max_size=30),
    host=st.text(max_size=10),
)
ROUTES = st.builds(
    Route,
    st.sampled_from(["$default", "GET /", "ANY /{proxy+}", "GET /a/{id}/b", "GET /{a}/{b+}", "GET /{}", "{"]),
    st.builds(
        Stage,
        name=st.sampled_from(["", "dev", "$default"]),
        binary_media_types=st.lists(st.sampled_from(["*/*", "image/*", "text/plain", ""]), max_size=2),
        is_in_path=st.booleans(),
    ),
)


def values(**floats):
    return st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(**floats), st.text(max_size=8)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
        max_leaves=8,
    )


JSON, FINITE = values(), values(allow_nan=False, allow_infinity=False)
SCALAR = st.one_of(st.text(max_size=12), JSON)
RESULTS = st.fixed_dictionaries(
    {},
    optional={
        "statusCode": st.one_of(st.sampled_from([200, 204, "201", 404]), JSON),
        "headers": st.one_of(st.dictionaries(st.one_of(NAMES, st.text(max_size=6)), SCALAR, max_size=4), JSON),
        "multiValueHeaders": st.one_of(st.dictionaries(NAMES, st.lists(SCALAR, max_size=3), max_size=3), JSON),
        "cookies": st.one_of(st.lists(st.text(max_size=8), max_size=3), JSON),
        "body": SCALAR,
        "isBase64Encoded": st.one_of(st.booleans(), JSON),
    },
)
CALLERS = st.builds(
    Caller,
    lambda_context=st.none() | st.dictionaries(st.text(max_size=5), FINITE, max_size=3),
    claims=st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    scopes=st.none() | st.lists(st.text(max_size=5), max_size=2),
)
PAYLOADS = st.one_of(
    RESULTS.map(json.dumps).map(str.encode), JSON.map(json.dumps).map(str.encode), st.binary(max_size=20)
)
DOCUMENTED = {"REST": 502, "H1": 500, "H2": 500, "URL": 502, "ALB": 502, "ALB+": 502}


def of_kind(kind, route):
    return {"ALB": TargetGroup(), "ALB+": MULTI}.get(kind, route)


def containers(value):
    """The ids of all objects and lists in a value."""
    if not isinstance(value, (dict, list)):
        return set()
    return {id(value)}.union(*map(containers, value.values() if isinstance(value, dict) else value))


@pytest.mark.parametrize("kind", KINDS)
def test_every_request_gives_an_event_that_is_json(kind):
    @seed(SEED)
    @FEW
    @given(REQUESTS, ROUTES, CALLERS)
    def check(request, route, caller):
        members = KINDS[kind].event(request, of_kind(kind, route), CONTEXT._replace(caller=caller))
        text = json.dumps(members, allow_nan=False)
        assert repr(json.loads(text)) == repr(members)
        assert len(text) < 20_000

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_events_share_an_object(kind):
    @seed(SEED)
    @FEW
    @given(REQUESTS, ROUTES, CALLERS)
    def check(request, route, caller):
        context = CONTEXT._replace(caller=caller)
        first, second = (KINDS[kind].event(request, of_kind(kind, route), context) for _ in range(2))
        assert not containers(first) & containers(second)
        assert not containers(first) & containers(caller.lambda_context)

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_gives_an_answer_that_http_allows(kind):
    @seed(SEED)
    @FEW
    @given(PAYLOADS, REQUESTS, ROUTES)
    def check(payload, request, route):
        answer = KINDS[kind].answer(Outcome(payload), request, of_kind(kind, route), CONTEXT)
        assert 200 <= answer.status <= 599
        assert answer.reason is None or answer.status == DOCUMENTED[kind]
        for name, value in answer.headers:
            assert re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
            assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)
            value.encode()
        lengths = [value for name, value in answer.headers if name.lower() == "content-length"]
        if request.method != "HEAD" and answer.status not in (204, 304):
            assert lengths == [str(len(answer.body))]
        else:
            assert answer.body == b""

    check()
