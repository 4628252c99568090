"""Control groups: the files that are written, in directories like the kernel's, and real groups."""

import contextlib
import glob
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from serverfull_wsgi.executors.isolated.sandbox import cgroups, cpu_weight
from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group, Groups
from serverfull_wsgi.executors.isolated.sandbox.cpu_weight import CpuWeight
from tests.support.isolated import executing, function, needs_client, needs_namespaces, result, run
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
CONTROLS = {
    "memory": ["memory.max", "memory.swap.max", "memory.peak", "memory.stat"],
    "pids": ["pids.max"],
    "cpu": ["cpu.weight"],
}
CONTROLS_1 = {
    "memory": ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"],
    "pids": ["pids.max"],
    "cpu": ["cpu.shares"],
}


class Kernel:
    """Control groups of version 2 as plain files; a new group has the files that its parent's subtree_control enables.

    As in the kernel, a write to subtree_control fails as a whole if one controller is missing.
    """

    def __init__(self, root, controllers):
        self.root, self.controllers = root, controllers
        self.mkdir(root)

    def mkdir(self, path):
        parent = Path(path).parent / "cgroup.subtree_control"
        enabled = parent.read_text() if parent.exists() else ""
        os.makedirs(path)
        files = [file for one in self.controllers if f"+{one}" in enabled for file in CONTROLS[one]]
        for name in ["cgroup.procs", "cgroup.kill", "cgroup.subtree_control", "cgroup.controllers", *files]:
            Path(path, name).touch()

    def write(self, path, text):
        if path.endswith("subtree_control"):
            if not {one.lstrip("+") for one in text.split()} <= {*self.controllers}:
                raise FileNotFoundError(text)
            text = f"{Path(path).read_text()} {text}".strip()
        Path(path).write_text(text)

    def rmdir(self, path):
        if not os.path.exists(path):
            raise FileNotFoundError(path)
        shutil.rmtree(path)


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Make a hierarchy of version 2 with this process in the group ``own``. Return the service's group."""

    def make(*, own="/service.slice/it.service/main", controllers=("memory", "pids", "cpu")):
        root = tmp_path / "root"
        kernel = Kernel(root, controllers)
        for folder in ("service.slice", "service.slice/it.service", "service.slice/it.service/main"):
            kernel.mkdir(root / folder)
        (tmp_path / "own").write_text(f"1:name=systemd:/elsewhere\n0::{own}\n")
        monkeypatch.setattr(cgroups, "ROOT", str(root))
        monkeypatch.setattr(cgroups, "OWN", str(tmp_path / "own"))
        names = {**vars(os), "mkdir": kernel.mkdir, "rmdir": kernel.rmdir}
        monkeypatch.setattr(cgroups, "os", SimpleNamespace(**names))
        monkeypatch.setattr(cgroups, "_write", kernel.write)
        return root / "service.slice/it.service"

    return make


@pytest.fixture
def version_1(tmp_path, monkeypatch):
    """Make hierarchies of version 1, one for each folder. Return their root."""

    def make(folders, own):
        def mkdir(path):
            os.mkdir(path)
            for one in Path(path).relative_to(tmp_path).parts[0].split(","):
                for name in ["cgroup.procs", *CONTROLS_1.get(one, [])]:
                    Path(path, name).touch()

        for folder in folders:
            (tmp_path / folder / "box").mkdir(parents=True)
        (tmp_path / "own").write_text(own)
        monkeypatch.setattr(cgroups, "ROOT", str(tmp_path))
        monkeypatch.setattr(cgroups, "OWN", str(tmp_path / "own"))
        monkeypatch.setattr(cgroups, "os", SimpleNamespace(**{**vars(os), "mkdir": mkdir, "rmdir": shutil.rmtree}))
        return tmp_path

    return make


def text(*path):
    return Path(*path).read_text()


def test_groups_are_created_beside_the_servers_own_subgroup(kernel):
    service = kernel()
    groups = Groups("here")
    assert groups.limits_memory
    enabled = text(service, "cgroup.subtree_control"), text(service, "here/cgroup.subtree_control")
    assert enabled == ("+memory +pids +cpu",) * 2
    group = groups.create()
    group.limit(256)
    assert group.paths == (str(service / "here/1"),)
    assert group.procs_files() == [str(service / "here/1/cgroup.procs")]
    names = ("memory.max", "memory.swap.max", "pids.max", "cpu.weight")
    written = {name: text(service, "here/1", name) for name in names}
    assert written == {"memory.max": str(256 * 2**20), "memory.swap.max": "0", "pids.max": "1024", "cpu.weight": "256"}
    group.kill()
    assert text(service, "here/1/cgroup.kill") == "1"
    assert group.remove()
    groups.close()
    assert not (service / "here").exists()


