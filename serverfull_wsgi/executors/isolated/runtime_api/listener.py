"""The listening socket of a Runtime API. All processes of the machine can connect to it; few are accepted."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable
from time import monotonic

BACKLOG = 32  # connections that wait to be accepted
PAUSE = 0.05  # seconds without accepting after the process ran out of descriptors


class Listener:
    """A port of 127.0.0.1 that accepts connections of the environment's own processes.

    Args:
        poll: watches the socket, except during a pause.
        is_own_peer: returns whether a connection comes from the environment, given the client's and the server's port.
    """

    def __init__(self, poll: select.poll, is_own_peer: Callable[[int, int], bool]) -> None:
        self._poll, self._is_own_peer = poll, is_own_peer
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._socket.setblocking(False)
        self.fd = self._socket.fileno()
        self.port: int = self._socket.getsockname()[1]
        self._paused_until = 0.0
        poll.register(self.fd, select.POLLIN)

    def accept(self, *, has_room: bool) -> socket.socket | None:
        """Accept one connection. Return None if there is no room, the peer is another's, or it has closed already."""
        with contextlib.ExitStack() as on_refusal:
            try:
                sock, (_, port) = self._socket.accept()
                on_refusal.callback(sock.close)
                if has_room and self._is_own_peer(port, self.port):
                    on_refusal.pop_all()
                    return sock
            except (BlockingIOError, ConnectionError):
                pass
            except OSError:  # no descriptor is left; the socket stays readable, so that poll would return at once
                self._pause()
        return None

    def move(self, fd: int) -> None:
        """Replace the socket by one in a network of the environment's own, where every peer is the environment's."""
        os.dup2(fd, self.fd)
        os.close(fd)
        self._socket.setblocking(False)
        self._is_own_peer = lambda port, own_port: True

    def _pause(self) -> None:
        self._poll.unregister(self.fd)
        self._paused_until = monotonic() + PAUSE

    def seconds_until_due(self) -> float:
        """Return the seconds until `resume_if_due` has an effect; infinity if it has none."""
        return max(0.0, self._paused_until - monotonic()) if self._paused_until else float("inf")

    def resume_if_due(self) -> None:
        """Accept connections again if a pause is over."""
        if self._paused_until and monotonic() >= self._paused_until:
            self._paused_until = 0.0
            self._poll.register(self.fd, select.POLLIN)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
