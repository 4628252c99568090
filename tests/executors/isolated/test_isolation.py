"""What functions in processes of their own are promised, and what they cannot do to others."""

import contextlib
import fcntl
import gc
import json
import logging
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from serverfull_wsgi import ConfigurationError, Function, ServiceError, TooManyRequestsException
from serverfull_wsgi.env_vars import RESERVED_VARIABLES
from serverfull_wsgi.errors import ServiceException
from serverfull_wsgi.executors.isolated import pools
from serverfull_wsgi.executors.isolated.sandbox import cgroups, linux
from serverfull_wsgi.executors.isolated.zygote import spawner
from tests.support.isolated import (
    FUNCTIONS,
    executing,
    function,
    invocation,
    marked,
    needs_client,
    needs_namespaces,
    population,
    result,
    run,
    waiting,
)
from tests.support.servers import ROOT, clean_environ
from tests.support.waiting import wait_until

pytestmark = needs_client
SANDBOXES = ["process", "namespaces"]


@pytest.fixture(scope="module", params=SANDBOXES)
def executor(request):
    """At each level of protection."""
    if request.param == "namespaces":
        needs_namespaces()
    with executing(sandbox=request.param) as executor:
        executor.sandbox = request.param
        yield executor


# Environments


def test_an_environment_is_used_again(executor):
    first, second = (result(executor, function()) for _ in range(2))
    assert (second["pid"], second["calls"]) == (first["pid"], first["calls"] + 1)


def test_a_failed_function_keeps_its_environment(executor):
    before = result(executor, function("evaluate", name="failing"), "os.getpid(), threading.get_ident()")
    assert run(executor, function("evaluate", name="failing"), "1 / 0")[0].function_error
    assert result(executor, function("evaluate", name="failing"), "os.getpid(), threading.get_ident()") == before


def test_versions_and_functions_have_environments_of_their_own(executor):
    outcomes = [result(executor, function(name=name, version=version)) for name, version in (("a", "1"), ("a", "2"))]
    assert [outcome["calls"] for outcome in outcomes] == [1, 1]


def test_a_function_that_has_changed_gets_a_new_environment(executor):
    assert result(executor, function(name="changing", environment={"A": "1"}))["calls"] == 1
    assert result(executor, function(name="changing", environment={"A": "2"}))["calls"] == 1


def test_equal_module_names_do_not_meet(executor):
    one, two = (function("app.handler", code=FUNCTIONS / name, name=name) for name in ("one", "two"))
    for number in range(20):
        assert result(executor, one, number) == ["one", number]
        assert result(executor, two, number) == ["two", number]


def test_the_variables_are_lambdas_and_the_functions_own(executor, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "1")
    own = {"TABLE": "orders", "EMPTY": ""}
    seen = result(executor, function("variables", name="v", memory_size=256, environment=own))
    assert own.items() <= seen.items()
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == "v"
    assert seen["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert seen["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert seen["AWS_EXECUTION_ENV"] == f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}"
    assert seen["AWS_REGION"] == seen["AWS_DEFAULT_REGION"] == "us-east-1"
    assert (seen["_HANDLER"], seen["LAMBDA_TASK_ROOT"]) == ("app.variables", str(FUNCTIONS))
    assert seen["TZ"] == ":UTC"
    allowed = RESERVED_VARIABLES | set(own) | {
        "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS", "LANG", "TZ", "PATH", "LD_LIBRARY_PATH", "PYTHONPATH",
        "TMPDIR",
    }  # fmt: skip
    assert set(seen) - allowed == set()


def test_a_trace_is_a_variable_of_its_invocation(executor):
    root = "Root=1-64f7ba59-40378aa81e4eecc34002f96a"
    with_trace = run(executor, function("variables"), trace_id=root)[1]
    assert with_trace["_X_AMZN_TRACE_ID"] == root
    assert "_X_AMZN_TRACE_ID" not in run(executor, function("variables"))[1]


@pytest.mark.parametrize("name", sorted(RESERVED_VARIABLES))
def test_reserved_variables_are_refused(name):
    with pytest.raises(ConfigurationError, match=name):
        function(environment={name: "x"})


def test_a_process_has_lambdas_surroundings(executor):
    seen = result(executor, function("surroundings", name="around"))
    assert (seen["cwd"], seen["path"][0]) == (str(FUNCTIONS), str(FUNCTIONS))
    assert not [path for path in seen["path"] if "executors" in path]
    assert seen["argv"] == ["app.surroundings"]
    assert seen["encoding"] == ["utf-8", "strict"]
    assert seen["timezone"] == "+0000"
    own = {"0": "/dev/null", "1": "pipe", "2": "pipe", "3": "pipe"}  # and the runtime's connection
    assert {fd: "pipe" if to.startswith("pipe") else to for fd, to in seen["fds"].items() if "socket" not in to} == own
    assert sum("socket" in to for to in seen["fds"].values()) <= 3  # what its client has
    if executor.sandbox == "namespaces":
        assert len(seen["processes"]) == 2


