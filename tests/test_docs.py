"""The documentation's commands, references and files match the code. Its Python examples are doctests.

``python -m tests.test_docs`` writes ``docs/commands.md``.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml

import serverfull_wsgi
from serverfull_wsgi.cli.main import main
from serverfull_wsgi.settings.aliases import RENAMED, SYNONYMS, UNSUPPORTED
from serverfull_wsgi.settings.fields import PREFIX
from serverfull_wsgi.settings.settings import SETTINGS
from tests.support.servers import ROOT, Server, clean_environ, free_port

pytestmark = pytest.mark.once
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
COMMANDS = DOCS / "commands.md"
INTRODUCTION = """\
<!-- Written by `python -m tests.test_docs`. Edit the help texts in serverfull_wsgi/cli, or this page's introduction
there. -->

# Command reference

`python -m serverfull_wsgi` is the same command as `serverfull`. All commands but `events` accept
`--app MODULE:APPLICATION` for an application built in code. Without it the [settings](settings.md) define the
application.

`celery -A serverfull_wsgi.celery worker` runs [the events of a broker](celery.md). That command is Celery's own.

A shell completes commands and options after one of these lines, in `~/.bashrc`, `~/.zshrc` or
`~/.config/fish/completions/serverfull.fish`:

```sh
eval "$(_SERVERFULL_COMPLETE=bash_source serverfull)"
eval "$(_SERVERFULL_COMPLETE=zsh_source serverfull)"
_SERVERFULL_COMPLETE=fish_source serverfull | source
```

Modules are found in the working directory and on `PYTHONPATH`. A command that is refused prints one message and exits
with status 1, and with status 2 if its options are not valid. `serverfull serve` exits with status 4 if the application
cannot be loaded, such as a function that cannot be imported, and with status 3 if a worker fails at its start for
another reason.
"""


def test_every_extra_for_users_is_in_the_readme_and_the_quick_start(readme):
    extras = set(re.findall(r'^    "(\w+)": \[', (ROOT / "setup.py").read_text(), re.MULTILINE)) - {"docs", "test"}
    assert set(re.findall(r"`(\w+)`", re.search(r"extras are ([^.]*)\.", readme)[1])) == extras
    table = (DOCS / "quickstart.md").read_text().partition("| extra |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == extras


# The command reference


def helps(command, path="serverfull"):
    """Yield each command's full name and help text, a group before its members."""
    options = {"help_option_names": ["-h", "--help"]}  # commands have this from `main`
    context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100, **options)
    yield path, command.get_help(context)
    for name in sorted(getattr(command, "commands", {})):
        yield from helps(command.commands[name], f"{path} {name}")


def command_reference():
    sections = [f"## {path}\n\n```text\n{text}\n```\n" for path, text in helps(main)]
    return "\n".join([INTRODUCTION, *sections])


def test_the_command_reference_is_up_to_date():
    """After a change of a help text: ``python -m tests.test_docs``."""
    assert COMMANDS.read_text() == command_reference()


# The other references


