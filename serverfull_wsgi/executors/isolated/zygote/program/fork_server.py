"""The zygote's main process: it receives requests and forks an environment for each."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import time
from typing import NamedTuple

from ...sandbox import linux
from ...sandbox.root import mount_points
from ..protocol import (
    MAX_DESCRIPTORS,
    MESSAGE_LIMIT,
    Failed,
    Hello,
    Place,
    SpareRequest,
    StartRequest,
    SupervisorStarted,
    decode,
    encode,
)
from .mount_server import MountServer
from .probe import probe
from .python_runtime import load_libraries, run_client
from .supervisor import Steps, Template, start_environment, watch_children

IDLE_MS = 20  # without a message for so long, a fork delays no start request
GRACE = 0.5  # seconds for supervisors to end by themselves; a function can have stopped its supervisor
EXIT_TIMEOUT = 10.0  # seconds; a process in I/O that cannot be interrupted must not keep the zygote for ever


def main(fd: int, mount_server: tuple[int, int] | None, client_fault: str, exec_reason: str) -> None:
    """Serve the control socket ``fd`` until the server has gone; in a function process, run Python until its end.

    ``mount_server`` has the descriptor of the connection to the mount server, and its process id.
    """
    from .snapshot import Snapshot  # which is a fork server too

    control = socket.socket(fileno=fd)
    mounts = MountServer(socket.socket(fileno=mount_server[0]), mount_server[1]) if mount_server else MountServer()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the zygote ends with the server, by the control socket
    linux.become_subreaper()
    hello = Hello(client_fault, exec_reason, probe(mounts))
    load_libraries()
    gc.collect()
    gc.freeze()  # a collection in a fork then skips these objects, and does not copy their pages
    control.send(encode(hello))
    request = ForkServer(control, mounts).serve()
    if request is not None:
        run_client(request, Snapshot(request).install if request.snapshot else None)


class Spare(NamedTuple):
    """An environment that waits at the other end of ``requests`` for its start request."""

    place: Place
    supervisor: int
    requests: socket.socket


class ForkServer:
    """The zygote's loop over its control socket and its children."""

    def __init__(self, control: socket.socket, mounts: MountServer) -> None:
        self._control, self._mounts = control, mounts
        self._supervisors: set[int] = set()
        self._tmp_folders: set[str] = set()  # to remove at the end
        self._parent_groups: set[str] = set()  # control groups, likewise
        self._spare: Spare | None = None
        self._wanted: Place | None = None  # the place of the next spare
        self._wanted_groups: list[int] = []  # descriptors of its control groups, if the server sends them
        self._received: list[int] = []  # descriptors of the request that is being handled
        self._fork_error = ""  # why the last environment could not be forked

    def serve(self) -> StartRequest | None:
        """Return None after the server has gone; return in each function process that runs Python, with its request."""
        self._wakeup_reader, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        watch_children(self._wakeup)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wakeup_reader, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll(IDLE_MS if self._wanted else None)]
            if self._wakeup_reader in ready:
                os.read(self._wakeup_reader, 4096)
                self._reap()
                if self._mounts.is_lost:
                    os._exit(1)  # as if it had been killed: environments go on, and the server starts another zygote
            if self._control.fileno() in ready:
                message, fds, _, _ = socket.recv_fds(self._control, MESSAGE_LIMIT, MAX_DESCRIPTORS)
                if not message:
                    self._shut_down()
                    return None
                request = self._handle(message, fds)
            else:
                request = self._fork(self._wanted, self._wanted_groups) if self._wanted and not ready else None
            if request is not None:
                return request

    def _handle(self, message: bytes, fds: list[int]) -> StartRequest | None:
        """Handle one message. Return a request only in the function process."""
        request: StartRequest | SpareRequest = decode(message)
        has_spare = self._spare is not None and self._spare.place == request.place
        if isinstance(request, SpareRequest):
            self._want(None if has_spare else request.place, fds)
            return None
        self._tmp_folders.add(request.base)
        fds, groups = fds[: request.descriptors], fds[request.descriptors :]
        self._received = fds
        own_request = None if has_spare else self._fork(request.place, groups)
        if own_request is None:
            self._pass_on(request, message, fds)
            _close_all(groups)
        return own_request

    def _want(self, place: Place | None, groups: list[int]) -> None:
        """Fork a spare for this place when there is time, or none."""
        _close_all(self._wanted_groups)
        self._wanted, self._wanted_groups = place, groups
        if place is None:
            self._wanted_groups = _close_all(groups)

    def _pass_on(self, request: StartRequest, message: bytes, fds: list[int]) -> None:
        """Send a start request to the spare, or a failure to the server."""
        spare, self._spare = self._spare, None
        channel = fds[0]
        try:
            if spare is None:
                raise OSError(self._fork_error)
            with spare.requests:
                fds = [*fds, *self._tmp_of(request)]
                self._announce(spare, channel)
                socket.send_fds(spare.requests, [message], fds)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.write(channel, encode(Failed(str(error))))
        self._received = _close_all(fds)

    def _announce(self, spare: Spare, channel: int) -> None:
        os.write(channel, encode(SupervisorStarted(spare.supervisor)))

    def _tmp_of(self, request: StartRequest) -> list[int]:
        """Return the tree of temporary files for a root directory of its own."""
        if not request.root:
            return []
        return [self._mounts.tmp(request.tmp, request.root.tmp_size, mount_points(request.root))]

    def _steps(self, place: Place, groups: list[int], template: Template) -> Steps:
        return Steps(place, template)

    def _fork(self, place: Place, groups: list[int]) -> StartRequest | None:
        """Fork an environment, as the new spare. Return a request only in the function process.

        ``groups`` are descriptors of its control groups, if the server sends them.
        """
        if place == self._wanted:
            self._wanted = None
        self._close_spare()
        self._parent_groups.update(os.path.dirname(os.path.dirname(path)) for path in place.cgroups)
        try:
            template = self._mounts.template() if place.root else -1
        except OSError as error:
            self._fork_error = str(error)
            return None
        requests, supervisor_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reader, writer = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:  # too many processes; the running environments go on
            self._fork_error = str(error)
            for fd in (requests.detach(), supervisor_end.detach(), reader, writer, *_given(template)):
                os.close(fd)
            return None
        if not pid:
            signal.set_wakeup_fd(-1)
            for fd in (reader, requests.detach(), self._wakeup, self._wakeup_reader, self._control.detach()):
                os.close(fd)
            self._mounts.close()
            _close_all(self._received)  # the request brings them to the supervisor, which closes them in time
            steps = self._steps(place, groups, Template(template, self._mounts.kept))
            return start_environment(steps, supervisor_end, writer)
        _close_all(_given(template))
        if groups is self._wanted_groups:
            self._wanted_groups = _close_all(groups)
        os.close(writer)
        supervisor_end.close()
        with open(reader, "rb") as report:
            message = report.read()
        started = decode(message) if message else Failed("the supervisor ended while it started")
        if not (isinstance(started, SupervisorStarted) and started.pid == pid):
            os.waitpid(pid, 0)  # the fork that entered namespaces, or failed; with namespaces, its child is left
        if isinstance(started, SupervisorStarted):
            self._supervisors.add(started.pid)
            self._spare = Spare(place, started.pid, requests)
        else:
            self._fork_error = started.reason
            requests.close()
        return None

    def _close_spare(self) -> None:
        """Close the socket of the spare, which ends then."""
        if self._spare:
            self._spare.requests.close()
            self._spare = None

    def _shut_down(self) -> None:
        """Wait until all supervisors have seen that the server has gone, kill the late ones, and remove files."""
        self._close_spare()
        self._mounts.close()
        started = time.monotonic()
        while linux.children() and time.monotonic() < started + EXIT_TIMEOUT:
            if time.monotonic() > started + GRACE:
                for pid in self._supervisors:
                    linux.kill(pid)
            self._reap()
            time.sleep(0.002)
        for path in self._tmp_folders:
            linux.remove_tree(path)
        for path in self._parent_groups:
            with contextlib.suppress(OSError):
                for entry in [*os.scandir(path)]:
                    if entry.is_dir():
                        os.rmdir(entry)
                os.rmdir(path)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                if self._spare and pid == self._spare.supervisor:
                    self._close_spare()
                self._supervisors.discard(pid)
                self._mounts.pids.discard(pid)
        for pid in {*linux.children()} - self._supervisors - self._mounts.pids:  # orphans of a supervisor that died
            linux.kill(pid)


def _given(fd: int) -> list[int]:
    return [fd] if fd >= 0 else []


def _close_all(fds: list[int]) -> list[int]:
    """Close descriptors. Return an empty list."""
    for fd in fds:
        os.close(fd)
    return []
