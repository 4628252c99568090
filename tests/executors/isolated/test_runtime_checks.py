"""Warnings of ``serverfull check`` about functions that lack a program, a build or packages on this machine."""

import sys

import pytest

from serverfull_wsgi import Function
from serverfull_wsgi.executors.isolated.runtimes.checks import runtime_warnings
from serverfull_wsgi.executors.isolated.runtimes.launch import OWN_RUNTIME
from tests.support.isolated import hidden_client, needs_client
from tests.support.servers import serverfull

pytestmark = needs_client


@pytest.fixture
def warnings(tmp_path):
    """Return the warnings about a function: ``warnings(runtime="nodejs20.x", **{"app.ts": ""})``."""

    def warnings(handler="app.handler", runtime=OWN_RUNTIME, modules="", preload=(), layers=(), **files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        it = Function(handler, "hello", code=str(tmp_path), runtime=runtime, layers=[str(layer) for layer in layers])
        return runtime_warnings([it], str(modules), preload)

    return warnings


def test_a_function_that_lacks_nothing_causes_no_warning(warnings):
    assert warnings(**{"app.py": "import boto3", "requirements.txt": "boto3\n# none\n-r other.txt\n"}) == []


def test_a_function_without_a_code_directory_is_not_checked():
    assert runtime_warnings([Function("a.b", "a", runtime="python3.1")], "", ()) == []


def test_a_missing_interpreter_is_one_warning_for_its_functions(tmp_path):
    functions = [Function("a.b", f"f{n}", code=str(tmp_path), runtime="python3.1") for n in range(5)]
    assert runtime_warnings(functions, "", ()) == [
        f"f0, f1, f2 and 2 more with runtime python3.1 would run under the server's {OWN_RUNTIME}: "
        "no python3.1 is on the server's PATH; install it, with awslambdaric"
    ]


def test_an_interpreter_without_the_client_is_a_warning(warnings, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3.1").write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    (tmp_path / "bin/python3.1").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    python = tmp_path / "bin/python3.1"
    assert warnings(runtime="python3.1") == [
        f"hello would run under serverfull_wsgi's own runtime client: {python} cannot import AWS's, awslambdaric "
        "(ModuleNotFoundError: No module named 'runtime_client'); to have AWS's, install it: "
        f"{python} -m pip install awslambdaric"
    ]


def test_a_server_that_cannot_import_the_client_is_a_warning(warnings):
    with hidden_client():
        (line,) = warnings()
    assert f"{sys.executable} cannot import AWS's, awslambdaric (ImportError: hidden by a test)" in line


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("#!/bin/sh\necho pyenv: python3.1: command not found >&2\necho >&2\nexit 127\n",
         "pyenv: python3.1: command not found"),
        ("#!/bin/sh\nexit 3\n", "exit status 3"),
        ("#!/bin/sh\ntest $PYENV_VERSION && echo True\n", "exit status 1"),  # the server's variables do not help
        ("#!/no/such/program\n", "No such file or directory"),
    ],
)  # fmt: skip
def test_an_interpreter_that_does_not_run_is_a_warning_without_its_own_output(
    program, error, warnings, tmp_path, monkeypatch, capfd
):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3.1").write_text(program)
    (tmp_path / "bin/python3.1").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("PYENV_VERSION", "3.1")
    (line,) = warnings(runtime="python3.1")
    assert line.endswith(f"{tmp_path}/bin/python3.1 does not run ({error}); "
                         "begin the server's PATH with the folder of an interpreter that runs")  # fmt: skip
    assert capfd.readouterr() == ("", "")


def test_missing_node_is_a_warning(warnings, monkeypatch):
    monkeypatch.setenv("PATH", "/no/such/folder")
    assert warnings(runtime="nodejs20.x") == [
        "hello cannot run: no 'node' is on the server's PATH; install Node.js"
    ]  # fmt: skip


