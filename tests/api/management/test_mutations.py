"""Requests of the management API with mutated paths, queries and bodies get documented answers, and never a 500."""

import base64
import json
import random
from collections import Counter

import pytest

from tests.support import management
from tests.support.battery import SEED, share
from tests.support.registry import ROLE, code
from tests.support.signing import Sent, call

ZIP = base64.b64encode(code("x").read()).decode()
ARN = "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3A"
NAMES = [
    "hello",
    "other",
    "hello:1",
    "hello:prod",
    "function:hello",
    "hello%3A%24LATEST",
    "123456789012:function:hello",
    f"{ARN}hello",
]
F = "/2015-03-31/functions"
CREATE = {
    "FunctionName": "hello",
    "Runtime": "python3.12",
    "Role": ROLE,
    "Handler": "app.handler",
    "Code": {"ZipFile": ZIP},
    "Environment": {"Variables": {"AA": "1"}},
    "Publish": True,
    "Tags": {"a": "b"},
    "Layers": [],
}
ALIAS = {"Name": "prod", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}}
LOGGING = {"LogFormat": "JSON"}
REQUESTS = [  # method, path with {} for a name, body
    ("POST", F, CREATE),
    ("POST", F, {**CREATE, "FunctionName": "other"}),
    ("GET", f"{F}/{{}}", None),
    ("GET", f"{F}/{{}}/configuration", None),
    ("GET", f"{F}?MaxItems=2&FunctionVersion=ALL", None),
    ("PUT", f"{F}/{{}}/code", {"ZipFile": ZIP, "Publish": True}),
    ("PUT", f"{F}/{{}}/configuration", {"Timeout": 5, "MemorySize": 256, "LoggingConfig": LOGGING}),
    ("DELETE", f"{F}/{{}}", None),
    ("POST", f"{F}/{{}}/versions", {"Description": "x"}),
    ("GET", f"{F}/{{}}/versions?Marker=x", None),
    ("POST", f"{F}/{{}}/aliases", ALIAS),
    ("PUT", f"{F}/{{}}/aliases/prod", {"FunctionVersion": "2"}),
    ("GET", f"{F}/{{}}/aliases?FunctionVersion=1", None),
    ("DELETE", f"{F}/{{}}/aliases/prod", None),
    ("PUT", "/2017-10-31/functions/{}/concurrency", {"ReservedConcurrentExecutions": 3}),
    ("GET", "/2019-09-30/functions/{}/concurrency", None),
    ("POST", f"/2017-03-31/tags/{ARN}hello", {"Tags": {"k": "v"}}),
    ("DELETE", f"/2017-03-31/tags/{ARN}hello?tagKeys=a&tagKeys=b", None),
    ("GET", f"/2017-03-31/tags/{ARN}hello", None),
    ("GET", "/2016-08-19/account-settings", None),
]
MEMBERS = "Timeout Environment VpcConfig SnapStart Code RevisionId DryRun Architectures ImageUri S3Bucket S3Key".split()
VALUES = [
    *(None, True, 0, -1, 1.5, 1e308, 2**70),
    *("", "x" * 300, "\0", "\ud800", "é"),
    *([], {}, [1], {"a": 1}, [[[]]], {"Variables": {"A": 1}}, {"Variables": None}),
]
PIECES = ["%00", "%2F", "//", "%", "?", "&", "=", "..", "%ff", ":", "$LATEST", "é"]
DOCUMENTED = {200, 201, 202, 204, 400, 403, 404, 409, 412, 413, 415, 429, 502}


def mutated(value, choose):
    """Return a JSON value with one change at a random place."""
    if isinstance(value, dict) and value and choose.random() < 0.8:
        name = choose.choice(list(value))
        action = choose.random()
        if action < 0.15:
            return {key: inner for key, inner in value.items() if key != name}
        if action < 0.25:
            return {**value, choose.choice(MEMBERS): choose.choice(VALUES)}
        return {**value, name: mutated(value[name], choose)}
    return choose.choice(VALUES)


def mutated_request(choose):
    """Return the method, the target and the body of a request, most of them with mutations."""
    method, path, members = choose.choice(REQUESTS)
    target = path.format(choose.choice(NAMES))
    if members is not None and choose.random() < 0.6:
        members = mutated(members, choose)
    body = b"" if members is None else json.dumps(members).encode()
    if body and choose.random() < 0.1:
        place = choose.randrange(len(body))
        body = body[:place] + bytes([choose.randrange(256)]) + body[place + choose.randrange(2) :]
    if choose.random() < 0.15:
        place = choose.randrange(1, len(target) + 1)
        target = target[:place] + choose.choice(PIECES) + target[place:]
    if choose.random() < 0.05:
        method = choose.choice(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"])
    return method, target, body


@pytest.mark.battery
def test_mutated_requests_get_documented_answers(tmp_path, battery):
    choose, statuses = random.Random(SEED), Counter()
    with management.deployable(tmp_path, deploy_unsigned=True) as application:
        for _ in range(share(50_000, 400)):
            method, target, body = mutated_request(choose)
            environ = Sent(method, target, body=body, host="localhost:8080").environ(REMOTE_ADDR="127.0.0.1")
            response = call(application, environ)
            status = int(str(response.status).split()[0])
            statuses[status] += 1
            assert status in DOCUMENTED, (status, method, target, body, response.body)
            if response.body and method != "HEAD":
                json.loads(response.body)
    assert statuses[200]
    assert statuses[201]
    battery.record("mutated management requests", **{str(status): count for status, count in statuses.items()})
