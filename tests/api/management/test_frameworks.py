"""Deployment tools deploy to a server as they deploy to AWS: Chalice, Zappa, node-lambda, the Serverless Framework.

The tools are not installed with the tests, since they have many dependencies:

    python -m venv TOOLS && TOOLS/bin/pip install chalice zappa setuptools
    npm install --prefix TOOLS node-lambda serverless@3
    SERVERFULL_TEST_DEPLOY_TOOLS=TOOLS pytest tests/api/management/test_frameworks.py
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from tests.support.isolated import needs_client
from tests.support.registry import ROLE
from tests.support.servers import ROOT, clean_environ, serving

TOOLS = os.environ.get("SERVERFULL_TEST_DEPLOY_TOOLS", "")
RUNTIME = "python{}.{}".format(*sys.version_info)

pytestmark = needs_client


def needs(tool):
    """Skip a test if a tool is not installed, with the command that would."""
    reason = f"no {tool} in SERVERFULL_TEST_DEPLOY_TOOLS; the docstring of this file has the commands"
    return pytest.mark.skipif(not TOOLS or not _path(tool).exists(), reason=reason)


def _path(tool):
    folder = "node_modules/.bin" if tool in ("node-lambda", "serverless") else "bin"
    return Path(TOOLS, folder, tool)


@pytest.fixture(scope="module")
def server(tmp_path_factory, moto):
    """Return a server on the loopback that accepts unsigned deploys, with packages in moto's S3."""
    folder = tmp_path_factory.mktemp("server")
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    environ = {
        "SERVERFULL_REGISTRY": str(folder / "registry"),
        "SERVERFULL_DATA_DIR": str(folder / "data"),
        "SERVERFULL_DEPLOY_UNSIGNED": "true",
        "SERVERFULL_S3_ENDPOINT": moto.url,
    }
    with serving(folder / "log", **environ, **keys) as server:
        yield server


@pytest.fixture
def run(server, moto, tmp_path):
    """Return ``run(tool, *options)``, which runs a tool in the test's folder, and returns its output."""
    folder = str(Path(TOOLS, "node_modules"))
    environ = {
        **clean_environ(),
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": moto.url,
        "AWS_ENDPOINT_URL_LAMBDA": server.url,
        "FOLDER_OF_THE_SDK": folder,
        "NODE_OPTIONS": f"--require {ROOT / 'tests/support/sdk_endpoint.cjs'}",
        "SLS_TELEMETRY_DISABLED": "1",
        "SLS_NOTIFICATIONS_MODE": "off",
        "VIRTUAL_ENV": str(Path(TOOLS).absolute()),
        "PATH": f"{Path(TOOLS).absolute()}/bin:{os.environ['PATH']}",
    }
    del environ["PYTHONPATH"], environ["PYTHONWARNINGS"]

    def run(tool, *options):
        argv = [str(_path(tool).absolute()), *options]
        result = subprocess.run(
            argv, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=500, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


@pytest.fixture
def aws(server):
    client = boto3.client(
        "lambda",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    yield client
    client.close()


def result(aws, name, event):
    with aws.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"] as payload:
        return json.loads(payload.read())


def write(folder, **files):
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))


CHALICE = """
from chalice import Chalice
app = Chalice(app_name="shop")

@app.lambda_function(name="add")
def add(event, context):
    return {"sum": event["a"] + event["b"], "release": 1}
"""


@needs("chalice")
def test_chalice_deploys_updates_and_deletes(run, aws, tmp_path):
    stage = {"manage_iam_role": False, "iam_role_arn": ROLE}
    config = {"version": "2.0", "app_name": "shop", "stages": {"dev": stage}}
    write(tmp_path, **{"app.py": CHALICE, "requirements.txt": "", ".chalice/config.json": config})
    assert "Creating lambda function: shop-dev-add" in run("chalice", "deploy")
    assert result(aws, "shop-dev-add", {"a": 1, "b": 2}) == {"sum": 3, "release": 1}
    write(tmp_path, **{"app.py": CHALICE.replace('"release": 1', '"release": 2')})
    assert "Updating lambda function: shop-dev-add" in run("chalice", "deploy")
    assert result(aws, "shop-dev-add", {"a": 1, "b": 2}) == {"sum": 3, "release": 2}
    run("chalice", "delete")
    assert aws.list_functions()["Functions"] == []


