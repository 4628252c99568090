"""Whose connection it is: of all processes on a machine, only an environment's own may ask its Runtime API."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct

from serverfull_wsgi.executors.isolated.sandbox.linux import descendants

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_INODE_AT = 16 + 68  # in an answer: after its head, and the last of what is said of a socket
_LOOPBACK = socket.inet_aton("127.0.0.1").ljust(16, b"\0")


def connection_belongs_to(pid: int, init: int, port: int, server_port: int) -> bool:
    """Whether the connection from ``port`` was made by process ``pid``, or by another one that descends from ``init``.

    Either may be 0, for one that is not known yet.
    """
    inodes = _inodes(port, server_port)
    if pid and _has_socket(pid, inodes):  # nearly always, and quicker than looking for the others
        return True
    return bool(init) and any(_has_socket(pid, inodes) for pid in descendants(init))


def _inodes(port: int, server_port: int) -> set[str]:
    """The sockets on this machine that connect these ports of the loopback, as /proc names them."""
    try:
        inodes = {inode} if (inode := _asked(port, server_port)) else set()
    except OSError:
        inodes = _listed(port, server_port)
    return {f"socket:[{inode}]" for inode in inodes}


def _asked(port: int, server_port: int) -> int:
    """The inode of one socket, as the kernel tells of it in 20 µs; 0 if there is none. OSError where it does not.

    Source: sock_diag(7)
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(1.0)
        ports_and_addresses = struct.pack(">HH16s16s", port, server_port, _LOOPBACK, _LOOPBACK)
        anything = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # no interface, and a cookie that fits every socket
        about = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
        request = about + ports_and_addresses + anything
        netlink.send(struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, 1, 1, 0) + request)
        answer = netlink.recv(4096)
    (kind,) = struct.unpack_from("=H", answer, 4)
    if kind == _SOCK_DIAG_BY_FAMILY:
        inode: int = struct.unpack_from("=I", answer, _INODE_AT)[0]
        return inode
    (error,) = struct.unpack_from("=i", answer, 16)
    if error == -errno.ENOENT:
        return 0
    raise OSError(-error, os.strerror(-error))


def _listed(port: int, server_port: int) -> set[int]:
    """The same from a list of all sockets, which takes milliseconds."""
    local, remote = f":{port:04X}", f":{server_port:04X}"
    found = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/net/{name}") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[1].endswith(local) and fields[2].endswith(remote):
                    found.add(int(fields[9]))
    return found


def _has_socket(pid: int, inodes: set[str]) -> bool:
    with contextlib.suppress(OSError):
        folder = f"/proc/{pid}/fd/"
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                if os.readlink(folder + name) in inodes:
                    return True
    return False
