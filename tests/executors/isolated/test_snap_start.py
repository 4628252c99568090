"""SnapStart: environments that start from a snapshot of a process whose init phase has ended."""

import contextlib
import glob
import json
import logging
import os
import re
import signal
import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serverfull_wsgi import LoggingConfig
from serverfull_wsgi.errors import ServiceError, SnapStartException, SnapStartTimeoutException
from serverfull_wsgi.executors.isolated import open_executor, snap_start
from serverfull_wsgi.executors.isolated.sandbox.linux import descendants
from serverfull_wsgi.executors.isolated.zygote.protocol import SNAPSHOT_NAME, SPARE_NAME
from tests.support.isolated import (
    executing,
    function,
    invocation,
    needs_client,
    needs_sandbox,
    population,
    result,
    run,
)
from tests.support.waiting import wait_until

pytestmark = needs_client

HANDLER = """
import os, sys, time

def handler(event, context):
    names = {}
    exec(event, globals(), names)
    return names.get("value")
"""
REPORT = re.compile(rb"\tRestore Duration: [0-9.]+ ms\tBilled Restore Duration: [0-9]+ ms\t\n$")
OLD_AND_NEW = "value = [ID, os.getpid(), len(open('/proc/self/maps').read()) > 0]"


@pytest.fixture
def snap(tmp_path):
    """Return a function that makes a function with SnapStart, from the code of its init phase."""
    numbers = iter(range(100))

    def snap(init="", **more):
        number = next(numbers)
        folder = tmp_path / f"code{number}"
        folder.mkdir()
        (folder / "main.py").write_text(HANDLER + "import uuid\nID = uuid.uuid4().hex\n" + init)
        name = f"{tmp_path.name}-{number}".replace("[", "").replace("]", "")[-60:]
        return function("main.handler", **{"code": folder, "name": name, "snap_start": True, **more})

    return snap


@pytest.fixture(scope="module")
def strongest():
    """Return an executor with the strongest protection by default. Tests at one level are enough for what they show."""
    with executing() as executor:
        yield executor


@pytest.fixture
def own():
    """Return an executor of the test's own."""
    with executing(idle=60.0) as executor:
        yield executor


