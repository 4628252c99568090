"""``serverfull serve --reload``: changed code is served, and code that cannot be loaded is answered with 500."""

import copy
import http.client
import json
import os
import shutil
import sys
import time
from contextlib import closing, contextmanager

import pytest

from serverfull_wsgi.servers.gunicorn.reloading import CLOCK_TICK, Loads, snapshot
from tests.support.isolated import needs_client
from tests.support.servers import Server, free_port
from tests.support.waiting import wait_until

PYTHON = f"python3.{sys.version_info.minor}"
GOOD = "def handler(event, context):\n    return {!r}\n"
ISOLATED = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Orders:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.handler, Runtime: %s, CodeUri: code, Environment: {Variables: {GREETING: %s}}}
"""


class Project:
    """A folder with code, and a server that reloads."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    @contextmanager
    def serve(self, *options, **environ):
        """Run the server until the block ends. Calls wait for its start: it may answer each request with a 500."""
        environ = {
            "SERVERFULL_RUNTIME_HTTPSERVER_ADDRESS": f"127.0.0.1:{self.port}",
            "PYTHONDONTWRITEBYTECODE": "1",  # Python takes a file of the same second and size for unchanged
            **environ,
        }
        argv = ["-m", "serverfull_wsgi", "serve", "--reload", *options]
        server = Server(argv, self.folder / "log", port=self.port, cwd=self.folder, env=environ)
        try:
            yield server
        finally:
            server.stop()

    def call(self, name="orders"):
        """Return the status and the body of a call; None if no worker accepts connections now."""
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
                connection.request("POST", f"/2015-03-31/functions/{name}/invocations", b"{}")
                response = connection.getresponse()
                return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException):
            return None

    def answers(self, value, name="orders"):
        return wait_until(lambda: self.call(name) == (200, value) or None)

    def fails_with(self, text):
        def failed():
            status, body = self.call() or (0, {})
            return status == 500 and text in body["Message"]

        return wait_until(failed)


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