def test_layers_are_on_the_paths_the_later_ones_first(executor, tmp_path):
    for number in (1, 2):
        (tmp_path / f"layer{number}/python").mkdir(parents=True)
        (tmp_path / f"layer{number}/bin").mkdir()
        (tmp_path / f"layer{number}/python/layered.py").write_text(f"NUMBER = {number}")
    layers = [str(tmp_path / "layer1"), str(tmp_path / "layer2")]
    layered = function("evaluate", name="layered", layers=layers)
    assert result(executor, layered, "__import__('layered').NUMBER") == 2
    assert result(executor, layered, "os.environ['PATH']").startswith(f"{layers[1]}/bin:{layers[0]}/bin:")


def test_forks_have_randomness_of_their_own(executor):
    seen = [result(executor, function("chances", name=f"chance{number}")) for number in range(3)]
    for kind in zip(*seen, strict=True):
        assert len(set(kind)) == 3


def test_temporary_files_are_a_functions_own_and_outlive_its_process(executor):
    run(executor, function("files", name="keeper"), "a text")
    assert result(executor, function("files", name="keeper")) == "a text"
    assert result(executor, function("files", name="stranger")) is None


@pytest.mark.parametrize("ending", ["", "; os._exit(1)"], ids=["stays", "ends"])
def test_a_function_that_removes_its_temporary_directory_has_one_again(ending):
    """Where /tmp is private it cannot be removed; and nothing here may empty one, which shows code and Python too."""
    removal = f"import shutil; assert tmp() != '/tmp'; shutil.rmtree(tmp(), True){ending}"
    check = "assert os.path.isdir(tmp()) and not os.listdir(tmp())\nPath(tmp(), 'new').touch()"
    with executing(sandbox="process") as executor:
        careless = function("execute", name="careless")
        for _ in range(2):
            run(executor, careless, removal)
            assert result(executor, careless, check) is None


def test_a_link_in_the_place_of_a_temporary_directory_is_nobodys_next():
    link = "import shutil; assert tmp() != '/tmp'; shutil.rmtree(tmp(), True); os.symlink('/', tmp()); os._exit(1)"
    with executing(sandbox="process") as executor:
        run(executor, function("execute", name="linking"), link)
        assert result(executor, function("execute", name="linking"), "assert not os.path.islink(tmp())") is None
    assert os.path.isdir("/usr")


def test_the_first_report_tells_the_init_duration_and_memory_is_the_functions(executor):
    outcome, _ = run(executor, function("evaluate", name="reported"), "1")
    assert re.search(r"Max Memory Used: \d+ MB\tInit Duration: \d+\.\d\d ms\t\n$", outcome.log.decode())
    assert b"Init Duration" not in run(executor, function("evaluate", name="reported"), "1")[0].log
    before = outcome.memory
    after, _ = run(executor, function("evaluate", name="reported"), "len(bytearray(b'x' * 40 * 2**20))")
    assert 30 <= after.memory - before <= 120


@pytest.fixture(params=["control groups", "none"])
def groups(request, monkeypatch, tmp_path):
    """With control groups, where they can be had, and without."""
    if request.param == "none":
        monkeypatch.setattr(cgroups, "ROOT", str(tmp_path))
    with executing() as executor:
        if (request.param == "control groups") != executor._opened.spawner.groups.limits_memory:
            pytest.skip("no control group can be made here")
        yield executor


def test_memory_is_that_of_all_processes(groups):
    breeding = function("breed", name="breeding", memory_size=256)
    before = run(groups, breeding, {"mib": 1, "seconds": 0})[0].memory
    more = []

    def seen():
        """Without a control group, it is looked at now and then: where the machine is busy, that may be too early."""
        more.append(run(groups, breeding, {"mib": 80, "seconds": 2})[0].memory - before)
        return more[-1] >= 60

    wait_until(seen)
    assert max(more) <= 200


def test_processes_that_have_too_much_together_are_ended(groups):
    """The kernel ends the largest of a control group, the watch ends the environment."""
    _, value = run(groups, function("breed", name="overbreeding", memory_size=128), {"mib": 140, "seconds": 20})
    if groups._opened.spawner.groups.limits_memory:
        assert value == "it ended with -9"
    else:
        assert value["errorMessage"].endswith("Runtime exited with error: signal: killed")


