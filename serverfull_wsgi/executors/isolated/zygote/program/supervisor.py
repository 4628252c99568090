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
    MESSAGE_LIMIT,
    SPARE_NAME,
    SUPERVISOR_NAME,
    Ended,
    Failed,
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


def watch_children(fd: int) -> None:
    """Have the interpreter write a byte to ``fd`` whenever a child ends."""
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(fd, warn_on_full_buffer=False)


def start_environment(place: Place, requests: socket.socket, report: int, template: Template) -> StartRequest:
    """Turn a fork of the zygote into a supervisor, which forks the function process.

    The supervisor never returns. The function process returns with its request, if it is to run Python. ``report`` is
    a descriptor that receives `SupervisorStarted` or `Failed`; ``requests`` is the socket of the start request;
    ``template`` is for an environment with a root directory of its own.
    """
    try:
        if place.namespaces:
            linux.unshare()
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
        _supervise(place, child, requests, to_child, wakeup[0], template)
    for fd in (to_child.detach(), requests.detach(), *wakeup, *([template.fd] if place.root else [])):
        os.close(fd)
    return wait_for_request(from_supervisor)


def _supervise(
    place: Place, child: int, requests: socket.socket, to_child: socket.socket, wakeup: int, template: Template
) -> NoReturn:
    """Limit the function process before any code of the function runs, pass the request on, and wait for the end."""
    limit_error = _enter_groups(place, child)
    if place.root:
        limit_error = limit_error or _prepare_root(template.fd, place.root)
    elif place.hidden_groups:
        limit_error = limit_error or _hide_groups()
    _wait_for_request(requests, child, wakeup)
    message, fds, _, _ = socket.recv_fds(requests, MESSAGE_LIMIT, 4)
    if not message:
        os._exit(0)
    tmp = fds.pop() if place.root else -1
    channel, output, counter = socket.socket(fileno=fds[0]), *fds[1:]
    requests.close()
    linux.set_process_name(SUPERVISOR_NAME)
    request: StartRequest = decode(message)
    try:
        if limit_error:
            raise OSError(limit_error)
        if request.root:
            root.enter(place.root, request.root, tmp, template.kept)
        else:
            _mount(request)
        socket.send_fds(to_child, [message], fds)
    except OSError as error:
        linux.kill(child)
        send(channel, Failed(str(error)))
        os._exit(1)
    to_child.close()
    os.close(output)
    os.close(counter)
    end_all = linux.kill_namespace if place.namespaces else lambda: linux.kill_descendants(place.cgroups)
    _wait_for_end(channel, child, wakeup, end_all)


def _enter_groups(place: Place, child: int) -> str:
    """Put the function process into its control groups. Return the reason if that fails, else an empty text."""
    try:
        for path in place.cgroups:
            with open(path, "w") as file:
                file.write(str(child))
    except OSError as error:
        return str(error)
    return ""


def _hide_groups() -> str:
    """Hide control groups, also from the function process. Return the reason if that fails, else an empty text."""
    try:
        linux.forbid_user_namespaces()
        linux.hide_groups()
    except OSError as error:
        return str(error)
    return ""


def _prepare_root(template: int, target: str) -> str:
    """Attach the root directory. Return the reason if that fails, else an empty text."""
    try:
        linux.forbid_user_namespaces()
        root.prepare(template, target)
    except OSError as error:
        return str(error)
    return ""


def _wait_for_request(requests: socket.socket, child: int, wakeup: int) -> None:
    """Return when a request has arrived or the zygote has gone. Exit if the child dies: the zygote then forks anew."""
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    poll.register(wakeup, select.POLLIN)
    while requests.fileno() not in [fd for fd, _ in poll.poll()]:
        os.read(wakeup, 4096)
        if os.waitpid(child, os.WNOHANG)[0]:
            os._exit(0)


def _mount(request: StartRequest) -> None:
    """Mount the environment's own /tmp and /proc, as far as the request has them."""
    if request.private_tmp:
        programs = [os.path.dirname(path) for path in request.argv]
        keep = [*request.keep, *programs, sys.prefix, sys.base_prefix, *sys.path]
        linux.mount_private_tmp(request.tmp, keep)
    if request.own_proc:
        linux.mount_proc()


def _wait_for_end(channel: socket.socket, child: int, wakeup: int, end_all: Callable[[], None]) -> NoReturn:
    """Wait for the function process, end all leftover processes, send `Ended` and exit."""
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
        if channel.fileno() in ready:
            time.sleep(0.0005)  # END stays unread, so that poll returns at once until the child has died
    end_all()
    send(channel, Ended(status, peak_kib))
    os._exit(0)
