"""Python functions under another version of Python than the server's, and without that version."""

import importlib.util
import logging
import os
import shutil
import subprocess
import sys

import pytest

from tests.support.isolated import executing, function, result

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not importlib.util.find_spec("awslambdaric"),
    reason="awslambdaric has wheels for Linux on x86-64 and aarch64 only",
)
VERSIONS = [f"3.{minor}" for minor in range(13, 9, -1) if minor != sys.version_info.minor]
VERSION = "f'{sys.version_info.major}.{sys.version_info.minor}'"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A virtual environment of another version, with AWS's client. Return its version and its folder of programs."""
    for version in VERSIONS:
        folder = tmp_path_factory.mktemp("venv")
        created = (
            subprocess.run([f"python{version}", "-m", "venv", "--without-pip", folder]) if _runs(version) else None
        )
        if created and not created.returncode:
            packages = folder / f"lib/python{version}/site-packages"
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", packages]
            command += ["--python-version", version, "--only-binary", ":all:", "awslambdaric"]
            if subprocess.run(command, capture_output=True).returncode:
                pytest.skip(f"pip has no awslambdaric for Python {version} here")
            return version, str(folder / "bin")
    pytest.skip("no other Python is on the PATH")


def _runs(version):
    path = shutil.which(f"python{version}")
    return path and not subprocess.run([path, "-c", "import venv"], capture_output=True).returncode


def test_a_function_runs_under_the_interpreter_of_its_runtime(other, monkeypatch, caplog):
    version, programs = other
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    other_version = function("app.evaluate", name="other", runtime=f"python{version}")
    with caplog.at_level(logging.WARNING, "serverfull_wsgi"), executing() as executor:
        assert result(executor, other_version, VERSION) == version
        assert result(executor, other_version, "os.environ['AWS_EXECUTION_ENV']") == f"AWS_Lambda_python{version}"
        assert result(executor, other_version, "os.environ['PATH']").split(":")[0] == programs
        assert result(executor, function("evaluate"), VERSION) != version
        assert "awslambdaric" not in result(executor, other_version, "sys.orig_argv")  # forked, not executed
    assert not caplog.text


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (None, "no python3.99 is on"),
        (
            "echo pyenv: python3.99: command not found >&2; exit 127",
            "{} does not run (pyenv: python3.99: command not found); begin the server's PATH with the "
            "folder of an interpreter that runs",
        ),
    ],
    ids=["not there", "pyenv's shim of a version that is not active"],
)
def test_without_that_interpreter_the_servers_own_runs_it_with_one_warning(
    program, reason, monkeypatch, tmp_path, caplog
):
    if program:
        (tmp_path / "python3.99").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "python3.99").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    with caplog.at_level(logging.WARNING, "serverfull_wsgi"), executing() as executor:
        for name in ("one", "two"):
            assert result(executor, function("app.evaluate", name=name, runtime="python3.99"), VERSION) == own
    (warning,) = caplog.messages
    assert f"python3.99 run under the server's python{own}: " in warning
    assert reason.format(f"{tmp_path}/python3.99") in warning


def test_an_interpreter_without_the_client_runs_its_functions_with_one_warning(monkeypatch, tmp_path, caplog):
    python = tmp_path / "python3.99"
    python.write_text(f'#!/bin/sh\nexec {os.path.realpath(sys.executable)} -S "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level(logging.WARNING, "serverfull_wsgi"), executing() as executor:
        for name in ("one", "two"):
            assert result(executor, function("app.evaluate", name=name, runtime="python3.99"), "sys.flags.no_site") == 1
    (warning,) = caplog.messages
    assert f"{python} cannot import AWS's, awslambdaric (it is not installed)" in warning
    assert f"{python} -m pip install awslambdaric" in warning
