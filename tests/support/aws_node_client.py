"""AWS's own Node.js runtime client as the reference: the same handlers under that client and under the project's.

npm installs the client without its C++ part, and aws_native_client.cjs stands in for that part.
"""

import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from serverfull_wsgi.executors.isolated.runtimes import launch
from tests.support.aws_runtime_client import Child, FramesApi, RuntimeApi
from tests.support.isolated import FUNCTIONS
from tests.support.servers import ROOT

COMPARED = FUNCTIONS / "compared"
ID = "8f507cfc-2a0a-4f19-9a8f-1d0f0c5a9e3b"
TRACE_ID = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
CLIENT_CONTEXT = '{"custom": {"k": "é"}}'.encode().decode("latin-1")
MODULES = "SERVERFULL_TEST_NODE_MODULES"  # names a folder with npm's packages, as .ci/run makes it
STAND_IN = ROOT / "tests/support/aws_native_client.cjs"
START = ROOT / "tests/support/start_aws_node_client.mjs"
OWN = [str(Path(launch.HERE) / "node_bootstrap.mjs")]


class Client(NamedTuple):
    """AWS's client of one major version, and a Node.js that can run it."""

    node: str
    argv: list[str]
    runtime: str


def missing(version):
    """Return the reason why AWS's client of this major version cannot be the reference here, or an empty text."""
    if not shutil.which("node"):
        return "Node.js is not on the PATH"
    if not os.environ.get(MODULES):
        return f"{MODULES} is not set; .ci/run installs aws-lambda-ric with npm and sets the variable"
    if not package(version):
        return f"the folder of {MODULES} has no aws-lambda-ric {version}.x"
    if version == 4 and node_version() < 22:
        return "aws-lambda-ric 4.x needs Node.js 22, and the PATH has an older one"
    return ""


def package(version):
    """Return the folder of AWS's client, or None."""
    for name in ("aws-lambda-ric", f"aws-lambda-ric-{version}"):
        folder = Path(os.environ[MODULES]) / "node_modules" / name
        if folder.is_dir() and json.loads((folder / "package.json").read_text())["version"].startswith(f"{version}."):
            return folder
    return None


@functools.cache
def node_version():
    """Return the major version of the Node.js on the PATH."""
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.strip("v\n").split(".")[0])


def reference(version):
    """Return AWS's client."""
    if version == 3:
        argv = ["--require", str(STAND_IN), str(START), str(package(3) / "dist/index.mjs")]
        return Client(shutil.which("node"), argv, "nodejs20.x")
    return Client(shutil.which("node"), ["--require", str(STAND_IN), str(package(4) / "index.mjs")], "nodejs24.x")


class Result(NamedTuple):
    """The answers to some invocations, the exit status if the process ended, and the log lines."""

    answers: list[tuple[str, str]]
    ended: int | None
    log: list[str]


class Process:
    """A process with one handler, under AWS's client or the project's."""

    def __init__(self, node, argv, runtime, log, *, handler, root, variables, api=RuntimeApi):
        environ = {
            **variables,
            "AWS_LAMBDA_FUNCTION_NAME": "compared",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/compared",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"2026/11/24/[$LATEST]{'0' * 32}",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
            "LAMBDA_TASK_ROOT": str(root),
            "_HANDLER": handler,
        }

        def environ_of(address, fd):
            return {**environ, "AWS_LAMBDA_RUNTIME_API": address, "_LAMBDA_TELEMETRY_LOG_FD": str(fd)}

        self._child = Child(argv, log, environ_of, program=node, cwd=root, api=api)

    def results(self, events):
        """Run invocations until the process ends."""
        child, answers, ended = self._child, [], None
        for event in events:
            child.api.put(json.dumps(event), ID, client_context=CLIENT_CONTEXT, trace_id=TRACE_ID)
            answer = child.answer()
            if isinstance(answer, int):
                ended = answer
                break
            answers.append((answer.kind, plain(answer.payload.decode())))
        return Result(answers, ended, plain(child.output()).rstrip().splitlines())

    def stop(self):
        self._child.stop()


class Pair:
    """One handler under the project's client and AWS's, in processes that start at the same time.

    The project's client runs over frames and over HTTP, and has the same results.
    """

    def __init__(self, client, folder, *, handler="handlers.handler", root=COMPARED, **variables):
        options = {"handler": handler, "root": root, "variables": variables}
        self._theirs = Process(*client, folder / "theirs", **options)
        self._ours = [
            Process(client.node, OWN, client.runtime, folder / api.__name__, api=api, **options)
            for api in (FramesApi, RuntimeApi)
        ]
        self.ended = False

    def results(self, *events):
        """Return the results of the project's client and of AWS's."""
        ours, ours_over_http, theirs = (process.results(events) for process in (*self._ours, self._theirs))
        self.ended = any(result.ended is not None for result in (ours, ours_over_http, theirs))
        assert ours == ours_over_http
        return ours, theirs

    def stop(self):
        for process in (*self._ours, self._theirs):
            process.stop()


_RUNTIME = r"(?:node_\w+\.mjs|aws_node_client|aws-lambda-ric|aws_native_client|node:\w+)"
_json_frame = re.compile(rf',"    at (?:[^"\\]|\\.)*{_RUNTIME}(?:[^"\\]|\\.)*"')
_text_frame = re.compile(rf"\\n    at (?:(?!\\n)[^\"])*{_RUNTIME}(?:(?!\\n| \{{)[^\"])*")
_printed_end = re.compile(r"(?m)^(?:node:|file:|/)\S+:\d+$")  # Node.js prints the error that ends the process


def plain(text):
    """Return a payload or log without times, the stack frames of both runtimes, and Node.js's own print of an error."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", text)
    text = re.sub(r"(\(node:)\d+\)", r"\1PID)", text)
    text = re.sub(r"- /[^\\\"\n]*(?:node_\w+\.mjs|aws-lambda-ric)[^\\\"\n]*", "- RUNTIME", text)  # a require stack
    text = re.sub(rf"(imported from )[^\s\"\\]*{_RUNTIME}", r"\1RUNTIME", text)
    return _text_frame.sub("", _json_frame.sub("", _printed_end.split(text)[0]))
