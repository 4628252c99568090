"""System calls that isolate processes: namespaces, mounts, capabilities, process trees and their end.

The zygotes of other interpreters import this module too, so it needs the standard library of Python 3.10 or newer only.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterable
from functools import lru_cache

# Sources: prctl(2), unshare(2), mount(2), capabilities(7), and the kernel's headers with these names
_PR_SET_NAME, _PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 15, 1, 24, 36, 38
_CLONE_NEWNS, _CLONE_NEWCGROUP, _CLONE_NEWIPC = 0x20000, 0x2000000, 0x8000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1  # of netdevice(7)
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 0x1000, 0x4000, 0x40000
_PROT_READ, _PROT_WRITE, _MAP_SHARED = 1, 2, 1
_CAPABILITY_VERSION_3, _CAP_SETFCAP = 0x20080522, 31
_CAPABILITIES = 64  # as many as that version has bits for
_GROUPS = "/sys/fs/cgroup"
_PATH = "/usr/local/bin:/usr/bin:/bin"  # the server's own PATH may lack these
_KILL_TIMEOUT = 5.0  # seconds; a process in I/O that cannot be interrupted is then left to the kernel


@lru_cache
def libc() -> ctypes.CDLL:
    """Return the C library."""
    return ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library. Raise OSError if the result is not 0."""
    if getattr(libc(), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _prctl(option: int, value: int) -> bool:
    zero = ctypes.c_ulong(0)
    return not libc().prctl(option, ctypes.c_ulong(value), zero, zero, zero)


# This process


def set_process_name(name: str) -> None:
    """Set the name of this process in lists of processes; the kernel keeps 15 bytes."""
    zero = ctypes.c_ulong(0)
    libc().prctl(_PR_SET_NAME, ctypes.create_string_buffer(name.encode()), zero, zero, zero)


def become_subreaper() -> None:
    """Make this process the parent of every descendant that loses its own parent."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel send SIGKILL when the parent thread ends; only sound if the parent has a single thread."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def drop_privileges(*, may_map_root: bool = False) -> None:
    """Give up all capabilities for good. Without them, even root cannot read processes that have some.

    If ``may_map_root`` is true, root keeps CAP_SETFCAP: since Linux 5.12, a user namespace of a process without it
    cannot have user id 0.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(_CAPABILITIES):
        if not _prctl(_PR_CAPBSET_DROP, capability):
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    kept = 1 << _CAP_SETFCAP if may_map_root and not os.geteuid() else 0
    libc().capset(header, (ctypes.c_uint32 * 6)(kept, kept))  # effective, permitted, inheritable; each in two parts


def unshare(*, processes: bool = True, has_network: bool = True) -> None:
    """Enter new user, mount and IPC namespaces; the next child is the first process of a new process namespace.

    If ``processes`` is false, stay in the present process namespace.

    User and group ids keep their values. The caller must have a single thread. Raise OSError if the system refuses.
    """
    network = 0 if has_network else _CLONE_NEWNET
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWIPC | (_CLONE_NEWPID if processes else 0) | network)
    if network:
        _enable_loopback()


def _enable_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _unshare(namespaces: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    call("unshare", namespaces)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)


def unshare_mounts() -> None:
    """Enter new user and mount namespaces. The caller must have a single thread. Raise OSError if that fails."""
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNS)


def unshare_cgroups() -> None:
    """Enter a cgroup namespace with the present groups as its roots, if the kernel has such namespaces."""
    with contextlib.suppress(OSError):
        call("unshare", _CLONE_NEWCGROUP)


def forbid_user_namespaces() -> None:
    """Forbid new user namespaces below this process's own one: in those, a function could mount control groups."""
    with contextlib.suppress(OSError), open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")


def limit_cgroup_namespaces(count: int) -> None:
    """Allow at most ``count`` cgroup namespaces below this process's user namespace.

    Without a cgroup namespace of its own, a process in a new user namespace cannot mount control groups.
    """
    with contextlib.suppress(OSError), open("/proc/sys/user/max_cgroup_namespaces", "w") as file:
        file.write(str(count))


# Mounts


def mount_proc() -> None:
    """Mount a /proc that shows this process namespace only. Raise OSError in containers that hide parts of /proc."""
    call("mount", b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None)


def hide_groups() -> None:
    """Mount an empty directory over each place where control groups are mounted. Raise OSError if that fails.

    A function of root could otherwise leave its group, or raise its limits, by a write to a file.
    """
    with open("/proc/self/mounts") as file:
        fields = [line.split() for line in file]
    places = sorted(place for _, place, kind, *_ in fields if kind in ("cgroup", "cgroup2"))
    if os.path.isdir(_GROUPS):
        places = [_GROUPS, *(place for place in places if not place.startswith(_GROUPS + "/") and place != _GROUPS)]
    for place in places:
        path = place.encode().decode("unicode_escape").encode("latin-1")  # a space is \\040 in the file
        flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        call("mount", b"tmpfs", path, b"tmpfs", flags, b"size=4k,mode=555")


def bind_mount(source: str, target: str) -> None:
    """Show the directory ``source``, with everything mounted in it, at ``target`` too."""
    call("mount", os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None)


def mounts_below(folder: str) -> set[str]:
    """Return the places below a directory where something is mounted."""
    with open("/proc/self/mounts") as file:
        places = [line.split()[1] for line in file]
    return {_unescaped(place) for place in places if place.startswith(folder + "/")}


