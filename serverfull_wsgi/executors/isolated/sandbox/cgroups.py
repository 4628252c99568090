"""Control groups: for a whole environment the kernel limits memory and processes, and weighs what CPU it gets.

Version 2 wants a delegated group (systemd's ``Delegate=yes``); version 1 a writable hierarchy, as root has it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from serverfull_wsgi.executors.isolated.sandbox.linux import end_group

ROOT = "/sys/fs/cgroup"
OWN = "/proc/self/cgroup"  # which groups this process is in
PROCESSES = 1024  # Lambda's own limit of processes and threads
_DELEGATED = ("+memory +pids", "+cpu")  # apart, since one that is refused would take the others with it
_WANTED = {"memory", "pids", "cpu"}
_MEMORY = ("memory.max", "memory.limit_in_bytes")
_CPU = ("cpu.weight", "cpu.shares")


class Group(NamedTuple):
    """One environment's groups, one for each hierarchy that was found."""

    paths: tuple[str, ...]

    def procs_files(self) -> list[str]:
        """The files into which a process writes 0 to enter."""
        return [os.path.join(path, "cgroup.procs") for path in self.paths]

    def limit(self, memory_size: int) -> None:
        """Its processes may have ``memory_size`` MiB from now on, and weigh as much.

        Raises OSError where that limit cannot be had.
        """
        for path in self.paths:
            _limit(path, memory_size * 1024 * 1024)
        self.set_cpu_weight(memory_size)

    def set_cpu_weight(self, weight: float) -> None:
        """What its processes get of a busy CPU beside other environments, in proportion; a machine at rest is theirs.

        ``weight`` counts from 1 to 10,000.
        """
        weight = max(1, min(weight, 10_000))
        for path in self.paths:
            for name, value in (("cpu.weight", weight), ("cpu.shares", weight * 10.24)):  # 100 and 1024 are the usual
                file = os.path.join(path, name)
                with contextlib.suppress(OSError):
                    if os.path.exists(file):
                        _write(file, str(round(value)))

    def peak_files(self) -> list[str]:
        """Files one of which, if there is any, says how many bytes the group has had at most."""
        return [
            os.path.join(path, name) for path in self.paths for name in ("memory.peak", "memory.max_usage_in_bytes")
        ]

    def file_cache_bytes(self) -> int:
        """How many of its bytes are copies of what is on a disk."""
        for path in self.paths:
            with contextlib.suppress(OSError), open(os.path.join(path, "memory.stat")) as file:
                counts = dict(line.split() for line in file)
                return int(counts.get("active_file", 0)) + int(counts.get("inactive_file", 0))
        return 0

    def kill(self) -> None:
        """Nothing can fork in it any more; SIGKILL for all in it, where the kernel has that (version 2, Linux 5.14)."""
        end_group(self.procs_files())

    def remove(self, patience: float = 1.0) -> bool:
        """Removes it once it is empty; whether it is gone. ``patience`` in seconds."""
        deadline = time.monotonic() + patience
        while not all([_removed(path) for path in self.paths]):  # noqa: C419  (all are tried)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True


class Groups:
    """Makes groups below the server's own; ``found`` says what limits memory, empty where no groups can be made.

    Where they ``weigh``, all that are made have one share of the CPU together, as much as the server: it is not kept
    waiting by what it hands out.
    """

    def __init__(self, name: str) -> None:
        self._made = 0
        self._parents = [path for path in _own_groups(name) if _made(path)]
        self.limits_memory = any(_has(path, _MEMORY) for path in self._parents)
        self.weighs_cpu = self.limits_memory and any(_has(path, _CPU) for path in self._parents)

    def create(self) -> Group | None:
        """A new group; None where it cannot be had."""
        if not self.limits_memory:
            return None
        self._made += 1
        paths = tuple(os.path.join(parent, str(self._made)) for parent in self._parents)
        try:
            for path in paths:
                os.mkdir(path)
        except OSError:
            Group(paths).remove(0)
            return None
        return Group(paths)

    def close(self) -> None:
        for path in self._parents:
            _removed(path)


def _own_groups(name: str) -> list[str]:
    """Where groups may be made for this process: one place, or one for each hierarchy of version 1 that is wanted."""
    paths = []
    with contextlib.suppress(OSError), open(OWN) as file:
        for line in file.read().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers and os.path.exists(f"{ROOT}/cgroup.controllers"):
                if os.path.dirname(path).endswith(".service"):  # systemd's DelegateSubgroup=
                    path = os.path.dirname(path)
                paths.append(os.path.join(ROOT + path, name))
            elif _WANTED.intersection(names := controllers.split(",")):
                paths.append(os.path.join(_mounted(names) + path, name))
    return paths


def _mounted(names: list[str]) -> str:
    """Where a hierarchy with these controllers is: it may be named after them in another order, or after one."""
    places = [f"{ROOT}/{name}" for name in (",".join(names), ",".join(reversed(names)), *names)]
    return next(filter(os.path.isdir, places), places[0])


def _made(path: str) -> bool:
    """Makes a parent for groups; False where it is not allowed, or would limit nothing."""
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
    _removed(path)
    return False


def _delegate(path: str) -> None:
    """Lets the children of a group have limits; not possible where processes are in the group itself."""
    for controllers in _DELEGATED:
        with contextlib.suppress(OSError):
            _write(os.path.join(path, "cgroup.subtree_control"), controllers)


def _has(path: str, names: Iterable[str]) -> bool:
    return any(os.path.exists(os.path.join(path, name)) for name in names)


def _limit(path: str, size: int) -> None:
    for name, value, needed in (
        ("memory.limit_in_bytes", size, True),
        ("memory.memsw.limit_in_bytes", size, False),
        ("memory.max", size, True),
        ("memory.swap.max", 0, False),
        ("pids.max", PROCESSES, False),
    ):
        file = os.path.join(path, name)
        if os.path.exists(file):
            with contextlib.nullcontext() if needed else contextlib.suppress(OSError):
                _write(file, str(value))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _removed(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
