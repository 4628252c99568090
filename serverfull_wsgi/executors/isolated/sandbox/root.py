"""The root directory of an environment: a clone of the template, with the function's own mounts.

::

    prepare()   before a request      the template; own /proc and /dev/pts
    enter()     with a request        /var/task, /opt, /tmp, /dev/shm; then the old root is unmounted

The supervisor calls both. The function process has the same mount namespace, so that it moves with the supervisor.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from typing import Any, NamedTuple

from . import linux, mounts

TASK, OPT, TMP, SHM, SHARED = "/var/task", "/opt", "/tmp", "/dev/shm", "/mnt"  # noqa: S108
# A process of root needs no capability to write to these, and some of them change the whole machine.
_READ_ONLY = ("acpi", "bus", "fs", "irq", "sys", "sysrq-trigger")
_EMPTY = ("kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list", "timer_stats")


class Mount(NamedTuple):
    """A directory of the server that an environment sees."""

    source: str
    target: str
    is_writable: bool = False


class Root(NamedTuple):
    """The mounts of one function's environments."""

    code: str  # the code directory, or an empty text
    layers: tuple[str, ...]  # a later layer has precedence
    tmp_size: int  # bytes
    shm_size: int  # bytes
    mounts: tuple[Mount, ...] = ()
    hidden: tuple[str, ...] = ()  # files and directories of the server that are covered if a mount shows them


def decode_root(*fields: Any) -> Root:
    """Return a root whose fields were sent as JSON."""
    root = Root(*fields)
    return root._replace(mounts=tuple(Mount(*one) for one in root.mounts))


def _bind(subject: str, source: str, target: str, *, is_writable: bool = False) -> None:
    try:
        mounts.bind(source, target, is_writable=is_writable)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise OSError(f"its {subject} {source} cannot be entered: {reason}") from None


def _cover(path: str) -> None:
    """Show an empty file or directory in the place of another."""
    if os.path.isdir(path):
        mounts.mount_tmpfs(path, "mode=555,size=4k,ro")
    elif os.path.exists(path):
        mounts.bind("/dev/null", path)


def mount_points(root: Root) -> list[str]:
    """Return the directories that the template must have for a function's mounts."""
    return [one.target for one in root.mounts if not one.target.startswith((SHARED + "/", TMP + "/"))]


def prepare(template: int, target: str) -> None:
    """Attach a clone of the template at ``target``, with a /proc of this process namespace.

    Raises OSError if the kernel refuses.
    """
    mounts.attach(template, target)
    proc = os.path.join(target, "proc")
    mounts.mount_proc(proc)
    if not os.geteuid():
        _protect_proc(proc)
    with contextlib.suppress(OSError):  # some kernels need user id 0
        mounts.mount_terminals(os.path.join(target, "dev/pts"))


def _protect_proc(proc: str) -> None:
    for name in _READ_ONLY:
        if os.path.exists(path := os.path.join(proc, name)):
            mounts.bind(path, path)
    for name in _EMPTY:
        if os.path.isfile(path := os.path.join(proc, name)):
            mounts.bind("/dev/null", path)


def enter(target: str, root: Root, tmp: int, kept: Collection[str] = ()) -> None:
    """Mount the directories of a function in the prepared root at ``target``, and make that the root directory.

    Args:
        target: the argument of `prepare`.
        root: the mounts.
        tmp: a descriptor of the tree for /tmp.
        kept: directories of the template below /tmp and /opt, which stay visible.

    Raises:
        OSError: if a directory is missing, or the kernel refuses.
    """
    trees = [(path, mounts.clone(target + path)) for path in kept]
    mounts.attach(tmp, target + TMP)
    mounts.mount_tmpfs(target + SHM, f"mode=1777,size={root.shm_size}")
    if root.code:
        _bind("code directory", root.code, target + TASK)
    layers, is_composed = list(reversed(root.layers)), False
    if layers and any(path.startswith(OPT + "/") for path in kept):
        layers.append(target + OPT)  # has the mount points
    if len(layers) == 1:
        _bind("layer", layers[0], target + OPT)
    elif layers:
        try:
            mounts.mount_overlay(target + OPT, layers)
        except OSError as error:
            if len(root.layers) > 1:  # the server has found out that the kernel merges them
                reason = os.strerror(error.errno or 0)
                raise OSError(
                    f"its layers {', '.join(root.layers)} cannot be merged by an overlay mount: {reason}; copy them "
                    "into one folder, or set SERVERFULL_SANDBOX=namespaces"
                ) from None
            is_composed = True
            compose(root.layers[0], target + OPT)
    for path, fd in trees:
        os.makedirs(target + path, exist_ok=True)
        mounts.attach(fd, target + path)
    if is_composed:
        mounts.make_read_only(target + OPT)
    if any(one.target.startswith(SHARED + "/") for one in root.mounts):
        mounts.mount_tmpfs(target + SHARED, "mode=755,size=64k")  # for mount points that no other function sees
    for one in root.mounts:
        os.makedirs(target + one.target, exist_ok=True)
        _bind("directory", one.source, target + one.target, is_writable=one.is_writable)
    for path in root.hidden:
        _cover(target + path)
    if os.path.ismount(target + SHARED):
        mounts.make_read_only(target + SHARED)
    mounts.enter_root(target)


def compose(folder: str, target: str) -> None:
    """Show the entries of a folder one by one in a file system in memory at ``target``, which can get more of them."""
    mounts.mount_tmpfs(target, "mode=755,size=4m")
    for entry in os.scandir(folder):
        place = os.path.join(target, entry.name)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), place)
            continue
        if entry.is_dir():
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        _bind("layer", entry.path, place)


def renew(root: Root) -> None:
    """Mount the directories that each environment has for itself, in a copy of the root of another environment.

    /tmp is empty then, except for directories of the template below it.
    """
    kept: list[tuple[str, int]] = []
    for path in sorted(linux.mounts_below(TMP)):
        if not (kept and path.startswith(kept[-1][0] + "/")):
            kept.append((path, os.open(path, os.O_PATH)))
    mounts.mount_tmpfs(TMP, f"mode=700,size={root.tmp_size},nr_inodes={max(root.tmp_size // 4096, 1024)}")
    mounts.mount_tmpfs(SHM, f"mode=1777,size={root.shm_size}")
    with contextlib.suppress(OSError):  # some kernels need user id 0
        mounts.mount_terminals("/dev/pts")
    for path, fd in kept:
        os.makedirs(path, exist_ok=True)
        linux.bind_mount(f"/proc/self/fd/{fd}", path)
        os.close(fd)