# Ends


def test_a_timeout_is_awss_and_the_next_call_gets_a_new_process(executor):
    sleeping = function("sleep", timeout=0.5, name="sleeping")
    call = invocation(60, name="sleeping")
    outcome = executor.execute(sleeping, call)
    message = f"RequestId: {call.request_id} Error: Task timed out after 0.50 seconds"
    assert json.loads(outcome.payload) == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    assert (outcome.function_error, outcome.duration) == ("Unhandled", 0.5)
    assert re.search(
        rf"\d\dZ {call.request_id} Task timed out after 0\.50 seconds\n\nEND RequestId: .*\n"
        r"REPORT .*\tDuration: 500\.00 ms\tBilled Duration: 500 ms\t.*Status: timeout\t\n$",
        outcome.log.decode(),
    )
    assert run(executor, sleeping, 0)[0].init_duration is not None


@pytest.mark.parametrize("handler", ["ignore", "evaluate"])
def test_what_will_not_end_is_ended(executor, handler):
    event = "os.kill(os.getpid(), signal.SIGSTOP)" if handler == "evaluate" else None
    _, error = run(executor, function(handler, timeout=0.5, name=f"endless-{handler}"), event)
    assert error["errorType"] == "Sandbox.Timedout"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os._exit(7)", "exit status 7"),
        ("sys.exit(3)", "exit status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal: killed"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "signal: terminated"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal: segmentation fault"),
        ("os.abort()", "signal: aborted"),
        ("os.kill(os.getpid(), signal.SIGUSR1)", "signal: user defined signal 1"),
        ("os.kill(os.getpid(), 40)", "signal: signal 40"),
        ("ctypes.string_at(0)", "signal: segmentation fault"),
    ],
)
def test_an_end_is_told_in_awss_words(executor, code, reason):
    call = invocation(code, name="ending")
    outcome = executor.execute(function("execute", name="ending"), call)
    message = f"RequestId: {call.request_id} Error: Runtime exited with error: {reason}"
    assert json.loads(outcome.payload) == {"errorType": "Runtime.ExitError", "errorMessage": message}
    assert "\tStatus: error\t\n" in outcome.log.decode()


def test_after_an_end_the_next_call_gets_a_new_process(executor):
    run(executor, function("execute", name="left"), "sys.exit(3)")
    assert run(executor, function("execute", name="left"), "pass")[0].init_duration is not None


def test_a_process_that_died_idle_is_replaced_unseen(executor):
    dying = function("evaluate", name="dying")
    code = "threading.Timer(0.2, os._exit, [1]).start()"
    result(executor, dying, code)
    time.sleep(0.6)
    assert run(executor, dying, "'alive'")[1] == "alive"


@pytest.mark.parametrize("seconds", [0, 60], ids=["exit", "timeout"])
def test_nothing_that_a_process_started_outlives_it(executor, seconds):
    mark = f"mark-{uuid.uuid4()}"
    if seconds:
        run(executor, function("spawn", timeout=1, name="spawner"), {"mark": mark, "seconds": seconds})
    else:
        run(executor, function("execute", name="spawner2"), f"spawn({{'mark': {mark!r}}}, context); os._exit(0)")
    wait_until(lambda: not marked(mark))


@pytest.mark.parametrize(
    ("code", "error_type"),
    [
        ("time.sleep(60)", "Sandbox.Timedout"),
        ("sys.exit(0)", "Runtime.ExitError"),
        ("os._exit(5)", "Runtime.ExitError"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "Runtime.ExitError"),
    ],
    ids=["timeout", "exit 0", "exit 5", "killed"],
)
def test_after_an_end_globals_are_new_and_temporary_files_are_kept(executor, request, code, error_type):
    name = re.sub(r"\W", "-", request.node.callspec.id)
    ending = function("execute", name=name, timeout=2 if error_type == "Sandbox.Timedout" else 30)
    kept = f"globals()['calls'] = 9; Path(tmp(), 'kept').write_text('here'); {code}"
    assert run(executor, ending, kept)[1]["errorType"] == error_type
    check = "assert calls == 0 and Path(tmp(), 'kept').read_text() == 'here', calls"
    assert result(executor, ending, check) is None


# Starts that fail


