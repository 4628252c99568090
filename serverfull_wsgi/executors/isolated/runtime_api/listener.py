"""The door of a Runtime API: a port of the loopback, where all processes of the machine can knock."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from time import monotonic

BACKLOG = 32  # connections that wait
NO_ROOM = 0.05  # seconds that it is shut when this process can open no more files


class Listener:
    """Lets in what ``belongs``, which is told the ports of the client and of the server; ``poll`` watches it.

    Whoever polls asks `seconds_until_due` in how many seconds to `resume_if_due`.
    """

    def __init__(self, poll: select.poll, belongs: Callable[[int, int], bool]) -> None:
        self._poll, self._belongs = poll, belongs
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        self.fd = self._listener.fileno()
        self.port: int = self._listener.getsockname()[1]
        self._shut_until = 0.0
        poll.register(self.fd, select.POLLIN)

    def accept(self, *, room: bool) -> socket.socket | None:
        """Who knocks, if there is ``room``; None for a stranger, and for one that has gone again."""
        with contextlib.ExitStack() as turning_away:
            try:
                sock, (_, port) = self._listener.accept()
                turning_away.callback(sock.close)
                if room and self._belongs(port, self.port):
                    turning_away.pop_all()
                    return sock
            except (BlockingIOError, ConnectionError):
                pass
            except OSError:
                self._shut()
        return None

    def _shut(self) -> None:
        self._poll.unregister(self.fd)
        self._shut_until = monotonic() + NO_ROOM

    def seconds_until_due(self) -> float:
        """In how many seconds to look; infinity while it is open."""
        return max(0.0, self._shut_until - monotonic()) if self._shut_until else float("inf")

    def resume_if_due(self) -> None:
        """Time has passed."""
        if self._shut_until and monotonic() >= self._shut_until:
            self._shut_until = 0.0
            self._poll.register(self.fd, select.POLLIN)

    def close(self) -> None:
        self._listener.close()
