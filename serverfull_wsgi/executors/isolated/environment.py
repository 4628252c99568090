"""One execution environment: a process of a function's own, from its start to its end.

It has no thread in the server. Whoever runs an invocation polls for all that can happen meanwhile: the runtime's
requests, output, the end of the process, and time running out.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
from collections.abc import Callable, Mapping
from time import monotonic

from serverfull_wsgi.domain import Function
from serverfull_wsgi.executors.isolated.output import Output
from serverfull_wsgi.executors.isolated.runtime_api.peers import connection_belongs_to
from serverfull_wsgi.executors.isolated.runtime_api.server import Answer, RuntimeApi
from serverfull_wsgi.executors.isolated.runtimes.launch import LaunchSpec
from serverfull_wsgi.executors.isolated.sandbox.cpu_weight import CpuWeight
from serverfull_wsgi.executors.isolated.sandbox.linux import descendants, kill
from serverfull_wsgi.executors.isolated.sandbox.memory import MIB, Memory
from serverfull_wsgi.executors.isolated.zygote.control_channel import ControlChannel, Ended
from serverfull_wsgi.executors.isolated.zygote.spawner import Spawner

GRACE = 0.15  # seconds between a kill and the answer that need not wait for it
SLICE = 0.1  # seconds between two looks at what no descriptor tells
WATCH = 0.05  # the same while memory is watched and not limited by the kernel


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
        beginning: LaunchSpec,
        spawner: Spawner,
        tmp: str,
        logger: logging.Logger,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.function, self.tmp = function, tmp
        self._spawner, self._stopped = spawner, stopped
        self._poll = select.poll()
        self._closed, self._output_open, self._channel_open = False, True, True
        with contextlib.ExitStack() as if_one_fails:
            self._api = RuntimeApi(self._poll, self._belongs)
            if_one_fails.callback(self._api.close)
            self._channel = ControlChannel()
            if_one_fails.callback(self._channel.close)
            if_one_fails.callback(self._channel.supervisor_end.close)
            reader, writer = os.pipe2(os.O_CLOEXEC)
            if_one_fails.pop_all()
        fcntl.fcntl(reader, fcntl.F_SETFL, os.O_NONBLOCK)
        self.output = Output(reader, logger)
        self._poll.register(self._channel.fd, select.POLLIN)
        self._poll.register(reader, select.POLLIN)
        self._group = spawner.acquire_group(beginning.python, int(function.memory_size))
        self._memory = Memory(int(function.memory_size) * MIB, self._group)
        self._weight = CpuWeight(self._group, int(function.memory_size))
        self.used = self._watched = monotonic()
        with self._channel.supervisor_end as theirs:
            try:
                fds = [theirs.fileno(), writer]
                spawner.spawn(function, beginning, fds, port=self._api.listener.port, group=self._group, tmp=tmp)
            except BaseException:
                self.close()
                raise
            finally:
                os.close(writer)

    # What an executor does with it

    def wait_until_ready(self, deadline: float) -> Answer | None:
        """Until the runtime asks for an event; or what it says of its failed start, None if it ended without a word.

        ``deadline`` is a reading of `time.monotonic`. Raises `TimedOut`.
        """
        while not (self._api.is_waiting or self._api.answer or self.ended):
            self._turn(deadline)
        self._drain()
        return self._api.answer

    @property
    def was_ready(self) -> bool:
        """Whether the runtime has ever asked for an event."""
        return self._api.has_started

    def is_alive(self) -> bool:
        """Whether it has not ended since; looks at what has come, and does not wait."""
        self._look(0)
        return self.ended is None

    def run(self, request_id: str, headers: Mapping[str, str], payload: bytes, deadline: float) -> Answer | None:
        """Has the runtime run one invocation; None if the process ended instead. Raises `TimedOut`.

        The answer of one whose start fails is what `wait_until_ready` says.
        """
        if not self._api.is_waiting:
            if answer := self.wait_until_ready(deadline):
                return answer
            if self.ended:
                return None
        if not os.path.isdir(self.tmp):  # the last invocation removed it, which on AWS it cannot
            with contextlib.suppress(OSError):
                os.mkdir(self.tmp, 0o700)
        self._weight.restore()
        self._api.offer(request_id, headers, payload)
        try:
            while not self._api.answer and not self.ended:
                self._turn(deadline)
            self._drain()
        finally:
            answer = self._api.withdraw()
        return answer

    @property
    def ended(self) -> Ended | None:
        """How it ended; None while it has not."""
        return self._channel.ended

    @property
    def exec_error(self) -> int:
        """Why its command could not be run, as an errno; 0 if it could."""
        return self._channel.exec_error

    def rest(self) -> None:
        """It waits for work; what an invocation has left behind may not."""
        self._weight.lower_if_due()

    def peak_memory(self) -> int:
        """The most that its processes have had resident, in MiB."""
        return max(self._memory.peak_kib(), self.ended.peak if self.ended else 0) // 1024

    def kill(self, patience: float = GRACE) -> None:
        """Ends the process and all that it started; waits ``patience`` seconds to see it."""
        self._channel.request_end()
        if self._group:
            self._group.kill()
        deadline = monotonic() + patience
        while not self.ended and monotonic() < deadline:
            self._look(max(0.0, deadline - monotonic()))
        if not self.ended and self._channel.supervisor_pid:  # it does not answer: a function may have stopped it
            for pid in [*descendants(self._channel.supervisor_pid), self._channel.supervisor_pid]:
                kill(pid)
        self._drain()

    def close(self) -> None:
        """Ends it and gives back everything but its temporary files."""
        if self._closed:
            return
        if not self.ended and self._channel.supervisor_pid:
            self.kill()
        self.abandon()
        if self._group and not self._group.remove(patience=0.05):
            self._spawner.remove_later(self._group)

    def abandon(self) -> None:
        """Closes what this process has open of it, once; where that was all, its init ends it."""
        if self._closed:
            return
        self._closed = True
        self._channel.close()
        self._api.close()
        os.close(self.output.fd)
        self._memory.close()

    # What can happen meanwhile

    def _turn(self, deadline: float) -> None:
        """Waits for something to happen, and attends to it. Raises `TimedOut`, `Stopped`."""
        left = deadline - monotonic()
        if left <= 0:
            raise TimedOut
        self._look(
            min(
                left,
                self._weight.seconds_until_due(),
                self._api.listener.seconds_until_due(),
                SLICE if self._group else WATCH,
            )
        )
        self._weight.lower_if_due()
        self._api.listener.resume_if_due()
        if self._stopped():
            raise Stopped
        if self._group is None and monotonic() - self._watched > WATCH:
            self._watched = monotonic()
            self._memory.kill_if_over_limit(self._channel.supervisor_pid, self._channel.function_pid)

    def _look(self, seconds: float) -> None:
        """Attends to what is ready, waiting for it for at most that long."""
        for fd, event in self._poll.poll(seconds * 1000):
            if fd == self.output.fd:
                if not self.output.read() and event & ~select.POLLIN:
                    self._output_closed()
            elif fd == self._channel.fd:
                self._read_channel()
            else:
                self._api.handle(fd, event)

    def _output_closed(self) -> None:
        if self._output_open:
            self._output_open = False
            self._poll.unregister(self.output.fd)

    def _drain(self) -> None:
        """Takes what output is there: what was written before an answer is in the pipe, and that is not long."""
        most = 32  # pieces, for one who writes without end
        while most and self._output_open and self.output.read():
            most -= 1

    def _read_channel(self) -> None:
        """Takes what the init has said, or notices that it is gone."""
        if self._channel_open and not self._channel.receive():
            self._channel_open = False
            self._poll.unregister(self._channel.fd)
        if self._channel.function_pid:
            self._memory.attach(self._channel.function_pid)

    def _belongs(self, port: int, server_port: int) -> bool:
        """Whether a connection from ``port`` was made by a process of this environment."""
        self._read_channel()  # which has said who that is, before it could connect
        return connection_belongs_to(self._channel.function_pid, self._channel.supervisor_pid, port, server_port)
