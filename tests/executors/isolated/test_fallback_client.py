"""The fallback client, which runs Python functions where AWS's client cannot be imported.

The rows, the tests of executors and the comparison with AWS's client run over it too; see the fixtures in tests.
"""

import contextlib
import importlib.util
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serverfull_wsgi.executors.isolated.runtimes.fallback_client.awslambdaric import runtime_client
from serverfull_wsgi.executors.isolated.runtimes.fallback_client.awslambdaric.lambda_runtime_exception import (
    FaultException,
)
from serverfull_wsgi.executors.isolated.runtimes.fallback_client.awslambdaric.lambda_runtime_marshaller import (
    LambdaMarshaller,
)
from serverfull_wsgi.executors.isolated.runtimes.python_client import FALLBACK
from tests.support.aws_runtime_client import ReferenceRuntime
from tests.support.isolated import (
    CLIENT,
    SANDBOXES,
    WITHOUT_CLIENT,
    executing_without_client,
    function,
    needs_client,
    needs_sandbox,
    result,
    run,
    task_root,
)
from tests.support.servers import ROOT, clean_environ

pytestmark = needs_client
CLIENT_FILE = "sys.modules['awslambdaric'].__file__"


@pytest.fixture(scope="module", params=SANDBOXES)
def executor(request):
    needs_sandbox(request.param)
    with executing_without_client(sandbox=request.param) as executor:
        yield executor


def test_the_start_has_one_warning_with_the_reason_and_the_cure(caplog):
    with caplog.at_level(logging.WARNING, "serverfull_wsgi"), executing_without_client() as executor:
        assert result(executor, function("whoami"))["calls"] == 1
    (warning,) = caplog.messages
    assert f"{sys.executable} cannot import AWS's, awslambdaric (ImportError: hidden by a test)" in warning
    assert f"{sys.executable} -m pip install awslambdaric" in warning


def test_a_server_without_the_client_can_be_imported_and_runs_functions_in_process():
    code = """
from tests.support import hosts, site
print(hosts.post(site.application, "hello", b"{}").status)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**clean_environ(), "PYTHONPATH": f"{WITHOUT_CLIENT}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert ended.stdout == "200\n", ended.stderr


def test_a_function_runs_under_the_fallback_client(executor):
    assert result(executor, function("app.evaluate", name="file"), CLIENT_FILE).startswith(FALLBACK)


def test_a_function_can_import_the_names_of_aws_s_client(executor):
    names = "awslambdaric.bootstrap awslambdaric.lambda_context.LambdaContext awslambdaric.lambda_runtime_client"
    load = f"[str(__import__('pkgutil').resolve_name(name)) for name in {names.split()!r}]"
    assert len(result(executor, function("app.evaluate", name="names"), load)) == 3


@pytest.fixture(params=["fork", "exec"])
def start(request, tmp_path):
    """Return ``start(executor, name)``, which returns the file of the client of a function in ``tmp_path``."""
    shutil.copy(ROOT / "tests/functions/app.py", tmp_path)
    (tmp_path / "wrapper").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "wrapper").chmod(0o755)
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"} if request.param == "exec" else {}

    def start(executor, name):
        name = f"{name}-{request.param}"
        it = function("app.evaluate", code=tmp_path, name=name, environment=variables)
        return result(executor, it, CLIENT_FILE)

    return start


def test_a_client_in_the_code_of_a_function_is_preferred(executor, start, tmp_path):
    for name in (*CLIENT, "simplejson", "snapshot_restore_py"):
        path = Path(importlib.util.find_spec(name).origin)
        if path.name == "__init__.py":
            shutil.copytree(path.parent, tmp_path / path.parent.name)
        else:
            shutil.copy(path, tmp_path)
    assert start(executor, "own") == f"{task_root(executor, tmp_path)}/awslambdaric/__init__.py"


def test_a_client_in_the_code_of_a_function_that_cannot_be_imported_is_not_used(executor, start, tmp_path):
    shutil.copytree(WITHOUT_CLIENT, tmp_path, dirs_exist_ok=True)
    assert start(executor, "broken").endswith("/fallback_client/awslambdaric/__init__.py")


def test_events_and_results_of_the_largest_size_arrive(executor):
    largest = 6 * 1024 * 1024
    text = result(executor, function("app.evaluate", name="large"), f"'x' * {largest - 2}")
    assert len(text) == largest - 2
    assert result(executor, function("app.evaluate", name="large"), "1" + " " * (largest - 3)) == 1


def test_a_result_that_is_too_large_is_an_error_and_the_next_call_is_answered(executor):
    too_large = function("app.evaluate", name="too-large")
    _, error = run(executor, too_large, "'x' * 7_000_000")
    assert error["errorType"] == "Function.ResponseSizeTooLarge"
    assert result(executor, too_large, "1") == 1


def test_a_default_timeout_of_the_function_does_not_end_its_wait_for_events(executor, tmp_path):
    (tmp_path / "timed.py").write_text(TIMED)
    timed = function("timed.handler", code=tmp_path, name="timed")
    assert result(executor, timed) == 1
    time.sleep(0.1)  # longer than the function's default timeout
    assert result(executor, timed) == 2


TIMED = """
import socket
socket.setdefaulttimeout(0.05)
calls = []

def handler(event, context):
    calls.append(event)
    return len(calls)
