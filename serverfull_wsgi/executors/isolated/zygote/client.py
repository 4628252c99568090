"""The server's end of a zygote."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import subprocess
from collections.abc import Sequence

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.executors.isolated.runtimes.launch import INTERPRETER_VARIABLES
from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group
from serverfull_wsgi.executors.isolated.zygote.protocol import (
    MESSAGE_LIMIT,
    Hello,
    RootSpec,
    SnapshotRefused,
    SnapshotTaken,
    SpareRequest,
    StartRequest,
    decode,
    encode,
)

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "program", "__main__.py")
START_TIMEOUT = 30.0  # seconds; modules of SERVERFULL_ZYGOTE_PRELOAD can take long to import
STOP_TIMEOUT = 5.0  # seconds; a zygote first waits for its supervisors and removes files


class ZygoteDied(Exception):
    """A zygote has ended, or could not start."""


class ForkServerClient:
    """The server's end of a process that forks environments: a zygote, or a snapshot of a function."""

    socket: socket.socket
    needs_groups = False  # whether the server must open the control groups of the environments

    def __init__(self) -> None:
        self.spare_group: Group | None = None  # the control group of the spare environment

    def has_ended(self) -> bool:
        """Return whether the process is known to have ended."""
        raise NotImplementedError

    def send(self, request: StartRequest | SpareRequest, fds: Sequence[int] = ()) -> None:
        """Send a request, with descriptors.

        Raises:
            ZygoteDied: if the process has ended.
            ConfigurationError: if the request is too long for a packet.
        """
        if self.has_ended():
            raise ZygoteDied
        message = encode(request)
        try:
            socket.send_fds(self.socket, [message], list(fds))
        except OSError as error:
            if error.errno == errno.EMSGSIZE and isinstance(request, StartRequest):  # the zygote itself is well
                raise ConfigurationError(
                    f"function {request.env['AWS_LAMBDA_FUNCTION_NAME']!r}: the start request of its environment has "
                    f"{len(message)} bytes, more than the zygote's socket accepts; make its environment= smaller (AWS "
                    "allows 4 KB)"
                ) from None
            raise ZygoteDied from error

    def abandon(self) -> None:
        """Close this process's copy of the socket, in a fork of the server; the process stays the parent's."""
        self.socket.close()


class SnapshotClient(ForkServerClient):
    """The socket that leads to a snapshot; ``snapshot_end`` goes to its process with the start request."""

    needs_groups = True

    def __init__(self) -> None:
        super().__init__()
        self.socket, self.snapshot_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.setblocking(False)
        self.result: SnapshotTaken | SnapshotRefused | None = None  # None until the init phase has ended

    def has_ended(self) -> bool:
        poll = select.poll()  # all forks of a snapshot close their copies of its socket
        poll.register(self.socket, 0)
        return bool(poll.poll(0))

    def receive(self) -> None:
        """Receive the result of the init phase, if it has arrived."""
        with contextlib.suppress(OSError):
            if message := self.socket.recv(MESSAGE_LIMIT):
                self.result = decode(message)

    def close(self) -> None:
        """Close the socket; a snapshot that still runs ends then."""
        self.socket.close()
        self.snapshot_end.close()


class ZygoteClient(ForkServerClient):
    """One zygote process, and the control socket that leads to it.

    Args:
        python: the interpreter that runs the zygote.
        preload: names of modules that the zygote imports before it forks.
        path: directories for the interpreter's module search path.
        inherited: descriptors that the zygote and its supervisors keep open until they end.
        root: the arguments for root directories of environments; None without them.

    Raises:
        ZygoteDied: if the process ends, or does not send its `Hello` in time.
        OSError: if no process or socket can be made.
    """

    def __init__(
        self,
        python: str,
        preload: Sequence[str],
        path: Sequence[str],
        inherited: Sequence[int],
        root: RootSpec | None = None,
    ) -> None:
        super().__init__()
        self.socket, zygote_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with zygote_end, contextlib.ExitStack() as sockets:
                mounts = []
                if root:  # a connection between the zygote and its mount server
                    mounts = [*map(sockets.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))]
                    mounts[0].send(encode(root))  # an argument would be visible to functions
                fds = [end.fileno() for end in mounts]
                for fd in fds:
                    os.set_blocking(fd, True)  # gevent's sockets do not block
                self.process = subprocess.Popen(  # noqa: S603  (the interpreter and modules come from the settings)
                    [python, "-u", PROGRAM, str(zygote_end.fileno()), ":".join(map(str, fds)), *preload],
                    env={**INTERPRETER_VARIABLES, **({"PYTHONPATH": os.pathsep.join(path)} if path else {})},
                    stdin=subprocess.DEVNULL,
                    pass_fds=[zygote_end.fileno(), *fds, *inherited],
                    start_new_session=True,
                    cwd="/",
                )
        except BaseException:
            self.socket.close()
            raise
        self.hello = self._receive_hello()

    def _receive_hello(self) -> Hello:
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        message = b""
        if poll.poll(START_TIMEOUT * 1000):
            with contextlib.suppress(OSError):
                message = self.socket.recv(MESSAGE_LIMIT)
        if not message:
            self.close()
            raise ZygoteDied
        hello: Hello = decode(message)
        return hello

    def has_ended(self) -> bool:
        return self.process.poll() is not None  # a new fork of an ended zygote can keep its socket open for a moment

    def close(self) -> None:
        """End the zygote, and with it every environment that it has forked."""
        self.socket.close()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
