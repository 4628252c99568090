"""Other servers of functions: python -m bench.peers NAME... installs them, each in a folder of its own.

    bench/.peers/functions-framework    a virtual environment
    bench/.peers/serverless-offline     a folder of npm
    bench/.peers/go-net-http            a program

The variable BENCH_PEERS names another folder in the place of bench/.peers. `bench.compare`, `bench.gateway` and
`bench.goals` measure the peers that are installed.
"""

import argparse
import http.client
import io
import json
import os
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("BENCH_PEERS") or HERE / ".peers")
INVOKE = "/2015-03-31/functions/{}/invocations"
PYTHON = """
def echo(event, context):
    return event

def web(event, context):
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": event["body"]}
"""
NODE = """
exports.echo = async (event) => event;
exports.web = async (event) => ({ statusCode: 200, headers: { "content-type": "application/json" }, body: event.body });
"""
SERVERLESS = """
service: peer
provider: {name: aws, runtime: nodejs20.x}
plugins: [serverless-offline]
functions:
  echo: {handler: functions.echo}
  web: {handler: functions.web, events: [{httpApi: POST /web}]}
"""


class Peer(NamedTuple):
    """A server to compare with.

    Args:
        name: the name of its folder.
        packages: what pip installs; npm, if the first word is ``npm``; for ``go`` the folder of a program.
        command: the program and its arguments; ``{port}`` stands for the port to listen on.
        path: the path to which an event is posted.
        environ: further variables of the server.
        prepare: called with the port once the server listens. It may return header fields of each request.
        headers: further header fields of each request.
        files: texts of files in its folder, by name.
    """

    name: str
    packages: tuple
    command: tuple
    path: str
    environ: dict = {}  # noqa: RUF012  (never changed)
    prepare: object = None
    headers: dict = {}  # noqa: RUF012  (never changed)
    files: dict = {}  # noqa: RUF012  (never changed)

    @property
    def folder(self):
        return FOLDER / self.name

    @property
    def is_installed(self):
        return os.access(self.folder / self.command[0], os.X_OK)

    def install(self):
        """Install the peer in its folder, unless it is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            (self.folder / name).write_text(text)
        if self.is_installed:
            return
        kind, *others = self.packages
        if kind == "npm":
            _run("npm", "install", "--silent", "--prefix", self.folder, *others)
        elif kind == "go":
            _run("go", "build", "-o", self.folder / self.command[0], HERE / others[0] / "main.go")
        else:
            _run(sys.executable, "-m", "venv", self.folder)
            _run(self.folder / "bin/pip", "install", "--quiet", *self.packages)

    def start(self, port):
        """Return the program and arguments, and its further variables, for a port."""
        program, *arguments = (word.replace("{port}", str(port)) for word in self.command)
        environ = {key: value.replace("{port}", str(port)) for key, value in self.environ.items()}
        return [str(self.folder / program), *arguments], environ


def _run(*command):
    subprocess.run([str(word) for word in command], check=True)


def _create_in_moto(port):
    """Let moto answer without Docker, by returning the event, and create the function."""
    _send(port, "POST", "/moto-api/config", {"lambda": {"use_docker": False}})
    _create(port, "echo")


def _create_with_url(port):
    """Create a function with a URL. Its Host leads to it on any port."""
    client = _create(port, "web")
    url = client.create_function_url_config(FunctionName="web", AuthType="NONE")["FunctionUrl"]
    return {"Host": url.split("/")[2]}


def _create(port, name):
    """Create a function with boto3, which the project's extra ``test`` installs. Return the client."""
    import boto3

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("functions.py", PYTHON)
    options = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": "us-east-1",
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
    }
    trust = {"Version": "2012-10-17", "Statement": []}
    role = boto3.client("iam", **options).create_role(RoleName="peer", AssumeRolePolicyDocument=json.dumps(trust))
    client = boto3.client("lambda", **options)
    client.create_function(
        FunctionName=name,
        Runtime=f"python3.{sys.version_info.minor}",
        Handler=f"functions.{name}",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": packed.getvalue()},
    )
    return client


def _send(port, method, path, value):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, json.dumps(value))
        return connection.getresponse().read()


def _by_name(*peers):
    return {peer.name: peer for peer in peers}


PEERS = _by_name(
    Peer(
        "functions-framework",
        ("functions-framework",),
        ("bin/functions-framework", "--source", str(HERE / "handlers.py"), "--target", "http_echo", "--port", "{port}"),
        "/",
    ),
    Peer(
        "moto",
        ("moto[server]",),
        ("bin/moto_server", "--host", "127.0.0.1", "--port", "{port}"),
        INVOKE.format("echo"),
        prepare=_create_in_moto,
        headers={"Authorization": "AWS4-HMAC-SHA256 Credential=key/20261124/us-east-1/lambda/aws4_request"},
    ),
    Peer(
        "ministack",
        ("ministack",),
        ("bin/ministack",),
        INVOKE.format("echo"),
        environ={"GATEWAY_PORT": "{port}"},
        prepare=lambda port: _create(port, "echo") and None,
    ),
    Peer(
        "serverless-offline",
        ("npm", "serverless@3", "serverless-offline@13"),
        ("node_modules/.bin/serverless", "offline", "--httpPort", "0", "--lambdaPort", "{port}"),
        INVOKE.format("peer-dev-echo"),
        files={"serverless.yml": SERVERLESS, "functions.js": NODE},
    ),
    # The Go original needs modules from elsewhere. This is the least of it, and it serves at least as many requests.
    Peer("go-net-http", ("go", "go_server"), ("invoke", "{port}"), INVOKE.format("echo")),
)
ROUTED = _by_name(  # the same servers, with an HTTP request to a function behind a route
    PEERS["ministack"]._replace(path="/web", prepare=_create_with_url),
    PEERS["serverless-offline"]._replace(
        command=("node_modules/.bin/serverless", "offline", "--httpPort", "{port}", "--lambdaPort", "0"), path="/web"
    ),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=PEERS, metavar="NAME", help=", ".join(PEERS))
    for name in parser.parse_args().names:
        PEERS[name].install()
        print(f"installed {name} in {PEERS[name].folder}")


if __name__ == "__main__":
    main()