def test_a_start_that_ends_at_once_is_told_and_backed_off_from(executor, tmp_path):
    starts = tmp_path / "starts"
    leaving = function("leaves.handler", code=FUNCTIONS / "broken", name="leaving", environment={"STARTS": str(starts)})
    if str(tmp_path).startswith("/tmp") and executor.sandbox == "namespaces":
        leaving = function(
            "leaves.handler", code=FUNCTIONS / "broken", name="leaving", environment={"STARTS": "/dev/null"}
        )
    for _ in range(50):
        outcome, error = run(executor, leaving)
        assert error["errorType"] == "Runtime.ExitError"
        assert error["errorMessage"].endswith("Runtime exited with error: exit status 7")
        assert outcome.function_error == "Unhandled"
    if starts.exists():
        assert 3 <= len(starts.read_text()) < 50


def test_a_start_has_its_own_time_and_then_the_invocations():
    hanging = function("hangs.handler", code=FUNCTIONS / "broken", name="hanging", timeout=0.7)
    with executing(init_timeout=0.5) as executor:
        outcome, error = run(executor, hanging)
        assert (outcome.function_error, outcome.duration) == ("Unhandled", 0.7)
        assert error["errorType"] == "Sandbox.Timedout"
        assert error["errorMessage"].endswith("Task timed out after 0.70 seconds")
        assert executor.statistics().environments == 0


def test_a_start_that_took_too_long_is_begun_again_in_the_invocations_own_time():
    sleeper = function("oversleeps.handler", code=FUNCTIONS / "broken", name="sleeper")
    with executing(init_timeout=1) as executor:
        outcome, value = run(executor, sleeper)
        assert value == "late, but here"
        assert run(executor, sleeper)[0].init_duration is outcome.init_duration is None
    log = outcome.log.decode()
    assert re.fullmatch(r"asleep\nSTART .*\nawake\nat work\nEND .*\nREPORT .*\n", log)


def test_what_a_start_prints_stands_before_the_invocations_log(executor):
    log = run(executor, function("talkative.handler", name="talkative"))[0].log.decode()
    assert re.fullmatch(
        r"at the start .*to the end\nSTART .*\nhandled\nEND .*\nREPORT .*\n", log[log.index("at the") :]
    )


@pytest.mark.parametrize(
    ("handler", "error_type"), [("missing", "Runtime.ImportModuleError"), ("syntax_", "Runtime.UserCodeSyntaxError")]
)
def test_a_module_that_cannot_be_imported_is_told_on_every_call(executor, handler, error_type):
    broken = function(f"{handler}.handler", code=FUNCTIONS / "broken", name=handler)
    assert [run(executor, broken)[1]["errorType"] for _ in range(5)] == [error_type] * 5


def test_an_unknown_runtime_is_refused_with_those_that_run(executor):
    with pytest.raises(ServiceError, match=r"ruby3\.3.*python3\.x"):
        executor.execute(function(runtime="ruby3.3"), invocation())


# Concurrency


def test_beyond_the_cap_calls_are_refused_and_what_waits_gives_way():
    with executing(max_concurrency=2) as executor, ThreadPoolExecutor(2) as pool:
        result(executor, function(name="waits"))
        running = [pool.submit(result, executor, function("sleep", name=f"busy{n}"), 1.5) for n in range(2)]
        wait_until(lambda: executor.statistics().environments == 2 and not any(executor.statistics().idle.values()))
        with pytest.raises(TooManyRequestsException) as refusal:
            executor.execute(function(name="waits"), invocation(name="waits"))
        assert [type(future.result()) for future in running] == [int, int]
        assert result(executor, function(name="waits"))["calls"] == 1
    assert refusal.value.reason == "ConcurrentInvocationLimitExceeded"
    assert refusal.value.retry_after == 1


def test_the_most_recent_environment_is_used_and_idle_ones_end():
    with executing(idle=1.0) as executor, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: result(executor, function("sleep", name="recent"), 0.5), range(3)))
        assert executor.statistics().environments == 3
        used = [pool.idle[-1] for pool in executor._opened.pools._pools.values()]
        for _ in range(10):
            result(executor, function("sleep", name="recent"), 0)
            assert [pool.idle[-1] for pool in executor._opened.pools._pools.values()] == used
        wait_until(lambda: executor.statistics().environments == 0)
        wait_until(lambda: os.listdir(executor.statistics().directory) == [])


def test_closing_ends_everything(tmp_path):
    with executing() as executor:
        mark = f"mark-{uuid.uuid4()}"
        result(executor, function("spawn"), {"mark": mark})
        base = executor.statistics().directory
        assert marked(mark)
        pids = population(executor)
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    assert not marked(mark)
    assert not os.path.exists(base)


# The zygote


