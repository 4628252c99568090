"""A root directory of its own for each environment: what a function sees, and what it can write."""

import os
import site
import subprocess
import sys
import tempfile

import pytest

from serverfull_wsgi import ConfigurationError, Function, ProcessExecutor
from tests.support.isolated import executing, function, invocation, needs_client, needs_root, refuse_roots, result, run
from tests.support.servers import ROOT

pytestmark = needs_client


@pytest.fixture(scope="module")
def executor():
    needs_root()
    with executing(sandbox="root") as executor:
        yield executor


@pytest.fixture
def code(tmp_path):
    """Return a code directory with a function that evaluates its event."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "app.py").write_text("import os, sys\ndef evaluate(event, context):\n    return eval(event)\n")
    return folder


def test_a_stack_trace_has_the_paths_of_aws(executor, code):
    (code / "broken.py").write_text("def handler(event, context):\n    raise ValueError('no')\n")
    error = run(executor, function("broken.handler", code=code, name="broken"))[1]
    frame = "  File \"/var/task/broken.py\", line 2, in handler\n    raise ValueError('no')\n"
    assert error["stackTrace"] == [frame]


def test_a_function_sees_its_code_and_the_programs_of_the_machine(executor, code):
    seen = result(executor, function("app.evaluate", code=code, name="sees"), "sorted(os.listdir('/'))")
    assert set(seen) >= {"bin", "dev", "etc", "lib", "opt", "proc", "tmp", "usr", "var"}
    assert set(seen) & {"boot", "home", "media", "run", "sys"} == set()
    listing = "sorted(os.listdir('/var/task')), os.listdir('/opt'), os.getcwd()"
    assert result(executor, function("app.evaluate", code=code, name="sees"), listing) == [["app.py"], [], "/var/task"]


def test_a_function_writes_below_tmp_and_dev_shm_only(executor, code):
    (code / "writing.py").write_text("""
import os
import site
import subprocess
import sys
import tempfile
def handler(event, context):
    writable = []
    for folder in ("/", "/bin", "/dev", "/dev/shm", "/etc", "/lib", "/mnt", "/opt", "/tmp", "/usr", "/usr/local/bin",
                   "/var", "/var/runtime", "/var/task", os.path.dirname(os.__file__), "/proc/sys/kernel"):
        try:
            open(f"{folder}/new", "w").close()
            writable.append(folder)
        except OSError:
            pass
    return writable
""")
    assert result(executor, function("writing.handler", code=code, name="writes")) == ["/dev/shm", "/tmp"]


def test_no_settings_of_the_kernel_can_be_written(executor, code):
    """A process of root needs no capability for these files."""
    check = "[p for p in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger') if os.access(p, os.W_OK)]"
    assert result(executor, function("app.evaluate", code=code, name="kernel"), check) == []


def test_tmp_is_full_at_the_size_of_the_ephemeral_storage(executor, code):
    (code / "filling.py").write_text("""
def handler(event, context):
    with open("/tmp/file", "wb", buffering=0) as file:
        for written in range(event):
            file.write(bytes(2**20))
    return event
""")
    small = function("filling.handler", code=code, name="small", ephemeral_storage=20)
    _, error = run(executor, small, 21)
    assert (error["errorType"], error["errorMessage"]) == ("OSError", "[Errno 28] No space left on device")
    assert result(executor, small, 19) == 19


def test_files_in_tmp_are_not_the_memory_of_a_function(executor, code):
    (code / "app.py").write_text("""
def handler(event, context):
    with open("/tmp/file", "wb") as file:
        for _ in range(300):
            file.write(bytes(2**20))
""")
    outcome, _ = run(executor, function("app.handler", code=code, name="large", memory_size=128))
    assert outcome.function_error is None
    assert outcome.memory < 100


def test_memory_beyond_the_memory_size_is_refused_though_tmp_is_empty(executor, code):
    (code / "app.py").write_text("""
import time
def handler(event, context):
    block = bytearray(b"x") * (200 * 2**20)
    time.sleep(5)
