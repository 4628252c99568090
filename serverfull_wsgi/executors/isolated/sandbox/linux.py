"""What Linux offers to keep processes apart: namespaces, capabilities, who descends from whom; and to clear up after.

Needs nothing but the standard library of Python 3.10 or newer, since the zygotes of other interpreters load it too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from functools import lru_cache

# Sources: prctl(2), unshare(2), mount(2), capabilities(7), and the kernel's headers of these names
_PR_SET_NAME, _PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 15, 1, 24, 36, 38
_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWPID = 0x20000, 0x8000000, 0x10000000, 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 0x40000
_CAPABILITY_VERSION_3 = 0x20080522
_PATH = "/usr/local/bin:/usr/bin:/bin"  # the server's may lack them


@lru_cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(name: str, *arguments: object) -> None:
    if getattr(_libc(), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _prctl(option: int, value: int) -> bool:
    zero = ctypes.c_ulong(0)
    return not _libc().prctl(option, ctypes.c_ulong(value), zero, zero, zero)


def set_name(name: str) -> None:
    """What lists of processes call this one; at most 15 bytes."""
    zero = ctypes.c_ulong(0)
    _libc().prctl(_PR_SET_NAME, ctypes.create_string_buffer(name.encode()), zero, zero, zero)


def become_subreaper() -> None:
    """From now on descendants whose parents end become children of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """SIGKILL when the parent ends; sound only if the parent has a single thread."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def drop_privileges() -> None:
    """Gives up every capability, for good. A root without them cannot look into processes that have some."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(64):
        if not _prctl(_PR_CAPBSET_DROP, capability):
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _libc().capset(header, (ctypes.c_uint32 * 6)())


def unshare() -> None:
    """Enters new user, mount and IPC namespaces; the next child is the first of a new process namespace.

    Must be called with a single thread. User and group ids stay what they were. Raises OSError where that is not
    allowed.
    """
    uid, gid = os.geteuid(), os.getegid()
    _checked("unshare", _CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWIPC)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    _checked("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)


def mount_proc() -> None:
    """A /proc that shows this process namespace only. Raises OSError where containers hide parts of theirs."""
    _checked("mount", b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None)


def mount_over(source: str, target: str) -> None:
    """The directory ``source`` appears at ``target``, with all that is mounted in it."""
    _checked("mount", os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None)


def private_tmp(source: str, keep: Iterable[str]) -> None:
    """Puts ``source`` in the place of /tmp; of what was there, the directories ``keep`` stay where they are.

    One that is reached through a link below /tmp stays by that name too.
    """
    places = sorted({name for path in keep if os.path.isdir(path) for name in (path, os.path.realpath(path))})
    if "/tmp" in places:  # noqa: S108  (what has to be seen is all of it)
        return
    kept: list[tuple[str, int]] = []
    for path in places:
        if path.startswith("/tmp/") and not (kept and path.startswith(kept[-1][0] + "/")):  # noqa: S108
            kept.append((path, os.open(path, os.O_PATH)))
    mount_over(source, "/tmp")  # noqa: S108
    for path, fd in kept:
        os.makedirs(path, exist_ok=True)
        mount_over(f"/proc/self/fd/{fd}", path)
        os.close(fd)


def remove_tree(path: str) -> None:
    """Removes a directory of somebody who is gone, however deep it is and whatever its modes are.

    Root needs no modes, and must not be led to change others' by a link that is put here meanwhile.
    """
    with contextlib.suppress(OSError):
        os.rmdir(path)  # most are empty, and that needs no descriptor
        return
    with contextlib.suppress(RecursionError):  # from some 1,000 levels, before Python 3.13
        shutil.rmtree(path, ignore_errors=True)
    for command in ("rm -rf", "chmod -R u+rwx", "rm -rf") if os.geteuid() else ("rm -rf",):
        if not os.path.lexists(path):
            return
        with contextlib.suppress(OSError):
            subprocess.run(  # noqa: S603
                [*command.split(), "--", path], env={"PATH": _PATH}, stderr=subprocess.DEVNULL, check=False
            )


def descendants(pid: int) -> list[int]:
    """The processes that descend from ``pid``, children first; those of other namespaces that this /proc shows too."""
    families = _families()
    found = list(families.get(pid, ()))
    for one in found:
        found += families.get(one, ())
    return found


def _families() -> dict[int, list[int]]:
    """The children of each process that has some."""
    families: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat") as file:
                families.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(name))
    return families


def children() -> list[int]:
    """The children of this process, which has a single thread; some are missed while others of them end."""
    pid = os.getpid()
    with contextlib.suppress(OSError), open(f"/proc/self/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]
    return _families().get(pid, [])  # where the kernel is built without CONFIG_PROC_CHILDREN


def end_group(doors: Iterable[str]) -> None:
    """Of the control groups with these doors: none in them can fork any more, and all are killed where a group can be.

    That is version 2, from Linux 5.14. In version 1 they are left to whoever kills them one by one.
    """
    for door in doors:
        for name, text in (("pids.max", "0"), ("cgroup.kill", "1")):
            with contextlib.suppress(OSError), open(os.path.join(os.path.dirname(door), name), "w") as file:
                file.write(text)


def kill_descendants(doors: Iterable[str] = (), patience: float = 5.0) -> None:
    """SIGKILL for all that descends from this process, which must be a subreaper, until nothing does.

    ``doors`` are those of their control groups: processes that fork and end in turns can outrun who looks for them.
    ``patience`` in seconds: a process in the middle of I/O that cannot be interrupted is left to the kernel after it.
    """
    end_group(doors)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        for pid in children():  # whose own become ours in their turn
            kill(pid)
        if not _reaped():
            return
        time.sleep(0.0002)


def kill_namespace(patience: float = 5.0) -> None:
    """The same for the first process of a process namespace: SIGKILL for all others in it."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        kill(-1)
        if not _reaped():
            return
        time.sleep(0.001)


def kill(pid: int) -> None:
    """SIGKILL for a process that may have gone."""
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _reaped() -> bool:
    """Reaps the children that have ended; whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True
