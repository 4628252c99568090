"""The states of a process that a fork would not keep, or would share: reasons to take no snapshot of it."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import time
import warnings
from collections.abc import Collection, Iterator

# The functions that a snapshot's own program calls; libraries such as gevent replace some of them.
_OWN_CALLS = {
    name: getattr(os, name)
    for name in (
        *("_exit", "chdir", "close", "dup2", "fchdir", "fork", "listdir", "open", "pipe", "pipe2", "pread"),
        *("read", "readlink", "set_inheritable", "setsid", "stat", "wait4", "waitpid", "write"),
    )
}
_HARMLESS_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_STANDARD = 4  # descriptors: 0 to 3 belong to each environment
_THREAD_EXIT = 0.1  # seconds for threads that a library ends before a fork


def find_obstacles(own: Collection[int], tmp: str) -> list[str]:
    """Return the reasons why a fork of this process would not be what a start from scratch is.

    Args:
        own: descriptors that the snapshot's program has opened.
        tmp: the directory of temporary files, if forks would share it; else an empty text.
    """
    return [
        *_replaced_calls(),
        *_threads(),
        *_processes(),
        *_descriptors(own),
        *_shared_memory(),
        *_temporary_files(tmp),
    ]


def _replaced_calls() -> Iterator[str]:
    for name, function in _OWN_CALLS.items():
        if getattr(os, name) is not function:
            yield f"os.{name} has been replaced"


def _threads() -> Iterator[str]:
    """Fork once: libraries such as OpenBLAS end their threads before a fork, and start them again at the next use."""
    if len(os.listdir("/proc/self/task")) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of threads
            if not (pid := os.fork()):
                os._exit(0)
        os.waitpid(pid, 0)
    deadline = time.monotonic() + _THREAD_EXIT
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < deadline:
        time.sleep(0.002)
    threading = sys.modules.get("threading")
    names = {thread.native_id: thread.name for thread in threading.enumerate()} if threading else {}
    own = int(os.readlink("/proc/self"))
    for task in map(int, os.listdir("/proc/self/task")):
        if task != own:
            yield f"thread {names.get(task) or _thread_name(task)}"


def _thread_name(task: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/comm") as file:
        return file.read().strip()
    return str(task)


def _processes() -> Iterator[str]:
    """Yield the children, and the processes that have lost their parent: they are the supervisor's children."""
    own, parent = os.readlink("/proc/self"), os.getppid()
    pids = _children_of(own)
    if own in (siblings := _children_of(str(parent))):  # else /proc is of another namespace
        pids += [pid for pid in siblings if pid != own]
    for pid in pids:
        yield f"process {_process_name(pid)}"


def _children_of(pid: str) -> list[str]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()
    return []


def _process_name(pid: str) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
        return file.read().strip()
    return pid


def _descriptors(own: Collection[int]) -> Iterator[str]:
    output = os.stat(1)
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd < _STANDARD or fd in own:
            continue
        with contextlib.suppress(OSError):  # the list's own descriptor has been closed
            status, link = os.stat(fd), os.readlink(f"/proc/self/fd/{fd}")
            kind = stat.S_IFMT(status.st_mode)
            if kind == stat.S_IFSOCK:
                yield f"socket {_socket_name(fd)}"
            elif kind == stat.S_IFIFO:
                if status.st_ino != output.st_ino:
                    yield link if link.startswith("/") else "pipe"
            elif kind == stat.S_IFCHR:
                if link not in _HARMLESS_DEVICES:
                    yield link
            elif kind not in (stat.S_IFREG, stat.S_IFDIR):
                yield link.removeprefix("anon_inode:").strip("[]")
            elif not status.st_nlink and link.startswith("/memfd:"):
                yield "shared memory"
            elif not status.st_nlink:
                yield f"deleted file {link.removesuffix(' (deleted)')}"


def _socket_name(fd: int) -> str:
    """Return the peer or the address of a socket, else its family."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        for prefix, address in (("to", sock.getpeername), ("at", sock.getsockname)):
            with contextlib.suppress(OSError):
                if name := address():
                    return f"{prefix} {':'.join(map(str, name[:2]))}" if isinstance(name, tuple) else f"{prefix} {name}"
        return f"of {socket.AddressFamily(sock.family).name}"


def _shared_memory() -> Iterator[str]:
    """Yield memory that forks would share and could change."""
    with open("/proc/self/maps") as file:
        for line in file:
            fields = line.split(None, 5)
            if fields[1][1] == "w" and fields[1][3] == "s":
                yield "shared memory"
                return


def _temporary_files(tmp: str) -> Iterator[str]:
    if tmp and (names := os.listdir(tmp)):
        yield f"temporary file {names[0]}, without a private /tmp"