def test_a_new_environment_was_forked_beforehand(executor):
    result(executor, function(name="first"))
    wait_until(lambda: len(waiting(executor)) == 2)
    spare = set(waiting(executor))
    result(executor, function(name="second"))
    assert spare <= set(population(executor))
    wait_until(lambda: len(waiting(executor)) == 2)


@pytest.mark.parametrize("which", [max, min], ids=["the function's process", "its init"])
def test_one_that_died_while_it_waited_is_not_missed(executor, which):
    name = f"despite-{which.__name__}"
    result(executor, function(name=f"{name}-before"))
    wait_until(lambda: len(waiting(executor)) == 2)
    os.kill(which(waiting(executor)), signal.SIGKILL)
    wait_until(lambda: not waiting(executor))
    assert result(executor, function(name=name))["calls"] == 1


def test_a_zygote_that_was_killed_is_replaced(executor):
    for zygote in executor._opened.spawner.zygotes.values():
        zygote.process.kill()
        zygote.process.wait()
    assert result(executor, function(name="after-the-zygote"))["calls"] == 1


def test_a_zygote_that_is_killed_with_a_job_before_it_is_no_failure_of_the_function(executor):
    (zygote,) = executor._opened.spawner.zygotes.values()
    job = function(name="before-the-zygote")

    def unread():
        return int.from_bytes(fcntl.ioctl(zygote.socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    wait_until(lambda: not unread())
    zygote.process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        call = pool.submit(run, executor, job)
        wait_until(unread)
        zygote.process.kill()
        with pytest.raises(ServiceException):
            call.result()
    assert result(executor, job)["calls"] == 1


def test_a_zygote_that_does_not_start_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "leaves.py").write_text("import os; os._exit(1)")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(spawner, "_client_path", lambda: (str(tmp_path),))
    for _ in range(2):
        with (
            pytest.raises(ConfigurationError, match=r"Check the modules in SERVERFULL_ZYGOTE_PRELOAD: leaves$"),
            executing(preload=["leaves"]),
        ):
            pass
    assert not [name for name in os.listdir(tmp_path) if name.startswith("serverfull")]


FORKING = """
import errno, os

real = os.fork

def fork():
    if os.path.exists({flag!r}) and os.getpid() {which} {zygote}:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    return real()

os.fork, zygote = fork, os.getpid()
"""


@pytest.mark.parametrize("which", ["==", "!="], ids=["zygote", "init"])
@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_where_no_more_processes_can_be_made_those_there_are_go_on(sandbox, which, tmp_path, monkeypatch):
    if sandbox == "namespaces":
        needs_namespaces()
    flag = tmp_path / "no_more"
    (tmp_path / "forking.py").write_text(FORKING.format(flag=str(flag), which=which, zygote="zygote"))
    monkeypatch.setattr(spawner, "_client_path", lambda: (str(tmp_path),))
    with executing(preload=["forking"], sandbox=sandbox) as executor:
        first, (zygote,) = result(executor, function()), executor._opened.spawner.zygotes.values()
        flag.touch()
        for number in range(4):  # the first may get an environment that had been forked
            with contextlib.suppress(ServiceException):
                run(executor, function(name=f"late-{number}"))
        with pytest.raises(ServiceException):
            run(executor, function(name="too-late"))
        assert result(executor, function())["pid"] == first["pid"]
        flag.unlink()
        assert result(executor, function(name="in-time"))["calls"] == 1
        assert result(executor, function())["pid"] == first["pid"]
        assert [*executor._opened.spawner.zygotes.values()] == [zygote]


def test_an_interpreter_that_is_slow_to_start_keeps_no_other_waiting(executor, tmp_path, monkeypatch):
    begun, may_start = tmp_path / "begun", tmp_path / "may_start"
    slow = tmp_path / "python3.9"
    slow.write_text(f"#!/bin/sh\necho $$ > {begun}\nwhile [ ! -e {may_start} ]; do sleep 0.05; done\nexit 1\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with ThreadPoolExecutor() as pool:
        call = pool.submit(result, executor, function("app.whoami", name="slow-python", runtime="python3.9"))
        wait_until(lambda: begun.exists() and begun.read_text())
        try:
            assert result(executor, function(name="beside-slow-python"))["calls"] == 1
            assert os.path.exists(f"/proc/{begun.read_text().strip()}"), "it was waited for"
        finally:
            may_start.touch()
        assert call.result()["calls"] == 1  # under the server's own interpreter, which is warned of


def test_temporary_files_are_removed_however_deep_they_are(executor):
    result(executor, function("make_deep_folders", name="deep"), 2000)
    (environment,) = executor._opened.pools._pools["deep", "$LATEST"].idle
    result(executor, function("whoami", name="deep"))  # the function has changed, and what it had goes
    wait_until(lambda: not os.path.exists(environment.tmp))


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_where_a_zygote_cannot_fork_environments_are_execed(sandbox, caplog):
    if sandbox == "namespaces":
        needs_namespaces()
    with caplog.at_level(logging.INFO, "serverfull_wsgi"), executing(preload=["no_such_module"], sandbox=sandbox) as it:
        seen = result(it, function("surroundings"))
        assert run(it, function("evaluate", name="b"), "1 / 0")[1]["errorType"] == "ZeroDivisionError"
    assert seen["cwd"] == str(FUNCTIONS)
    assert "environments start by exec (ModuleNotFoundError: No module named 'no_such_module')" in caplog.text
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warning == "SERVERFULL_ZYGOTE_PRELOAD has no effect: ModuleNotFoundError: No module named 'no_such_module'"


def test_a_preloaded_module_is_there_and_one_with_threads_is_no_zygotes():
    with executing(preload=["decimal"]) as executor:
        assert result(executor, function("evaluate"), "'decimal' in sys.modules") is True
        assert executor._opened.spawner.zygotes[sys.executable].hello.can_fork


def test_what_is_asked_about_the_servers_end_may_fail_and_idle_environments_end(caplog):
    with executing(idle=0.1) as executor:
        executor.watch_shutdown(lambda: 1 // 0)
        result(executor, function())
        wait_until(lambda: executor.statistics().environments == 0)
    assert "housekeeping of idle environments failed" in caplog.text


def test_a_removal_that_takes_long_keeps_no_stop_waiting(monkeypatch):
    removing, may_end = threading.Event(), threading.Event()

    def slow(path):
        removing.set()
        assert may_end.wait(30)

    monkeypatch.setattr(pools, "remove_tree", slow)
    with executing() as executor:
        result(executor, function())
        result(executor, function("evaluate"), "1")  # the function has changed, and what it had goes
        assert removing.wait(30)
        executor.watch_shutdown(lambda: 0.0)
        try:
            wait_until(executor._opened.pools.is_stopped)
        finally:
            may_end.set()


# The server


SERVER = """
import sys, time
from tests.support.isolated import executing, function, result
with executing(sandbox=sys.argv[2]) as executor:
    slow = function("evaluate", environment={"MARK": sys.argv[1]}, timeout=60)
    result(executor, slow, "1")
    print(executor.statistics().directory, flush=True)
    result(executor, slow, "spawn({'mark': os.environ['MARK'], 'seconds': 60}, context)")
"""


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_when_the_server_is_killed_everything_ends_and_no_file_is_left(sandbox):
    if sandbox == "namespaces":
        needs_namespaces()
    mark = f"mark-{uuid.uuid4()}"
    argv = [sys.executable, "-c", SERVER, mark, sandbox]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_environ()) as server:
        base = server.stdout.readline().strip()
        wait_until(lambda: len(marked(mark)) >= 3)
        server.kill()
    wait_until(lambda: not marked(mark))
    wait_until(lambda: not os.path.exists(base))


def test_a_fork_of_the_server_starts_its_own_and_leaves_its_parents_alone(executor):
    here = result(executor, function(name="forked"))
    pid = os.fork()
    if not pid:
        status = 1
        try:
            status = 0 if result(executor, function(name="forked"))["calls"] == 1 else 2
            executor.close()
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert result(executor, function(name="forked"))["pid"] == here["pid"]


def test_a_stop_gives_up_on_what_runs_with_a_whole_answer():
    with executing() as executor, ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, executor, function("sleep"), 60)
        wait_until(lambda: executor.statistics().environments == 1)
        executor.stop(0.1)
        with pytest.raises(ServiceError, match="stopping"):
            running.result(20)


# What functions may not do to others


def test_a_hog_is_stopped(executor):
    _, error = run(executor, function("hog", memory_size=128, name="hog"))
    assert error["errorType"] in ("Runtime.ExitError", "MemoryError")
    if error["errorType"] == "Runtime.ExitError":
        assert error["errorMessage"].endswith("Runtime exited with error: signal: killed")


def test_a_flood_of_output_is_cut_short_with_a_note(executor, caplog):
    with caplog.at_level(logging.INFO, "serverfull_wsgi"):
        outcome, value = run(executor, function("flood", name="flood"), 20_000_000)
    assert value == "printed"
    assert b"the last line\nEND RequestId" in outcome.log
    assert len(caplog.text) < 1_000_000
    assert "bytes of output were left out" in caplog.text


def test_output_that_is_no_text_and_closed_descriptors_stall_nothing(executor):
    outcome, value = run(executor, function("noise", name="noise"), [0, 1, 2])
    assert value == "closed"
    assert b"broken" in outcome.log
    assert b"an endless frame" in outcome.log
    assert b"still here" in outcome.log


def test_everything_a_function_changes_is_its_own_affair(executor):
    before = os.getcwd(), dict(os.environ), signal.getsignal(signal.SIGTERM), os.getpriority(os.PRIO_PROCESS, 0)
    run(executor, function("change_everything", name="changer"))
    assert before == (
        os.getcwd(), dict(os.environ), signal.getsignal(signal.SIGTERM), os.getpriority(os.PRIO_PROCESS, 0)
    )  # fmt: skip
    seen = result(executor, function("surroundings", name="unchanged"))
    assert seen["cwd"] == str(FUNCTIONS)


def test_processes_threads_and_descriptors_have_their_limits(executor):
    assert result(executor, function("descriptors", name="descriptors"))[1] == "Too many open files"
    before = population(executor)
    run(executor, function("execute", name="bomb"), "bomb({}, context); os._exit(0)")
    wait_until(lambda: set(population(executor)) <= set(before))


def test_a_response_without_end_is_read_no_further_than_may_be(executor):
    outcome, error = run(executor, function("large", name="large", memory_size=512), 100_000_000)
    assert (outcome.function_error, error["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")


def test_attacks_on_its_own_runtime_api_get_its_error_statuses(executor):
    statuses = result(executor, function("attack", name="attacker"), {})
    assert [status and status.split()[1] for status in statuses[:5]] == ["400", "403", "403", "404", "404"]
    assert statuses[5] is None
    assert statuses[6] is None
    assert result(executor, function("evaluate", name="attacker2"), "1") == 1


def test_an_invocation_can_be_answered_once(executor):
    early = function("early", name="early", timeout=5)
    assert run(executor, early)[1] == "by hand"


def test_a_neighbours_runtime_api_answers_to_nobody_else(executor):
    victim = function("evaluate", name="victim")
    address = result(executor, victim, "os.environ['AWS_LAMBDA_RUNTIME_API']")
    with ThreadPoolExecutor(1) as pool:
        attacking = pool.submit(run, executor, function("attack", name="attacker3"), {"address": address})
        time.sleep(0.2)
        answers = [result(executor, victim, f"{number}") for number in range(100)]
        assert attacking.result()[1] == [None] * 7
    assert answers == list(range(100))


@pytest.mark.skipif(os.name != "posix", reason="reads /proc")
def test_a_function_finds_no_secret_of_the_servers(executor, tmp_path):
    secret = f"secret-{uuid.uuid4()}"
    if executor.sandbox == "process" and os.getuid() != 0:
        pytest.skip("without namespaces a user's processes can see each other's environment")
    env = {**clean_environ(), "SECRET": secret}
    code = (
        "import sys\nfrom tests.support.isolated import executing, function, result\n"
        "with executing(sandbox=sys.argv[1]) as executor:\n"
        "    print(result(executor, function('search'), sys.stdin.read()))"
    )
    argv = [sys.executable, "-c", code, executor.sandbox]
    found = subprocess.run(argv, input=secret, capture_output=True, text=True, env=env, cwd=ROOT, check=True).stdout
    assert found.strip() == "[]"


# Custom runtimes

BOOTSTRAP = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while :; do
  headers=$(mktemp)
  event=$(curl -sS -D "$headers" "$api/next")
  id=$(grep -i '^lambda-runtime-aws-request-id' "$headers" | tr -d '\\r' | cut -d' ' -f2)
  echo "shell says $event"
  case $event in
    *fail*) curl -sS -o "$headers" -d '{"errorMessage":"no","errorType":"Shell"}' "$api/$id/error" ;;
    *) curl -sS -o "$headers" -d "{\\"shell\\":$event}" "$api/$id/response" ;;
  esac
