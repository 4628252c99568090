"""Packages that a Python function can import: its own, its layers', and those of AWS's runtime."""

import subprocess
import sys

import pytest

from serverfull_wsgi import Function
from tests.support.isolated import executing, function, needs_client, result
from tests.support.servers import ROOT, clean_environ

pytestmark = needs_client

CODE = """
import importlib, importlib.metadata

def imported(names, context):
    return {name: place(name) for name in names}

def place(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        return type(error).__name__
    return getattr(module, "PLACE", "interpreter")

def versions(names, context):
    found = {}
    for name in names:
        try:
            found[name] = bool(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            found[name] = False
    return found
"""
OF_SERVER = ["click", "werkzeug", "gunicorn", "environs", "pytest", "serverfull_wsgi", "yaml"]
OF_AWS = ["awslambdaric", "boto3", "botocore.session", "s3transfer", "jmespath", "dateutil.parser", "urllib3"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Return the folder of packages for all functions."""
    folder = tmp_path_factory.mktemp("shared")
    for name in ("everywhere", "own", "in_layer", "boto3"):
        (folder / f"{name}.py").write_text("PLACE = 'shared'")
    (folder / "everywhere-1.dist-info").mkdir()
    (folder / "everywhere-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: everywhere\nVersion: 1\n")
    return folder


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code")
    (folder / "handlers.py").write_text(CODE)
    (folder / "own.py").write_text("PLACE = 'code'")
    return folder


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layer")
    (folder / "python").mkdir()
    (folder / "python/in_layer.py").write_text("PLACE = 'layer'")
    return folder


@pytest.fixture(scope="module")
def executor(shared):
    with executing(python_modules=str(shared)) as it:
        yield it


@pytest.fixture
def imported(executor, code, layer):
    """Return the place of each module that a function imports: ``imported("click")``."""
    return lambda *names: result(executor, function("handlers.imported", code=code, layers=(str(layer),)), list(names))


def test_packages_of_the_server_are_not_visible(imported):
    assert imported(*OF_SERVER) == dict.fromkeys(OF_SERVER, "ModuleNotFoundError")


def test_packages_of_awss_runtime_are_visible(imported):
    assert imported(*OF_AWS) == dict.fromkeys(OF_AWS, "interpreter")


def test_the_standard_library_is_visible(imported):
    names = ["json", "sqlite3", "xml.dom.minidom", "ctypes", "zoneinfo", "concurrent.futures"]
    assert imported(*names) == dict.fromkeys(names, "interpreter")


def test_own_packages_win_over_layers_and_these_over_the_shared_folder(imported):
    places = {"own": "code", "in_layer": "layer", "everywhere": "shared"}
    assert imported(*places) == places


def test_metadata_are_those_of_the_visible_packages(executor, code):
    names = {"boto3": True, "botocore": True, "everywhere": True, "click": False, "pytest": False}
    assert result(executor, function("handlers.versions", code=code), list(names)) == names


def test_a_function_may_have_a_boto3_of_its_own(executor, tmp_path):
    (tmp_path / "handlers.py").write_text(CODE)
    (tmp_path / "boto3.py").write_text("PLACE = 'code'")
    assert result(executor, function("handlers.imported", code=tmp_path), ["boto3"]) == {"boto3": "code"}


def test_a_preloaded_distribution_is_visible_with_its_dependencies(code):
    with executing(preload=["werkzeug"]) as executor:
        names = {"werkzeug.routing": "interpreter", "markupsafe": "interpreter", "click": "ModuleNotFoundError"}
        assert result(executor, function("handlers.imported", code=code), list(names)) == names


def test_a_function_without_a_code_directory_sees_the_servers_packages(executor):
    it = Function("tests.support.handlers.hello", name="hello", timeout=30)
    assert result(executor, it).startswith("Hello")


@pytest.fixture
def unforked(tmp_path):
    """Return a code directory with a wrapper script, which starts an interpreter that is not forked."""
    (tmp_path / "wrapper").write_text(
        '#!/bin/sh\nexport PYTHONPATH="$PYTHONPATH:$LAMBDA_TASK_ROOT/wrapped"\nexec "$@"\n'
    )
    (tmp_path / "wrapper").chmod(0o755)
    (tmp_path / "wrapped").mkdir()
    (tmp_path / "wrapped/of_wrapper.py").write_text("PLACE = 'wrapper'")
    (tmp_path / "handlers.py").write_text(CODE)
    return tmp_path


def test_an_interpreter_that_a_wrapper_starts_hides_the_same_packages(executor, unforked):
    environment = {"AWS_LAMBDA_EXEC_WRAPPER": str(unforked / "wrapper")}
    names = {
        "of_wrapper": "wrapper",
        "everywhere": "shared",
        "boto3": "interpreter",
        "click": "ModuleNotFoundError",
        "werkzeug": "ModuleNotFoundError",
        "importlib.metadata": "interpreter",
    }
    wrapped = function("handlers.imported", code=unforked, name="wrapped", environment=environment)
    assert result(executor, wrapped, list(names)) == names


def python(code, **environ):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**clean_environ(), **environ},
        check=False,
    )


WITHOUT_BOTO3 = """
from serverfull_wsgi.executors.isolated.runtimes.packages import restrict_imports
restrict_imports([], "", [])
for name in ("boto3", "botocore", "boto3", "click_"):
    try:
        __import__(name)
    except ImportError as error:
        print(error)
"""


def test_a_failed_import_of_boto3_logs_the_cure_once():
    run = python(WITHOUT_BOTO3)
    assert run.stdout.splitlines() == [f"No module named '{name}'" for name in ("boto3", "botocore", "boto3", "click_")]
    assert run.stderr.count("boto3 is not installed for this function") == 1
    assert "set SERVERFULL_PYTHON_MODULES to a folder in which pip has installed it" in run.stderr
