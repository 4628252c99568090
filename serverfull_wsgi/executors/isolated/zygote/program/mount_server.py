"""The mount server of a zygote: a process whose mount namespace has the root template and each function's /tmp.

A mount ends with the last namespace or descriptor that has it. The mount server therefore keeps the template, and the
/tmp of each function, which outlives an environment that is replaced. Each environment gets copies, as descriptors
over a socket, and attaches them in its own namespace. A file system in memory ends when the server process removes the
directory that it is mounted on: the kernel then unmounts it in all namespaces.

The process is forked before the zygote imports anything, so that it is small, has one thread, and may enter a user
namespace. The zygote itself stays outside of that.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import NoReturn

from ...sandbox import linux, mounts
from ...sandbox.root_template import RootTemplate
from ..protocol import MESSAGE_LIMIT, MOUNT_SERVER_NAME, MountAnswer, RootSpec, TmpRequest, decode, encode

TEMPLATE = b"template"  # requests a clone of the template
MOST_FDS = 65536  # more than a server passes on


def serve(fd: int) -> NoReturn:
    """Serve the socket ``fd`` until its other end is closed.

    The first message that arrives is a `RootSpec`. The first answer has the reason if there can be no roots.
    """
    connection = socket.socket(fileno=fd)
    os.closerange(3, fd)  # the zygote holds the server's locks; this process must not
    os.closerange(fd + 1, MOST_FDS)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    linux.set_process_name(MOUNT_SERVER_NAME)
    linux.die_with_parent()
    spec: RootSpec = decode(connection.recv(MESSAGE_LIMIT))
    try:
        linux.unshare_mounts()
        template = RootTemplate(spec.target, spec.preload, spec.programs)
    except OSError as error:
        connection.send(encode(MountAnswer(str(error))))
        os._exit(0)
    connection.send(encode(MountAnswer("", spec.target, tuple(template.kept))))
    while request := connection.recv(MESSAGE_LIMIT):
        try:
            tree = template.clone() if request == TEMPLATE else _tmp(template, decode(request))
        except OSError as error:
            connection.send(encode(MountAnswer(str(error))))
            continue
        socket.send_fds(connection, [encode(MountAnswer(""))], [tree])
        os.close(tree)
    os._exit(0)


def _tmp(template: RootTemplate, request: TmpRequest) -> int:
    """Return a copy of the file system at a directory, mounted there if that is the first request for it."""
    template.make_mount_points(request.mount_points)
    path = request.path
    if os.stat(path).st_dev == os.stat(os.path.dirname(path)).st_dev:
        inodes = max(request.size // 4096, 1024)
        mounts.mount_tmpfs(path, f"mode=700,size={request.size},nr_inodes={inodes}")
    return mounts.clone(path)


class MountServer:
    """The zygote's end of its mount server.

    Args:
        connection: the socket, or None if environments have no root of their own.
        pid: the process.

    Attributes:
        pids: the process, or nothing; the owner removes one that has ended.
        target: the directory that roots are mounted on.
        kept: directories below /tmp and /opt that the roots show.
        reason: why there can be no roots; empty if there can.
    """

    def __init__(self, connection: socket.socket | None = None, pid: int = 0) -> None:
        self._connection = connection
        self.pids = {pid} if connection else set()
        self.reason, self.target, self.kept = MountAnswer("not requested")
        if connection:
            message = connection.recv(MESSAGE_LIMIT)
            answer = decode(message) if message else MountAnswer("the mount server ended while it started")
            self.reason, self.target, self.kept = answer

    @property
    def is_lost(self) -> bool:
        """Whether the process has ended that roots come from."""
        return bool(self._connection) and not self.reason and not self.pids

    def template(self) -> int:
        """Return a descriptor of a clone of the template. Raise OSError if that fails."""
        return self._request(TEMPLATE)

    def tmp(self, path: str, size: int, mount_points: list[str]) -> int:
        """Return a descriptor of the tree of temporary files at ``path``. Raise OSError if that fails."""
        return self._request(encode(TmpRequest(path, size, mount_points)))

    def _request(self, message: bytes) -> int:
        if self._connection is None:
            raise OSError("there is no mount server")
        self._connection.send(message)
        answer, fds, _, _ = socket.recv_fds(self._connection, MESSAGE_LIMIT, 1)
        if not answer:
            raise OSError("the mount server has ended")
        if reason := decode(answer).reason:
            raise OSError(reason)
        return fds[0]

    def close(self) -> None:
        """Close this process's copy of the socket."""
        if self._connection:
            self._connection.close()
