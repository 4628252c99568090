"""The server's end of an environment's line: what the init says of the function's process, and how it is told to end.

The zygote's documentation lists the messages.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
from typing import Any, NamedTuple

_SO_PASSCRED, _SCM_CREDENTIALS = 16, 2
_LENGTH = 4096  # bytes of a message
NOBODY = "the zygote ended before it made one"


class Ended(NamedTuple):
    """How an environment ended: the wait status of its process, or why there was none; ``peak`` in KiB."""

    status: int = signal.SIGKILL
    peak: int = 0
    failed: str = ""


class ControlChannel:
    """A line whose other end, `supervisor_end`, goes to the init.

    `init` and `pid`, of the function's process, are as the server sees them, and 0 until they are known.
    """

    def __init__(self) -> None:
        self._socket, self.supervisor_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_PASSCRED, 1)
        self._socket.setblocking(False)
        self.fd = self._socket.fileno()
        self.supervisor_pid = self.function_pid = self.exec_error = 0
        self._started = False
        self.ended: Ended | None = None

    def receive(self) -> bool:
        """Takes what the init has said; False if it is gone."""
        while True:
            try:
                message, ancillary, _, _ = self._socket.recvmsg(_LENGTH, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return True
            except OSError:
                message, ancillary = b"", []
            if not message:
                self.ended = self.ended or (Ended() if self._started else Ended(failed=NOBODY))
                return False
            self._understand(json.loads(message), ancillary)

    def _understand(self, told: dict[str, Any], ancillary: list[tuple[int, int, bytes]]) -> None:
        if "init" in told:
            self.supervisor_pid = told["init"]
        elif "started" in told:
            self._started = True
            self.function_pid = struct.unpack("3i", ancillary[0][2])[0] if ancillary else 0
        elif "exec" in told:
            self.exec_error = told["exec"]
        elif "ended" in told:
            self.ended = self.ended or Ended(told["ended"], told["peak"])
        else:
            self.ended = Ended(failed=told["failed"])

    def request_end(self) -> None:
        """Has the init end everything."""
        with contextlib.suppress(OSError):
            self._socket.send(b"end")

    def close(self) -> None:
        self._socket.close()
