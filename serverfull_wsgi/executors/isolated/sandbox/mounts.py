"""System calls for mounts: trees that exist as a descriptor until they are attached, and the change of the root.

::

    clone(path)  ──> descriptor of a tree ──> restrict(fd) ──> attach(fd, target)

A descriptor of a tree can be passed to a process in another user namespace, which attaches the tree there. The calls
need Linux 5.12. The zygotes of other interpreters import this module too.
"""

from __future__ import annotations

import ctypes
import os

from .linux import call, libc

# Sources: open_tree(2), move_mount(2), mount_setattr(2), mount(2), pivot_root(2), and the kernel's headers. These
# numbers of system calls are the same on all architectures.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, 0o2000000
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID = 1, 2
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND, _MS_PRIVATE = 1, 2, 4, 8, 32, 0x1000, 0x40000
_MNT_DETACH = 2


class _Attributes(ctypes.Structure):
    """``struct mount_attr``."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


def _system_call(number: int, *arguments: object) -> int:
    result: int = libc().syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"system call {number}: {os.strerror(code)}")
    return result


def clone(path: str, *, is_recursive: bool = True) -> int:
    """Return a descriptor of a copy of the tree at ``path``: a directory or a file, with all mounts below it."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | (_AT_RECURSIVE if is_recursive else 0)
    try:
        return _system_call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)
    except OSError as error:
        raise OSError(error.errno, f"{path} cannot be mounted: {os.strerror(error.errno or 0)}") from None


def restrict(fd: int, *, is_writable: bool = False) -> None:
    """Make all mounts of a tree private and without effect of set-user-id bits, and read-only unless writable."""
    attributes = _Attributes(_MOUNT_ATTR_NOSUID | (0 if is_writable else _MOUNT_ATTR_RDONLY), 0, _MS_PRIVATE, 0)
    flags = _AT_EMPTY_PATH | _AT_RECURSIVE
    _system_call(_MOUNT_SETATTR, fd, b"", flags, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)))


def attach(fd: int, target: str) -> None:
    """Attach a tree at ``target``, and close its descriptor."""
    try:
        _system_call(_MOVE_MOUNT, fd, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(fd)


def bind(source: str, target: str, *, is_writable: bool = False) -> None:
    """Show the tree at ``source`` at ``target`` too, restricted."""
    fd = clone(source)
    try:
        restrict(fd, is_writable=is_writable)
    except OSError:
        os.close(fd)
        raise
    attach(fd, target)


def make_read_only(target: str) -> None:
    """Make the mount at ``target`` read-only, and leave the mounts below it as they are."""
    flags = _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV
    call("mount", None, os.fsencode(target), None, flags, None)


def mount_tmpfs(target: str, options: str) -> None:
    """Mount a file system in memory, with the options of tmpfs(5)."""
    call("mount", b"tmpfs", os.fsencode(target), b"tmpfs", _MS_NOSUID | _MS_NODEV, options.encode())


def mount_proc(target: str) -> None:
    """Mount a /proc of this process namespace. Raise OSError in containers that hide parts of /proc."""
    call("mount", b"proc", os.fsencode(target), b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None)


def mount_terminals(target: str) -> None:
    """Mount pseudo terminals that no other mount shows."""
    options = b"newinstance,ptmxmode=0666,mode=620"
    call("mount", b"devpts", os.fsencode(target), b"devpts", _MS_NOSUID | _MS_NOEXEC, options)


def mount_overlay(target: str, folders: list[str]) -> None:
    """Show several folders merged and read-only at ``target``; the first has precedence."""
    fds = [os.open(folder, os.O_PATH | os.O_CLOEXEC) for folder in folders]
    try:
        lower = ":".join(f"/proc/self/fd/{fd}" for fd in fds)  # a path could contain a colon or a comma
        call(
            "mount",
            b"overlay",
            os.fsencode(target),
            b"overlay",
            _MS_RDONLY | _MS_NOSUID | _MS_NODEV,
            f"lowerdir={lower}".encode(),
        )
    finally:
        for fd in fds:
            os.close(fd)


def enter_root(root: str) -> None:
    """Make a mount the root directory of all processes of this mount namespace, and unmount the old root."""
    os.chdir(root)
    call("pivot_root", b".", b".")
    call("umount2", b".", _MNT_DETACH)  # the old root lies over the new one
    os.chdir("/")
