"""The README's quick start, as pasted."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.servers import ROOT, Server, clean_environ, free_port, running

BIN = Path(sys.executable).parent


def block(readme, name):
    return re.search(rf"<!-- {name} -->\n```sh\n(.*?)\n```", readme, re.DOTALL)[1]


def answer_after(readme, name):
    return re.search(rf"<!-- {name} -->\n```sh\n.*?\n```.*?\n```\n(.*?)\n```", readme, re.DOTALL)[1]


def test_the_quick_start_works_as_pasted(readme, tmp_path):
    """Its commands in this environment, which is what the first of them makes, and on a free port."""
    port = free_port()

    def here(command):
        return command.replace(".venv/bin/", f"{BIN}/").replace("8080", str(port))

    serve = here(block(readme, "serve")).rpartition("&& ")[2]
    shell = f"import os; os.execvp('sh', ['sh', '-c', {f'exec env {serve}'!r}])"
    with running(Server(["-c", shell], tmp_path / "log", port=port)):
        curl = run(here(block(readme, "curl")), tmp_path)
        aws = run(here(block(readme, "aws")), tmp_path)
    shown = [answer_after(readme, name) for name in ("curl", "aws")]
    if sys.version_info >= (3, 12):
        shown = [text.replace("\\u019b", "ƛ") for text in shown]
    assert curl == shown[0]
    assert aws == shown[1]


def run(command, cwd):
    environ = clean_environ()
    result = subprocess.run(command, shell=True, cwd=cwd, capture_output=True, text=True, env=environ, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_every_file_the_readme_links_to_is_there(readme):
    missing = [link for link in re.findall(r"\]\(([^)#:]+)\)", readme) if not (ROOT / link).exists()]
    assert missing == []


def test_every_example_has_its_line_in_the_readme(readme):
    examples = [path.name for path in (ROOT / "examples").glob("*.py") if path.name != "__init__.py"]
    assert [name for name in examples if f"](examples/{name})" not in readme] == []