def overlapping(executor, function, event="value = ID", count=3):
    """Return the results of calls that run at the same time, each in an environment of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(count) as pool:
        server.settimeout(0.05)
        address = server.getsockname()
        together = f"import socket\nwith socket.create_connection({address}) as wait: wait.recv(1)\n{event}"
        calls = [pool.submit(result, executor, function, together) for _ in range(count)]
        connections = []
        while len(connections) < count and not any(call.done() for call in calls):  # one that ends early has failed
            with contextlib.suppress(TimeoutError):
                connections.append(server.accept()[0])
        for connection in connections:
            connection.close()
        return [call.result() for call in calls]


def snapshots(executor):
    """Return the number of snapshots: of environments that are neither idle nor busy, while no call runs."""
    statistics = executor.statistics()
    return statistics.environments - sum(statistics.idle.values())


def named(executor, name):
    """Return the processes of all environments with this name."""
    return [pid for server in executor.statistics().fork_servers for pid in descendants(server) if _name(pid) == name]


def _name(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    return ""


# Starts


def test_the_init_phase_runs_once_for_many_environments(executor, snap):
    state = overlapping(executor, snap(), "value = [ID, os.getpid(), os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']]")
    assert len({id for id, _, _ in state}) == 1
    assert {type for _, _, type in state} == {"snap-start"}
    if executor.sandbox == "process":
        assert len({pid for _, pid, _ in state}) == 3


def test_the_report_of_a_start_has_the_time_of_the_restore(executor, snap):
    outcome, _ = run(executor, (snapping := snap("print('in the init phase')")), "print('in the handler')")
    assert outcome.init_duration is None
    assert 0 < outcome.restore_duration < 30
    assert REPORT.search(outcome.log)
    assert b"Init Duration" not in outcome.log
    assert b"in the handler" in outcome.log
    assert b"in the init phase" not in outcome.log
    warm, _ = run(executor, snapping, "")
    assert warm.restore_duration is None
    assert b"Restore" not in warm.log


def test_the_report_in_json_has_the_time_of_the_restore(strongest, snap):
    outcome, _ = run(strongest, snap(logging_config=LoggingConfig("JSON")), "")
    report = json.loads(outcome.log.splitlines()[-1])
    assert report["type"] == "platform.report"
    metrics = report["record"]["metrics"]
    assert metrics["restoreDurationMs"] > 0
    assert metrics["billedDurationMs"] >= metrics["durationMs"] + metrics["restoreDurationMs"]
    assert "initDurationMs" not in metrics


def test_two_variables_are_missing_as_on_aws(strongest, snap):
    variables = result(strongest, snap(), "value = dict(os.environ)")
    assert not {"AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"} & variables.keys()
    assert variables["AWS_LAMBDA_RUNTIME_API"].startswith("127.0.0.1:")


def test_the_environment_differs_from_an_ordinary_one_only_where_it_should(executor, snap):
    surroundings = """if True:
        import resource
        status = open('/proc/self/status').read()
        value = {
            'descriptors': sorted(os.readlink(f'/proc/self/fd/{fd}').partition(':')[0] for fd in '0123'),
            'capabilities': [line for line in status.splitlines() if line[:3] in ('Cap', 'NoN')],
            'cwd': os.getcwd(),
            'files': resource.getrlimit(resource.RLIMIT_NOFILE),
            'umask': os.umask(0o022),
            'leader': os.getsid(0) == os.getpid(),
            'name': open('/proc/self/comm').read(),
            'path': sys.path,
            'main': sys.modules['__main__'].__name__,
            'count': len(os.listdir('/proc/self/fd')),
        }"""
    snapping = snap()
    ordinary = function("main.handler", code=snapping.code, name=f"{snapping.name[:50]}-ordinary")
    assert result(executor, snapping, surroundings) == result(executor, ordinary, surroundings)


def test_randomness_is_fresh_in_each_environment(strongest, snap):
    (code := Path((snapping := snap("import numpy.random, random, secrets, ssl, tempfile")).code) / "numpy").mkdir()
    (code / "__init__.py").write_text("")
    (code / "random.py").write_text("import os\nstate = b''\ndef seed():\n    global state\n    state = os.urandom(9)")
    drawn = overlapping(
        strongest,
        snapping,
        "value = [random.random(), uuid.uuid4().hex, secrets.token_hex(), ssl.RAND_bytes(9).hex(), "
        "numpy.random.state.hex(), os.path.basename(tempfile.mktemp())]",
    )
    for values in zip(*drawn, strict=True):
        assert len(set(values)) == 3


def test_open_files_have_a_position_of_their_own(executor, snap):
    snapping = snap("here = open(__file__)\nhere.read(1)\nnumber = here.fileno()")
    read = overlapping(executor, snapping, "value = [here.read(8), here.fileno() == number]")
    assert read == [["import o", True]] * 3


def test_output_goes_to_the_environment_that_writes_it(strongest, snap):
    snapping = snap("copy = os.dup(1)")
    outcome, _ = run(strongest, snapping, "os.write(copy, b'by a copy\\n'); print('by print')")
    assert b"by a copy\nby print\n" in outcome.log


def test_signal_handlers_of_the_init_phase_stay(strongest, snap):
    snapping = snap("import signal\nseen = []\nsignal.signal(signal.SIGCHLD, lambda *_: seen.append(1))")
    wait = "import subprocess; subprocess.run(['true']); time.sleep(0.05); value = len(seen)"
    assert result(strongest, snapping, wait) >= 1


# Temporary files


TMP = """
os.makedirs("/tmp/folder/deep")
open("/tmp/folder/deep/file", "w").write("of the init phase")
os.chmod("/tmp/folder/deep/file", 0o640)
os.symlink("folder/deep", "/tmp/link")
log = open("/tmp/log", "a+")
log.write("init ")
log.flush()
"""


@pytest.mark.parametrize("sandbox", ["namespaces", "root"])
def test_each_environment_has_a_copy_of_the_temporary_files(snap, sandbox):
    needs_sandbox(sandbox)
    with executing(sandbox=sandbox) as executor:
        write = """if True:
            before = open('/tmp/link/file').read(), oct(os.stat('/tmp/link/file').st_mode), sorted(os.listdir('/tmp'))
            open('/tmp/link/file', 'w').write('changed')
            log.write('handler')
            log.flush()
            value = [*before, open('/tmp/log').read()]
        """
        snapping = snap(TMP)
        result(executor, snapping, "")  # makes the folder of compiled modules
        before = os.stat(snapping.code)  # below /tmp, and visible there
        values = overlapping(executor, snapping, write)
        text, mode, names, log = values[0]
        assert (text, mode, log) == ("of the init phase", "0o100640", "init handler")
        assert {"folder", "link", "log"} <= set(names)
        assert values == [values[0]] * 3
        after = os.stat(snapping.code)
        assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


# Refusals

REFUSED = {
    "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), name='poller', daemon=True).start()": (
        "thread poller"
    ),
    "import socket\ns = socket.create_server(('127.0.0.1', 0))": "socket at 127.0.0.1:",
    "import socket\ns = socket.socketpair()": "socket of AF_UNIX",
    "import os\npipe = os.pipe()": "pipe",
    "import subprocess, time\nchild = subprocess.Popen(['sleep', '60'])\ntime.sleep(0.1)": "process sleep",
    "import os\nos.system('sleep 60 > /dev/null 2>&1 & while [ $(cat /proc/$!/comm) != sleep ]; do :; done')": (
        "process sleep"  # an orphan
    ),
    "import mmap\nm = mmap.mmap(-1, 4096)\nm[0] = 1": "shared memory",
    "import tempfile\nt = tempfile.TemporaryFile()": "deleted file",
    "import select\ne = select.epoll()": "eventpoll",
    "import os\nreal = os.fork\nos.fork = lambda: real()": "os.fork has been replaced",
}


@pytest.mark.parametrize("init", REFUSED, ids=REFUSED.values())
def test_a_process_that_a_fork_would_not_keep_makes_no_snapshot(strongest, snap, caplog, init):
    snapping = snap(init)
    outcome, first = run(strongest, snapping, "value = os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']")
    assert first == "on-demand"
    assert outcome.restore_duration is None
    run(strongest, snapping, "os._exit(1)")
    assert result(strongest, snapping, "value = 1") == 1
    (warning,) = [record.message for record in caplog.records if "SnapStart" in record.message]
    assert f"function {snapping.name} has SnapStart, and starts without a snapshot" in warning
    assert REFUSED[init] in warning


def test_a_process_without_a_private_tmp_makes_no_snapshot_of_temporary_files(snap, caplog):
    with executing(sandbox="process") as executor:
        result(executor, snap("import tempfile\nopen(tempfile.mkstemp()[1], 'w').close()"), "")
    assert "without a private /tmp" in caplog.text


def test_another_runtime_makes_no_snapshot(strongest, snap, caplog):
    snapping = snap(runtime="provided")
    bootstrap = Path(snapping.code) / "bootstrap"
    bootstrap.write_text("#!/bin/sh\nexit 3\n")
    bootstrap.chmod(0o755)
    for _ in range(2):
        assert run(strongest, snapping, "")[1]["errorMessage"].endswith("exit status 3")
    (warning,) = [record.message for record in caplog.records if "SnapStart" in record.message]
    assert "the runtime provided has no snapshots here" in warning


# Hooks

HOOKS = """
from snapshot_restore_py import register_before_snapshot, register_after_restore
calls = []
register_before_snapshot(calls.append, "before 1")
register_before_snapshot(calls.append, "before 2")
register_after_restore(calls.append, "after 1")
register_after_restore(calls.append, "after 2")
"""


def test_the_hooks_run_before_the_snapshot_and_after_each_restore(executor, snap):
    expected = ["before 2", "before 1", "after 1", "after 2"]
    assert overlapping(executor, snap(HOOKS), "value = calls") == [expected] * 3


def failing(hook):
    return f"import snapshot_restore_py\n@snapshot_restore_py.{hook}\ndef hook():\n    raise KeyError('no key')\n"


def test_an_error_before_the_snapshot_is_an_init_error(strongest, snap):
    before = snapshots(strongest)
    outcome, error = run(strongest, snap(failing("register_before_snapshot")), "")
    assert outcome.function_error == "Unhandled"
    assert (error["errorType"], error["errorMessage"]) == ("KeyError", "'no key'")
    assert error["stackTrace"][-1].endswith("raise KeyError('no key')\n")
    assert snapshots(strongest) == before


def test_an_error_after_a_restore_is_a_snap_start_exception(strongest, snap, caplog):
    caplog.set_level(logging.INFO, "serverfull_wsgi")
    with pytest.raises(SnapStartException) as raised:
        run(strongest, snap(failing("register_after_restore")), "")
    assert raised.value.status == 400
    assert "KeyError: 'no key'" in caplog.text


def test_slow_hooks_after_a_restore_are_a_snap_start_timeout(own, snap, monkeypatch):
    monkeypatch.setattr(open_executor, "RESTORE_TIMEOUT", 0.2)
    slow = "import snapshot_restore_py, time\nsnapshot_restore_py.register_after_restore(time.sleep, 60)"
    with pytest.raises(SnapStartTimeoutException) as raised:
        run(own, snap(slow), "")
    assert raised.value.status == 408
    wait_until(lambda: own.statistics().environments == 1)  # the snapshot


# Failed init phases


@pytest.mark.parametrize("init", ["import nothing_like_this", "def f(:", "import os; os._exit(5)"])
def test_a_failed_init_phase_has_the_error_of_an_ordinary_start(strongest, snap, init):
    before = snapshots(strongest)
    snapping = snap(init)
    ordinary = function("main.handler", code=snapping.code, name=f"{snapping.name[:50]}-ordinary")
    errors = [run(strongest, each, "")[1] for each in (snapping, ordinary)]
    for error in errors:
        error["errorMessage"] = re.sub("RequestId: [0-9a-f-]+", "", error["errorMessage"])
    assert errors[0] == errors[1]
    assert snapshots(strongest) == before


def test_an_init_phase_that_takes_too_long_is_a_timeout(own, snap, monkeypatch):
    monkeypatch.setattr(snap_start, "INIT_TIMEOUT", 0.2)
    _, error = run(own, snap("import time; time.sleep(60)", timeout=0.3), "")
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith("Task timed out after 0.30 seconds")
    assert not own.statistics().environments


# The life of a snapshot


def test_after_a_killed_snapshot_the_next_start_makes_another_one(executor, snap):
    with executing(sandbox=executor.sandbox) as own:
        snapping = snap()
        first = result(own, snapping, "value = ID")
        (pid,) = wait_until(lambda: len(pids := named(own, SNAPSHOT_NAME)) == 1 and pids)  # it forks at times
        os.kill(pid, signal.SIGKILL)
        assert result(own, snapping, "value = ID") == first  # its environment goes on
        ids = overlapping(own, snapping)
        assert len(set(ids)) == 2
        assert first in ids
        wait_until(lambda: own.statistics().environments == 5)  # 2 snapshots, of which one has an environment


def test_a_killed_spare_of_a_snapshot_fails_no_call(executor, snap):
    with executing(sandbox=executor.sandbox) as own:
        snapping = snap()
        first = result(own, snapping, "value = ID")
        for pid in wait_until(lambda: len(pids := named(own, SPARE_NAME)) == 4 and pids):  # of both, two each
            with contextlib.suppress(ProcessLookupError):  # it ended with its supervisor
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not named(own, SPARE_NAME))
        assert set(overlapping(own, snapping)) == {first}


def test_a_snapshot_ends_after_its_last_environment_and_the_idle_time(snap):
    with executing(idle=0.2) as executor:
        result(executor, snap(), "")
        assert executor.statistics().environments == 2
        wait_until(lambda: not executor.statistics().environments)
        wait_until(lambda: not population(executor))
        wait_until(lambda: os.listdir(executor.statistics().directory) in ([], ["root"]))


def test_a_snapshot_stays_while_its_environment_is_used(snap):
    with executing(idle=0.3) as executor:
        snapping = snap()
        first = result(executor, snapping, "value = ID")
        for _ in range(8):
            result(executor, snapping, "time.sleep(0.1)")
        assert result(executor, snapping, "value = ID") == first
        assert executor.statistics().environments == 2


def test_a_snapshot_counts_within_the_limit(snap):
    with executing(max_concurrency=2) as executor, ThreadPoolExecutor() as pool:
        snapping = snap()
        running = pool.submit(result, executor, snapping, "import time; time.sleep(0.5); value = 1")
        wait_until(lambda: executor.statistics().environments == 2)
        with pytest.raises(ServiceError, match="Rate Exceeded"):
            run(executor, snapping, "")
        assert running.result() == 1


def test_without_room_for_a_snapshot_an_environment_starts_as_others_do(snap, caplog):
    with executing(max_concurrency=1) as executor:
        outcome, value = run(executor, snap(), "value = os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']")
    assert (value, outcome.restore_duration) == ("on-demand", None)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_unused_snapshot_ends_for_a_function_that_needs_its_place(snap):
    with executing(max_concurrency=2) as executor:
        first, second = snap(), snap()
        result(executor, first, "")
        assert result(executor, second, "value = os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']") == "snap-start"
        assert executor.statistics().idle == {(first.name, "$LATEST"): 0, (second.name, "$LATEST"): 1}


def test_a_changed_module_makes_a_new_snapshot(strongest, snap):
    snapping = snap("VALUE = 'old'")
    assert result(strongest, snapping, "value = VALUE") == "old"
    main = Path(snapping.code) / "main.py"
    main.write_text(main.read_text().replace("'old'", "'newer'"))
    assert result(strongest, snapping, "value = VALUE") == "old"  # a running environment stays, as others do
    run(strongest, snapping, "os._exit(0)")
    assert result(strongest, snapping, "value = VALUE") == "newer"


def test_another_folder_behind_a_link_makes_a_new_snapshot(strongest, snap, tmp_path):
    first, second = snap("VALUE = 'old'"), snap("VALUE = 'new'")
    link = tmp_path / "current"
    link.symlink_to(first.code)
    snapping = function("main.handler", code=link, name=f"{first.name[:50]}-link", snap_start=True)
    assert result(strongest, snapping, "value = VALUE") == "old"
    link.unlink()
    link.symlink_to(second.code)
    run(strongest, snapping, "os._exit(0)")
    assert result(strongest, snapping, "value = VALUE") == "new"


def test_a_changed_variable_makes_a_new_snapshot_and_ends_the_old_one(own, snap):
    first = snap("VALUE = os.environ['MODE']", environment={"MODE": "old"})
    second = function("main.handler", code=first.code, name=first.name, snap_start=True, environment={"MODE": "new"})
    assert [result(own, each, "value = VALUE") for each in (first, second)] == ["old", "new"]
    wait_until(lambda: own.statistics().environments == 2)


# Limits


@pytest.mark.parametrize("sandbox", ["namespaces", "root"])
def test_a_snapshot_and_its_environments_can_have_no_network(snap, sandbox):
    needs_sandbox(sandbox)
    look = "import socket\nnames = [name for _, name in socket.if_nameindex()]"
    with executing(sandbox=sandbox) as executor:
        snapping = snap(look, network="none")
        for _ in range(2):  # the second one starts from the spare
            assert result(executor, snapping, f"{look}\nvalue = [names, ID is not None]") == [["lo"], True]
            wait_until(lambda: named(executor, SPARE_NAME))
            run(executor, snapping, "os._exit(0)")


def test_an_environment_of_a_snapshot_is_killed_as_a_whole(executor, snap):
    with executing(sandbox=executor.sandbox) as own:
        snapping = snap(timeout=0.5)
        before = result(own, snapping, "value = ID")
        start = "import subprocess; subprocess.Popen(['setsid', 'sleep', '61'], start_new_session=True); time.sleep(60)"
        _, error = run(own, snapping, start)
        assert error["errorType"] == "Sandbox.Timedout"
        wait_until(lambda: not named(own, "sleep"))
        assert result(own, snapping, "value = ID") == before


def test_an_environment_of_a_snapshot_has_the_limits_of_others(executor, snap):
    snapping = snap(memory_size=128)
    hog = "blocks = []\nwhile True: blocks.append(bytearray(8 << 20)); time.sleep(0.005)"
    _, error = run(executor, snapping, hog)
    assert error["errorType"] in ("Runtime.ExitError", "MemoryError")
    assert result(executor, snapping, "value = 1") == 1


def test_an_init_phase_has_the_limits_of_an_environment(strongest, snap):
    hog = "blocks = []\nwhile True: blocks.append(bytearray(8 << 20)); time.sleep(0.005)"
    _, error = run(strongest, snap(hog, memory_size=128), "")
    assert error["errorType"] in ("Runtime.ExitError", "MemoryError")


MOUNT = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def look():
    reader, writer = os.pipe()
    os.makedirs("/tmp/groups", exist_ok=True)
    if not (pid := os.fork()):
        entered = libc.unshare(0x10000000 | 0x20000 | 0x2000000)
        mounted = [libc.mount(b"x", b"/tmp/groups", kind, 0, option) for kind, option in
                   ((b"cgroup2", None), (b"cgroup", b"memory"), (b"cgroup", b"pids"))]
        libc.umount2(b"/sys/fs/cgroup", 2)
        listed = os.listdir("/sys/fs/cgroup") if os.path.exists("/sys/fs/cgroup") else []
        os.write(writer, repr((entered, mounted, listed)).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    answer = os.read(reader, 1000).decode()
    os.close(reader)
    return answer
"""


