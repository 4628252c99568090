"""Whose connection it is: of all processes on a machine, only an environment's own may ask its Runtime API."""

from __future__ import annotations

import contextlib
import os

from serverfull_wsgi.executors.linux import descendants


def is_of(pid: int, init: int, port: int, server_port: int) -> bool:
    """Whether the connection from ``port`` was made by process ``pid``, or by another one that descends from ``init``.

    Either may be 0, for one that is not known yet.
    """
    inodes = _inodes(port, server_port)
    if pid and _has_socket(pid, inodes):  # nearly always, and quicker than looking for the others
        return True
    return bool(init) and any(_has_socket(pid, inodes) for pid in descendants(init))


def _inodes(port: int, server_port: int) -> set[str]:
    """The sockets on this machine that connect these ports of the loopback, as /proc names them."""
    local, remote = f":{port:04X}", f":{server_port:04X}"
    found = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/net/{name}") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[1].endswith(local) and fields[2].endswith(remote):
                    found.add(f"socket:[{fields[9]}]")
    return found


def _has_socket(pid: int, inodes: set[str]) -> bool:
    with contextlib.suppress(OSError):
        folder = f"/proc/{pid}/fd/"
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                if os.readlink(folder + name) in inodes:
                    return True
    return False
