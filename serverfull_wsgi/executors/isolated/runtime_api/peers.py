"""The process behind a TCP connection: only an environment's own processes may use its Runtime API."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct

from serverfull_wsgi.executors.isolated.sandbox.linux import descendants

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_NETLINK_TIMEOUT = 1.0  # seconds; the kernel answers in about 20 µs
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_INODE_OFFSET = _HEADER.size + 68  # the last field of struct inet_diag_msg
_LOOPBACK = socket.inet_aton("127.0.0.1").ljust(16, b"\0")
_NO_COOKIE = 0xFFFFFFFF  # INET_DIAG_NOCOOKIE: match any socket


def connection_belongs_to(pid: int, supervisor: int, port: int, server_port: int) -> bool:
    """Return whether process ``pid``, or any that descends from ``supervisor``, opened the connection from ``port``.

    Either pid may be 0 if it is not known yet.
    """
    names = _socket_names(port, server_port)
    if pid and _has_socket(pid, names):  # nearly always; descendants() reads all of /proc
        return True
    return bool(supervisor) and any(_has_socket(pid, names) for pid in descendants(supervisor))


def _socket_names(port: int, server_port: int) -> set[str]:
    """Return the sockets that connect these ports of the loopback interface, named as in /proc/PID/fd."""
    try:
        inodes = {inode} if (inode := _query_inode(port, server_port)) else set()
    except OSError:
        inodes = _list_inodes(port, server_port)
    return {f"socket:[{inode}]" for inode in inodes}


def _query_inode(port: int, server_port: int) -> int:
    """Return the inode of the socket, or 0 if there is none. Raise OSError if the kernel does not support the query.

    Source: sock_diag(7)
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_NETLINK_TIMEOUT)
        addresses = struct.pack(">HH16s16s", port, server_port, _LOOPBACK, _LOOPBACK)
        any_interface = struct.pack("=III", 0, _NO_COOKIE, _NO_COOKIE)
        all_states = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
        query = all_states + addresses + any_interface
        netlink.send(_HEADER.pack(_HEADER.size + len(query), _SOCK_DIAG_BY_FAMILY, 1, 1, 0) + query)
        answer = netlink.recv(4096)
    (kind,) = struct.unpack_from("=H", answer, 4)
    if kind == _SOCK_DIAG_BY_FAMILY:
        inode: int = struct.unpack_from("=I", answer, _INODE_OFFSET)[0]
        return inode
    (error,) = struct.unpack_from("=i", answer, _HEADER.size)
    if error == -errno.ENOENT:
        return 0
    raise OSError(-error, os.strerror(-error))


def _list_inodes(port: int, server_port: int) -> set[int]:
    """Return the inodes from the list of all TCP sockets, which takes milliseconds."""
    local, remote = f":{port:04X}", f":{server_port:04X}"
    inodes = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/net/{name}") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[1].endswith(local) and fields[2].endswith(remote):
                    inodes.add(int(fields[9]))
    return inodes


def _has_socket(pid: int, names: set[str]) -> bool:
    with contextlib.suppress(OSError):
        folder = f"/proc/{pid}/fd/"
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                if os.readlink(folder + name) in names:
                    return True
    return False
