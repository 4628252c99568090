"""Real clients over sockets deploy to a server with several worker processes."""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.isolated import needs_client
from tests.support.registry import ROLE, code
from tests.support.servers import ROOT, clean_environ, serverfull, serving

pytestmark = needs_client

RUNTIME = "python{}.{}".format(*sys.version_info)
KEYS = """
[deployer]
aws_access_key_id = DEPLOYER
aws_secret_access_key = secret
serverfull_actions = deploy, read, invoke

[caller]
aws_access_key_id = CALLER
aws_secret_access_key = secret
"""


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """Return a server with two workers whose callers sign."""
    folder = tmp_path_factory.mktemp("signed")
    keys = folder / "keys"
    keys.write_text(KEYS)
    keys.chmod(0o600)
    environ = {"SERVERFULL_REGISTRY": str(folder / "registry"), "SERVERFULL_DATA_DIR": str(folder / "data")}
    with serving(folder / "log", "--workers", "2", SERVERFULL_CREDENTIALS_FILE=str(keys), **environ) as server:
        yield server


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory):
    """Return a server on the loopback with two workers that accept unsigned deploys."""
    folder = tmp_path_factory.mktemp("unsigned")
    environ = {"SERVERFULL_REGISTRY": str(folder / "registry"), "SERVERFULL_DATA_DIR": str(folder / "data")}
    with serving(folder / "log", "--workers", "2", SERVERFULL_DEPLOY_UNSIGNED="true", **environ) as server:
        yield server


@contextlib.contextmanager
def client(url, key="DEPLOYER", **config):
    aws = boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key="secret",
        config=Config(connect_timeout=10, read_timeout=30, **config),
    )
    with contextlib.closing(aws):
        yield aws


def called(server, name, calls=1):
    """Return the result of each call, from new connections, which reach both workers."""
    results = []
    for _ in range(calls):
        with client(server.url) as aws, aws.invoke(FunctionName=name)["Payload"] as payload:
            results.append(json.loads(payload.read())[0])
    return results


def test_boto3_deploys_and_every_worker_runs_the_new_code(signed):
    request = {"Runtime": RUNTIME, "Role": ROLE, "Handler": "app.handler", "Publish": True}
    with client(signed.url) as aws:
        aws.create_function(FunctionName="hello", Code={"ZipFile": code("one").read()}, **request)
        aws.get_waiter("function_active_v2").wait(FunctionName="hello")
        assert called(signed, "hello", 6) == ["one"] * 6
        aws.update_function_code(FunctionName="hello", ZipFile=code("two").read())
        aws.get_waiter("function_updated_v2").wait(FunctionName="hello")
        assert called(signed, "hello", 6) == ["two"] * 6
        assert called(signed, "hello:1", 6) == ["one"] * 6
        aws.delete_function(FunctionName="hello")
    for _ in range(6):
        with client(signed.url) as aws, pytest.raises(aws.exceptions.ResourceNotFoundException):
            aws.get_function(FunctionName="hello")


def test_a_request_without_a_signature_or_with_another_key_deploys_nothing(signed):
    with client(signed.url, key="CALLER") as aws:
        for call in (lambda: aws.delete_function(FunctionName="hello"), lambda: aws.list_functions()):
            with pytest.raises(ClientError, match="AccessDenied"):
                call()
    assert plain(signed, "POST", "/2015-03-31/functions") == (403, "MissingAuthenticationTokenException")
    assert plain(signed, "GET", "/2015-03-31/functions") == (403, "MissingAuthenticationTokenException")


def plain(server, method, path, body="{}", **headers):
    """Return the status and the code of an unsigned request."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("x-amzn-ErrorType")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://127.0.0.1"},
        {"X-Forwarded-For": "10.0.0.1"},
        {"Forwarded": "for=10.0.0.1"},
        {"Via": "1.1 proxy"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_a_server_with_unsigned_deploys_refuses_pages_and_proxies(unsigned, headers):
    assert plain(unsigned, "POST", "/2015-03-31/functions", **headers) == (403, "AccessDeniedException")
    assert plain(unsigned, "POST", "/2015-03-31/functions") == (400, "ValidationException")


def test_a_server_that_others_can_reach_refuses_to_start_with_unsigned_deploys(tmp_path):
    environ = {
        "SERVERFULL_REGISTRY": str(tmp_path / "registry"),
        "SERVERFULL_DATA_DIR": str(tmp_path / "data"),
        "SERVERFULL_DEPLOY_UNSIGNED": "true",
        "SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS": ":0",
    }
    result = serverfull("serve", **environ)
    assert result.returncode == 1
    assert "Error: SERVERFULL_DEPLOY_UNSIGNED=true: the server listens on :0, and unsigned" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_large_package_is_deployed_over_a_socket(unsigned, tmp_path):
    archive = tmp_path / "large.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("app.py", "def handler(event, context): return [len(open(__file__[:-6] + 'data', 'rb').read())]")
        file.writestr("data", os.urandom(9_000_000))
    request = {"Runtime": RUNTIME, "Role": ROLE, "Handler": "app.handler"}
    with client(unsigned.url) as aws:
        aws.create_function(FunctionName="large", Code={"ZipFile": archive.read_bytes()}, **request)
        assert called(unsigned, "large") == [9_000_000]
        location = aws.get_function(FunctionName="large")["Code"]["Location"]
        aws.delete_function(FunctionName="large")
    assert location.startswith(unsigned.url)


# The AWS CLI (version 1, which PyPI has)


def aws_cli(server, *argv, cwd):
    """Return the output of a command of the AWS CLI."""
    command = [str(Path(sys.executable).with_name("aws")), "--endpoint-url", server.url, "lambda", *argv]
    keys = {"AWS_ACCESS_KEY_ID": "DEPLOYER", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    environ = {**clean_environ(), **keys, "PYTHONWARNINGS": "ignore"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environ, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout) if result.stdout.strip() else None


def test_the_aws_cli_deploys_from_create_to_delete(signed, tmp_path):
    (tmp_path / "hello.zip").write_bytes(code("cli").read())
    name = ("--function-name", "cli")
    options = ("--runtime", RUNTIME, "--handler", "app.handler", "--role", ROLE, "--zip-file", "fileb://hello.zip")
    created = aws_cli(signed, "create-function", *name, *options, "--publish", cwd=tmp_path)
    assert created["State"] == "Pending"
    aws_cli(signed, "wait", "function-active-v2", *name, cwd=tmp_path)
    aws_cli(signed, "create-alias", *name, "--name", "prod", "--function-version", "1", cwd=tmp_path)
    aws_cli(signed, "invoke", "--function-name", "cli:prod", "out.json", cwd=tmp_path)
    assert json.loads((tmp_path / "out.json").read_text()) == ["cli", "1"]
    aws_cli(signed, "delete-function", *name, cwd=tmp_path)
    assert aws_cli(signed, "list-functions", cwd=tmp_path)["Functions"] == []


# The example


def test_the_example_releases_a_version_to_some_calls_and_goes_back(unsigned, tmp_path):
    shutil.copytree(ROOT / "examples/deploy", tmp_path / "deploy")
    environ = {**clean_environ(), "AWS_ENDPOINT_URL_LAMBDA": unsigned.url}
    command = [sys.executable, "deploy/release.py"]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    first, half, last = (line for line in result.stdout.splitlines() if line.startswith("calls by version"))
    assert (first, last) == ("calls by version: {'1': 40}", "calls by version: {'1': 40}")
    assert "'1'" in half
    assert "'2'" in half
