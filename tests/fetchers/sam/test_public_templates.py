"""Templates in the shapes of well-known public projects: their functions, their problems and their warnings.

No project is copied. Each template has the resources and references that projects of its kind have.
"""

import re

import pytest

from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
from tests.support.servers import ROOT

PUBLIC = ROOT / "tests/templates/public"
# By file: the functions that run, the places of problems, and the places of warnings
EXPECTED = {
    "cdk.json": (["Fn9270CBC0"], [], []),
    "cfn_inline.yaml": (
        ["Fn", "User"],
        [],
        ["User.Environment.Variables.RESULT", "User.Environment.Variables.WHO", "Perm.Principal"],
    ),
    "cognito.yaml": (
        ["Login"],
        [],
        [
            "Login.Environment.Variables.USER_POOL_ID",
            "Login.Environment.Variables.CLIENT_ID",
            "Login.Environment.Variables.API",
            "Login.Events.P",
        ],
    ),
    "eventbridge.yaml": (
        ["Consumer", "Caller"],
        [],
        ["Topic.TopicName", "DLQ.QueueName", "Consumer.Events.Rule", "Consumer.Events.Cron"],
    ),
    "go.yaml": (["Hello"], [], ["Hello.FunctionUrlConfig", "Hello.Events.Any"]),
    "http_api_crud.yaml": (
        ["Get"],
        [],
        ["Get.Environment.Variables.ENDPOINT", "Table.TableName", "Get.Tracing", "Get.Events.Get"],
    ),
    "nested.yaml": (["F"], [], ["F.Environment.Variables.AUTH", "Auth"]),
    "powertools.yaml": ([], ["F.Layers"], ["Idem.TableName", "F.Events.S", "F.Events.D"]),
    "s3_rekognition.yaml": ([], ["Resizer.Layers"], ["Resizer.Events.Upload"]),
    "stepfunctions.yaml": (
        ["Check"],
        [],
        ["Check.Environment.Variables.MACHINE", "Check.Environment.Variables.NAME", "Machine"],
    ),
    "vpc_rds.yaml": (
        ["Query"],
        ["Direct.Environment.Variables.DB_PASSWORD"],
        ["Query.Environment.Variables.DB_HOST", "Query.Environment.Variables.DB_SECRET_ARN", "Query.VpcConfig"],
    ),
    "websocket.yaml": (
        ["OnConnect"],
        [],
        ["OnConnect.Environment.Variables.URL", "OnConnect.Environment.Variables.URL", "P.Principal"],
    ),
}


def place(line):
    """Return the resource and property of a line: ``t.yaml:3: F.Layers: …`` is ``F.Layers``."""
    return re.sub(r"^\S+?:\d+: ", "", line).partition(": ")[0]


def test_every_template_has_an_expectation_here():
    assert {path.name for path in PUBLIC.iterdir() if path.is_file()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_template_gives_these_functions_problems_and_warnings(name, monkeypatch):
    monkeypatch.chdir(PUBLIC)
    fetcher = SamFetcher(name)
    functions = [function.name for function in fetcher.functions() if function.version == "$LATEST"]
    notes = [place(line) for line in fetcher.notes() if ".Architectures: " not in line]  # depends on this machine
    assert (functions, [place(line) for line in fetcher.problems()], notes) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_strict_leaves_no_stand_in(name, monkeypatch):
    monkeypatch.chdir(PUBLIC)
    fetcher = SamFetcher(name, strict=True)
    assert not [each for each in fetcher.functions() if "unresolved:" in repr(each)]
