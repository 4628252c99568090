"""Control groups: the kernel limits an environment's memory and processes, and divides a busy CPU by weight.

Version 2 needs a delegated group (systemd's ``Delegate=yes``). Version 1 needs a writable hierarchy, as root has it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from serverfull_wsgi.executors.isolated.sandbox.linux import kill_groups

ROOT = "/sys/fs/cgroup"
OWN = "/proc/self/cgroup"  # lists the groups of this process
PROCESSES = 1024  # Lambda's quota of processes and threads
_REMOVE_TIMEOUT = 1.0  # seconds; processes that were killed leave a group within milliseconds
_DELEGATED = ("+memory +pids", "+cpu")  # two writes: a controller that is refused fails its whole write
_CONTROLLERS = {"memory", "pids", "cpu"}
_MEMORY = ("memory.max", "memory.limit_in_bytes")  # of version 2 and version 1, as below
_CPU_UNITS = {"cpu.weight": 1.0, "cpu.shares": 10.24}  # the kernel's defaults are a weight of 100 and 1,024 shares
_CPU = tuple(_CPU_UNITS)
_WEIGHTS = (1, 10_000)  # the range of cpu.weight


class Usage(NamedTuple):
    """Bytes of memory that a group uses: of its processes, of files in memory, and of cached files on a disk."""

    processes: int
    files: int
    file_cache: int


class WeightFile(NamedTuple):
    """A file in which the kernel takes a CPU weight, and the number in the file for a weight of 1."""

    path: str
    unit: float

    def text(self, weight: float) -> str:
        """Return a weight as the file has it, within the range that the kernel takes.

        >>> WeightFile("cpu.shares", 10.24).text(512), WeightFile("cpu.weight", 1.0).text(20_000)
        ('5243', '10000')
        """
        lowest, highest = _WEIGHTS
        return str(round(max(lowest, min(weight, highest)) * self.unit))


class Group(NamedTuple):
    """The control groups of one environment: one of version 2, or one for each hierarchy of version 1."""

    paths: tuple[str, ...]

    def procs_files(self) -> list[str]:
        """Return the files that a process joins the groups by."""
        return [os.path.join(path, "cgroup.procs") for path in self.paths]

    def limit(self, memory_size: int, tmp_size: int = 0) -> None:
        """Limit memory to ``memory_size`` MiB, and give CPU in proportion. Raise OSError if memory has no limit.

        ``tmp_size`` MiB more are for files in memory.
        """
        for path in self.paths:
            _limit(path, (memory_size + tmp_size) * 1024 * 1024)
        self.set_cpu_weight(memory_size)

    def set_cpu_weight(self, weight: float) -> None:
        """Set the share of a busy CPU in proportion to other environments."""
        if file := self.weight_file():
            with contextlib.suppress(OSError):
                _write(file.path, file.text(weight))

    def weight_file(self) -> WeightFile | None:
        """Return the file with the share of a busy CPU, if the group has one."""
        files = [WeightFile(os.path.join(path, name), unit) for path in self.paths for name, unit in _CPU_UNITS.items()]
        return next((file for file in files if os.path.exists(file.path)), None)

    def peak_files(self) -> list[str]:
        """Return the files of which one, if it exists, has the most bytes that the group has used."""
        return [
            os.path.join(path, name) for path in self.paths for name in ("memory.peak", "memory.max_usage_in_bytes")
        ]

    def usage(self) -> Usage:
        """Return what the group uses now; zeros if the kernel does not show it."""
        for path in self.paths:
            with contextlib.suppress(OSError, ValueError), open(os.path.join(path, "memory.stat")) as file:
                counts = dict(line.split() for line in file)
                processes = int(counts.get("anon") or counts.get("rss") or 0)
                cached = int(counts.get("active_file", 0)) + int(counts.get("inactive_file", 0))
                return Usage(processes, int(counts.get("shmem", 0)), cached)
        return Usage(0, 0, 0)

    def kill(self) -> None:
        """Stop forks in the group, and kill its processes if the kernel can (version 2, from Linux 5.14)."""
        kill_groups(self.procs_files())

    def remove(self, timeout: float = _REMOVE_TIMEOUT) -> bool:
        """Remove the group. Return False if it still has processes after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not all([_remove(path) for path in self.paths]):  # noqa: C419  (a list, so that each is tried)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True


