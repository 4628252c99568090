"""Functions, versions and aliases of a registry change as AWS's do, and refuse with AWS's texts."""

import hashlib
from base64 import b64encode

import pytest

from serverfull_wsgi.errors import (
    ResourceConflictException,
)
from tests.support.registry import ARN, ROLE, code, deploy, registry_in

pytestmark = pytest.mark.quick


@pytest.fixture
def registry(tmp_path):
    return registry_in(tmp_path, clock=lambda: 1764037614.0)


def test_a_new_function_has_the_defaults_of_aws(registry):
    package = code("one").read()
    answer = deploy(registry)
    assert answer.pop("RevisionId") != registry.function_configuration("hello")["RevisionId"]
    assert answer == {
        "FunctionName": "hello",
        "FunctionArn": f"{ARN}:hello",
        "Runtime": "python3.11",
        "Role": ROLE,
        "Handler": "app.handler",
        "CodeSize": len(package),
        "CodeSha256": b64encode(hashlib.sha256(package).digest()).decode(),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": "2025-11-25T02:26:54.000+0000",
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": answer["RuntimeVersionConfig"],
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/hello"},
    }
    assert answer["RuntimeVersionConfig"]["RuntimeVersionArn"].startswith("arn:aws:lambda:us-east-1::runtime:")


def test_a_change_is_complete_when_it_is_answered(registry):
    deploy(registry)
    after = registry.function_configuration("hello")
    assert (after["State"], after["LastUpdateStatus"]) == ("Active", "Successful")
    assert "StateReason" not in after
    answer = registry.update_configuration("hello", {"Timeout": 7}, "tester")
    assert (answer["State"], answer["LastUpdateStatus"], answer["Timeout"]) == ("Active", "InProgress", 7)
    last = registry.function_configuration("hello")
    assert (last["LastUpdateStatus"], last["Timeout"]) == ("Successful", 7)
    assert len({after["RevisionId"], answer["RevisionId"], last["RevisionId"]}) == 3


def test_a_second_function_of_the_name_is_refused(registry):
    deploy(registry)
    with pytest.raises(ResourceConflictException, match="Function already exist: hello"):
        deploy(registry)
