"""The init of an environment: starts the function's process within its limits, and waits for its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from .. import linux
from . import Job
from .becoming import become
from .line import say


def watch_children(fd: int) -> None:
    """Has ``fd`` written to when a child ends."""
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(fd, warn_on_full_buffer=False)


def begin(job: Job, line: socket.socket, output: int, writer: int) -> bool:
    """In a fork of the zygote's: from here comes the init, and from the init the function's process (True)."""
    try:
        if job["namespaces"]:
            linux.unshare()
            if init := os.fork():
                os.write(writer, str(init).encode())
                os._exit(0)
            os.close(writer)
            _arrange(job)
        else:
            os.write(writer, str(os.getpid()).encode())
            os.close(writer)
            linux.become_subreaper()
    except OSError as error:
        say(line, failed=str(error))
        os._exit(1)
    wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    watch_children(wakeup[1])
    gate = os.pipe()
    if child := os.fork():
        os.close(output)
        os.close(gate[0])
        _limit(job, child, line, gate[1])
        end_all = linux.kill_namespace if job["namespaces"] else lambda: linux.kill_descendants(job["cgroups"])
        _wait(line, child, wakeup[0], end_all)
    become(job, line, output, gate[0])
    return True


def _limit(job: Job, child: int, line: socket.socket, gate: int) -> None:
    """Puts the function's process into its control groups, which takes the kernel some 10 ms, and lets it go on."""
    try:
        for path in job["cgroups"]:
            with open(path, "w") as file:
                file.write(str(child))
    except OSError as error:
        linux.kill(child)
        say(line, failed=str(error))
        os._exit(1)
    os.write(gate, b"!")
    os.close(gate)


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