class Groups:
    """The parent groups of all environments of a server process, below the group of the process itself.

    All environments together have the default weight, as the server has. The server thus always gets a share of the
    CPU to answer with.

    Attributes:
        parents: the paths of the parent groups.
        limits_memory: whether groups can be made that limit memory; otherwise none are made.
        weighs_cpu: whether the groups divide the CPU by weight.
    """

    def __init__(self, name: str) -> None:
        self._count = 0
        self.parents = [path for path in _parent_paths(name) if _make_parent(path)]
        self.limits_memory = any(_has(path, _MEMORY) for path in self.parents)
        self.weighs_cpu = self.limits_memory and any(_has(path, _CPU) for path in self.parents)

    def create(self) -> Group | None:
        """Return a new group, or None if the system allows none."""
        if not self.limits_memory:
            return None
        self._count += 1
        group = Group(tuple(os.path.join(parent, str(self._count)) for parent in self.parents))
        try:
            for path in group.paths:
                os.mkdir(path)
        except OSError:
            group.remove(0)
            return None
        return group

    def close(self) -> None:
        """Remove the parent groups, if they are empty."""
        for path in self.parents:
            _remove(path)


def _parent_paths(name: str) -> list[str]:
    """Return the path for a parent group in each useful hierarchy: the one of version 2, or several of version 1."""
    paths = []
    with contextlib.suppress(OSError), open(OWN) as file:
        for line in file.read().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers and os.path.exists(f"{ROOT}/cgroup.controllers"):
                if os.path.dirname(path).endswith(".service"):  # systemd's DelegateSubgroup=
                    path = os.path.dirname(path)
                paths.append(os.path.join(ROOT + path, name))
            elif _CONTROLLERS.intersection(names := controllers.split(",")):
                paths.append(os.path.join(_mount_point(names) + path, name))
    return paths


def _mount_point(controllers: list[str]) -> str:
    """Return the directory of a hierarchy of version 1: named after its controllers in either order, or after one."""
    names = (",".join(controllers), ",".join(reversed(controllers)), *controllers)
    paths = [f"{ROOT}/{name}" for name in names]
    return next(filter(os.path.isdir, paths), paths[0])


def _make_parent(path: str) -> bool:
    """Make a parent group. Return False if the system refuses, or the group could limit nothing."""
    try:
        if is_version_2 := os.path.exists(os.path.join(os.path.dirname(path), "cgroup.controllers")):
            _delegate(os.path.dirname(path))
        os.mkdir(path)
    except OSError:
        return False
    if is_version_2:
        _delegate(path)
    if _has(path, (*_MEMORY, *_CPU, "pids.max")):
        return True
    _remove(path)
    return False


def _delegate(path: str) -> None:
    """Let the children of a group have limits. The kernel refuses if the group itself has processes."""
    for controllers in _DELEGATED:
        with contextlib.suppress(OSError):
            _write(os.path.join(path, "cgroup.subtree_control"), controllers)


def _has(path: str, names: Iterable[str]) -> bool:
    return any(os.path.exists(os.path.join(path, name)) for name in names)


def _limit(path: str, size: int) -> None:
    for name, value, is_required in (
        ("memory.limit_in_bytes", size, True),
        ("memory.memsw.limit_in_bytes", size, False),
        ("memory.max", size, True),
        ("memory.swap.max", 0, False),
        ("pids.max", PROCESSES, False),
    ):
        file = os.path.join(path, name)
        if os.path.exists(file):
            with contextlib.nullcontext() if is_required else contextlib.suppress(OSError):
                _write(file, str(value))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _remove(path: str) -> bool:
    """Remove a group. Return False if it is in use."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