def _unescaped(place: str) -> str:
    """Return a path from a list of mounts, which has a space as ``\\040``."""
    return os.fsdecode(place.encode().decode("unicode_escape").encode("latin-1"))


def mount_private_tmp(source: str, keep: Iterable[str], beneath: str = "") -> int | None:
    """Mount ``source`` over /tmp. Directories ``keep`` that are below /tmp stay visible, also by their real paths.

    If ``beneath`` is a directory, mount it first, and return a descriptor of it. No path leads to it then. The parent
    of its root is the root directory, so that the descriptor leads to no other directory of the server.

    Do nothing and return None if /tmp itself is to be kept.
    """
    paths = sorted({name for path in keep if os.path.isdir(path) for name in (path, os.path.realpath(path))})
    if "/tmp" in paths:  # noqa: S108
        return None
    kept: list[tuple[str, int]] = []
    for path in paths:
        if path.startswith("/tmp/") and not (kept and path.startswith(kept[-1][0] + "/")):  # noqa: S108
            kept.append((path, os.open(path, os.O_PATH)))
    folder = None
    if beneath:
        place = os.open(source, os.O_PATH)
        bind_mount(beneath, "/tmp")  # noqa: S108
        folder = os.open("/tmp", os.O_PATH | os.O_CLOEXEC)  # noqa: S108
        bind_mount(f"/proc/self/fd/{place}", "/tmp")  # noqa: S108
        os.close(place)
    else:
        bind_mount(source, "/tmp")  # noqa: S108
    for path, fd in kept:
        os.makedirs(path, exist_ok=True)
        bind_mount(f"/proc/self/fd/{fd}", path)
        os.close(fd)
    return folder


# Memory


def map_counter(fd: int) -> ctypes.c_uint64:
    """Return a number in the shared memory of a descriptor, which may be closed then. `mmap.mmap` would keep a copy."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    address = libc.mmap(None, 8, _PROT_READ | _PROT_WRITE, _MAP_SHARED, fd, 0)
    if address == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, f"mmap: {os.strerror(number)}")
    return ctypes.c_uint64.from_address(address)


# Files


def remove_tree(path: str) -> None:
    """Remove a directory that processes have left, of any depth and with any modes.

    Root needs no modes. If root changed them, a link placed here meanwhile could lead the change to another file.
    """
    with contextlib.suppress(OSError):
        os.rmdir(path)  # most are empty, and rmdir needs no descriptor
        return
    with contextlib.suppress(RecursionError):  # raised from about 1,000 levels, before Python 3.13
        shutil.rmtree(path, ignore_errors=True)
    for command in ("rm -rf", "chmod -R u+rwx", "rm -rf") if os.geteuid() else ("rm -rf",):
        if not os.path.lexists(path):
            return
        with contextlib.suppress(OSError):
            subprocess.run(  # noqa: S603
                [*command.split(), "--", path], env={"PATH": _PATH}, stderr=subprocess.DEVNULL, check=False
            )


# Process trees


def descendants(pid: int) -> list[int]:
    """Return all processes that descend from ``pid``, parents before their children.

    The list has processes of other namespaces if this process's /proc shows them.
    """
    by_parent = _children_by_parent()
    pids = list(by_parent.get(pid, ()))
    for parent in pids:
        pids += by_parent.get(parent, ())
    return pids


def _children_by_parent() -> dict[int, list[int]]:
    by_parent: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat") as file:
                by_parent.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(name))
    return by_parent


def children() -> list[int]:
    """Return the children of this process, which must have a single thread; some are missing while others end."""
    pid = os.getpid()
    with contextlib.suppress(OSError), open(f"/proc/self/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]
    return _children_by_parent().get(pid, [])  # for a kernel without CONFIG_PROC_CHILDREN


# Ends


def kill(pid: int) -> None:
    """Send SIGKILL to a process; ignore one that has ended."""
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def kill_groups(procs_files: Iterable[str]) -> None:
    """Stop forks in the control groups with these ``cgroup.procs`` files, and kill all their processes.

    The kernel kills a group of version 2 from Linux 5.14 on. Elsewhere the caller must kill each process.
    """
    for path in procs_files:
        for name, text in (("pids.max", "0"), ("cgroup.kill", "1")):
            with contextlib.suppress(OSError), open(os.path.join(os.path.dirname(path), name), "w") as file:
                file.write(text)


def kill_descendants(procs_files: Iterable[str] = (), timeout: float = _KILL_TIMEOUT) -> None:
    """Send SIGKILL to all descendants of this process, a subreaper, until there are none or ``timeout`` seconds pass.

    ``procs_files`` are those of their control groups: processes that fork and end in turns can outrun the signals.
    """
    kill_groups(procs_files)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for pid in children():  # their children become this process's, for the next round
            kill(pid)
        if not _reap():
            return
        time.sleep(0.0002)


def kill_namespace(timeout: float = _KILL_TIMEOUT) -> None:
    """Send SIGKILL to all other processes of a namespace, from its first process, as `kill_descendants` does."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        kill(-1)
        if not _reap():
            return
        time.sleep(0.001)


def _reap() -> bool:
    """Reap the children that have ended. Return whether others are left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True
