"""The README's quick start, as pasted, and the rules for its text."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT, Server, clean_environ, free_port, running

BIN = Path(sys.executable).parent
MOST_WORDS = 600  # one screen for each subject; more belongs into docs/
REFERENCE = re.compile(r"\b(?:docs|examples)/[\w/.]+\.\w+|\b[A-Z]{5,}\.md\b")


def block(readme, name):
    return re.search(rf"<!-- {name} -->\n```sh\n(.*?)\n```", readme, re.DOTALL)[1]


def answer_after(readme, name):
    text = re.search(rf"<!-- {name} -->\n```sh\n.*?\n```.*?\n```\n(.*?)\n```", readme, re.DOTALL)[1]
    return text if sys.version_info >= (3, 12) else text.replace("ƛ", "\\u019b")  # as on AWS


def test_the_quick_start_works_as_pasted(readme, tmp_path):
    """The commands run in this virtual environment, in the place of the one that the first command makes."""
    port = free_port()

    def adapted(command):
        return command.replace(".venv/bin/", f"{BIN}/").replace("8080", str(port))

    serve = adapted(block(readme, "serve")).rpartition("&& ")[2]
    shell = f"import os; os.execvp('sh', ['sh', '-c', {f'exec env {serve}'!r}])"
    with running(Server(["-c", shell], tmp_path / "log", port=port)):
        curl = run(adapted(block(readme, "curl")), tmp_path)
        aws = run(adapted(block(readme, "aws")), tmp_path)
    assert curl == answer_after(readme, "curl")
    assert aws == answer_after(readme, "aws")


def run(command, cwd):
    environ = clean_environ()
    result = subprocess.run(command, shell=True, cwd=cwd, capture_output=True, text=True, env=environ, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_shown_handler_is_the_served_one(readme):
    shown = re.search(r"^```python\n(def handler.*?)^```", readme, re.MULTILINE | re.DOTALL)[1]
    assert shown in (ROOT / "examples/hello.py").read_text()


def test_the_readme_is_short(readme):
    assert len(readme.split()) <= MOST_WORDS


def test_the_readme_has_no_relative_link(readme):
    """On a package index such a link leads nowhere."""
    assert [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith("https://")] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_each_file_that_a_page_names_exists(page):
    names = REFERENCE.findall((ROOT / page).read_text())
    assert [name for name in names if not (ROOT / name).exists()] == []
