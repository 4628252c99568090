"""The server's end of a zygote: a process that environments are forked from."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.executors.isolated.sandbox.cgroups import Group
from serverfull_wsgi.executors.isolated.zygote import protocol

PATIENCE = 30.0  # seconds a zygote may take to import what it preloads
_LOCALE = {"LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}


class ZygoteDied(Exception):
    """A zygote has ended, or does not start."""


class ZygoteClient:
    """One zygote process; `fork` says whether its forks can be Python environments, `why` why not."""

    def __init__(self, python: str, mode: str, preload: Sequence[str], path: Sequence[str]) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self.process = subprocess.Popen(  # noqa: S603  (an interpreter of ours, and modules of the settings)
                    [python, "-u", protocol.PROGRAM, str(theirs.fileno()), mode, *preload],
                    env={**_LOCALE, **({"PYTHONPATH": os.pathsep.join(path)} if path else {})},
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    cwd="/",
                )
        except BaseException:
            self.socket.close()
            raise
        hello = self._hello()
        self.can_fork: bool = hello["fork"]
        self.reason: str = hello["why"]
        self.has_client: bool = hello["client"]  # whether the interpreter has AWS's runtime client
        self.sandbox: dict[str, str] = hello["sandbox"]  # for each means nothing, or why it cannot be had
        self.ready: Group | None = None  # the control group that its spare environment is in

    def _hello(self) -> dict[str, Any]:
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        message = b""
        if poll.poll(PATIENCE * 1000):
            with contextlib.suppress(OSError):
                message = self.socket.recv(protocol.MESSAGE)
        if not message:
            self.close()
            raise ZygoteDied
        hello: dict[str, Any] = json.loads(message)
        return hello

    def send(self, job: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Raises `ZygoteDied`, and `ConfigurationError` for a job that is too long to be sent."""
        if self.process.poll() is not None:  # a fork that it was making may hold its end of the line a moment longer
            raise ZygoteDied
        message = json.dumps(job).encode()
        try:
            socket.send_fds(self.socket, [message], list(fds))
        except OSError as error:
            if error.errno == errno.EMSGSIZE:  # the zygote is well, and others' environments are its
                name = job["env"]["AWS_LAMBDA_FUNCTION_NAME"]
                raise ConfigurationError(
                    f"function {name!r}: what starts its environment is {len(message)} bytes long, more than can be "
                    "passed on; have environment= hold less (AWS allows 4 KB)"
                ) from None
            raise ZygoteDied from error

    def abandon(self) -> None:
        """In a fork of the server: this process has nothing to do with it."""
        self.socket.close()

    def close(self) -> None:
        """Ends it, and with it whatever it has forked."""
        self.socket.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
