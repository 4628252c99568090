"""The two transports of Node.js environments: frames on a descriptor, and HTTP behind a proxy of a wrapper script."""

import json
import re
import shutil

import pytest

from tests.support.isolated import SANDBOXES, executing, function, needs_sandbox, result, run
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.once, pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")]
CODE = """
import { execFileSync } from "node:child_process";

const evaluate = (code) => eval(code);
const list = (...command) => execFileSync(...command).toString().split("\\n");
let ticks = 0;
export const handler = async (event) => evaluate(event);
"""
# A proxy of the Runtime API, which counts the requests for an event.
PROXY = """
import http.server, os, subprocess, sys, threading, urllib.request

api, count = os.environ["AWS_LAMBDA_RUNTIME_API"], sys.argv[1]

class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.forward(None)

    def do_POST(self):
        self.forward(self.rfile.read(int(self.headers["Content-Length"])))

    def forward(self, body):
        if self.path.endswith("/next"):
            with open(count, "a") as file:
                file.write("next\\n")
        with urllib.request.urlopen(f"http://{api}{self.path}", body) as response:
            content, headers = response.read(), response.headers
            self.send_response(response.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{server.server_port}"
sys.exit(subprocess.run(sys.argv[2:]).returncode)
"""


@pytest.fixture(scope="module", params=SANDBOXES)
def executor(request):
    needs_sandbox(request.param)
    with executing(sandbox=request.param) as executor:
        yield executor


@pytest.fixture(scope="module", params=["nodejs20.x", "nodejs24.x"])
def evaluate(request, executor, tmp_path_factory):
    """Return a function that evaluates code in an environment."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "app.mjs").write_text(CODE)
    name = request.param.partition(".")[0]
    node = function("app.handler", code=folder, name=name, runtime=request.param, memory_size=512)
    return lambda code: result(executor, node, code)


def test_an_environment_opens_no_connection_over_tcp(evaluate):
    assert evaluate("process._getActiveHandles().flatMap((it) => it.remotePort ?? [])") == []


def test_no_variable_shows_the_transport(evaluate):
    assert evaluate("Object.keys(process.env).filter((name) => name.includes('SERVERFULL'))") == []


def test_a_program_that_a_handler_starts_has_no_connection(evaluate):
    assert "15" not in evaluate("list('ls', ['/proc/self/fd'])")
    assert not re.search("SERVERFULL", json.dumps(evaluate("list('env')")))


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_545, 1_000_000, 6_000_000])
def test_events_and_results_of_any_size_arrive(evaluate, size):
    assert len(evaluate(f"'x'.repeat({size})")) == size
    assert evaluate("1" + " " * size) == 1


def test_timers_run_while_the_runtime_waits_for_an_event(evaluate):
    evaluate("void setInterval(() => ticks++, 1).unref()")
    before = evaluate("ticks")
    wait_until(lambda: evaluate("ticks") > before)


def test_a_client_context_has_any_characters(executor, tmp_path):
    (tmp_path / "app.mjs").write_text("export const handler = async (event, context) => context.clientContext;")
    node = function("app.handler", code=tmp_path, name="context", runtime="nodejs20.x")
    client_context = {"custom": {"ƛ": "é 漢 😀"}}
    assert run(executor, node, 1, client_context=client_context)[1] == client_context


def test_behind_a_proxy_of_a_wrapper_script_the_runtime_uses_http(tmp_path):
    (tmp_path / "app.mjs").write_text("export const handler = async (event) => [event];")
    (tmp_path / "proxy.py").write_text(PROXY)
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nexec python3 {tmp_path}/proxy.py {tmp_path}/count "$@"\n')
    wrapper.chmod(0o755)
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": str(wrapper)}
    proxied = function("app.handler", code=tmp_path, name="proxied", runtime="nodejs20.x", environment=variables)
    with executing(sandbox="process", init_timeout=30) as executor:
        assert [result(executor, proxied, number) for number in range(3)] == [[0], [1], [2]]
    assert (tmp_path / "count").read_text().count("next") >= 3


CLOSING = """
import fs from "node:fs";
import os from "node:os";

const file = `${os.tmpdir()}/file`;
export const handler = async (isFirst) => {
  if (!isFirst) return fs.readFileSync(file, "utf8");
  fs.closeSync(15);
  while (fs.openSync(file, "w") < 15);
  return "an answer";
};
"""


def test_an_answer_never_goes_into_a_file_that_has_the_number_of_the_closed_connection(executor, tmp_path):
    (tmp_path / "app.mjs").write_text(CLOSING)
    closing = function("app.handler", code=tmp_path, name="closing", runtime="nodejs20.x", timeout=20)
    outcome, error = run(executor, closing, True)
    assert error["errorType"] == "Runtime.ExitError"
    assert b"The function has closed the connection to the Runtime API" in outcome.log
    assert result(executor, closing, False) == ""