""")
    error = run(executor, function("app.handler", code=code, name="hog", memory_size=128))[1]
    assert error["errorType"] in ("Runtime.ExitError", "MemoryError")


@pytest.mark.parametrize("names", [["one"], ["one", "two"]])
def test_the_layers_are_merged_below_opt(executor, code, tmp_path, names):
    for name in names:
        (tmp_path / name / "python").mkdir(parents=True)
        (tmp_path / name / "python/layered.py").write_text(f"NAME = {name!r}")
        (tmp_path / name / f"{name}.txt").touch()
    layered = function(
        "app.evaluate", code=code, name=f"layered{len(names)}", layers=[str(tmp_path / name) for name in names]
    )
    files = [*(f"{name}.txt" for name in names), "python"]
    assert result(executor, layered, "sorted(os.listdir('/opt'))") == sorted(files)
    assert result(executor, layered, "__import__('layered').NAME, __import__('layered').__file__") == [
        names[-1], "/opt/python/layered.py"
    ]  # fmt: skip


def test_packages_of_the_server_are_invisible(executor, code):
    """Not even as files: only AWS's client, boto3 and what they need."""
    listing = "[n for p in __import__('site').getsitepackages() if os.path.isdir(p) for n in os.listdir(p)]"
    seen = result(executor, function("app.evaluate", code=code, name="packages"), listing)
    assert "awslambdaric" in seen
    assert not {"pytest", "gunicorn", "werkzeug"} & set(seen)


def test_the_interpreter_of_a_function_can_be_executed(executor, code):
    run_it = "__import__('subprocess').check_output([sys.executable, '-c', 'import json; print(42)'], text=True)"
    assert result(executor, function("app.evaluate", code=code, name="executes"), run_it) == "42\n"


