"""A process without the features of Linux that macOS lacks, as far as they can be hidden: call `hide` first."""

import builtins
import fcntl
import io
import os
import select
import signal
import socket
import subprocess  # noqa: F401  (it decides by the platform at import, and so does the next)
import sys
import sysconfig
import urllib.request  # noqa: F401

ABSENT = {
    os: "pipe2 memfd_create eventfd pidfd_open unshare setns sched_setaffinity posix_fallocate O_PATH",
    select: "epoll EPOLLIN",
    signal: "pidfd_send_signal",
    socket: "AF_NETLINK SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED SO_PASSCRED",
    fcntl: "F_ADD_SEALS F_OFD_SETLK",
}
KERNEL = ("/proc", "/sys")


def is_of_kernel(path):
    return isinstance(path, str) and (path + "/").startswith(tuple(f"{folder}/" for folder in KERNEL))


def hiding(function):
    """Return the function so that it finds nothing below /proc and /sys."""

    def hidden(path=".", *arguments, **more):
        if is_of_kernel(os.fspath(path) if isinstance(path, os.PathLike) else path):
            raise FileNotFoundError(2, "hidden by a test", str(path))
        return function(path, *arguments, **more)

    return hidden


def hide():
    """Hide them, for the rest of the process."""
    for module, names in ABSENT.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    for name in ("open", "listdir", "scandir", "stat", "readlink"):
        setattr(os, name, hiding(getattr(os, name)))
    builtins.open = io.open = hiding(io.open)
    pair = socket.socketpair

    def socketpair(family=socket.AF_UNIX, type=socket.SOCK_STREAM, proto=0):
        if type == socket.SOCK_SEQPACKET:
            raise OSError(43, "Protocol not supported")
        return pair(family, type, proto)

    socket.socketpair = socketpair
    sysconfig.get_config_vars()  # read for the real platform
    sys.platform = "darwin"
