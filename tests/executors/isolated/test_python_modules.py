"""The modules of a Python function: those that ``python -m awslambdaric`` has loaded, and its own before all others."""

import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from tests.support.aws_runtime_client import RuntimeApi
from tests.support.isolated import executing, function, needs_client, result

pytestmark = needs_client

HANDLERS = """
import sys
loaded = sorted(sys.modules)
import importlib

def modules(event, context):
    return loaded

def main(event, context):
    main = sys.modules["__main__"]
    return [sorted(set(vars(main)) - {"__annotations__"}), main.__name__, main.__spec__.name]

def patched(event, context):
    main = sys.modules["__main__"]
    handle = main.bootstrap.handle_event_request
    def handle_event_request(client, handler, *arguments, **more):
        return handle(client, lambda event, context: "patched", *arguments, **more)
    main.bootstrap.handle_event_request = handle_event_request

def owned(names, context):
    return {name: is_own(name) for name in names}

def is_own(name):
    try:
        return hasattr(importlib.import_module(name), "is_own")
    except Exception as error:  # a hook of setuptools imports a module that is replaced here
        return type(error).__name__
"""
RUNTIMES = ["python3.11", "python3.13"]  # AWS's client polls in a thread from 3.12 on


@pytest.fixture(scope="module")
def executor():
    """Return an executor that finds no other interpreter, so that each runtime runs under this one."""
    with pytest.MonkeyPatch.context() as patch, executing() as executor:
        patch.setenv("PATH", "/nothing")
        yield executor


@pytest.fixture
def code(tmp_path):
    (tmp_path / "handlers.py").write_text(HANDLERS)
    return tmp_path


def of_client(code, handler, runtime, event=None):
    """Return the result of a handler under AWS's client, in a process of its own."""
    api = RuntimeApi()
    api.put(json.dumps(event).encode(), "1")
    variables = {"AWS_LAMBDA_RUNTIME_API": api.address, "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}"}
    path = os.path.dirname(os.path.dirname(importlib.util.find_spec("awslambdaric").origin))
    process = subprocess.Popen(
        [sys.executable, "-m", "awslambdaric", handler],
        cwd=code,
        env={**variables, "AWS_LAMBDA_FUNCTION_NAME": "reference", "PYTHONPATH": path},
    )
    try:
        return json.loads(api.answers.get(timeout=30).payload)
    finally:
        process.kill()
        process.wait()
        api.close()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("handler", ["handlers.modules", "handlers.main"])
def test_an_environment_has_the_modules_and_the_main_module_of_the_client(executor, code, handler, runtime):
    forked = result(executor, function(handler, code=code, name=handler.replace(".", "-"), runtime=runtime))
    assert forked == of_client(code, handler, runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_each_module_of_a_function_is_imported_in_the_place_of_a_standard_module(executor, code, runtime):
    loaded = set(of_client(code, "handlers.modules", runtime))
    hooked = {"this", "distutils"}  # one prints a poem; setuptools' hook of this interpreter has the other
    names = sorted(name for name in sys.stdlib_module_names if name not in loaded | hooked)
    for name in names:
        (code / f"{name}.py").write_text("is_own = True\n")
    owning = function("handlers.owned", code=code, name="owning", runtime=runtime)
    own = result(executor, owning, names)
    assert own == of_client(code, "handlers.owned", runtime, names)
    assert {"queue", "resource", "locale", "select", "subprocess"} - loaded <= {name for name in own if own[name]}


def test_a_preloaded_module_stays_loaded_and_the_modules_of_the_zygote_do_not(code):
    (code / "queue.py").write_text("is_own = True\n")
    with executing(preload=["decimal", "fractions"]) as executor:
        loaded = result(executor, function("handlers.modules", code=code, name="preloading"))
    assert {"decimal", "fractions"} <= set(loaded)
    assert not {"select", "resource", "_serverfull"} & set(loaded)


def test_a_patch_of_the_bootstrap_in_the_main_module_has_an_effect(executor, code):
    patched = function("handlers.patched", code=code, name="patched")
    assert [result(executor, patched) for _ in range(2)] == [None, "patched"]


SENTRY = """
import sentry_sdk
from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration
sentry_sdk.init(dsn="http://key@ADDRESS/1", integrations=[AwsLambdaIntegration()], default_integrations=False)

def handler(event, context):
    raise LookupError("seen by Sentry")
"""


def test_the_integration_of_sentry_reports_an_error_of_a_handler(executor, tmp_path):
    pytest.importorskip("sentry_sdk")
    packages = tmp_path / "layer/python"
    packages.mkdir(parents=True)
    for name in ("sentry_sdk", "urllib3", "certifi"):
        shutil.copytree(Path(importlib.util.find_spec(name).origin).parent, packages / name)
    with HTTPServer(threaded=True) as sentry:
        sentry.expect_request("/api/1/envelope/").respond_with_handler(lambda request: Response("{}"))
        (tmp_path / "observed.py").write_text(SENTRY.replace("ADDRESS", f"127.0.0.1:{sentry.port}"))
        observed = function("observed.handler", code=tmp_path, name="observed", layers=(str(tmp_path / "layer"),))
        with pytest.raises(AssertionError, match="LookupError"):
            result(executor, observed)
        (request, _), *_ = sentry.log
        envelope = gzip.decompress(request.get_data())
    assert b"seen by Sentry" in envelope
    assert b'"function_name":"observed"' in envelope.replace(b": ", b":")