def test_a_function_without_a_code_directory_sees_the_servers_directory_without_its_secrets(tmp_path, monkeypatch):
    needs_root()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/events.sqlite3").write_text("an event")
    (tmp_path / "keys").write_text("a secret")
    (tmp_path / "own.py").write_text(
        "import os\ndef handler(event, context):\n    return os.getcwd(), os.listdir('data'), open('keys').read()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with executing(sandbox="root", hidden=["data", "keys", ""]) as executor:
        own = Function("own.handler", name="own", timeout=30)
        assert result(executor, own) == [str(tmp_path), [], ""]


WITHOUT_ROOT = """
import sys
from tests.support.servers import ROOT
from tests.support.isolated import executing, function, result
with executing(sandbox="root") as executor:
    one = function("evaluate", memory_size=64)
    print(result(executor, one, "[os.getuid(), os.getcwd(), open('/tmp/new', 'w').close()]"))
    print(result(executor, one, "[__import__('pwd').getpwuid(os.getuid()).pw_name, len(os.listdir('/dev/pts'))]"))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="changes the user, as only root may")
def test_an_ordinary_user_has_roots_too(tmp_path_factory):
    needs_root()
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    pythons = [sys.executable, *(f"{folder}/{name}" for folder in ("/usr/local/bin", "/usr/bin"))]
    user = {"user": 65534, "group": 65534, "extra_groups": []}
    folders = [str(ROOT), *site.getsitepackages()]

    def can_run(python):
        env = {"PYTHONPATH": os.pathsep.join(folders)}
        argv = [python, "-c", "import awslambdaric.bootstrap, ssl, tests.support.isolated"]
        try:
            return not subprocess.run(argv, env=env, cwd="/", capture_output=True, check=False, **user).returncode
        except OSError:
            return False

    python = next(filter(can_run, pythons), None)
    if python is None:
        pytest.skip("no interpreter that user 65534 may execute has AWS's client")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        env = {"PYTHONPATH": os.pathsep.join(folders), "TMPDIR": folder, "PATH": os.environ["PATH"]}
        seen = subprocess.run([python, "-c", WITHOUT_ROOT], env=env, cwd="/", text=True, stdout=subprocess.PIPE, **user)
    assert seen.stdout.splitlines() == ["[65534, '/var/task', None]", "['sbx_user1051', 1]"]


def test_devices_and_terminals_work(executor, code):
    opened = "[open('/dev/' + name, 'rb').read(1) is not None for name in ('null', 'zero', 'urandom')]"
    assert result(executor, function("app.evaluate", code=code, name="devices"), opened) == [True] * 3
    semaphore = "__import__('multiprocessing').Queue().empty()"
    assert result(executor, function("app.evaluate", code=code, name="devices"), semaphore) is True


def test_a_machine_without_roots_refuses_the_sandbox(monkeypatch):
    refuse_roots(monkeypatch)
    with (
        pytest.raises(ConfigurationError, match=r"SERVERFULL_SANDBOX=root.*the kernel refuses"),
        executing(sandbox="root"),
    ):
        pass


def test_each_environment_has_terminals_and_shared_memory_of_its_own(executor, code):
    one = function("app.evaluate", code=code, name="terminal1")
    other = function("app.evaluate", code=code, name="terminal2")
    opened = "[globals().update(kept=os.openpty()), os.listdir('/dev/pts')][1]"
    assert "0" in result(executor, one, opened)
    result(executor, one, "open('/dev/shm/file', 'w').close()")
    assert result(executor, other, "os.listdir('/dev/pts'), os.listdir('/dev/shm')") == [["ptmx"], []]


def test_shared_folders_are_visible_to_the_functions_that_name_them(code, tmp_path):
    needs_root()
    for name in ("data", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "data/file").write_text("shared")
    with executing(sandbox="root", mounts=f"{tmp_path}/data:/mnt/data,{tmp_path}/out:/mnt/out:rw") as executor:
        both = function("app.evaluate", code=code, name="both", mounts=["/mnt/data", "/mnt/out"])
        assert result(executor, both, "open('/mnt/data/file').read(), open('/mnt/out/new', 'w').write('x')") == [
            "shared", 1
        ]  # fmt: skip
        assert (tmp_path / "out/new").read_text() == "x"
        for path in ("/mnt/data/new", "/mnt/new"):
            error = run(executor, both, f"open('{path}', 'w')")[1]
            assert "Read-only file system" in error["errorMessage"]
        none = function("app.evaluate", code=code, name="none")
        assert result(executor, none, "os.listdir('/mnt')") == []
        with pytest.raises(ConfigurationError, match=r"'other' mounts /mnt/other, which SERVERFULL_MOUNTS"):
            executor.execute(function(name="other", mounts=["/mnt/other"]), invocation())


@pytest.mark.parametrize(
    ("mounts", "reason"),
    [
        ("data:/mnt/data", "must be FOLDER:PATH"),
        ("/data:/srv/data", "must be FOLDER:PATH"),
        ("/data:/mnt/..", "must be FOLDER:PATH"),
        ("/data:/mnt/a/b", "must be FOLDER:PATH"),
        ("/data:/mnt/a:x", "must be FOLDER:PATH"),
        ("/usr:/mnt/a,/usr:/mnt/a", "/mnt/a is given twice"),
        ("/nowhere:/mnt/a", "there is no folder /nowhere"),
        ("{0}/server/inner:/mnt/a", "would show .*/server, which belongs to the server"),
        ("{0}:/mnt/a", "would show .*/server, which belongs to the server"),
        ("{0}/link:/mnt/a", "would show .*/server, which belongs to the server"),
    ],
)
def test_folders_that_cannot_be_shared_are_refused(tmp_path, mounts, reason):
    (tmp_path / "server/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "server")
    with pytest.raises(ConfigurationError, match=f"SERVERFULL_MOUNTS: .*{reason}"):
        ProcessExecutor(mounts=mounts.format(tmp_path), hidden=[str(tmp_path / "server")])


def test_shared_folders_need_a_root_directory():
    with (
        pytest.raises(ConfigurationError, match=r"SERVERFULL_MOUNTS.*set SERVERFULL_SANDBOX=root"),
        executing(sandbox="process", mounts="/usr:/mnt/usr"),
    ):
        pass


def test_check_warns_of_paths_that_the_function_does_not_see(code, tmp_path, caplog):
    needs_root()
    (tmp_path / "elsewhere").mkdir()
    (code / "linked").symlink_to(tmp_path / "elsewhere")
    (code / "inner").symlink_to(code / "app.py")
    variables = {
        "LOST": f"/usr/bin:{tmp_path}/elsewhere",
        "AWS_LAMBDA_EXEC_WRAPPER": "/etc/shadow",
        "ROUTE": "/orders/list",
        "SEEN": "/opt/bin:/usr/lib:/tmp:/mnt/data:/etc/hosts",
        "SLASH": "/",
    }
    checked = function("app.evaluate", code=code, name="checked", environment=variables)
    ProcessExecutor(sandbox="root").check_sandbox([checked, function(name="fine")])
    names = [record.getMessage().partition(", which")[0] for record in caplog.records]
    assert names == [
        f"checked: the variable LOST names {tmp_path}/elsewhere",
        "checked: the variable AWS_LAMBDA_EXEC_WRAPPER names /etc/shadow",
        f"checked: {code}/linked is a link to {tmp_path}/elsewhere",
    ]


def test_a_function_cannot_leave_its_control_group(executor, code):
    (code / "leaving.py").write_text("""
import ctypes, os
def handler(event, context):
    libc = ctypes.CDLL(None, use_errno=True)
    refused = [libc.unshare(flag) for flag in (0x10000000, 0x20000, 0x2000000)]  # user, mount, cgroup namespaces
    refused.append(libc.mount(b"cgroup2", b"/tmp", b"cgroup2", 0, None))
    refused.append(libc.umount2(b"/tmp", 2))
    return refused, os.path.exists("/sys"), "cgroup" in open("/proc/self/mounts").read()
""")
    assert result(executor, function("leaving.handler", code=code, name="leaves")) == [[-1] * 5, False, False]