done
"""


@pytest.fixture
def bootstrap(tmp_path):
    path = tmp_path / "bootstrap"
    path.write_text(BOOTSTRAP)
    path.chmod(0o755)
    return tmp_path


def test_code_that_is_reached_through_links_below_tmp_runs(executor, tmp_path):
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        folder = os.path.join(place, "releases", "1")
        shutil.copytree(FUNCTIONS, folder)
        os.symlink(folder, os.path.join(place, "current"))
        os.symlink(place, os.path.join(place, "again"))
        for name in ("releases/1", "current", "again/current"):
            code = os.path.join(place, name)
            linked = function("evaluate", name=f"linked-{name.replace('/', '-')}", code=code)
            assert result(executor, linked, "os.environ['LAMBDA_TASK_ROOT']") == code


def test_code_that_has_vanished_is_told_in_the_log(executor, tmp_path, caplog):
    outcome = run(executor, function(name="there", code=shutil.copytree(FUNCTIONS, tmp_path / "code")))[0]
    assert outcome.function_error is None
    shutil.rmtree(tmp_path / "code")
    for _ in range(2):
        with pytest.raises(ServiceException):
            run(executor, function(name="vanished", code=tmp_path / "code"))
    assert f"its code directory {tmp_path}/code cannot be entered: No such file or directory" in caplog.text


@pytest.mark.skipif(
    subprocess.run(["sh", "-c", "command -v curl"], capture_output=True).returncode, reason="needs curl"
)
def test_a_shell_script_is_a_runtime(executor, bootstrap):
    shell = Function("none", name="shell", code=str(bootstrap), runtime="provided.al2023", timeout=30)
    for number in range(3):
        outcome, value = run(executor, shell, {"n": number})
        assert value == {"shell": {"n": number}}
        assert outcome.content_type == "application/json"
        assert f'shell says {{"n": {number}}}'.encode() in outcome.log
    outcome, error = run(executor, shell, "fail")
    assert (outcome.function_error, error["errorType"]) == ("Unhandled", "Shell")


def test_a_bootstrap_that_is_missing_or_no_program_is_told(executor, tmp_path):
    missing = Function("none", name="missing", code=str(tmp_path), runtime="provided", timeout=30)
    outcome, error = run(executor, missing)
    assert (outcome.function_error, error["errorType"]) == ("Unhandled", "Runtime.InvalidEntrypoint")
    assert "no such file or directory" in error["errorMessage"]


def test_an_executor_that_cannot_be_opened_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    for _ in range(2):
        with pytest.raises(FileNotFoundError), executing():
            pass
    gc.collect()
    assert os.listdir(tmp_path) == []


def test_a_directory_is_removed_where_no_program_is_on_the_path(tmp_path, monkeypatch):
    folder = tmp_path / "left"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").touch()
    monkeypatch.setenv("PATH", "/nowhere")
    linux.remove_tree(str(folder))
    assert not folder.exists()


def test_an_environment_that_cannot_be_opened_leaves_nothing():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with executing() as executor:
        result(executor, function())

        def left():
            return {number for number in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{number}")}

        before, folders, failed = left(), os.listdir(executor.statistics().directory), 0
        for more in range(1, 12):
            job = function(name=f"no-room-{more}")
            try:
                with contextlib.ExitStack() as stack:  # the next file is the first beyond all that are open
                    while (number := stack.enter_context(open(os.devnull)).fileno()) <= max(map(int, before)):
                        pass
                    resource.setrlimit(resource.RLIMIT_NOFILE, (number + more, limit[1]))
                    run(executor, job)
            except (OSError, ServiceException):
                failed += 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            gc.collect()
            if executor.statistics().environments > 1:
                break
            assert left() == before
            if more == 1:  # later ones have begun, and what they write is kept for the next
                assert os.listdir(executor.statistics().directory) == folders
        assert failed
        assert result(executor, function(name="room-again"))["calls"] == 1


def test_handlers_without_a_directory_are_imported_from_where_the_server_stands(executor):
    plain = Function("tests.support.handlers.hello", name="plain", timeout=30)
    assert result(executor, plain) == "Hello ƛ!"


def test_a_function_whose_environment_is_too_long_to_be_passed_on_fails_alone():
    with executing() as executor:
        before = result(executor, function())
        big = function(name="big", environment={"BIG": "x" * 250_000})
        with pytest.raises(ConfigurationError, match=r"'big': .* bytes, .*environment= smaller"):
            run(executor, big)
        assert result(executor, function())["pid"] == before["pid"]
        assert result(executor, function(name="another"))
        wait_until(lambda: executor.statistics().environments == 2)


def test_what_has_changed_is_ended_also_where_another_finds_no_room():
    with executing(max_concurrency=1) as executor:
        result(executor, function())
        manager = executor._opened.pools
        with manager._lock:
            manager._count += 1  # another's start, in the place of an environment that is ended just now
        pool, _ = manager.pool(function(description="changed"))
        with pytest.raises(TooManyRequestsException):
            manager.acquire(pool)
        wait_until(lambda: manager._count == 1)
        manager._count = 0
        assert result(executor, function(description="changed"))


def test_an_environment_is_abandoned_once():
    with executing() as executor:
        result(executor, function())
        (environment,) = executor._opened.pools._environments
        environment.close()
        environment.abandon()
