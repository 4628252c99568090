"""Wrapper scripts: AWS_LAMBDA_EXEC_WRAPPER names a program that starts the runtime."""

import shutil
import sys

import pytest

from tests.support.isolated import executing, function, needs_client, result, run, task_root

pytestmark = needs_client

# The example of AWS's documentation, which puts options before the last argument, and what extensions do: they export
# variables, and replace the handler.
SCRIPT = """#!/bin/bash
echo "wrapped: $#" >&2
export WRAPPED=yes
OTHER
exec "${@:1:$#-1}" OPTIONS "${@: -1}"
"""
PYTHON = """
import os, sys
def handler(event, context):
    main = sys.modules["__main__"]
    return [os.environ["WRAPPED"], sys.path[0], sys._xoptions, hasattr(main.bootstrap, "run")]
def other(event, context):
    return "other"
"""
NODE = "exports.handler = async () => [process.env.WRAPPED, process.execArgv]; exports.other = async () => 'other';"
BOOTSTRAP = f"""#!{sys.executable}
import os, urllib.request
api = f"http://{{os.environ['AWS_LAMBDA_RUNTIME_API']}}/2018-06-01/runtime/invocation/"
while True:
    event = urllib.request.urlopen(api + "next")
    id = event.headers["Lambda-Runtime-Aws-Request-Id"]
    urllib.request.urlopen(api + id + "/response", os.environ["WRAPPED"].encode().join([b'"', b'"'])).read()
"""


@pytest.fixture(scope="module")
def executor():
    with executing() as executor:
        yield executor


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "index.py").write_text(PYTHON)
    (tmp_path / "index.js").write_text(NODE)
    for path, text in ((tmp_path / "bootstrap", BOOTSTRAP), (tmp_path / "wrapper", SCRIPT)):
        path.write_text(text.replace("OPTIONS", "").replace("OTHER", ""))
        path.chmod(0o755)
    return tmp_path


def wrapped(folder, name, wrapper=None, *, handler="index.handler", **more):
    environment = {"AWS_LAMBDA_EXEC_WRAPPER": str(wrapper or folder / "wrapper")}
    return function(handler, code=folder, name=name, environment=environment, **more)


def test_a_python_runtime_is_started_by_the_script(executor, folder):
    (folder / "wrapper").write_text(SCRIPT.replace("OPTIONS", "-X dev").replace("OTHER", ""))
    outcome, value = run(executor, wrapped(folder, "python"))
    assert value == ["yes", task_root(executor, folder), {"dev": True}, True]
    assert b"wrapped: 3" in outcome.log
    assert run(executor, wrapped(folder, "python"))[0].init_duration is None


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
def test_a_node_runtime_is_started_by_the_script(executor, folder):
    (folder / "wrapper").write_text(SCRIPT.replace("OPTIONS", "--no-deprecation").replace("OTHER", ""))
    value = result(executor, wrapped(folder, "node", runtime="nodejs20.x"))
    assert value[0] == "yes"
    assert "--no-deprecation" in value[1]


def test_a_custom_runtime_is_started_by_the_script(executor, folder):
    assert result(executor, wrapped(folder, "custom", runtime="provided.al2023")) == "yes"


@pytest.mark.parametrize("runtime", ["", "nodejs20.x"])
def test_a_script_can_replace_the_handler(executor, folder, runtime):
    if runtime and not shutil.which("node"):
        pytest.skip("needs Node.js")
    (folder / "wrapper").write_text(SCRIPT.replace("OPTIONS", "").replace("OTHER", "export _HANDLER=index.other"))
    assert result(executor, wrapped(folder, f"other{runtime[:4]}", runtime=runtime)) == "other"


@pytest.mark.parametrize("runtime", ["", "nodejs20.x"])
@pytest.mark.parametrize("change", ["15>&-", "15</dev/null"], ids=["closes", "replaces"])
def test_a_script_can_lose_the_descriptor_of_the_runtime(executor, folder, runtime, change):
    if runtime and not shutil.which("node"):
        pytest.skip("needs Node.js")
    (folder / "wrapper").write_text(SCRIPT.replace("OPTIONS", "").replace("OTHER", f"exec {change}"))
    name = f"lost{len(change)}{runtime[:4]}"
    assert result(executor, wrapped(folder, name, runtime=runtime))[0] == "yes"


@pytest.mark.parametrize("place", ["/opt", "/var/task"])
def test_a_path_below_opt_is_found_in_a_layer_and_one_below_var_task_in_the_code(executor, folder, place):
    layers = ()
    if place == "/opt":
        layers = (str(folder / "layer"),)
        (folder / "layer").mkdir()
        (folder / "wrapper").rename(folder / "layer/wrapper")
    outcome, _ = run(executor, wrapped(folder, f"in{place[1:4]}", f"{place}/wrapper", layers=layers))
    assert b"wrapped: 3" in outcome.log


@pytest.mark.parametrize(
    ("mode", "status", "text"), [(0o644, 126, "is not an executable"), (None, 127, "does not exist")]
)
@pytest.mark.parametrize("runtime", ["", "provided.al2023"])
def test_a_script_that_cannot_be_run_ends_the_start_with_the_status_of_a_shell(
    executor, folder, runtime, mode, status, text
):
    if mode is None:
        (folder / "wrapper").unlink()
    else:
        (folder / "wrapper").chmod(mode)
    outcome, error = run(executor, wrapped(folder, f"missing{status}{runtime[:4]}", runtime=runtime))
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith(f"Runtime exited with error: exit status {status}")
    assert f"{task_root(executor, folder)}/wrapper: {text}".encode() in outcome.log
