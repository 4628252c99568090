"""Other servers of functions: python -m bench.peers NAME... installs them, each in a folder of its own.

    bench/.peers/functions-framework    a virtual environment
    bench/.peers/serverless-offline     a folder of npm

The variable BENCH_PEERS names another folder in the place of bench/.peers. `bench.compare` measures the peers that are
installed.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("BENCH_PEERS") or HERE / ".peers")
INVOKE = "/2015-03-31/functions/{}/invocations"
ECHO = "def handler(event, context):\n    return event\n"
SERVERLESS = """
service: peer
provider: {name: aws, runtime: nodejs20.x}
plugins: [serverless-offline]
functions: {echo: {handler: echo.handler}}
"""


class Peer(NamedTuple):
    """A server to compare with.

    Args:
        packages: what pip installs, or npm if the first word is ``npm``.
        command: the program and its arguments; ``{port}`` stands for the port to listen on.
        path: the path to which an event is posted.
        environ: further variables of the server.
        prepare: called with the port once the server listens.
        headers: further header fields of each request.
    """

    packages: tuple
    command: tuple
    path: str
    environ: dict = {}  # noqa: RUF012  (never changed)
    prepare: object = None
    headers: dict = {}  # noqa: RUF012  (never changed)

    @property
    def is_npm(self):
        return self.packages[0] == "npm"


def _create_in_moto(port):
    """Let moto answer without Docker, by returning the event, and create the function."""
    _send(port, "POST", "/moto-api/config", {"lambda": {"use_docker": False}})
    _create(port)


def _create(port):
    """Create the function ``echo`` with boto3, which the project's extra ``test`` installs."""
    import io
    import zipfile

    import boto3

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("echo.py", ECHO)
    options = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": "us-east-1",
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
    }
    trust = {"Version": "2012-10-17", "Statement": []}
    role = boto3.client("iam", **options).create_role(RoleName="peer", AssumeRolePolicyDocument=json.dumps(trust))
    boto3.client("lambda", **options).create_function(
        FunctionName="echo",
        Runtime=f"python3.{sys.version_info.minor}",
        Handler="echo.handler",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": packed.getvalue()},
    )


def _send(port, method, path, value):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, json.dumps(value))
        return connection.getresponse().read()


PEERS = {
    "functions-framework": Peer(
        ("functions-framework",),
        ("bin/functions-framework", "--source", str(HERE / "handlers.py"), "--target", "http_echo", "--port", "{port}"),
        "/",
    ),
    "moto": Peer(
        ("moto[server]",),
        ("bin/moto_server", "--host", "127.0.0.1", "--port", "{port}"),
        INVOKE.format("echo"),
        prepare=_create_in_moto,
        headers={"Authorization": "AWS4-HMAC-SHA256 Credential=key/20261124/us-east-1/lambda/aws4_request"},
    ),
    "ministack": Peer(
        ("ministack",),
        ("bin/ministack",),
        INVOKE.format("echo"),
        environ={"GATEWAY_PORT": "{port}"},
        prepare=_create,
    ),
    "serverless-offline": Peer(
        ("npm", "serverless@3", "serverless-offline@13"),
        ("node_modules/.bin/serverless", "offline", "--httpPort", "0", "--lambdaPort", "{port}"),
        INVOKE.format("peer-dev-echo"),
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=PEERS, metavar="NAME", help=", ".join(PEERS))
    for name in parser.parse_args().names:
        install(name)
        print(f"installed {name} in {FOLDER / name}")


def install(name):
    """Install a peer in its folder, unless it is there."""
    peer, folder = PEERS[name], FOLDER / name
    if is_installed(name):
        return
    if peer.is_npm:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "serverless.yml").write_text(SERVERLESS)
        (folder / "echo.js").write_text("exports.handler = async (event) => event;\n")
        subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), *peer.packages[1:]], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin/pip"), "install", "--quiet", *peer.packages], check=True)


def is_installed(name):
    return os.access(FOLDER / name / PEERS[name].command[0], os.X_OK)


def command(name, port):
    """Return the program and arguments of an installed peer, and its further variables."""
    peer = PEERS[name]
    program, *arguments = (word.replace("{port}", str(port)) for word in peer.command)
    environ = {key: value.replace("{port}", str(port)) for key, value in peer.environ.items()}
    return [str(FOLDER / name / program), *arguments], environ


if __name__ == "__main__":
    main()
