"""The supervisor of an environment: it starts and limits the function process, and ends all leftover processes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection
from typing import NamedTuple, NoReturn

from ...sandbox import linux, root
from ..protocol import (
    MAX_DESCRIPTORS,
    MESSAGE_LIMIT,
    SNAPSHOT_NAME,
    SPARE_NAME,
    SUPERVISOR_NAME,
    Ended,
    Failed,
    ListenerMoved,
    Place,
    StartRequest,
    SupervisorStarted,
    decode,
    encode,
    send,
)
from .child import wait_for_request


class Template(NamedTuple):
    """A clone of the root template."""

    fd: int  # -1 without a root
    kept: Collection[str]  # directories below /tmp and /opt


BACKLOG = 32  # connections that wait to be accepted


def watch_children(fd: int) -> None:
    """Have the interpreter write a byte to ``fd`` whenever a child ends."""
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(fd, warn_on_full_buffer=False)


class Steps:
    """The steps that differ between environments of a zygote and those of a snapshot. Each may raise OSError.

    Args:
        place: the place of the environment.
        template: for an environment with a root directory of its own.
    """

    def __init__(self, place: Place, template: Template) -> None:
        self.place = place
        self._template = template

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that the function process must not have."""
        return [self._template.fd] if self.place.root else []

    def unshare(self) -> None:
        """Enter new namespaces."""
        linux.unshare(has_network=self.place.has_network)

    def limit(self, child: int) -> None:
        """Put the function process into its control groups, and hide all groups from it."""
        for path in self.place.cgroups:
            with open(path, "w") as file:
                file.write(str(child))
        if self.place.root:
            root.prepare(self._template.fd, self.place.root)
        elif self.place.hidden_groups:
            linux.hide_groups()

    def isolate(self, request: StartRequest, channel: socket.socket, fds: list[int]) -> list[int]:
        """Mount the environment's own directories. Return the descriptors for the function process.

        ``fds`` are those that have arrived with the request.
        """
        if self.place.hidden_groups and request.snapshot:
            linux.limit_cgroup_namespaces(1)  # its environments have user namespaces below its own
        elif self.place.hidden_groups:
            linux.forbid_user_namespaces()
        if request.root:
            *fds, tmp = fds
            root.enter(self.place.root, request.root, tmp, self._template.kept)
            folder = root.TMP
        else:
            folder = request.snapshot
            if request.private_tmp:
                programs = [os.path.dirname(path) for path in request.argv]
                keep = [*request.keep, *programs, sys.prefix, sys.base_prefix, *sys.path]
                beneath = linux.mount_private_tmp(request.tmp, keep, beneath=folder)
                fds = fds if beneath is None else [*fds, beneath]
            if request.own_proc:
                linux.mount_proc()
        if request.snapshot and len(fds) == request.descriptors:
            fds = [*fds, os.open(folder, os.O_PATH | os.O_CLOEXEC)]
        return fds

    def wait_for_request(self, requests: socket.socket) -> StartRequest:
        """In the function process, wait for the request. Return if the process is to run Python."""
        return wait_for_request(requests)


def start_environment(steps: Steps, requests: socket.socket, report: int) -> StartRequest:
    """Turn a fork of the zygote or of a snapshot into a supervisor, which forks the function process.

    The supervisor never returns. The function process returns with its request, if it is to run Python. ``report`` is
    a descriptor that receives `SupervisorStarted` or `Failed`; ``requests`` is the socket of the start request.
    """
    try:
        if steps.place.namespaces:
            steps.unshare()
        if steps.place.has_own_pids:
            if supervisor := os.fork():
                os.write(report, encode(SupervisorStarted(supervisor)))
                os._exit(0)
        else:
            os.write(report, encode(SupervisorStarted(os.getpid())))
            linux.become_subreaper()
    except OSError as error:
        with contextlib.suppress(OSError):  # the zygote has gone
            os.write(report, encode(Failed(str(error))))
        os._exit(1)
    os.close(report)
    wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    watch_children(wakeup[1])
    linux.set_process_name(SPARE_NAME)
    to_child, from_supervisor = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        child = os.fork()
    except OSError:
        os._exit(1)
    if child:
        from_supervisor.close()
        _supervise(steps, child, requests, to_child, wakeup[0])
    for fd in (to_child.detach(), requests.detach(), *wakeup, *steps.descriptors):
        os.close(fd)
    return steps.wait_for_request(from_supervisor)