@pytest.mark.parametrize(
    ("controllers", "folder"),
    [("cpu", "cpu"), ("cpu,cpuacct", "cpu,cpuacct"), ("cpu,cpuacct", "cpuacct,cpu"), ("cpuacct,cpu", "cpu")],
)
def test_version_1_gets_a_group_in_each_hierarchy(version_1, controllers, folder):
    own = f"7:memory:/box\n5:pids:/box\n4:cpuset:/box\n3:{controllers}:/box\n1:name=systemd:/box\n"
    root = version_1(["memory", "pids", "cpuset", folder], own)
    groups = Groups("here")
    group = groups.create()
    group.limit(1769)
    assert group.paths == tuple(f"{root}/{one}/box/here/1" for one in ("memory", "pids", folder))
    assert text(root, "memory/box/here/1/memory.limit_in_bytes") == str(1769 * 2**20)
    assert text(root, "pids/box/here/1/pids.max") == "1024"
    assert text(root, folder, "box/here/1/cpu.shares") == "18115"
    assert groups.weighs_cpu
    assert group.remove()


def test_a_group_reports_its_peak_and_its_file_cache(kernel):
    service = kernel()
    group = Groups("here").create()
    (service / "here/1/memory.stat").write_text("anon 5\nactive_file 1000\ninactive_file 24\nshmem 7\n")
    assert next(filter(os.path.exists, group.peak_files())) == str(service / "here/1/memory.peak")
    assert group.usage().file_cache == 1024


def test_without_a_memory_controller_no_groups_are_created(kernel):
    service = kernel(controllers=())
    assert not Groups("here").limits_memory
    assert not (service / "here").exists()
    assert Groups("here").create() is None


def test_a_refused_controller_does_not_disable_the_others(kernel):
    service = kernel(controllers=("memory", "pids"))
    groups = Groups("here")
    groups.create().limit(128)
    assert (groups.limits_memory, groups.weighs_cpu) == (True, False)
    assert text(service, "here/1/memory.max") == str(128 * 2**20)


@pytest.mark.parametrize(("weight", "written"), [(0.5, "1"), (8.2, "8"), (10_240, "10000")])
def test_a_weight_stays_in_the_kernels_range(kernel, weight, written):
    service = kernel()
    Groups("here").create().set_cpu_weight(weight)
    assert text(service, "here/1/cpu.weight") == written


def test_a_long_invocation_has_a_lower_weight_until_the_next(kernel, monkeypatch):
    service, times = kernel(), iter([2000.0, 2000.0025, 2000.0025, 2000.01, 3000.0])
    monkeypatch.setattr(cpu_weight, "monotonic", lambda: next(times))
    group = Groups("here").create()
    group.limit(512)
    weight = CpuWeight(group, 512)

    assert text(service, "here/1/cpu.weight") == "512"

    def weight_after(action):
        Path(service, "here/1/cpu.weight").write_text("")  # the kernel's file has only what was written last
        action()
        return text(service, "here/1/cpu.weight")

    assert weight_after(weight.restore) == weight_after(weight.lower_if_due) == ""
    assert weight.seconds_until_due() == pytest.approx(0.0025)
    assert weight_after(weight.lower_if_due) == "32"
    assert weight.seconds_until_due() == float("inf")
    assert weight_after(weight.restore) == "512"
    weight.close()


def test_without_permission_no_groups_are_created(kernel, monkeypatch):
    def refuse(path):
        raise PermissionError(path)

    kernel()
    monkeypatch.setattr(cgroups.os, "mkdir", refuse)
    assert not Groups("here").limits_memory


@needs_client
def test_a_function_process_is_in_its_group(kernel):
    service = kernel()
    with executing(sandbox="process") as executor:
        pid = result(executor, function("evaluate"), "os.getpid()")
        assert pid in [int(path.read_text() or 0) for path in service.glob("serverfull-*/*/cgroup.procs")]


@needs_client
def test_an_environment_has_its_weight_and_a_lower_one_while_it_is_busy():
    with executing(sandbox="process") as executor:
        evaluate = function("evaluate", memory_size=256)
        pid = result(executor, evaluate, "os.getpid()")
        folders = folders_of(executor, pid)
        if cpu_weight_of(folders) is None:
            pytest.skip("no control group with a weight can be made here")
        assert cpu_weight_of(folders) in (256, 16)
        result(executor, evaluate, "time.sleep(0.2)")
        assert cpu_weight_of(folders) == 16
        result(executor, evaluate, "1")
        wait_until(lambda: cpu_weight_of(folders) == 16)  # processes that it left behind have no full weight


