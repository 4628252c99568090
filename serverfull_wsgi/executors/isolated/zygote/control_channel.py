"""The server's end of the control channel of one environment."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import sys

from serverfull_wsgi.executors.isolated.zygote.protocol import (
    END,
    ChannelMessage,
    Ended,
    ExecFailed,
    Failed,
    FunctionStarted,
    ListenerMoved,
    SupervisorStarted,
    decode,
)

_SO_PASSCRED = 16  # from the kernel's headers; the module socket has no name for it on every version of Python
_PACKET = 4096  # bytes; the longest messages hold a path
_CREDENTIALS = struct.Struct("3i")  # pid, uid and gid: struct ucred of unix(7)
_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4)  # and one descriptor


class ControlChannel:
    """A socket pair; the server keeps one end, and `supervisor_end` goes to the environment.

    `supervisor_pid` and `function_pid` are pids in the server's process namespace, and 0 until they are known.
    `listener` is a descriptor of the listening socket that the environment has made, or -1.
    `exec_error` is the errno of a command that could not be run, or 0. `ended` is None while the environment runs.
    """

    def __init__(self) -> None:
        self._socket, self.supervisor_end = self._socket_pair()
        self._socket.setblocking(False)
        self.fd = self._socket.fileno()
        self.supervisor_pid = self.function_pid = self.exec_error = 0
        self.listener = -1
        self.ended: Ended | Failed | None = None
        self._function_started = False

    def _socket_pair(self) -> tuple[socket.socket, socket.socket]:
        """Return sockets that keep the borders of messages; the kernel adds the sender's pid to those of the server."""
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pair[0].setsockopt(socket.SOL_SOCKET, _SO_PASSCRED, 1)
        return pair

    def receive(self) -> bool:
        """Handle all messages that have arrived. Return False if the environment has closed its end."""
        while True:
            try:
                message, ancillary, _, _ = self._socket.recvmsg(_PACKET, _ANCILLARY)
            except BlockingIOError:
                return True
            except OSError:
                message, ancillary = b"", []
            if not message:
                self.ended = self.ended or self._ended_without_message()
                return False
            self._handle_packet(message, ancillary)

    def _ended_without_message(self) -> Ended | Failed:
        """Return the end of an environment after its supervisor was killed, or never started."""
        if self._function_started:
            return Ended(signal.SIGKILL)
        return Failed("the zygote ended before it had started the environment")

    def _handle_packet(self, packet: bytes, ancillary: list[tuple[int, int, bytes]]) -> None:
        self._handle(decode(packet), ancillary)

    def _handle(self, message: ChannelMessage, ancillary: list[tuple[int, int, bytes]]) -> None:
        match message:
            case SupervisorStarted(pid):
                self.supervisor_pid = pid or _sender(ancillary)
            case ListenerMoved():
                self.listener = next((_fd(data) for _, kind, data in ancillary if kind == socket.SCM_RIGHTS), -1)
            case FunctionStarted(pid):
                self._function_started = True
                self.function_pid = pid or _sender(ancillary)
            case ExecFailed(errno):
                self.exec_error = errno
            case Ended():
                self.ended = self.ended or message  # a `Failed` before it has the reason
            case Failed():
                self.ended = message

    def request_end(self) -> None:
        """Have the supervisor end the environment; do nothing if the supervisor has gone."""
        with contextlib.suppress(OSError):
            self._socket.send(END)

    def close(self) -> None:
        """Close the server's end; a supervisor that still runs ends its environment then."""
        self._socket.close()


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Return the pid of the sender, in the server's process namespace; 0 if the kernel has not added it."""
    return int(_CREDENTIALS.unpack(ancillary[0][2])[0]) if ancillary else 0


def _fd(data: bytes) -> int:
    return int.from_bytes(data[:4], sys.byteorder)
