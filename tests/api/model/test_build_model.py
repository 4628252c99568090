"""The generator of lambda.json, and the file: fresh, and without prose."""

import gzip
import json
import re
import shutil
import subprocess
import sys

import botocore
import pytest

from serverfull_wsgi.api.model.service import FILE, load
from tests.support.servers import ROOT, clean_environ

pytestmark = pytest.mark.quick

SERVICE = load()
VERSION = SERVICE.botocore_version
GENERATOR = ROOT / "tools/build_model.py"


def test_the_model_has_no_prose():
    text = FILE.read_text()
    assert "documentation" not in text
    assert not re.search(r"</?[a-z]+>", text)


@pytest.mark.skipif(botocore.__version__ != VERSION, reason="another botocore is installed")
def test_the_file_is_what_its_botocore_gives():
    result = generate("--check")
    expected = f"lambda.json is fresh: {len(SERVICE.operations)} operations of botocore {VERSION}\n"
    assert (result.returncode, result.stdout) == (0, expected)


def test_tox_checks_the_file_against_its_botocore():
    assert f"botocore=={VERSION}\n" in (ROOT / "tox.ini").read_text()


# The generator, with a botocore of our own in a copy of the tree


def generate(*arguments, root=ROOT):
    argv = [sys.executable, root / "tools/build_model.py", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, env=clean_environ(), check=False)


@pytest.fixture
def tree(tmp_path):
    """Return a copy of the generator and of its file."""
    for file in (GENERATOR, FILE):
        copy = tmp_path / "tree" / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True)
        shutil.copy(file, copy)
    return tmp_path / "tree"


@pytest.fixture
def other_botocore(tmp_path):
    """Return a function that writes a botocore of a version, with a change to its model, and returns its folder."""

    def write(version, change=lambda model: None):
        model = json.loads(FILE.read_text())
        pagination = {"pagination": model.pop("pagination")}
        del model["source"]
        model["documentation"] = "<p>Lambda.</p>"
        change(model)
        data = tmp_path / "site/botocore/data/lambda/2015-03-31"
        data.mkdir(parents=True)
        (data / "service-2.json.gz").write_bytes(gzip.compress(json.dumps(model).encode()))
        (data / "paginators-1.json").write_text(json.dumps(pagination))
        (data.parents[2] / "__init__.py").write_text(f"__version__ = '{version}'\n")
        return tmp_path / "site"

    return write


def with_a_new_operation(model):
    model["operations"]["RunFunction"] = {**model["operations"]["Invoke"], "name": "RunFunction"}
    model["shapes"]["Timeout"]["max"] += 1


def test_the_check_accepts_the_same_model(tree, other_botocore):
    result = generate("--check", "--botocore", other_botocore(VERSION), root=tree)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_check_refuses_a_file_that_is_not_what_its_botocore_gives(tree, other_botocore):
    result = generate("--check", "--botocore", other_botocore(VERSION, with_a_new_operation), root=tree)
    assert result.returncode == 1
    assert result.stderr == (
        f"lambda.json differs from the model of botocore {VERSION}; run: python tools/build_model.py\n"
    )


def test_the_check_needs_the_botocore_that_the_file_names(tree, other_botocore):
    result = generate("--check", "--botocore", other_botocore("9.9.9"), root=tree)
    assert result.returncode == 1
    assert f"run: pip install botocore=={VERSION}" in result.stderr


def test_a_newer_botocore_is_a_printed_difference_and_no_failure(tree, other_botocore):
    result = generate("--difference", "--botocore", other_botocore("9.9.9", with_a_new_operation), root=tree)
    assert result.returncode == 0
    assert result.stdout == (
        f"botocore 9.9.9 against lambda.json, which is from {VERSION}:\n"
        "operations: added RunFunction\n"
        "shapes: changed Timeout\n"
    )


def test_no_newer_botocore_is_no_failure(tree, tmp_path):
    result = generate("--difference", "--botocore", tmp_path / "empty", root=tree)
    assert (result.returncode, result.stdout) == (0, "no other botocore to compare with\n")


def test_the_generator_writes_the_file_from_another_botocore(tree, other_botocore):
    assert generate("--botocore", other_botocore("9.9.9", with_a_new_operation), root=tree).returncode == 0
    written = json.loads((tree / FILE.relative_to(ROOT)).read_text())
    assert written["source"]["version"] == "9.9.9"
    assert "RunFunction" in written["operations"]
    assert "documentation" not in written
