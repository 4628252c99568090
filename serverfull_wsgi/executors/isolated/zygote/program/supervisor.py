"""The init of an environment: starts the function's process within its limits, and waits for its end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from ...sandbox import linux
from ..protocol import MESSAGE, SPARE, Job, Place
from .child import await_job
from .line import say


def watch_children(fd: int) -> None:
    """Has ``fd`` written to when a child ends."""
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(fd, warn_on_full_buffer=False)


def begin(place: Place, door: socket.socket, writer: int) -> Job:
    """In a fork of the zygote's: from here comes the init, and from the init the function's process, with its job.

    ``writer`` is told the init's number, or why there is none. The job comes through ``door``.
    """
    try:
        if place["namespaces"]:
            linux.unshare()
            if init := os.fork():
                os.write(writer, str(init).encode())
                os._exit(0)
        else:
            os.write(writer, str(os.getpid()).encode())
            linux.become_subreaper()
    except OSError as error:
        with contextlib.suppress(OSError):  # the zygote is gone
            os.write(writer, str(error).encode())
        os._exit(1)
    os.close(writer)
    wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    watch_children(wakeup[1])
    linux.set_name(SPARE)
    inner, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        child = os.fork()
    except OSError:
        os._exit(1)
    if child:
        theirs.close()
        _guard(place, child, door, inner, wakeup[0])
    for fd in (inner.detach(), door.detach(), *wakeup):
        os.close(fd)
    return await_job(theirs)


def _guard(place: Place, child: int, door: socket.socket, inner: socket.socket, wakeup: int) -> NoReturn:
    """The init, from the first: it has the function's process within its limits before any code of the function's."""
    why = _limit(place, child)
    _await_job(door, child, wakeup)
    message, fds, _, _ = socket.recv_fds(door, MESSAGE, 2)
    if not message:
        os._exit(0)
    line, output = socket.socket(fileno=fds[0]), fds[1]
    door.close()
    linux.set_name("serverfull init")
    job = json.loads(message)
    try:
        if why:
            raise OSError(why)
        _arrange(job)
        socket.send_fds(inner, [message], fds)
    except OSError as error:
        linux.kill(child)
        say(line, failed=str(error))
        os._exit(1)
    inner.close()
    os.close(output)
    end_all = linux.kill_namespace if job["namespaces"] else lambda: linux.kill_descendants(place["cgroups"])
    _wait(line, child, wakeup, end_all)


def _await_job(door: socket.socket, child: int, wakeup: int) -> None:
    """Returns when there is one, or nobody to send one; ends, so that another is forked, if the child does before."""
    poll = select.poll()
    poll.register(door, select.POLLIN)
    poll.register(wakeup, select.POLLIN)
    while door.fileno() not in [fd for fd, _ in poll.poll()]:
        os.read(wakeup, 4096)
        if os.waitpid(child, os.WNOHANG)[0]:
            os._exit(0)


def _limit(place: Place, child: int) -> str:
    """Puts the function's process into its control groups; why not, if that fails."""
    try:
        for path in place["cgroups"]:
            with open(path, "w") as file:
                file.write(str(child))
    except OSError as error:
        return str(error)
    return ""


def _arrange(job: Job) -> None:
    """The file system as the environment sees it, as far as it can be had here; the order matters."""
    if job["private_tmp"]:
        programs = [os.path.dirname(path) for path in job["argv"]]
        linux.private_tmp(job["tmp"], [*job["keep"], *programs, sys.prefix, sys.base_prefix, *sys.path])
    if job["own_proc"]:
        linux.mount_proc()


def _wait(line: socket.socket, child: int, wakeup: int, end_all: Any) -> NoReturn:
    """The init's part: returns never."""
    poll = select.poll()
    poll.register(line, select.POLLIN)
    poll.register(wakeup, select.POLLIN)
    status, peak = None, 0
    while status is None:
        ready = [fd for fd, _ in poll.poll()]
        if line.fileno() in ready:  # a word to end it, or the server is gone
            linux.kill(child)
        with contextlib.suppress(BlockingIOError):
            os.read(wakeup, 4096)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                if ended[0] == child:
                    status, peak = ended[1], ended[2].ru_maxrss
        if line.fileno() in ready:
            time.sleep(0.0005)
    end_all()
    say(line, ended=status, peak=peak)
    os._exit(0)
