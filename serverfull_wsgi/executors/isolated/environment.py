"""One execution environment: a process of a function's own, from its start to its end.

An environment has no thread in the server. The thread that runs an invocation polls for everything that can happen
meanwhile: requests of the runtime, output, the end of the process, a timeout, and the end of the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import sys
import tempfile
from collections.abc import Callable, Mapping
from time import monotonic

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ServiceException
from serverfull_wsgi.executors.isolated.output import Output
from serverfull_wsgi.executors.isolated.runtime_api.server import Answer, RuntimeApi
from serverfull_wsgi.executors.isolated.runtimes.launch import LaunchSpec
from serverfull_wsgi.executors.isolated.sandbox.cpu_weight import CpuWeight
from serverfull_wsgi.executors.isolated.sandbox.linux import descendants, kill
from serverfull_wsgi.executors.isolated.sandbox.memory import MIB, Memory
from serverfull_wsgi.executors.isolated.zygote.client import SnapshotClient
from serverfull_wsgi.executors.isolated.zygote.protocol import COUNTER_SIZE, Ended, Failed
from serverfull_wsgi.executors.isolated.zygote.spawner import Spawner
from serverfull_wsgi.server_exits import STOPPING

KILL_GRACE = 0.15  # seconds: the answer to a timed-out call waits at most so long for the end of the process
POLL_SLICE = 0.1  # seconds between two checks of conditions without a descriptor, such as the server's shutdown
MEMORY_SLICE = 0.05  # seconds between two readings of memory, if a function has no control group or can leave it
DRAINED_PIECES = 32  # 2 MiB: a pipe holds less, and a process that writes without end delays no answer


class TimedOut(Exception):
    """The deadline has passed."""


class EventLost(Exception):
    """The environment ended after its last invocation, before it had read the event of the next one."""


class Environment:
    """A process that runs ``function``, and all processes that it starts.

    Args:
        function: the function, with its memory size and layers.
        launch_spec: the command, variables and paths of the process.
        spawner: starts the process.
        tmp: the directory of its temporary files, which outlives the environment.
        logger: receives the output.
        is_stopped: returns whether the server abandons running invocations.
        snapshot: leads to the snapshot that the process is forked from; None for the zygote.

    Raises `ZygoteDied` if the process cannot be started.
    """

    def __init__(
        self,
        function: Function,
        launch_spec: LaunchSpec,
        spawner: Spawner,
        tmp: str,
        logger: logging.Logger,
        is_stopped: Callable[[], bool] = lambda: False,
        snapshot: SnapshotClient | None = None,
    ) -> None:
        self.function, self.tmp = function, tmp
        self.is_provisioned = False  # whether it is one of the function's provisioned environments
        self.is_restored = snapshot is not None
        self.on_close: Callable[[], None] = lambda: None  # called once, after the end
        self._spawner, self._is_stopped = spawner, is_stopped
        self._poll = select.poll()
        self._closed, self._output_open, self._channel_open = False, True, True
        self._has_answered = False  # an invocation
        self._may_have_output = True  # that was written before the last answer and has not been read
        self._event_count = 0
        with contextlib.ExitStack() as on_failure:
            self._api = RuntimeApi(self._poll, self._is_own_peer, has_frames=launch_spec.has_frames)
            on_failure.callback(self._api.close)
            self._channel = spawner.open_channel()
            on_failure.callback(self._channel.close)
            on_failure.callback(self._channel.supervisor_end.close)
            reader, writer = os.pipe()
            on_failure.callback(os.close, reader)
            on_failure.callback(os.close, writer)
            self._counter = _shared_memory()
            on_failure.callback(os.close, self._counter)
            os.truncate(self._counter, COUNTER_SIZE)
            on_failure.pop_all()
        fcntl.fcntl(reader, fcntl.F_SETFL, os.O_NONBLOCK)
        self._is_ordered = type(self._poll).__module__ == "select"  # gevent's own poll has another order
        self.output = Output(reader, logger)
        self._poll.register(self._channel.fd, select.POLLIN)
        self._poll.register(reader, select.POLLIN)
        tmp_size = int(function.ephemeral_storage)
        source = snapshot or spawner.zygotes.get(launch_spec.python)
        self._group = spawner.acquire_group(source, int(function.memory_size), tmp_size)
        self._is_memory_watched = self._group is None or not spawner.hides_groups or spawner.has_root
        self._slice = MEMORY_SLICE if self._is_memory_watched else POLL_SLICE
        self._memory = Memory(int(function.memory_size) * MIB, self._group, has_files=spawner.has_root)
        self._weight = CpuWeight(self._group, int(function.memory_size))
        self.used = self._memory_read_at = monotonic()
        with contextlib.ExitStack() as passed_on:
            ends = [self._channel.supervisor_end, *([self._api.frames.runtime_end] if self._api.frames else [])]
            for end in ends:
                passed_on.enter_context(end)
            passed_on.callback(os.close, writer)
            channel, *frames = (end.fileno() for end in ends)
            try:
                self._spawn(launch_spec, [channel, writer, self._counter, *frames], snapshot)
            except BaseException:
                self.close()
                raise

    def _spawn(self, spec: LaunchSpec, fds: list[int], snapshot: SnapshotClient | None) -> None:
        port, group = self._api.listener.port, self._group
        if snapshot:
            self._spawner.restore(snapshot, self.function, spec, fds, port=port, group=group, tmp=self.tmp)
        else:
            self._spawner.spawn(self.function, spec, fds, port=port, group=group, tmp=self.tmp)

    # Used by an executor

    def wait_until_ready(self, deadline: float) -> Answer | None:
        """Wait until the runtime requests an event, and return None.

        If the start fails, return the error that the runtime reported, or None with `ended` set. ``deadline`` is a
        reading of `time.monotonic`. Raises `TimedOut`, and `ServiceException` if the server abandons the start.
        """
        self._may_have_output = True
        while not (self._is_ready() or self._api.answer or self.ended):
            self._poll_once(deadline)
        self._drain()
        return self._api.answer

    def _is_ready(self) -> bool:
        return self._api.is_waiting

    @property
    def was_ready(self) -> bool:
        """Whether the runtime has ever requested an event."""
        return self._api.has_started

    def is_alive(self) -> bool:
        """Handle pending messages without waiting, and return whether the process has not ended."""
        self._handle_ready(0)
        return self.ended is None

    def is_overdue(self) -> bool:
        """Return whether the runtime has answered, but requests no other event within the function's timeout."""
        return not self._api.is_waiting and monotonic() - self.used > self.function.timeout

    def wait_until_waiting(self, deadline: float) -> bool:
        """Return whether the runtime requests its next event before ``deadline`` and before its process ends.

        A call waits for the request. With a reduced weight, a healthy runtime on a busy CPU came later than the
        deadline, and another environment was started.
        """
        if not self._api.is_waiting:
            self._weight.restore()
            with contextlib.suppress(TimedOut):
                self.wait_until_ready(deadline)
        return self._api.is_waiting and not self.ended

    def run(self, request_id: str, headers: Mapping[str, str], payload: bytes, deadline: float) -> Answer | None:
        """Hand one invocation to the runtime, and return its answer; None if the process ended first.

        If the environment is not ready yet, wait for it first and return what `wait_until_ready` returns for a start
        that fails. Raises `TimedOut`, and `ServiceException` if the server abandons the invocation.

        Raises `EventLost` if an earlier invocation ended the runtime and the runtime has not read this event.
        """
        if not self._api.is_waiting:
            if answer := self.wait_until_ready(deadline):
                return answer
            if self.ended:
                return None
        if not self._spawner.own_tmp and not os.path.isdir(self.tmp):  # the last invocation removed it; AWS's cannot
            with contextlib.suppress(OSError):
                os.mkdir(self.tmp, 0o700)
        self._weight.restore()
        self._api.offer(request_id, headers, payload)
        self._event_count += 1
        self._may_have_output = True
        try:
            while not (self._api.answer or self.ended or (self._has_answered and self._api.is_event_lost)):
                self._poll_once(deadline)
            self._drain()
            if self.ended and not self._api.answer:
                self._handle_ready(0)  # the connection has closed before the process ended, but may not be read yet
        finally:
            answer = self._api.withdraw()
        if answer is None and self._has_answered and (self._api.is_event_lost or self._has_missed_event()):
            raise EventLost
        self._has_answered = answer is not None
        return answer

    def _has_missed_event(self) -> bool:
        """Return whether a Python process ended before AWS's client had returned the last event."""
        count = int.from_bytes(os.pread(self._counter, COUNTER_SIZE, 0), sys.byteorder)
        return 0 < count <= self._event_count

    @property
    def ended(self) -> Ended | Failed | None:
        """How the process ended, or why it could not be made; None while it runs."""
        return self._channel.ended

    @property
    def exec_error(self) -> int:
        """The errno of an `exec` that failed; 0 if the program was executed."""
        return self._channel.exec_error

    def lower_priority(self) -> None:
        """Lower the CPU weight of an idle environment: processes that an invocation left behind may still run."""
        self._weight.lower_if_due()

    def peak_memory(self) -> int:
        """Return the peak of the resident memory of all its processes, in MiB."""
        return max(self._memory.peak_kib(), self.ended.peak_kib if isinstance(self.ended, Ended) else 0) // 1024

    def kill(self, patience: float = KILL_GRACE) -> None:
        """Kill the process and everything it started, and wait up to ``patience`` seconds for its end."""
        self._channel.request_end()
        if self._group:
            self._group.kill()
        deadline = monotonic() + patience
        while not self.ended and monotonic() < deadline:
            self._handle_ready(max(0.0, deadline - monotonic()))
        if not self.ended and self._channel.supervisor_pid:  # a function may have stopped its supervisor by a signal
            for pid in [*descendants(self._channel.supervisor_pid), self._channel.supervisor_pid]:
                kill(pid)
        self._drain()

    def close(self) -> None:
        """End the environment and release everything but its temporary files."""
        if self._closed:
            return
        if not self.ended and self._channel.supervisor_pid:
            self.kill()
        self.abandon()
        if self._group and not self._group.remove(timeout=0.05):
            self._spawner.remove_later(self._group)
        self.on_close()

    def abandon(self) -> None:
        """Close this process's descriptors of the environment. Its supervisor ends it when no process has them open."""
        if self._closed:
            return
        self._closed = True
        self._channel.close()
        self._api.close()
        os.close(self.output.fd)
        os.close(self._counter)
        self._memory.close()
        self._weight.close()

    # Polling

    def _poll_once(self, deadline: float) -> None:
        """Wait for one or more events, and handle them. Raises `TimedOut`, and `ServiceException` after a stop."""
        left = deadline - monotonic()
        if left <= 0:
            raise TimedOut
        self._handle_ready(
            min(
                left,
                self._weight.seconds_until_due(),
                self._api.listener.seconds_until_due(),
                self._slice,
            )
        )
        if self._api.answer:
            return
        self._weight.lower_if_due()
        self._api.listener.resume_if_due()
        if self._is_stopped():
            raise ServiceException(STOPPING)
        if self._is_memory_watched and monotonic() - self._memory_read_at > MEMORY_SLICE:
            self._memory_read_at = monotonic()
            self._memory.kill_if_over_limit(self._channel.supervisor_pid, self._channel.function_pid)

    def _handle_ready(self, seconds: float) -> None:
        """Wait up to ``seconds`` for descriptors to be ready, and handle each.

        The kernel looks at the connection for frames first. If it alone is ready, all output that was written before
        the frame has been read: that saves a system call.
        """
        ready = self._poll.poll(seconds * 1000)
        frames = self._api.frames
        self._may_have_output = not (frames and self._is_ordered and len(ready) == 1 and ready[0][0] == frames.fd)
        for fd, event in ready:
            if fd == self.output.fd:
                if not self.output.read() and event & ~select.POLLIN:
                    self._output_closed()
            elif fd == self._channel.fd:
                self._read_channel()
            elif not self._handle_other(fd):
                self._api.handle(fd, event)
                if self._api.is_broken:
                    self._channel.request_end()

    def _handle_other(self, fd: int) -> bool:
        """Handle an event on a descriptor that a subclass watches. Return False if it is another."""
        return False

    def _output_closed(self) -> None:
        if self._output_open:
            self._output_open = False
            self._poll.unregister(self.output.fd)

    def _drain(self) -> None:
        """Read the output that was written before an answer: all of it is in the pipe by now."""
        pieces = DRAINED_PIECES if self._may_have_output else 0
        while pieces and self._output_open and self.output.read():
            pieces -= 1

    def _read_channel(self) -> None:
        """Read messages of the supervisor, or note that it is gone."""
        if self._channel_open and not self._channel.receive():
            self._channel_open = False
            self._poll.unregister(self._channel.fd)
        if self._channel.listener >= 0:
            self._api.listener.move(self._channel.listener)
            self._channel.listener = -1
        if self._channel.function_pid:
            self._memory.attach(self._channel.function_pid)

    def _is_own_peer(self, port: int, server_port: int) -> bool:
        """Return whether a process of this environment opened the connection from ``port``."""
        self._read_channel()  # the supervisor sends the process ids before the function's process can connect
        return self._spawner.is_own_peer(self._channel, port, server_port)


def _shared_memory() -> int:
    """Return a descriptor of memory, or of a deleted file on a system other than Linux."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("serverfull-events")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