BROKEN = {
    "syntax": ("def handler(", "Syntax error in module 'orders'"),
    "import": ("import no_such_module", "No module named 'no_such_module'"),
    "name": ("handle = 1", "Handler 'handler' missing on module 'orders'"),
    "exception": ("1 / 0", "ZeroDivisionError: division by zero"),
    "exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_module_that_cannot_be_loaded_is_answered_with_500_until_it_is_mended(text, message, project):
    project.write("orders.py", GOOD.format("old"))
    with project.serve(SERVERFULL_FUNCTIONS="orders=orders.handler") as server:
        project.answers("old")
        project.write("orders.py", text)
        project.fails_with(message)
        project.write("orders.py", GOOD.format("newer"))
        project.answers("newer")
        assert server.process.poll() is None


@pytest.mark.parametrize("server", ["gunicorn", "granian"])
def test_a_server_that_starts_with_a_missing_module_serves_it_once_it_exists(server, project):
    with project.serve("--server", server, SERVERFULL_FUNCTIONS="orders=orders.handler"):
        project.fails_with("No module named 'orders'")
        project.write("orders.py", GOOD.format("new"))
        project.answers("new")


SITE = """
from serverfull_wsgi import Application, StaticFetcher
import parts
application = Application(StaticFetcher({"orders": lambda event, context: parts.ANSWER}))
"""


def test_an_application_built_in_code_is_mended_where_its_stack_trace_points(project):
    project.write("site_.py", SITE)
    project.write("parts.py", "ANSWER = 1")
    with project.serve("--app", "site_:application"):
        project.answers(1)
        project.write("parts.py", "ANSWER = (")
        project.fails_with("SyntaxError: '(' was never closed")
        project.write("parts.py", "ANSWER = 2")
        project.answers(2)


SAVED_WHILE_IT_IS_LOADED = """
import pathlib
def handler(event, context):
    return "old"
pathlib.Path(__file__).write_text({!r})
"""


def test_a_module_that_changes_while_it_is_loaded_is_loaded_again(project):
    project.write("orders.py", SAVED_WHILE_IT_IS_LOADED.format(GOOD.format("new")))
    with project.serve(SERVERFULL_FUNCTIONS="orders=orders.handler"):
        project.answers("new")


MADE_WHILE_IT_IS_MISSED = """
import pathlib
try:
    from parts import handler
except ImportError:
    pathlib.Path(__file__).with_name("parts.py").write_text({!r})
    raise
"""


def test_a_missing_module_that_is_made_while_the_application_is_loaded_is_found(project):
    project.write("orders.py", MADE_WHILE_IT_IS_MISSED.format(GOOD.format("new")))
    with project.serve(SERVERFULL_FUNCTIONS="orders=orders.handler"):
        project.answers("new")


@needs_client
def test_the_code_and_the_template_of_isolated_functions_are_watched(project):
    pytest.importorskip("yaml")
    project.write("code/app.py", "from parts import answer as handler")
    project.write("code/parts.py", "import os\ndef answer(*_):\n    return os.environ['GREETING']\n")
    project.write("template.yaml", ISOLATED % (PYTHON, "Hello"))
    with project.serve(SERVERFULL_TEMPLATE="template.yaml"):
        project.answers("Hello", "Orders")
        project.write("code/parts.py", "import os\ndef answer(*_):\n    return os.environ['GREETING'] + '!'\n")
        project.answers("Hello!", "Orders")
        project.write("template.yaml", ISOLATED % (PYTHON, "Servus"))
        project.answers("Servus!", "Orders")
        project.write("template.yaml", "Resources: [")
        wait_until(lambda: (project.call("Orders") or (0,))[0] == 500)
        project.write("template.yaml", ISOLATED % (PYTHON, "Again"))
        project.answers("Again!", "Orders")


@needs_client
def test_a_code_folder_that_is_built_later_is_served(project):
    pytest.importorskip("yaml")
    project.write("template.yaml", ISOLATED % (PYTHON, "Hello"))
    with project.serve(SERVERFULL_TEMPLATE="template.yaml"):
        wait_until(lambda: (project.call("Orders") or (0,))[0] == 409)
        project.write("code/app.py", GOOD.format("built"))
        project.answers("built", "Orders")


def test_an_application_that_writes_code_at_each_load_is_loaded_twice(tmp_path):
    code, loads = tmp_path / "parser.py", Loads()

    def load():
        loads.begin()
        code.write_text("generated")
        return loads.find_change([str(code)])

    assert [load(), load(), load()] == [str(code), None, str(code)]


def test_each_worker_that_loads_during_a_change_loads_once_more(tmp_path):
    code, server = tmp_path / "app.py", Loads()
    workers = [copy.copy(server), copy.copy(server)]
    for worker in workers:
        worker.begin()
    code.touch()
    assert [worker.find_change([str(code)]) for worker in workers] == [str(code), str(code)]


def test_code_that_was_changed_before_the_load_is_loaded_once(tmp_path):
    code, loads = tmp_path / "app.py", Loads()
    code.touch()
    wait_until(lambda: time.time_ns() > code.stat().st_ctime_ns + 2 * CLOCK_TICK)
    loads.begin()
    assert loads.find_change([str(code), str(tmp_path / "missing")]) is None


# The files that are watched


@pytest.fixture
def code(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    return folder


def changed(folder, change):
    """Return whether a change is seen in a watched folder."""
    before = snapshot([str(folder)])
    change()
    return snapshot([str(folder)]) != before


@pytest.mark.parametrize("name", ["new.py", "deep/er/new.js", "new.mjs", "lib.so", "run.sh"])
def test_new_changed_and_removed_code_is_seen(name, code):
    path = code / name
    path.parent.mkdir(parents=True, exist_ok=True)
    assert changed(code, path.touch)
    assert changed(code, lambda: path.write_text("x"))
    assert changed(code, path.unlink)


def test_a_program_without_a_suffix_is_seen_if_it_is_executable(code):
    program = code / "bootstrap"
    program.touch(mode=0o700)
    assert changed(code, lambda: program.write_text("#!/bin/sh"))


WRITTEN = [
    "server.log",
    "output.json",
    "events.sqlite3-wal",
    ".git/hook.py",
    "__pycache__/app.py",
    "node_modules/x.js",
]


@pytest.mark.parametrize("name", WRITTEN)
def test_files_that_calls_and_tools_write_are_not_seen(name, code):
    path = code / name
    path.parent.mkdir(exist_ok=True)
    assert not changed(code, path.touch)


def test_a_named_file_is_seen_with_any_suffix_and_if_it_appears_later(code):
    template = code / "template.yaml"
    before = snapshot([str(template)])
    template.write_text("Resources:")
    assert snapshot([str(template)]) != before


def test_a_folder_that_is_replaced_as_a_whole_is_seen(code):
    (code / "app.py").write_text("1")
    built = code.parent / "built"
    shutil.copytree(code, built)
    (built / "app.py").write_text("2")

    def replace():
        shutil.rmtree(code)
        os.rename(built, code)

    assert changed(code, replace)
