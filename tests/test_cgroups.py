"""Control groups: what is written where in version 2, in a directory that looks like one, and what a real one does.

Version 1 is what tests/test_isolation.py runs in, where it can be had.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from serverfull_wsgi.executors import cgroups
from serverfull_wsgi.executors.cgroups import Group, Groups
from tests.apart import executing, function, result, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
CONTROLS = {"memory": ["memory.max", "memory.swap.max", "memory.peak", "memory.stat"], "pids": ["pids.max"]}


class Kernel:
    """Plain files in the place of the kernel's: a new group has those that its parent's subtree_control asks for."""

    def __init__(self, root, controllers):
        self.root, self.controllers = root, controllers
        self.mkdir(root)

    def mkdir(self, path):
        parent = Path(path).parent / "cgroup.subtree_control"
        asked = parent.read_text() if parent.exists() else ""
        os.makedirs(path)
        files = [file for one in self.controllers if f"+{one}" in asked for file in CONTROLS[one]]
        for name in ["cgroup.procs", "cgroup.kill", "cgroup.subtree_control", "cgroup.controllers", *files]:
            Path(path, name).touch()

    def rmdir(self, path):
        if not os.path.exists(path):
            raise FileNotFoundError(path)
        shutil.rmtree(path)


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Makes a root in which this process is in a service's group, or in ``own``; returns the service's."""

    def make(*, own="/service.slice/it.service/main", controllers=("memory", "pids")):
        root = tmp_path / "root"
        kernel = Kernel(root, controllers)
        for folder in ("service.slice", "service.slice/it.service", "service.slice/it.service/main"):
            kernel.mkdir(root / folder)
        (tmp_path / "own").write_text(f"1:name=systemd:/elsewhere\n0::{own}\n")
        monkeypatch.setattr(cgroups, "ROOT", str(root))
        monkeypatch.setattr(cgroups, "OWN", str(tmp_path / "own"))
        names = {**vars(os), "mkdir": kernel.mkdir, "rmdir": kernel.rmdir}
        monkeypatch.setattr(cgroups, "os", SimpleNamespace(**names))
        return root / "service.slice/it.service"

    return make


def text(*path):
    return Path(*path).read_text()


def test_groups_are_made_beside_the_subgroup_that_the_server_is_in(kernel):
    service = kernel()
    groups = Groups("here")
    assert groups.found == "control groups"
    assert text(service, "cgroup.subtree_control") == text(service, "here/cgroup.subtree_control") == "+memory +pids"
    group = groups.make()
    group.limit(256)
    assert group.paths == (str(service / "here/1"),)
    assert group.doors() == [str(service / "here/1/cgroup.procs")]
    written = {name: text(service, "here/1", name) for name in ("memory.max", "memory.swap.max", "pids.max")}
    assert written == {"memory.max": str(256 * 2**20), "memory.swap.max": "0", "pids.max": "1024"}
    group.kill()
    assert text(service, "here/1/cgroup.kill") == "1"
    assert group.remove()
    groups.close()
    assert not (service / "here").exists()


def test_the_account_of_a_group(kernel):
    service = kernel()
    group = Groups("here").make()
    (service / "here/1/memory.stat").write_text("anon 5\nactive_file 1000\ninactive_file 24\nshmem 7\n")
    assert next(filter(os.path.exists, group.peak_files())) == str(service / "here/1/memory.peak")
    assert group.files() == 1024


def test_without_a_memory_controller_there_are_no_groups(kernel):
    service = kernel(controllers=())
    assert Groups("here").found == ""
    assert not (service / "here").exists()
    assert Groups("here").make() is None


def test_where_none_may_be_made_there_are_none(kernel, monkeypatch):
    def refuse(path):
        raise PermissionError(path)

    kernel()
    monkeypatch.setattr(cgroups.os, "mkdir", refuse)
    assert Groups("here").found == ""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="awslambdaric has wheels for x86-64 only")
def test_a_functions_process_is_put_into_its_group(kernel):
    service = kernel()
    with executing(sandbox="process") as executor:
        pid = result(executor, function("evaluate"), "os.getpid()")
        assert pid in [int(path.read_text() or 0) for path in service.glob("serverfull-*/*/cgroup.procs")]


@pytest.fixture
def real():
    """A group in a real hierarchy of version 2, whatever controllers that has."""
    mounts = [line.split()[1] for line in text("/proc/mounts").splitlines() if line.split()[2] == "cgroup2"]
    for mount in mounts:
        with contextlib.suppress(OSError):
            path = tempfile.mkdtemp(prefix="serverfull-test-", dir=mount)
            yield Group((path,))
            Group((path,)).remove()
            return
    pytest.skip("no group of version 2 can be made here")


def test_a_real_group_takes_processes_and_ends_them_all(real):
    shell = f"echo $$ > {real.doors()[0]}; setsid sleep 60 & exec sleep 60"
    with subprocess.Popen(["sh", "-c", shell]) as process:
        until(lambda: len(text(real.doors()[0]).split()) == 2)
        assert not real.remove(0)
        real.kill()
        assert process.wait(30) == -9
    assert real.remove(30)