"""


# Logs and errors, compared with AWS's client


LOGGING = """
def handler(code, context):
    exec(code, {"context": context, "logging": __import__("logging"), "json": __import__("json")})
"""
CODE = [
    "print('printed')",
    "logging.getLogger().warning('text %s', 5)",
    "logging.getLogger('a.b').error('text', extra={'order': 5, 'what': {1}})",
    "logging.getLogger().error({'an': 'object', 'with': [1, None, {2}]})",
    "logging.getLogger().error({'an': 'object'}, extra={'level': 'own', 'tenant_id': 'own'})",
    "logging.getLogger().log(25, 'a level between')",
    "logging.getLogger().log(5, 'a low level')",
    "logging.getLogger().log(70, 'a high level')",
    "logging.getLogger().info('information')",
    "logging.getLogger().debug('detail')",
    "logging.getLogger().critical('f\u00e9\u4e2d\\nsecond line')",
    "try:\n  1 / 0\nexcept ZeroDivisionError:\n  logging.getLogger().exception('failed')",
    "context.log('from the context')",
    "context.log({'no': 'text'})",
    "raise LookupError('raised')",
    "raise LookupError",
    "raise LookupError('\u0142')",
]
SETTINGS = {
    "text": {},
    "text with a level": {"AWS_LAMBDA_LOG_LEVEL": "error"},
    "json": {"AWS_LAMBDA_LOG_FORMAT": "JSON"},
    "json with a level": {"AWS_LAMBDA_LOG_FORMAT": "json", "AWS_LAMBDA_LOG_LEVEL": "TRACE"},
    "json with an unknown level": {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "loud"},
}


@pytest.fixture(scope="module", params=SETTINGS.values(), ids=SETTINGS)
def clients(request, tmp_path_factory):
    """Return AWS's client and the fallback client, each in a process of its own, with the same variables."""
    both = []
    for path in ("", FALLBACK):
        folder = tmp_path_factory.mktemp("client")
        (folder / "logging_handlers.py").write_text(LOGGING)
        (folder / "log").mkdir()
        search_path = os.pathsep.join(filter(None, (path, str(folder), os.environ.get("PYTHONPATH"))))
        both.append(ReferenceRuntime(folder / "log", {"PYTHONPATH": search_path, **request.param}))
    yield both
    for client in both:
        client.close()


@pytest.mark.parametrize("code", CODE)
def test_logs_and_errors_are_those_of_aws_s_client(clients, code):
    expected, ours = (client.run("logging_handlers.handler", json.dumps(code).encode(), "an-id") for client in clients)
    assert normal(ours.payload.decode()) == normal(expected.payload.decode())
    assert normal(ours.log) == normal(expected.log)
    assert (ours.ended, ours.failed) == (expected.ended, expected.failed)


def normal(text):
    """Remove times, and the folders of temporary files."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", "TIME", text)
    return re.sub(r"/[^ \"]*/client\d+/", "/FOLDER/", text)


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"nothing", b"[1,]", b"NaN", b"\xff", b"1 2", b"[" * 100_000, b'"\x01"', b"5" * 5000]
)
def test_an_event_that_cannot_be_parsed_is_a_fault(payload, monkeypatch):
    with pytest.raises(FaultException) as raised:
        LambdaMarshaller().unmarshal_request(payload)
    assert raised.value.exception_type == "Runtime.UnmarshalError"
    assert raised.value.msg.startswith("Unable to unmarshal input: ")


# HTTP


@pytest.fixture
def api(monkeypatch):
    """Return a list of responses, as bytes, that a server sends one after another; it closes after an empty one."""
    responses = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", f"127.0.0.1:{listener.getsockname()[1]}")
        runtime_client.initialize_client()
        thread = threading.Thread(target=serve, args=(listener, responses))
        thread.start()
        yield responses
        listener.shutdown(socket.SHUT_RDWR)
        runtime_client.initialize_client()  # closes the connection
        thread.join()


def serve(listener, responses):
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                while responses and connection.recv(65536):
                    if not (response := responses.pop(0)):
                        break
                    connection.sendall(response)


HEAD = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: an-id\r\n"


@pytest.mark.parametrize(
    "response",
    [
        HEAD + b"Content-Length: 7\r\n\r\n[1, 22]",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\n[1, \r\n3;more=1\r\n22]\r\n0\r\nA-Trailer: 1\r\n\r\n",
        HEAD + b"Connection: close\r\nContent-Length: 7\r\n\r\n[1, 22]",
    ],
    ids=["length", "chunks", "close"],
)
def test_an_event_is_read(api, response):
    api += [response, response]
    for _ in range(2):
        body, headers = runtime_client.next()
        assert (body, headers["Lambda-Runtime-Aws-Request-Id"]) == (b"[1, 22]", "an-id")


def test_a_connection_that_the_server_has_closed_is_opened_again(api):
    api += [HEAD + b"Content-Length: 2\r\n\r\n{}", b"", HEAD + b"Content-Length: 1\r\n\r\n5"]
    assert [runtime_client.next()[0] for _ in range(2)] == [b"{}", b"5"]


def test_a_request_that_the_server_refuses_is_an_error(api):
    api += [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"] * 3
    for call in (
        runtime_client.next,
        lambda: runtime_client.post_invocation_result("an-id", b"1"),
        lambda: runtime_client.post_error("an-id", "{}", "{}"),
    ):
        with pytest.raises(RuntimeError, match="HTTP status 403"):
            call()
