"""The two transports of Python environments: frames on a descriptor, and AWS's client over HTTP."""

import functools
import os
import signal
import stat

import pytest

from tests.support.isolated import executing, executing_without_client, function, needs_client, result, run
from tests.support.waiting import wait_until

pytestmark = needs_client
NO_FORK = ["no_such_module"]  # environments start by exec
CLIENT = "__import__('awslambdaric.lambda_runtime_client').lambda_runtime_client.runtime_client"
MODULE = f"type({CLIENT}).__name__"
SOCKETS = """[
    int(fd) for fd in os.listdir("/proc/self/fd")
    if os.path.exists(f"/proc/self/fd/{fd}") or os.path.islink(f"/proc/self/fd/{fd}")
    if os.readlink(f"/proc/self/fd/{fd}").startswith("socket")
]"""


STARTS = {
    "fork": executing,
    "exec": functools.partial(executing, preload=NO_FORK),
    "fork of the fallback": executing_without_client,
    "exec of the fallback": functools.partial(executing_without_client, preload=NO_FORK),
}


@pytest.fixture(scope="module", params=STARTS)
def started(request):
    """Return an executor whose environments use frames; a test that uses it runs with each client and kind of start."""
    with STARTS[request.param]() as executor:
        yield executor


@pytest.mark.parametrize("preload", [(), NO_FORK], ids=["fork", "exec"])
@pytest.mark.parametrize(("transport", "module"), [("socket", "FrameClient"), ("http", "module")])
def test_the_transport_is_the_one_of_the_settings(preload, transport, module):
    with executing(preload=preload, python_transport=transport) as executor:
        assert result(executor, function("evaluate"), MODULE) == module


def test_each_client_uses_frames(started):
    assert result(started, function("evaluate"), MODULE) == "FrameClient"


def test_no_variable_shows_the_transport(started):
    assert result(started, function("evaluate"), "[name for name in os.environ if 'SERVERFULL' in name]") == []


def test_a_program_that_a_handler_starts_has_no_connection(started):
    code = "__import__('subprocess').run(['ls', '-l', '/proc/self/fd'], close_fds=False, capture_output=True).stdout"
    assert "socket" not in result(started, function("evaluate"), f"{code}.decode()")


def test_an_import_that_fails_is_reported(started):
    outcome, error = run(started, function("app.missing", name="missing"))
    assert (outcome.function_error, error["errorType"]) == ("Unhandled", "Runtime.HandlerNotFound")


def test_a_forked_process_does_not_disturb_its_parent(started):
    forking = function("evaluate", name="forking")
    code = "[pid := os.fork(), pid or os._exit(0), os.waitpid(pid, 0)][1] > 0"
    assert [result(started, forking, code) for _ in range(3)] == [True] * 3


def test_a_forked_process_that_returns_from_the_handler_ends_and_does_not_disturb_its_parent(started):
    forking = function("evaluate", name="returning")
    codes = [  # the parent returns first
        "[(pid := os.getpid()), os.fork() or __import__('time').sleep(0.2), pid][2]",
        "[os.wait(), os.getpid()][1]",
        "os.getpid()",
    ]
    assert len({result(started, forking, code) for code in codes}) == 1


def test_a_function_may_close_the_descriptor(started):
    closing = function("evaluate", name="closing")
    codes = ["[os.closerange(4, 1024), os.getpid()][1]", "os.getpid()", "os.getpid()"]
    assert len({result(started, closing, code) for code in codes}) == 1


REUSE_DESCRIPTORS = """
import sys, tempfile
os.closerange(4, 1024)
sys.files = [tempfile.TemporaryFile() for _ in range(4)]
"""
CHECK_FILES_IN_A_FORK = """
import sys
pid = os.fork()
if not pid:
    try:
        [file.fileno() and os.fstat(file.fileno()) for file in sys.files]
    except OSError:
        os._exit(1)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_file_with_the_number_of_a_closed_connection_belongs_to_the_function(started):
    reusing = function("evaluate", name="reusing")
    assert result(started, reusing, f"exec({REUSE_DESCRIPTORS + CHECK_FILES_IN_A_FORK!r})") is None
    contents = "[os.pread(file.fileno(), 100, 0).decode() for file in __import__('sys').files]"
    assert [result(started, reusing, contents) for _ in range(2)] == [[""] * 4] * 2


@pytest.mark.parametrize(
    "code",
    [
        f"[os.write(fd, b'no frame') for fd in {SOCKETS}]",
        f"[os.write(fd, b'N' + bytes(8)) for fd in {SOCKETS}]",
        f"{CLIENT}.next()",
    ],
    ids=["no frame", "next", "next by the client"],
)
def test_a_function_that_writes_into_the_connection_ends_its_environment_only(started, code):
    writing = function("evaluate", name="writing", timeout=10)
    outcome, error = run(started, writing, code)
    assert (outcome.function_error, error["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert result(started, writing, "1") == 1


@pytest.mark.parametrize("transport", ["socket", "http"])
def test_a_signal_handler_runs_while_the_runtime_waits(transport, tmp_path):
    code = f"""
import signal
signal.signal(signal.SIGTERM, lambda *_: open({str(tmp_path / "signalled")!r}, "w").close())
open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
"""
    runtime = "python3.12"  # from this version on, AWS's client waits in a thread; any interpreter runs it here
    with executing(sandbox="process", python_transport=transport) as executor:
        result(executor, function("app.execute", name="signalled", runtime=runtime), code)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
        wait_until((tmp_path / "signalled").exists)


def test_a_package_of_the_function_that_brings_the_client_is_used_over_http(tmp_path):
    site = os.path.dirname(os.path.dirname(__import__("awslambdaric").__file__))
    code = tmp_path / "code"
    code.mkdir()
    for name in os.listdir(site):
        if name.startswith(("awslambdaric", "runtime_client")):
            os.symlink(os.path.join(site, name), code / name)
    (code / "own.py").write_text(f"import os, sys\ndef handler(event, context):\n    return {MODULE}\n")
    with executing(preload=NO_FORK, sandbox="process") as executor:
        own = function("own.handler", name="own", code=code)
        assert result(executor, own) == "module"


def test_a_wrapper_that_sets_another_address_has_all_requests_over_http(tmp_path):
    wrapper = tmp_path / "wrapper"
    wrapper.write_text('#!/bin/sh\nexport AWS_LAMBDA_RUNTIME_API=localhost:${AWS_LAMBDA_RUNTIME_API#*:}\nexec "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    with executing(sandbox="process") as executor:
        wrapped = function("evaluate", name="wrapped", environment={"AWS_LAMBDA_EXEC_WRAPPER": str(wrapper)})
        assert result(executor, wrapped, MODULE) == "module"
        plain = tmp_path / "plain"
        plain.write_text('#!/bin/sh\nexec "$@"\n')
        plain.chmod(0o755)
        wrapped = function("evaluate", name="wrapped2", environment={"AWS_LAMBDA_EXEC_WRAPPER": str(plain)})
        assert result(executor, wrapped, MODULE) == "FrameClient"


def test_a_listener_answers_at_the_address_of_the_runtime_api(started):
    code = """
import http.client
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
connection.request("GET", "/2018-06-01/runtime/invocation/next")
assert connection.getresponse().status == 403
"""
    polling = function("execute", name="polling")
    assert [result(started, polling, code) for _ in range(2)] == [None] * 2
