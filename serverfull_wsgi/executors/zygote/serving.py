"""The zygote itself: waits for jobs, and forks an environment for each."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import time

from .. import linux
from . import MESSAGE, Job
from .guarding import begin, watch_children
from .preloading import preload, probe
from .runtime import become_runtime


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
    job = Zygote(control).serve()
    if job is not None:
        become_runtime(job)  # from here an ordinary process, which ends as it likes


class Zygote:
    """Waits for jobs, and forks an environment for each."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._inits: set[int] = set()
        self._base: set[str] = set()  # where temporary directories and
        self._groups: set[str] = set()  # control groups are

    def serve(self) -> Job | None:
        """Returns None when the server is gone; and in each process that is to run a function, its job."""
        wakeup, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup_reader = wakeup
        watch_children(self._wakeup)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if wakeup in ready:
                os.read(wakeup, 4096)
                self._reap()
            if self._control.fileno() in ready:
                message, fds, _, _ = socket.recv_fds(self._control, MESSAGE, 2)
                if not message:
                    self._farewell()
                    return None
                job: Job = json.loads(message)
                self._base.add(job["base"])
                self._groups.update(os.path.dirname(os.path.dirname(path)) for path in job["cgroups"])
                if self._fork(job, *fds):
                    return job

    def _farewell(self) -> None:
        """The server is gone. The inits have noticed it themselves; what they leave in files is removed here."""
        deadline = time.monotonic() + 10.0
        while self._inits and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.002)
        for path in self._base:
            shutil.rmtree(path, ignore_errors=True)
        for path in self._groups:
            with contextlib.suppress(OSError):
                for entry in [*os.scandir(path)]:
                    if entry.is_dir():
                        os.rmdir(entry)
                os.rmdir(path)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._inits.discard(pid)
        for pid in {*linux.children()} - self._inits:  # an init that was killed itself has left its processes
            linux.kill(pid)

    def _fork(self, job: Job, line: int, output: int) -> bool:
        """Begins an environment; True in its function's process."""
        reader, writer = os.pipe()
        if pid := os.fork():
            os.close(writer)
            init = int(os.read(reader, 32) or 0)
            if init != pid:
                os.waitpid(pid, 0)
            if init:
                self._inits.add(init)
                with contextlib.suppress(OSError):
                    os.write(line, json.dumps({"init": init}).encode())
            for fd in (reader, line, output):
                os.close(fd)
            return False
        os.close(reader)
        signal.set_wakeup_fd(-1)
        for fd in (self._wakeup, self._wakeup_reader, self._control.detach()):
            os.close(fd)
        return begin(job, socket.socket(fileno=line), output, writer)
