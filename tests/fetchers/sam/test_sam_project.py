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


SERVES, CALLS, ANSWERS = BLOCKS[::3], BLOCKS[1::3], BLOCKS[2::3]


@pytest.mark.parametrize("part", range(len(SERVES)))
def test_the_project_answers_as_its_readme_says(part, tmp_path):
    port = free_port()
    words = shlex.split(SERVES[part].replace("8080", str(port)))
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    program, *arguments = words[len(settings) :]
    module = {"gunicorn": "gunicorn", "serverfull": "serverfull_wsgi"}[program]
    argv = ["-m", module, *arguments, "--no-control-socket"]
    settings["SERVERFULL_DATA_DIR"] = str(tmp_path)
    with running(Server(argv, tmp_path / "log", port=port, cwd=PROJECT, env=settings)):
        commands = CALLS[part].replace("8080", str(port)).splitlines()
        shown = [subprocess.check_output(shlex.split(command), text=True, env=clean_environ()) for command in commands]
    assert "\n".join(shown) == ANSWERS[part].rstrip("\n")