def test_the_api_reference_lists_each_public_name():
    listed = re.findall(r"^\.\. auto\w+:: (\w+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(serverfull_wsgi.__all__)


def test_the_drawing_of_the_architecture_has_each_part_of_the_package():
    drawing = (DOCS / "architecture.md").read_text().partition("```text\n")[2].partition("```")[0]
    package = ROOT / "serverfull_wsgi"
    parts = [path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    assert [part for part in parts if part not in drawing] == []


KNOWN = {
    PREFIX + name
    for name in [*RENAMED, *SYNONYMS, *UNSUPPORTED, *(name for setting in SETTINGS.values() for name in setting.names)]
}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_each_setting_in_the_text_exists(page):
    named = set(re.findall(r"\bSERVERFULL_[A-Z_]+\b(?!\*)", page.read_text()))
    assert {name for name in named if name not in KNOWN and not name.endswith("_")} == set()


def test_each_example_is_in_the_quick_start():
    table = (DOCS / "quickstart.md").read_text()
    examples = [path.name for path in (ROOT / "examples").iterdir() if not path.name.startswith("__")]
    assert [name for name in examples if f"| `{name}` |" not in table] == []


# The commands of the pages


class Step(NamedTuple):
    """One thing that a reader does: save a file, or run a command and see its output."""

    file: str
    command: str
    text: str


BLOCK = re.compile(
    r"^```(?:\{code-block\} python\n:caption: (?P<file>\S+)\n|console)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


def steps(page):
    """Yield the files and the commands of a page, in the page's order."""
    for block in BLOCK.finditer(page.read_text()):
        if block["file"]:
            yield Step(block["file"], "", block["body"].lstrip("\n"))
            continue
        for part in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield Step("", command, output)


class Reader:
    """Do the steps of a page in a folder; the server gets a free port."""

    def __init__(self, folder):
        self.folder, self.port, self.servers = folder, free_port(), []
        self.environ = {**clean_environ(), "SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS": f"127.0.0.1:{self.port}"}
        self.environ["PATH"] = f"{Path(sys.executable).parent}:{self.environ['PATH']}"
        del self.environ["SERVERFULL_EVENTS"]

    def do(self, step):
        text = step.text.replace("8080", str(self.port))
        if step.file:
            (self.folder / step.file).write_text(text)
        elif step.command.startswith("export "):
            self.environ |= dict(pair.split("=", 1) for pair in step.command.split()[1:])
        elif step.command == "serverfull serve":
            arguments = ["-m", "serverfull_wsgi", "serve"]
            environ = {**self.environ, "SERVERFULL_EVENTS": ""}  # the default
            server = Server(arguments, self.folder / "log", port=self.port, cwd=self.folder, env=environ)
            self.servers.append(server)
            server.wait()
        else:
            self.check(step.command.replace("8080", str(self.port)), text)

    def check(self, command, expected):
        process = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        pattern = re.escape(expected.strip()).replace("…", ".+?")
        assert re.fullmatch(pattern, process.stdout.strip(), re.DOTALL) or not expected, f"{command}\n{process.stdout}"


@pytest.mark.parametrize("page", [page for page in PAGES if any(steps(page))], ids=lambda page: page.stem)
def test_the_commands_of_a_page_work(page, tmp_path):
    reader = Reader(tmp_path)
    try:
        for step in steps(page):
            reader.do(step)
    finally:
        for server in reader.servers:
            server.stop()


# The files for deployment


def test_the_compose_file_refers_to_files_that_exist():
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    build = compose["services"]["server"]["build"]
    assert (ROOT / "deploy" / build["context"] / build["dockerfile"]).is_file()
    assert compose["services"]["worker"]["build"] == build


def test_the_dockerfile_copies_files_that_exist():
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    assert [name for names in copied for name in names.split() if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("file", sorted((ROOT / "deploy").iterdir()), ids=lambda file: file.name)
def test_each_setting_of_a_deployment_exists(file):
    assert set(re.findall(r"\bSERVERFULL_[A-Z_]+\b", file.read_text())) <= KNOWN


# The link checker of `tox -e docs`


def check_links(folder):
    command = [sys.executable, ROOT / "tests/check_docs.py", folder]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)


def test_a_broken_link_of_the_site_is_found(tmp_path):
    (tmp_path / "index.html").write_text('<a href="page.html#here">x</a><a href="https://example.com/gone">x</a>')
    (tmp_path / "page.html").write_text('<h1 id="here"></h1><a href="#there">x</a><a href="gone.html">x</a>')
    check = check_links(tmp_path)
    assert check.returncode == 1
    assert check.stderr.splitlines() == [
        "page.html: #there: there is no such anchor",
        "page.html: gone.html: there is no such file",
    ]


def test_a_site_without_broken_links_passes(tmp_path):
    (tmp_path / "index.html").write_text('<h1 id="here"></h1><a href="#here">x</a>')
    assert check_links(tmp_path).returncode == 0


if __name__ == "__main__":
    COMMANDS.write_text(command_reference())