@pytest.fixture
def has_node(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/node").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.usefixtures("has_node")
@pytest.mark.parametrize("name", ["app.ts", "app.mts", "app.tsx"])
def test_typescript_that_is_not_built_is_a_warning(warnings, tmp_path, name):
    assert warnings(runtime="nodejs20.x", **{name: ""}) == [
        f"hello: {tmp_path}/{name} is TypeScript and is not built; run 'sam build', or compile it to JavaScript"
    ]


@pytest.mark.usefixtures("has_node")
@pytest.mark.parametrize("name", ["app.js", "app.mjs", "app.cjs"])
def test_typescript_that_is_built_is_no_warning(warnings, name):
    assert warnings(runtime="nodejs20.x", **{"app.ts": "", name: ""}) == []


@pytest.mark.usefixtures("has_node")
def test_a_typescript_handler_in_a_folder_is_found(warnings, tmp_path):
    (line,) = warnings("src/app.handler", runtime="nodejs20.x", **{"src/app.ts": ""})
    assert line.startswith(f"hello: {tmp_path}/src/app.ts is TypeScript")


def test_a_custom_runtime_without_a_bootstrap_is_a_warning(warnings, tmp_path):
    assert warnings(runtime="provided.al2023") == [
        f"hello: {tmp_path} has no program 'bootstrap'; run 'sam build', or build it there"
    ]
    assert warnings(runtime="provided.al2023", bootstrap="") == []


TEXT = "requests>=2\nPyYAML==6 # yes\naws-lambda-powertools[tracer]\nx; python_version<'3'\n"
REQUIREMENTS = {"requirements.txt": TEXT}


def test_requirements_that_nothing_has_are_one_warning(warnings, tmp_path):
    assert warnings(**REQUIREMENTS) == [
        f"hello: requirements.txt names requests, PyYAML, aws-lambda-powertools, but neither {tmp_path} nor a layer "
        "has them; run 'sam build', or 'pip install -r requirements.txt -t .' there"
    ]


def test_functions_with_the_same_code_are_one_warning(tmp_path):
    (tmp_path / "requirements.txt").write_text("requests")
    (line,) = runtime_warnings([Function("a.b", f"f{n}", code=str(tmp_path)) for n in range(5)], "", ())
    assert line.startswith("f0, f1, f2 and 2 more: requirements.txt names requests, but neither ")


@pytest.mark.parametrize("place", ["", "layer/python/", f"layer/python/lib/{OWN_RUNTIME}/site-packages/", "shared/"])
def test_requirements_of_the_code_a_layer_or_the_shared_folder_are_no_warning(warnings, tmp_path, place):
    installed = ["requests-2.32.0.dist-info/METADATA", "yaml/__init__.py", "aws_lambda_powertools/__init__.py"]
    files = {**REQUIREMENTS, **{f"{place}{name}": "" for name in installed}}
    assert warnings(layers=[tmp_path / "layer"], modules=tmp_path / "shared", **files) == []


def test_requirements_that_are_preloaded_are_no_warning(warnings):
    names = ["requests.adapters", "yaml", "aws_lambda_powertools"]
    assert warnings(preload=names, **REQUIREMENTS) == []


@pytest.mark.parametrize("source", ["import boto3", "def f():\n    from botocore.config import Config\n"])
def test_code_that_imports_boto3_where_nothing_has_it_is_a_warning(warnings, monkeypatch, source):
    monkeypatch.setitem(sys.modules, "boto3", None)  # as if it were not installed
    (line,) = warnings(**{"package/app.py": source})
    assert line.startswith("hello: no boto3 here; AWS's runtimes bring boto3. Install it for the server, in a layer")
    assert "set SERVERFULL_PYTHON_MODULES to a folder" in line


def test_boto3_in_the_shared_folder_is_enough(warnings, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    files = {"app.py": "import boto3", "requirements.txt": "boto3\nbotocore", "shared/boto3/__init__.py": ""}
    assert warnings(modules=tmp_path / "shared", **files) == []


def test_check_shows_these_warnings_and_exits_with_0(tmp_path):
    (tmp_path / "app.py").touch()
    (tmp_path / "requirements.txt").write_text("requests")
    (tmp_path / "t.yaml").write_text(
        f"Resources: {{Hello: {{Type: AWS::Serverless::Function, Properties: {{CodeUri: ., Handler: app.handler, "
        f"Runtime: {OWN_RUNTIME}}}}}}}"
    )
    run = serverfull("check", cwd=tmp_path, SERVERFULL_TEMPLATE="t.yaml")
    assert (run.returncode, run.stdout) == (0, "ok: 1 function\n")
    assert run.stderr.count("warning: Hello: requirements.txt names requests, but neither ") == 1


def test_a_shared_folder_that_does_not_exist_is_refused():
    run = serverfull("check", SERVERFULL_PYTHON_MODULES="/no/such", SERVERFULL_FUNCTIONS="a=json.dumps")
    assert run.returncode == 1
    assert "SERVERFULL_PYTHON_MODULES=/no/such: there is no folder /no/such; make it with 'pip install" in run.stderr
