"""The supervisors of a server process, and their channels; the package's docstring describes both."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence

from serverfull_wsgi.domain import Function
from serverfull_wsgi.executors.isolated.runtimes.checks import interpreter_faults
from serverfull_wsgi.executors.isolated.runtimes.launch import INTERPRETER_VARIABLES, LaunchSpec
from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group
from serverfull_wsgi.executors.isolated.zygote.control_channel import ControlChannel
from serverfull_wsgi.executors.isolated.zygote.protocol import SandboxSupport, decode, encode
from serverfull_wsgi.executors.isolated.zygote.spawner import Spawner

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "supervisor.py")
STOP_TIMEOUT = 5.0  # seconds


class PortableChannel(ControlChannel):
    """A control channel over a stream, with one message on each line. Messages carry the pids."""

    def __init__(self) -> None:
        super().__init__()
        self._received = b""

    def _socket_pair(self) -> tuple[socket.socket, socket.socket]:
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    def _handle_packet(self, packet: bytes, ancillary: list[tuple[int, int, bytes]]) -> None:
        *lines, self._received = (self._received + packet).split(b"\n")
        for line in lines:
            self._handle(decode(line), [])


class PortableSpawner(Spawner):
    """Start environments at the level ``process``. The arguments are those of `Spawner`."""

    def start(self) -> None:
        """See `Spawner.start`: raise `ConfigurationError` for what only Linux has."""
        self.check()
        self._supervisors: list[subprocess.Popen[bytes]] = []
        self._open_directory()
        self._logger.info(
            "isolated functions: processes of their own, without namespaces, memory limits and a check of connections "
            "to the Runtime API, which Linux has and %s does not; environments start by exec",
            sys.platform,
        )
        self._warn_of_fallback(sys.executable, interpreter_faults(sys.executable, sys.path)[1])

    def check(self) -> SandboxSupport:
        support = SandboxSupport(
            *[f"only Linux has such means, and this is {sys.platform}"] * len(SandboxSupport._fields)
        )
        self._check_support(support)
        return support

    def open_channel(self) -> ControlChannel:
        return PortableChannel()

    def is_own_peer(self, channel: ControlChannel, port: int, server_port: int) -> bool:
        """Return True: the system does not show which process has opened a connection."""
        return True

    def can_fork(self, python: str) -> bool:
        return False

    def _find_interpreter(self, runtime: str) -> str:
        path = shutil.which(runtime)
        fault, client_fault = interpreter_faults(path) if path else (f"no {runtime} is on the server's PATH", "")
        if path is None or fault:
            self._warn_of_interpreter(runtime, fault)
            return sys.executable
        self._warn_of_fallback(path, client_fault)
        return path

    def spawn(
        self,
        function: Function,
        spec: LaunchSpec,
        fds: Sequence[int],
        *,
        port: int,
        group: Group | None,
        tmp: str,
        snapshot: str = "",
    ) -> None:
        """Start the supervisor of an environment. See `Spawner.spawn`; the counter of events is not used."""
        request = self._start_request(function, spec, port, group, tmp, fds)
        channel, output, _, *frames = fds
        kept = [channel, output, *frames]
        supervisor = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", PROGRAM, *map(str, kept)],
            env=INTERPRETER_VARIABLES,
            stdin=subprocess.PIPE,
            pass_fds=kept,
            start_new_session=True,
            cwd="/",
        )
        assert supervisor.stdin is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError), supervisor.stdin as stdin:  # the channel then shows its end
            stdin.write(encode(request))
        with self._lock:
            self._supervisors = [*(one for one in self._supervisors if one.poll() is None), supervisor]

    def close(self) -> None:
        """See `Spawner.close`. The channels of all environments have been closed, so that supervisors end."""
        with self._lock:
            supervisors, self._supervisors = self._supervisors, []
        for supervisor in supervisors:
            try:
                supervisor.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                supervisor.kill()
                supervisor.wait()
        super().close()
