"""The SAM project among the examples, served and called as its README says."""

import importlib.util
import re
import shlex
import shutil
import subprocess

import pytest

from tests.support.servers import ROOT, Server, clean_environ, free_port, running

PROJECT = ROOT / "examples/sam_project"
BLOCKS = re.findall(r"```(?:sh)?\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)

pytestmark = [
    pytest.mark.skipif(
        not importlib.util.find_spec("awslambdaric"),
        reason="awslambdaric has wheels for Linux on x86-64 and aarch64 only",
    ),
    pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed"),
]


def test_the_project_answers_as_its_readme_says(tmp_path):
    serve, call, answers = BLOCKS
    port = free_port()
    argv = ["-m", *shlex.split(serve.replace("8080", str(port))), "--no-control-socket"]
    data = {"SERVERFULL_DATA_DIR": str(tmp_path)}
    with running(Server(argv, tmp_path / "log", port=port, cwd=PROJECT, env=data)):
        commands = call.replace("8080", str(port)).splitlines()
        shown = [subprocess.check_output(shlex.split(command), text=True, env=clean_environ()) for command in commands]
    assert shown == answers.splitlines()