@needs_client
def test_an_environment_has_its_full_weight_while_a_call_waits_for_its_request_for_an_event(monkeypatch):
    client = "__import__('awslambdaric.lambda_runtime_client').lambda_runtime_client.runtime_client"
    with executing(sandbox="process") as executor:
        evaluate = function("evaluate", memory_size=256)
        late = result(executor, evaluate, f"[os.getpid(), setattr({client}, 'next', lambda: time.sleep(60))][0]")
        folders = folders_of(executor, late)
        if cpu_weight_of(folders) is None:
            pytest.skip("no control group with a weight can be made here")
        wait_until(lambda: cpu_weight_of(folders) == 16)
        monkeypatch.setattr(cpu_weight, "FULL_SECONDS", 60)
        assert result(executor, evaluate, "os.getpid()") != late
        assert cpu_weight_of(folders) == 256


def folders_of(executor, pid):
    """Return the directories of a process's control groups: one in each hierarchy that the executor uses."""
    name = os.path.basename(executor.statistics().directory)
    parents = glob.glob(f"/sys/fs/cgroup/**/{name}/", recursive=True)
    folders = [folder for parent in parents for folder in glob.glob(f"{parent}*/")]
    own = [folder for folder in folders if str(pid) in text(folder, "cgroup.procs").split()]
    assert len(own) == len(parents)
    return own


def cpu_weight_of(folders):
    """Return the CPU weight in units of version 2, or None without one."""
    for path in [Path(folder, name) for folder in folders for name in ("cpu.weight", "cpu.shares")]:
        if path.exists():
            return round(int(path.read_text()) / (10.24 if path.name == "cpu.shares" else 1))
    return None


@pytest.fixture
def real():
    """A group in a real hierarchy of version 2, with any controllers."""
    mounts = [line.split()[1] for line in text("/proc/mounts").splitlines() if line.split()[2] == "cgroup2"]
    for mount in mounts:
        with contextlib.suppress(OSError):
            path = tempfile.mkdtemp(prefix="serverfull-test-", dir=mount)
            yield Group((path,))
            Group((path,)).remove()
            return
    pytest.skip("no group of version 2 can be made here")


def test_a_real_group_kills_all_its_processes(real):
    shell = f"echo $$ > {real.procs_files()[0]}; setsid sleep 60 & exec sleep 60"
    with subprocess.Popen(["sh", "-c", shell]) as process:
        wait_until(lambda: len(text(real.procs_files()[0]).split()) == 2)
        assert not real.remove(0)
        real.kill()
        assert process.wait(30) == -9
    assert real.remove(30)


LEAVE_GROUP = """
import ctypes, glob
libc = ctypes.CDLL(None)
libc.umount2(b"/sys/fs/cgroup", 2)
libc.unshare(0x10000000 | 0x20000 | 0x2000000)  # user, mount and cgroup namespaces
libc.umount2(b"/sys/fs/cgroup", 2)
os.makedirs(f"{tmp()}/groups", exist_ok=True)
libc.mount(b"groups", f"{tmp()}/groups".encode(), b"cgroup", 0, b"memory")
libc.mount(b"groups", f"{tmp()}/groups".encode(), b"cgroup2", 0, None)
joined = []
for path in glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True) + glob.glob(f"{tmp()}/groups/**/cgroup.procs"):
    for name, text in (("memory.max", "max"), ("memory.limit_in_bytes", "-1"), ("cgroup.procs", str(os.getpid()))):
        try:
            with open(os.path.join(os.path.dirname(path), name), "w") as file:
                file.write(text)
            joined.append(path)
        except OSError:
            pass
"""


@needs_client
def test_a_function_of_root_cannot_exceed_its_memory_by_leaving_its_control_group(executor):
    leaving = function("execute", name="leaving", memory_size=128)
    allocate = "kept = bytearray(400 << 20); kept[::4096] = b'x' * len(kept[::4096]); time.sleep(5)"
    _, error = run(executor, leaving, f"{LEAVE_GROUP}\n{allocate}")
    assert error["errorType"] in ("Runtime.ExitError", "MemoryError")


@needs_client
def test_in_namespaces_no_file_of_a_control_group_is_visible():
    needs_namespaces()
    with executing(sandbox="namespaces") as executor:
        assert result(executor, function("execute", name="hidden"), f"{LEAVE_GROUP}\nassert not joined, joined") is None
        assert (
            result(
                executor, function("evaluate", name="empty"), "os.path.isdir(p := '/sys/fs/cgroup') and os.listdir(p)"
            )
            == []
        )
