"""The zygote itself: waits for jobs, and forks an environment for each."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from typing import Any, NamedTuple

from ...sandbox import linux
from ..protocol import MESSAGE, Job, Place
from .preload import preload, probe
from .python_runtime import become_runtime
from .supervisor import begin, watch_children

IDLE = 20  # milliseconds without a message after which there is time to fork a spare
PATIENCE = 0.5  # seconds that an init has to end what it is there for; a function may have stopped it


def main(fd: int, mode: str, modules: list[str]) -> None:
    """Serves the socket ``fd``; in the process of a function that this forks, returns when that ends."""
    control = socket.socket(fileno=fd)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever ends the server ends this by it
    linux.become_subreaper()
    hello = {"fork": False, "why": "", "client": False, "sandbox": probe()}
    if mode == "fork":
        hello.update(preload(modules))
    control.send(json.dumps(hello).encode())
    job = ForkServer(control).serve()
    if job is not None:
        become_runtime(job)  # from here an ordinary process, which ends as it likes


class Spare(NamedTuple):
    """An environment that waits for its job at the other end of ``door``."""

    place: Place
    init: int
    door: socket.socket


class ForkServer:
    """Waits for jobs, and forks an environment for each."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._inits: set[int] = set()
        self._base: set[str] = set()  # where temporary directories and
        self._groups: set[str] = set()  # control groups are
        self._spare: Spare | None = None
        self._wanted: Place | None = None  # the place of the next spare
        self._why = ""  # the last environment could not be forked

    def serve(self) -> Job | None:
        """Returns None when the server is gone; and in each process that is to run a function, its job."""
        self._wakeup_reader, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        watch_children(self._wakeup)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wakeup_reader, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll(IDLE if self._wanted else None)]
            if self._wakeup_reader in ready:
                os.read(self._wakeup_reader, 4096)
                self._reap()
            if self._control.fileno() in ready:
                message, fds, _, _ = socket.recv_fds(self._control, MESSAGE, 2)
                if not message:
                    self._farewell()
                    return None
                job = self._attend(json.loads(message), message, fds)
            else:
                job = self._fork(self._wanted) if self._wanted and not ready else None
            if job is not None:
                return job

    def _attend(self, told: dict[str, Any], message: bytes, fds: list[int]) -> Job | None:
        """Takes a message; None but in the function's process."""
        if "spare" in told:
            self._wanted = None if self._is_spare(told["spare"]) else told["spare"]
            return None
        self._base.add(told["base"])
        place = {name: told[name] for name in ("cgroups", "namespaces")}
        job = None if self._is_spare(place) else self._fork(place)
        if job is None:
            self._hand_over(message, *fds)
        return job

    def _is_spare(self, place: Place) -> bool:
        return self._spare is not None and self._spare.place == place

    def _hand_over(self, message: bytes, line: int, output: int) -> None:
        """Gives the spare its job; without one, or where that has just ended, says so."""
        spare, self._spare = self._spare, None
        try:
            if spare is None:
                raise OSError(self._why)
            with spare.door:
                os.write(line, json.dumps({"init": spare.init}).encode())
                socket.send_fds(spare.door, [message], [line, output])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.write(line, json.dumps({"failed": str(error)}).encode())
        for fd in (line, output):
            os.close(fd)

    def _fork(self, place: Place) -> Job | None:
        """Makes an environment for ``place`` the spare; None but in its function's process."""
        if place == self._wanted:
            self._wanted = None
        self._close_spare()
        self._groups.update(os.path.dirname(os.path.dirname(path)) for path in place["cgroups"])
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reader, writer = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:  # too many processes; those there are go on
            self._why = str(error)
            for fd in (ours.detach(), theirs.detach(), reader, writer):
                os.close(fd)
            return None
        if not pid:
            signal.set_wakeup_fd(-1)
            for fd in (reader, ours.detach(), self._wakeup, self._wakeup_reader, self._control.detach()):
                os.close(fd)
            return begin(place, theirs, writer)
        os.close(writer)
        theirs.close()
        with open(reader) as told:
            answer = told.read()
        init = int(answer) if answer.isdigit() else 0
        if init != pid:
            os.waitpid(pid, 0)
        if init:
            self._inits.add(init)
            self._spare = Spare(place, init, ours)
        else:
            self._why = answer
            ours.close()
        return None

    def _close_spare(self) -> None:
        """Without a door, a spare ends."""
        if self._spare:
            self._spare.door.close()
            self._spare = None

    def _farewell(self) -> None:
        """The server is gone. The inits notice it themselves, or are ended, and what they leave in files is removed."""
        self._close_spare()
        began = time.monotonic()
        while linux.children() and time.monotonic() < began + 10.0:
            if time.monotonic() > began + PATIENCE:
                for pid in self._inits:
                    linux.kill(pid)
            self._reap()
            time.sleep(0.002)
        for path in self._base:
            linux.remove_tree(path)
        for path in self._groups:
            with contextlib.suppress(OSError):
                for entry in [*os.scandir(path)]:
                    if entry.is_dir():
                        os.rmdir(entry)
                os.rmdir(path)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                if self._spare and pid == self._spare.init:
                    self._close_spare()
                self._inits.discard(pid)
        for pid in {*linux.children()} - self._inits:  # an init that was killed itself has left its processes
            linux.kill(pid)