ZAPPA = """
RELEASE = 1

def app(environ, start_response):
    start_response("200 OK", [])
    return [b""]
"""


@needs("zappa")
@pytest.mark.battery  # it packs all packages of its own environment
def test_zappa_deploys_updates_rolls_back_and_undeploys(run, aws, tmp_path):
    settings = {
        "app_function": "app.app",
        "aws_region": "us-east-1",
        "project_name": "shop",
        "runtime": RUNTIME,
        "s3_bucket": "packages",
        "manage_roles": False,
        "role_arn": ROLE,
        "apigateway_enabled": False,
        "keep_warm": False,
        "touch": False,
    }
    write(
        tmp_path, **{"zappa_settings.json": {"dev": settings}, "app.py": "RELEASE = 1\ndef app(environ, start): pass"}
    )
    run("zappa", "deploy", "dev")
    first = aws.get_function(FunctionName="shop-dev")
    assert (first["Configuration"]["State"], first["Configuration"]["Role"]) == ("Active", ROLE)
    write(tmp_path, **{"app.py": ZAPPA.replace("1", "2")})
    run("zappa", "update", "dev")
    second = aws.get_function(FunctionName="shop-dev")["Configuration"]
    assert second["CodeSha256"] != first["Configuration"]["CodeSha256"]
    run("zappa", "rollback", "dev", "-n", "1")
    assert aws.get_function(FunctionName="shop-dev")["Configuration"]["CodeSha256"] != second["CodeSha256"]
    run("zappa", "undeploy", "dev", "-y")
    assert aws.list_functions()["Functions"] == []


NODE = "exports.handler = async (event) => ({ sum: event.a + event.b, release: 1 });"


@pytest.mark.skipif(not shutil.which("node"), reason="no Node.js")
@needs("node-lambda")
@needs("serverless")
def test_node_lambda_and_serverless_deploy_one_function(run, aws, tmp_path):
    write(tmp_path, **{"index.js": NODE, "package.json": {"name": "shop", "version": "1.0.0"}})
    options = ["--functionName", "shop", "--environment", "dev", "--handler", "index.handler", "--role", ROLE]
    deploy = ["deploy", "--accessKey", "key", "--secretKey", "secret", "--region", "us-east-1", *options]
    run("node-lambda", *deploy, "--runtime", "nodejs20.x")
    assert result(aws, "shop-dev", {"a": 1, "b": 2}) == {"sum": 3, "release": 1}
    write(tmp_path, **{"index.js": NODE.replace("release: 1", "release: 2")})
    run("node-lambda", *deploy, "--runtime", "nodejs20.x")
    assert result(aws, "shop-dev", {"a": 1, "b": 2}) == {"sum": 3, "release": 2}
    provider = {"name": "aws", "runtime": "nodejs20.x", "region": "us-east-1", "iam": {"role": ROLE}}
    functions = {"add": {"handler": "index.handler", "name": "shop-dev", "timeout": 60, "memorySize": 128}}
    service = {"service": "shop", "frameworkVersion": "3", "provider": provider, "functions": functions}
    write(tmp_path, **{"index.js": NODE.replace("release: 1", "release: 3"), "serverless.yml": service})
    run("serverless", "deploy", "function", "-f", "add")
    assert result(aws, "shop-dev", {"a": 1, "b": 2}) == {"sum": 3, "release": 3}
    before = aws.get_function(FunctionName="shop-dev")["Configuration"]["RevisionId"]
    run("serverless", "deploy", "function", "-f", "add")  # nothing has changed
    assert aws.get_function(FunctionName="shop-dev")["Configuration"]["RevisionId"] == before
    aws.delete_function(FunctionName="shop-dev")
