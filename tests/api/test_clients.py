"""AWS's own clients over sockets: boto3, the AWS CLI, and the SDK for JavaScript."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.support.servers import ROOT, clean_environ, gunicorn
from tests.support.waiting import wait_until

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


# boto3


def test_boto3_calls(boto3_client):
    response = boto3_client.invoke(FunctionName="echo", Payload=b'{"n": 1}')
    assert (response["StatusCode"], response["ExecutedVersion"]) == (200, "$LATEST")
    assert json.load(response["Payload"]) == {"n": 1}
    assert "FunctionError" not in response


def test_boto3_sends_an_event(boto3_client, tmp_path):
    payload = json.dumps({"file": str(tmp_path / "ran")})
    response = boto3_client.invoke(FunctionName="record", InvocationType="Event", Payload=payload)
    assert (response["StatusCode"], response["Payload"].read()) == (202, b"")
    wait_until((tmp_path / "ran").exists)


def test_boto3_makes_a_dry_run(boto3_client):
    assert boto3_client.invoke(FunctionName="hello", InvocationType="DryRun")["StatusCode"] == 204


def test_boto3_reads_the_tail(boto3_client):
    log = base64.b64decode(boto3_client.invoke(FunctionName="noisy", LogType="Tail")["LogResult"])
    assert log.startswith(b"START RequestId: ")
    assert b"printed\n" in log


def test_boto3_sends_a_client_context(boto3_client):
    context = base64.b64encode(b'{"custom": {"k": "v"}}').decode()
    response = boto3_client.invoke(FunctionName="describe", ClientContext=context)
    assert json.load(response["Payload"])["client_context"]["custom"] == {"k": "v"}


@pytest.mark.parametrize(
    "name",
    [
        "hello:1",
        "function:hello:1",
        "123456789012:function:hello:1",
        "arn:aws:lambda:us-east-1:123456789012:function:hello:1",
    ],
)
def test_boto3_names_a_version_in_every_form(boto3_client, name):
    response = boto3_client.invoke(FunctionName=name)
    assert (response["ExecutedVersion"], json.load(response["Payload"])) == ("1", "one")


def test_boto3_names_an_alias_as_qualifier(boto3_client):
    assert boto3_client.invoke(FunctionName="hello", Qualifier="prod")["ExecutedVersion"] == "1"


def test_boto3_sends_one_request_for_a_failing_handler(boto3_client):
    """boto3 retries a 5xx, so that the handler would run three times."""
    sent = []
    boto3_client.meta.events.register("before-send.lambda.Invoke", lambda request, **_: sent.append(request))
    response = boto3_client.invoke(FunctionName="broken")
    assert response["FunctionError"] == "Unhandled"
    assert json.load(response["Payload"])["errorType"] == "ValueError"
    assert len(sent) == 1


def test_boto3_sends_events_with_invoke_async(boto3_client, tmp_path):
    arguments = json.dumps({"file": str(tmp_path / "ran")}).encode()
    response = boto3_client.invoke_async(FunctionName="record", InvokeArgs=arguments)
    assert response["Status"] == 202
    wait_until((tmp_path / "ran").exists)


@pytest.mark.parametrize(
    ("arguments", "exception"),
    [
        ({"FunctionName": "absent"}, "ResourceNotFoundException"),
        ({"FunctionName": "hello:1", "Qualifier": "2"}, "InvalidParameterValueException"),
        ({"FunctionName": "hello", "Payload": b"{"}, "InvalidRequestContentException"),
        ({"FunctionName": "hello", "ClientContext": "%"}, "InvalidRequestContentException"),
        ({"FunctionName": "hello", "InvocationType": "event"}, "ValidationException"),
        ({"FunctionName": "he!lo"}, "ValidationException"),
        ({"FunctionName": "arn:aws:lambda:us-east-1:999999999999:function:hello"}, "AccessDeniedException"),
        ({"FunctionName": "hello", "Payload": b" " * 6_291_457}, "RequestEntityTooLargeException"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_boto3_raises_an_exception_of_its_own_for_each_error(boto3_client, arguments, exception):
    kind = getattr(boto3_client.exceptions, exception, ClientError)
    with pytest.raises(kind) as caught:
        boto3_client.invoke(**arguments)
    assert caught.value.response["Error"]["Code"] == exception
    assert caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["RequestId"]


# The AWS CLI (version 1, which PyPI has)


def aws(url, *argv, cwd):
    command = [str(Path(sys.executable).with_name("aws")), "--endpoint-url", url, "lambda", *argv]
    environ = {**clean_environ(), **CREDENTIALS, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environ, timeout=60, check=False)


def test_the_aws_cli_invokes(gthread, tmp_path):
    result = aws(gthread.url, "invoke", "--function-name", "hello", "out.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"StatusCode": 200, "ExecutedVersion": "$LATEST"}
    assert json.loads((tmp_path / "out.json").read_text()) == "Hello ƛ!"


def test_the_aws_cli_shows_function_errors_and_the_tail(gthread, tmp_path):
    argv = ["invoke", "--function-name", "broken", "--log-type", "Tail", "--payload", '{"message": "no"}', "out.json"]
    result = json.loads(aws(gthread.url, *argv, cwd=tmp_path).stdout)
    assert result["FunctionError"] == "Unhandled"
    assert b"[ERROR] ValueError: no\n" in base64.b64decode(result["LogResult"])


def test_the_aws_cli_sends_events(gthread, tmp_path):
    argv = ["invoke", "--function-name", "hello", "--invocation-type", "Event", "out.json"]
    assert json.loads(aws(gthread.url, *argv, cwd=tmp_path).stdout) == {"StatusCode": 202}


def test_the_aws_cli_shows_errors(gthread, tmp_path):
    result = aws(gthread.url, "invoke", "--function-name", "absent", "out.json", cwd=tmp_path)
    assert result.returncode != 0
    assert "(ResourceNotFoundException) when calling the Invoke operation: Function not found: arn:" in result.stderr


# The AWS SDK for JavaScript, if Node.js is installed

SDK_FOLDER = "SERVERFULL_TEST_NODE_MODULES"  # the folder that holds node_modules/@aws-sdk; .ci/run fills it


@pytest.fixture(scope="session")
def javascript():
    """Return a function that runs tests/support/node_client.cjs with the SDK installed."""
    node, folder = shutil.which("node"), os.environ.get(SDK_FOLDER, str(ROOT))
    if not node or not (Path(folder) / "node_modules/@aws-sdk/client-lambda").exists():
        pytest.skip(f"no Node.js, or no @aws-sdk/client-lambda under {SDK_FOLDER} (npm install @aws-sdk/client-lambda)")

    def run(url):
        environ = {**clean_environ(), **CREDENTIALS, "NODE_PATH": f"{folder}/node_modules"}
        command = [node, str(ROOT / "tests/support/node_client.cjs"), url]
        result = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=False)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


def test_the_javascript_sdk_invokes(javascript, gthread):
    responses = javascript(gthread.url)
    assert responses["call"] == {"status": 200, "version": "$LATEST", "payload": {"n": 1}, "error": None}
    assert responses["alias"] == {"status": 200, "version": "1", "payload": "one", "error": None}
    assert responses["event"]["status"] == 202
    assert responses["dryRun"]["status"] == 204
    assert responses["broken"]["error"] == "Unhandled"
    assert "START RequestId: " in responses["tail"]
    assert responses["absent"]["name"] == "ResourceNotFoundException"
    assert responses["absent"]["message"].startswith("Function not found: arn:")
    assert responses["notJson"]["name"] == "InvalidRequestContentException"
    assert responses["attempts"] == 1


# The same clients with signatures


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    log = tmp_path_factory.mktemp("signed") / "log"
    with gunicorn(log, "--threads", "8", application="tests.support.site:signed") as server:
        yield server


def test_the_aws_cli_signs(signed, tmp_path):
    arn = "arn:aws:lambda:us-east-1:123456789012:function:hello:prod"
    result = aws(signed.url, "invoke", "--function-name", arn, "--log-type", "Tail", "out.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "out.json").read_text()) == "one"


def test_the_javascript_sdk_signs(javascript, signed):
    responses = javascript(signed.url)
    assert [responses[call]["status"] for call in ("call", "alias", "event", "dryRun", "broken")] == [
        200,
        200,
        202,
        204,
        200,
    ]
    assert responses["notJson"]["name"] == "InvalidRequestContentException"


@pytest.mark.parametrize("secret", ["secret", "guessed"])
def test_boto3_signs(signed, secret):
    session = boto3.Session("key", secret, region_name="us-east-1")
    with contextlib.closing(session.client("lambda", endpoint_url=signed.url)) as client:
        if secret == "secret":
            assert json.load(client.invoke(FunctionName="echo", Payload=b'"\xe6\xbc\xa2"')["Payload"]) == "漢"
        else:
            with pytest.raises(ClientError, match="InvalidSignatureException"):
                client.invoke(FunctionName="echo")