@pytest.mark.parametrize("sandbox", ["namespaces", "root"])
def test_neither_a_snapshot_nor_its_environments_reach_control_groups(snap, sandbox):
    needs_sandbox(sandbox)
    with executing(sandbox=sandbox) as executor:
        snapping = snap(f"{MOUNT}\nFOUND = look()")
        for text in result(executor, snapping, "value = [FOUND, look()]"):
            entered, mounted, listed = eval(text)
            assert -1 in (entered, *mounted)
            assert mounted == [-1, -1, -1]
            assert listed == []


def test_starts_from_snapshots_leave_no_resources(executor, snap, tmp_path, monkeypatch):
    (folder := tmp_path / "files").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with executing(sandbox=executor.sandbox, idle=1.0) as own:
        snapping = snap()

        def resources():
            directory = own.statistics().directory
            wait_until(lambda: not own.statistics().environments and os.listdir(directory) in ([], ["root"]))
            wait_until(lambda: not population(own))
            groups = glob.glob(f"/sys/fs/cgroup/**/{os.path.basename(directory)}/*/", recursive=True)
            return {
                "groups": len(groups),
                "descriptors": len(os.listdir("/proc/self/fd")),
                "threads": threading.active_count(),
                "files": sorted(os.listdir(directory)),
            }

        def end(number):
            ending = ["os._exit(3)", "os.kill(os.getpid(), 9)", "value = 1"][number % 3]
            own.execute(snapping, invocation(ending, name=snapping.name))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(end, range(6)))
            before = resources()
            list(pool.map(end, range(20)))
            wait_until(lambda: resources() == before)
