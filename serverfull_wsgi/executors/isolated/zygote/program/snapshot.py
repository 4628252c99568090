"""A snapshot: a function process that has ended its init phase, and from then on is a fork server for its function.

::

    AWS's client                           import the handler's module, run the hooks before the snapshot
      | client.restore_next()
    obstacles.py                           refuse, if a fork would not keep the state of the process
      |
    SnapshotServer                         wait for requests; keep a spare; reap
      | fork
    supervisor.py                          unshare, fork again; limit the function process
      | fork
    RestoreSteps.wait_for_request          wait for the request; give up capabilities
      |
    restored process                       return from restore_next; run the hooks after a restore; request an event

An environment of a snapshot is in namespaces below the snapshot's. Its mounts are a copy of the snapshot's, with
another /tmp. If the server is root and environments have a root directory of their own, the snapshot's /proc is
protected by further mounts, over which the kernel allows no other /proc. An environment then keeps /proc, and stays in
the process namespace of the snapshot. The snapshot ends with its supervisor, and all environments with it, so that the
server keeps a snapshot that has environments. If the snapshot itself dies, its supervisor and the environments go on.

The function's code has run in this process, and may have changed everything in it. So the server counts on nothing
here: it knows an environment's processes by the kernel's word, and ends them itself if a supervisor does not.

Invariants: an environment's process is in its control groups before `restore_next` returns. It has a copy of the
snapshot's temporary files, a description of its own for each open file, and no descriptor of another environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import select
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Callable, Collection
from typing import Any, NoReturn

from ...sandbox import linux, root
from ..protocol import (
    MAX_DESCRIPTORS,
    MESSAGE_LIMIT,
    SNAPSHOT_NAME,
    Failed,
    FunctionStarted,
    Place,
    SnapshotRefused,
    SnapshotTaken,
    StartRequest,
    SupervisorStarted,
    decode,
    encode,
    send,
)
from .child import COUNTER_FD, KEPT_FDS, LOG_FD
from .fork_server import ForkServer, Spare
from .mount_server import MountServer
from .obstacles import find_obstacles
from .supervisor import Steps, Template

TMP = "tmp"  # the name of the snapshot's own temporary files in its directory
FILE_LIMIT = 1000  # names of module files that the server compares
_EXIT_STATUS = 126
_REOPENED = os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK | os.O_DIRECTORY | os.O_PATH  # flags of a file that stay


class Snapshot:
    """The process of a snapshot, from its start to its end.

    Args:
        request: the request that started the process.
    """

    def __init__(self, request: StartRequest) -> None:
        self._request = request
        self._folder = KEPT_FDS + 1

    def install(self, client: Any, connect: Callable[..., None]) -> None:
        """Have AWS's client take the snapshot when it would wait for a restore.

        Args:
            client: the class of the client.
            connect: a function that connects the client to the Runtime API: `python_runtime.Connect`.
        """
        self._connect = connect
        os.close(COUNTER_FD)

        def restore_next(self_of_client: Any) -> None:
            self._wait_for_restore()
            self_of_client.lambda_runtime_address = os.environ["AWS_LAMBDA_RUNTIME_API"]

        client.restore_next = restore_next

    def _wait_for_restore(self) -> None:
        """Wait for start requests. Return in each environment."""
        control = socket.socket(fileno=KEPT_FDS)
        shared_tmp = "" if self._request.private_tmp else self._request.tmp
        if reasons := find_obstacles((control.fileno(), self._folder), shared_tmp):
            control.send(encode(SnapshotRefused(reasons)))
            control.recv(1)  # until the server has closed its end, so that the message is not taken for an early end
            os._exit(0)
        state = _State(self._request)
        gc.freeze()  # a collection in a fork then copies no pages of these objects
        linux.set_process_name(SNAPSHOT_NAME)
        control.send(encode(SnapshotTaken(_module_files(self._request.cwd))))
        server = SnapshotServer(control, self._folder)
        try:
            request = server.serve()
        except BaseException as error:  # never return to the function's code in any process but an environment's
            os.write(2, f"the snapshot failed: {type(error).__name__}: {error}\n".encode())
            os._exit(_EXIT_STATUS)
        if request is None:
            os._exit(0)
        state.restore(request, server.received, self._folder, self._connect)


class SnapshotServer(ForkServer):
    """The snapshot's loop over its socket and its children.

    `received` are the descriptors of the request, in the process of an environment.
    """

    def __init__(self, control: socket.socket, folder: int) -> None:
        super().__init__(control, MountServer())
        self._folder = folder
        self.received: list[int] = []

    def _tmp_of(self, request: StartRequest) -> list[int]:
        return []

    def _steps(self, place: Place, groups: list[int], template: Template) -> Steps:
        return RestoreSteps(place, template, groups, self._folder, self.received)

    def _announce(self, spare: Spare, channel: int) -> None:
        """Send nothing: the supervisor's pid in the snapshot's namespace has no meaning for the server."""

    def _shut_down(self) -> None:
        self._close_spare()

    def _handle(self, message: bytes, fds: list[int]) -> StartRequest | None:
        if self._spare and _is_closed(self._spare.requests):  # the spare has died; it need not be a child
            self._close_spare()
        return super()._handle(message, fds)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._supervisors.discard(pid)


class RestoreSteps(Steps):
    """The steps of an environment that starts from a snapshot.

    Args:
        place, template: as for `Steps`.
        groups: descriptors of the files ``cgroup.procs`` of its control groups.
        folder: a descriptor of the snapshot's directory for temporary files.
        received: the list for the descriptors of the request.
    """

    def __init__(self, place: Place, template: Template, groups: list[int], folder: int, received: list[int]) -> None:
        super().__init__(place, template)
        self._groups, self._folder, self._received = groups, folder, received

    def unshare(self) -> None:
        os.fchdir(self._folder)  # the current directory is in the new mount namespace, other descriptors are not
        linux.unshare(processes=self.place.has_own_pids, has_network=self.place.has_network)

    def limit(self, child: int) -> None:
        for fd in self._groups:
            os.write(fd, str(child).encode())
        if self.place.hidden_groups:
            linux.forbid_user_namespaces()

    def isolate(self, request: StartRequest, channel: socket.socket, fds: list[int]) -> list[int]:
        send(channel, SupervisorStarted(0))
        if request.root:
            root.renew(request.root)
        elif request.private_tmp:
            os.chdir(os.path.basename(request.tmp))
            linux.mount_private_tmp(".", linux.mounts_below(root.TMP))
        os.chdir("/")
        if request.own_proc:
            linux.mount_proc()
        return fds

    def wait_for_request(self, requests: socket.socket) -> StartRequest:
        message, fds, _, _ = socket.recv_fds(requests, MESSAGE_LIMIT, MAX_DESCRIPTORS)
        if not message:
            os._exit(0)
        request: StartRequest = decode(message)
        self._received[:] = fds
        linux.die_with_parent()
        os.setsid()
        with socket.socket(fileno=os.dup(fds[0])) as channel:
            send(channel, FunctionStarted())
        linux.drop_privileges()
        return request


class _State:
    """The state that the snapshot's program changes, and that each environment gets back.

    Args:
        request: the request that started the snapshot.
    """

    def __init__(self, request: StartRequest) -> None:
        self._request = request
        self._cwd = os.getcwd()
        with open("/proc/self/comm") as file:
            self._name = file.read().rstrip("\n")
        self._child_handler = signal.getsignal(signal.SIGCHLD)
        self._wakeup = signal.set_wakeup_fd(-1)
        self._fds = {int(name) for name in os.listdir("/proc/self/fd")}
        self._output = os.stat(1).st_ino

    def restore(self, request: StartRequest, received: list[int], folder: int, connect: Callable[..., None]) -> None:
        """Turn this process into an environment. ``received`` are the descriptors of its request."""
        channel, output, counter, *frames = received
        try:
            linux.set_process_name(self._name)
            signal.signal(signal.SIGCHLD, self._child_handler or signal.SIG_DFL)
            signal.set_wakeup_fd(self._wakeup)
            self._copy_tmp(request, folder)
            os.chdir(self._cwd)
            self._renew_descriptors(output, {*received, folder})
            os.close(folder)
            os.close(output)
            self._renew_variables(request)
            if random := sys.modules.get("numpy.random"):
                random.seed()  # the module random does this itself in a fork
            connect(counter, *frames)
        except Exception as error:
            _fail(channel, f"the snapshot's state cannot be restored: {type(error).__name__}: {error}")
        os.close(channel)

    def _copy_tmp(self, request: StartRequest, folder: int) -> None:
        """Copy the temporary files of the init phase, which only a private /tmp can have."""
        if request.private_tmp:
            source = f"/proc/self/fd/{folder}" if request.root else f"/proc/self/fd/{folder}/{TMP}"
            if os.listdir(source):
                _copy_tree(source, root.TMP, linux.mounts_below(root.TMP))

    def _renew_descriptors(self, output: int, kept: set[int]) -> None:
        """Close the descriptors of the snapshot's program, and open the function's own anew.

        A file has one position for all processes that have it by a fork.
        """
        for fd in (1, 2, LOG_FD):
            os.dup2(output, fd)
        for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
            if fd <= LOG_FD or fd in kept:
                continue
            if fd not in self._fds:
                with contextlib.suppress(OSError):  # the list's own descriptor has been closed
                    os.close(fd)
            else:
                self._renew(fd, output)

    def _renew(self, fd: int, output: int) -> None:
        try:
            status = os.stat(fd)
        except OSError:  # the descriptor of the list in the constructor
            return
        if status.st_ino == self._output and stat.S_ISFIFO(status.st_mode):
            os.dup2(output, fd, inheritable=os.get_inheritable(fd))
        elif stat.S_ISREG(status.st_mode):
            path = os.readlink(f"/proc/self/fd/{fd}")
            in_tmp = self._request.private_tmp and path.startswith("/tmp/")  # noqa: S108
            flags = fcntl.fcntl(fd, fcntl.F_GETFL) & _REOPENED
            new = os.open(path if in_tmp else f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)
            if not flags & os.O_PATH:
                os.lseek(new, os.lseek(fd, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(new, fd, inheritable=os.get_inheritable(fd))
            os.close(new)

    def _renew_variables(self, request: StartRequest) -> None:
        """Set the variables that differ between a snapshot and its environments."""
        for name, value in request.env.items():
            if value != self._request.env.get(name):
                os.environ[name] = value
        tempfile = sys.modules.get("tempfile")
        if tempfile and tempfile.tempdir == self._request.env.get("TMPDIR"):
            tempfile.tempdir = None  # type: ignore[attr-defined]


def _copy_tree(source: str, target: str, mounted: Collection[str]) -> None:
    """Copy a directory with modes, times, and links as links. Sockets, pipes and the places of mounts are left out."""
    for entry in os.scandir(source):
        path = os.path.join(target, entry.name)
        if path in mounted:  # a directory of the server, such as the code
            continue
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), path)
        elif entry.is_dir():
            with contextlib.suppress(FileExistsError):  # the parent of a directory that stays visible
                os.mkdir(path)
            _copy_tree(entry.path, path, mounted)
            shutil.copystat(entry.path, path)
        elif entry.is_file():
            shutil.copy2(entry.path, path)


def _module_files(root: str) -> list[str]:
    """Return the files of imported modules that are in the code directory, relative to it."""
    prefix = os.path.join(root, "")
    files = [str(getattr(module, "__file__", None)) for module in [*sys.modules.values()]]
    return sorted({file.removeprefix(prefix) for file in files if file.startswith(prefix)})[:FILE_LIMIT]


def _is_closed(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))


def _fail(channel: int, reason: str) -> NoReturn:
    os.write(channel, encode(Failed(reason)))
    os._exit(_EXIT_STATUS)