def _supervise(steps: Steps, child: int, requests: socket.socket, to_child: socket.socket, wakeup: int) -> NoReturn:
    """Limit the function process before any code of the function runs, pass the request on, and wait for the end."""
    limit_error = None
    try:
        steps.limit(child)
    except OSError as error:
        limit_error = error
    _wait_for_request(requests, child, wakeup)
    message, fds, _, _ = socket.recv_fds(requests, MESSAGE_LIMIT, MAX_DESCRIPTORS)
    if not message:
        os._exit(0)
    channel = socket.socket(fileno=fds[0])
    requests.close()
    linux.set_process_name(SUPERVISOR_NAME)
    request: StartRequest = decode(message)
    try:
        if limit_error:
            raise limit_error
        fds = steps.isolate(request, channel, fds)
        if not steps.place.has_network:
            _move_listener(request, channel)
        socket.send_fds(to_child, [message], fds)
    except OSError as error:
        linux.kill(child)
        send(channel, Failed(str(error)))
        os._exit(1)
    to_child.close()
    for fd in fds[1:]:
        os.close(fd)
    place = steps.place
    end_all = linux.kill_namespace if place.has_own_pids else lambda: linux.kill_descendants(place.cgroups)
    _wait_for_end(channel, child, wakeup, end_all, request)


def _move_listener(request: StartRequest, channel: socket.socket) -> None:
    """Listen at the Runtime API's address in this network, and send the socket to the server, which accepts."""
    host, port = request.env["AWS_LAMBDA_RUNTIME_API"].split(":")
    with socket.create_server((host, int(port)), backlog=BACKLOG) as listener:
        socket.send_fds(channel, [encode(ListenerMoved())], [listener.fileno()])


def _wait_for_request(requests: socket.socket, child: int, wakeup: int) -> None:
    """Return when a request has arrived or the zygote has gone. Exit if the child dies: the zygote then forks anew."""
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    poll.register(wakeup, select.POLLIN)
    while requests.fileno() not in [fd for fd, _ in poll.poll()]:
        os.read(wakeup, 4096)
        if os.waitpid(child, os.WNOHANG)[0]:
            os._exit(0)


def _wait_for_end(
    channel: socket.socket, child: int, wakeup: int, end_all: Callable[[], None], request: StartRequest
) -> NoReturn:
    """Wait for the function process, end all leftover processes, send `Ended` and exit.

    The leftover processes of a snapshot are its environments: end them after END, and not before.
    """
    shares_pids = bool(request.snapshot) and _shares_pids(request)
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(wakeup, select.POLLIN)
    status, peak_kib = None, 0
    while status is None:
        ready = [fd for fd, _ in poll.poll()]
        if channel.fileno() in ready:  # END has arrived, or the server has gone
            linux.kill(child)
        with contextlib.suppress(BlockingIOError):
            os.read(wakeup, 4096)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                if ended[0] == child:
                    status, peak_kib = ended[1], ended[2].ru_maxrss
        if shares_pids and status is None:
            _kill_orphans(child)
        if channel.fileno() in ready:
            time.sleep(0.0005)  # END stays unread, so that poll returns at once until the child has died
    if request.snapshot:
        send(channel, Ended(status, peak_kib))
        while channel.fileno() not in [fd for fd, _ in poll.poll()]:
            with contextlib.suppress(BlockingIOError):
                os.read(wakeup, 4096)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    end_all()
    send(channel, Ended(status, peak_kib))
    os._exit(0)


def _shares_pids(request: StartRequest) -> bool:
    """Return whether the environments of a snapshot are in its process namespace."""
    return not request.place.namespaces or (request.root is not None and not os.geteuid())


def _kill_orphans(snapshot: int) -> None:
    """Kill what an environment of a snapshot has left after its supervisor was killed, perhaps by the function.

    All other processes descend from the snapshot while it lives.
    """
    with contextlib.suppress(OSError), open(f"/proc/{snapshot}/comm") as file:
        if file.read().rstrip("\n") == SNAPSHOT_NAME:
            for pid in {*linux.children()} - {snapshot}:
                linux.kill(pid)
