"""One execution environment: a process of a function's own, from its start to its end.

It has no thread in the server. Whoever runs an invocation polls for all that can happen meanwhile: the runtime's
requests, output, the end of the process, and time running out.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NamedTuple

from serverfull_wsgi.domain import Function
from serverfull_wsgi.executors.linux import descendants
from serverfull_wsgi.executors.output import Output
from serverfull_wsgi.executors.runtime_api import Answer, RuntimeApi
from serverfull_wsgi.executors.runtimes import Beginning, log_stream_name
from serverfull_wsgi.executors.spawning import Spawner

MIB = 1024 * 1024
GRACE = 0.15  # seconds between a kill and the answer that need not wait for it
SLICE = 0.25  # seconds between two looks at what no descriptor tells
WATCH = 0.05  # the same while memory is watched and not limited by the kernel
HEADROOM = 256 * MIB  # what RLIMIT_DATA allows over the memory size: it counts stacks that threads may never use
FILES = 1024  # open files, as on Lambda
_SO_PASSCRED, _SCM_CREDENTIALS = 16, 2
_LINE = 4096  # bytes of a message from the init


class Ended(NamedTuple):
    """How an environment ended: the wait status of its process, or why there was none; ``peak`` in KiB."""

    status: int = signal.SIGKILL
    peak: int = 0
    failed: str = ""


class TimedOut(Exception):
    """The time that was given is over."""


class Stopped(Exception):
    """The server does not wait any longer."""


class Environment:
    """An environment of ``function``, started as ``beginning`` says; `tmp` are its temporary files, which outlive it.

    ``stopped`` tells whether the server gives up on what runs.
    """

    def __init__(
        self,
        function: Function,
        beginning: Beginning,
        spawner: Spawner,
        tmp: str,
        logger: logging.Logger,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.function, self.tmp = function, tmp
        self._spawner, self._stopped = spawner, stopped
        self._poll = select.poll()
        self._api = RuntimeApi(self._poll, self._belongs)
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setsockopt(socket.SOL_SOCKET, _SO_PASSCRED, 1)
        self._line.setblocking(False)
        self._line_fd = self._line.fileno()
        self._poll.register(self._line_fd, select.POLLIN)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        fcntl.fcntl(reader, fcntl.F_SETFL, os.O_NONBLOCK)
        self.output = Output(reader, logger)
        self._poll.register(reader, select.POLLIN)
        self._output_open = self._line_open = True
        self._group = spawner.make_group(int(function.memory_size))
        self._init = self._pid = 0  # of the init, and of the function's process, as the server sees them
        self._status: Any = None
        self.ended: Ended | None = None
        self.used = self._watched = monotonic()
        self.exec_error = 0
        with theirs:
            try:
                spawner.spawn(beginning.python, self._job(beginning), [theirs.fileno(), writer])
            except BaseException:
                self.close()
                raise
            finally:
                os.close(writer)

    def _job(self, beginning: Beginning) -> dict[str, Any]:
        spawner = self._spawner
        variables = {
            **beginning.variables,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.port}",
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream_name(self.function),
        }
        if not spawner.own_tmp:
            variables.setdefault("TMPDIR", self.tmp)
        keep = [beginning.root, *self.function.layers, *beginning.path, os.path.dirname(beginning.python)]
        limits = {"CORE": 0, "NOFILE": FILES}
        if self._group is None:
            limits["DATA"] = int(self.function.memory_size) * MIB + HEADROOM
        return {
            "argv": beginning.argv,
            "handler": beginning.handler,
            "env": variables,
            "cwd": beginning.root,
            "path": beginning.path,
            "limits": limits,
            "cgroups": self._group.doors() if self._group else [],
            "namespaces": spawner.namespaces,
            "own_proc": spawner.own_proc,
            "private_tmp": spawner.own_tmp,
            "tmp": self.tmp,
            "keep": sorted(set(keep)),
        }

    # What an executor does with it

    def wait_until_ready(self, deadline: float) -> Answer | None:
        """Until the runtime asks for an event; or what it says of its failed start, None if it ended without a word.

        ``deadline`` is a reading of `time.monotonic`. Raises `TimedOut`.
        """
        while not self._api.ready:
            if self._api.answer or self.ended:
                return self._api.answer
            self._turn(deadline)
        return None

    def is_alive(self) -> bool:
        """Whether it has not ended since; looks at what has come, and does not wait."""
        self._look(0)
        return self.ended is None

    def run(self, request_id: str, headers: Mapping[str, str], payload: bytes, deadline: float) -> Answer | None:
        """Has the runtime run one invocation; None if the process ended instead. Raises `TimedOut`."""
        while not self._api.ready:
            if self.ended:
                return None
            self._turn(deadline)
        self._api.hand_out(request_id, headers, payload)
        try:
            while not (answer := self._api.answer) and not self.ended:
                self._turn(deadline)
            self._drain()
        finally:
            self._api.take_back()
        return answer or self._api.answer

    def peak_memory(self) -> int:
        """The most the function's process has had resident, in MiB."""
        kib = self.ended.peak if self.ended else 0
        if not kib and self._status:
            with contextlib.suppress(OSError, ValueError, IndexError):
                text = os.pread(self._status, 4096, 0)
                kib = int(text[text.index(b"VmHWM:") + 6 :].split(None, 1)[0])
        return kib // 1024

    def kill(self, patience: float = GRACE) -> None:
        """Ends the process and all that it started; waits ``patience`` seconds to see it."""
        with contextlib.suppress(OSError):
            self._line.send(b"end")
        if self._group:
            self._group.kill()
        deadline = monotonic() + patience
        while not self.ended and monotonic() < deadline:
            self._look(max(0.0, deadline - monotonic()))
        if not self.ended and self._init:  # the init does not answer: a function may have stopped it
            for pid in [*descendants(self._init), self._init]:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        self._drain()

    def close(self) -> None:
        """Ends it and gives back everything but its temporary files."""
        if self._line.fileno() < 0:
            return
        if not self.ended and self._init:
            self.kill()
        self.abandon()
        if self._group and not self._group.remove(patience=0.05):
            self._spawner.leave(self._group)

    def abandon(self) -> None:
        """Closes what this process has open of it; where that was all, its init ends it."""
        self._line.close()
        self._api.close()
        os.close(self.output.fd)
        if self._status:
            os.close(self._status)
            self._status = None

    # What can happen meanwhile

    def _turn(self, deadline: float) -> None:
        """Waits for something to happen, and attends to it. Raises `TimedOut`, `Stopped`."""
        left = deadline - monotonic()
        if left <= 0:
            raise TimedOut
        self._look(min(left, SLICE if self._group else WATCH))
        if self._stopped():
            raise Stopped
        if self._group is None and monotonic() - self._watched > WATCH:
            self._watch_memory()

    def _look(self, seconds: float) -> None:
        """Attends to what is ready, waiting for it for at most that long."""
        for fd, event in self._poll.poll(seconds * 1000):
            if fd == self.output.fd:
                if not self.output.read() and event & ~select.POLLIN:
                    self._output_closed()
            elif fd == self._line_fd:
                self._read_line()
            else:
                self._api.attend(fd, event)

    def _output_closed(self) -> None:
        if self._output_open:
            self._output_open = False
            self._poll.unregister(self.output.fd)

    def _drain(self) -> None:
        """Takes what output is there: what was written before an answer is in the pipe, and that is not long."""
        most = 32  # pieces, for one who writes without end
        while most and self._output_open and self.output.read():
            most -= 1

    def _read_line(self) -> None:
        """Takes what the init has said, or notices that it is gone."""
        while self._line_open:
            try:
                message, ancillary, _, _ = self._line.recvmsg(_LINE, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return
            except OSError:
                message, ancillary = b"", []
            if message:
                self._understand(json.loads(message), ancillary)
            else:
                self.ended = self.ended or Ended()
                self._line_open = False
                self._poll.unregister(self._line_fd)

    def _understand(self, told: dict[str, Any], ancillary: list[tuple[int, int, bytes]]) -> None:
        """One message on the line; the zygote's documentation lists them."""
        if "init" in told:
            self._init = told["init"]
        elif "started" in told:
            self._pid = struct.unpack("3i", ancillary[0][2])[0] if ancillary else 0
            with contextlib.suppress(OSError):
                self._status = os.open(f"/proc/{self._pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        elif "exec" in told:
            self.exec_error = told["exec"]
        elif "ended" in told:
            self.ended = Ended(told["ended"], told["peak"])
        else:
            self.ended = Ended(failed=told["failed"])

    def _watch_memory(self) -> None:
        """Where no control group limits it: SIGKILL for a process that has more resident than it may."""
        self._watched = monotonic()
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{self._pid}/statm") as file:
            _, resident, shared, *_ = map(int, file.read().split())
            if (resident - shared) * os.sysconf("SC_PAGESIZE") > self.function.memory_size * MIB:
                os.kill(self._pid, signal.SIGKILL)

    def _belongs(self, port: int, server_port: int) -> bool:
        """Whether a connection from ``port`` was made by a process of this environment."""
        self._read_line()  # which has said who that is, before it could connect
        inodes = _inodes(port, server_port)
        if self._pid and _has_socket(self._pid, inodes):  # nearly always, and quicker than looking for the others
            return True
        return bool(self._init) and any(_has_socket(pid, inodes) for pid in descendants(self._init))


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


def epoch_ms(seconds: float) -> int:
    """The wall clock's milliseconds in that many seconds, as the Runtime API wants its deadline."""
    return int((time.time() + seconds) * 1000)
