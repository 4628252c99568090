"""Projects of the forms that `sam init` writes: each is served by one command, and called at the URL of its Outputs.

The SAM CLI itself is not installed with the tests, since it has many dependencies:

    python -m venv TOOLS && TOOLS/bin/pip install aws-sam-cli
    SERVERFULL_TEST_DEPLOY_TOOLS=TOOLS pytest tests/gateway/test_sam_projects.py
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import boto3
import pytest
import requests

from tests.support.isolated import needs_client
from tests.support.servers import ROOT, Server, clean_environ, free_port, running, serverfull

yaml = pytest.importorskip("yaml")
pytestmark = [needs_client, pytest.mark.once]

PROJECTS = ROOT / "tests/projects"
REGION = "us-east-1"
ITEM = {"id": "id1", "name": "name1"}


class Call(NamedTuple):
    """A request below the URL of a project's Outputs, and the JSON that answers it."""

    method: str
    path: str
    body: object
    result: object
    status: int = 200


def hello(path, stage):
    return [Call("GET", "", None, {"message": "hello world", "path": path, "stage": stage})]


WEB = [
    Call("POST", "", ITEM, ITEM),
    Call("GET", "id1", None, ITEM),
    Call("GET", "id9", None, None, 404),
]
CALLS = {
    "python_hello": hello("/hello/", "Prod"),
    "node_hello": hello("/hello/", "Prod"),
    "python_http": hello("/hello", "$default"),
    "node_http": hello("/hello", "$default"),
    "python_web": [*WEB, Call("GET", "", None, [ITEM])],
    "node_web": [*WEB, Call("GET", "", None, [ITEM, {"id": "id2", "name": "name2"}])],
}
ROOT_FORM, ADDRESSES = ["--api"], {"SERVERFULL_FRONT": "hosts,paths"}


@pytest.fixture(scope="module", params=CALLS)
def name(request):
    if request.param.startswith("node") and not shutil.which("node"):
        pytest.skip("Node.js is not installed")
    return request.param


@pytest.fixture(scope="module")
def table():
    """Run a server of DynamoDB with the table of the project, and return its URL."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{server._server.server_port}"
    key = {"AttributeName": "id"}
    boto3.client("dynamodb", REGION, endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b").create_table(
        TableName="SampleTable",
        KeySchema=[{**key, "KeyType": "HASH"}],
        AttributeDefinitions=[{**key, "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield url
    server.stop()


@pytest.fixture(scope="module")
def project(name, tmp_path_factory):
    """Copy the project to a folder of its own, since servers write their data there."""
    return Path(shutil.copytree(PROJECTS / name, tmp_path_factory.mktemp(name) / "sam-app"))


@pytest.fixture(scope="module")
def environ(name, project, request):
    """Return the variables of the server. The functions of one project need a database, as those of `sam init` do."""
    if name != "python_web":
        return {}
    variables = {"AWS_ENDPOINT_URL": request.getfixturevalue("table")}
    variables |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_SESSION_TOKEN": ""}
    (project / "env.json").write_text(json.dumps({"Parameters": variables}))
    return {"SERVERFULL_PYTHON_MODULES": str(Path(boto3.__file__).parent.parent)}  # AWS's runtimes bring boto3


@contextlib.contextmanager
def served(project, environ, *options, log="log", **more):
    """Serve a project by one command in its folder, and return the server's URL."""
    port = free_port()
    options = [*options, *(["--env-vars", "env.json"] if (project / "env.json").exists() else [])]
    argv = ["-m", "serverfull_wsgi", "serve", *options, "--bind", f"127.0.0.1:{port}"]
    with running(Server(argv, project.parent / log, port=port, cwd=project, env={**environ, **more})) as server:
        yield server.url


@pytest.fixture(scope="module")
def addressed(project, environ):
    with served(project, environ, **ADDRESSES) as url:
        yield url


def output(project):
    """Return host and path of the URL among the template's Outputs, as AWS would show it."""
    outputs = yaml.load((project / "template.yaml").read_text(), yaml.BaseLoader)["Outputs"]
    value = next(output["Value"] for output in outputs.values() if str(output["Value"]).startswith("https://"))
    values = {"AWS::Region": REGION, "AWS::URLSuffix": "amazonaws.com"}
    url = urlsplit(re.sub(r"\$\{(.*?)\}", lambda match: values.get(match[1], match[1]), value))
    return url.netloc, url.path


def check(url, calls, host=""):
    with requests.Session() as session:
        for method, path, body, result, status in calls:
            answer = session.request(method, url + path, json=body, headers={"Host": host} if host else {}, timeout=30)
            assert (answer.status_code, answer.json()) == (status, result), answer.text


def test_one_command_serves_the_api_at_the_root(name, project, environ):
    path = output(project)[1].removeprefix("/Prod")
    with served(project, environ, *ROOT_FORM, log="root") as url:
        check(url + path, CALLS[name])


def test_the_url_of_the_outputs_is_served_under_its_own_host(name, project, addressed):
    host, path = output(project)
    check(addressed + path, CALLS[name], host)


def test_the_url_of_the_outputs_is_served_below_a_path(name, project, addressed):
    host, path = output(project)
    stage = "" if path.startswith("/Prod") else "/$default"
    check(f"{addressed}/_aws/execute-api/{host.partition('.')[0]}{stage}{path}", CALLS[name])


SAM = Path(os.environ.get("SERVERFULL_TEST_DEPLOY_TOOLS", "/nonexistent"), "bin/sam")


@pytest.mark.skipif(not SAM.exists(), reason="no sam in SERVERFULL_TEST_DEPLOY_TOOLS; see this file's docstring")
def test_the_build_of_the_sam_cli_is_served(name, project, environ, tmp_path):
    built = Path(shutil.copytree(project, tmp_path / "built"))
    template = built / "template.yaml"
    template.write_text(template.read_text().replace("python3.12", f"python3.{sys.version_info.minor}"))
    variables = {**clean_environ(), "SAM_CLI_TELEMETRY": "0", "HOME": str(tmp_path), "AWS_DEFAULT_REGION": REGION}
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"  # sam needs the runtime's interpreter
    del variables["PYTHONPATH"]
    for command in ("validate", "build"):
        subprocess.run([SAM, command], cwd=built, env=variables, check=True, capture_output=True, timeout=300)
    path = output(project)[1].removeprefix("/Prod")
    with served(built, environ, *ROOT_FORM) as url:
        check(url + path, CALLS[name])
    assert "serving the functions of .aws-sam/build/template.yaml" in (tmp_path / "log").read_text()


EVENTS = {  # by the kind of project: a file, and the function that it is for
    "hello": ("event.json", "HelloWorldFunction"),
    "http": ("event.json", "HelloWorldFunction"),
    "web": ("event-put-item.json", "putItemFunction"),
}


def test_an_event_of_the_project_runs_its_function_in_the_terminal(name, project, environ):
    file, function = EVENTS[name.partition("_")[2]]
    options = ["--env-vars", "env.json"] if (project / "env.json").exists() else []
    run = serverfull("invoke", *options, function, f"@events/{file}", cwd=project, **environ)
    assert (run.returncode, json.loads(run.stdout)["statusCode"]) == (0, 200), run.stderr
