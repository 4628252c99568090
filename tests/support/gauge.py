"""A count of the handlers that run at the same time, in all processes of a machine."""

import selectors
import socket
import threading
import time

SETTLE = 0.5  # seconds in which the kernel closes the connections of a process that was killed
HANDLER = """
import os, socket

def {name}(event, context):
    with socket.create_connection(("127.0.0.1", {port})) as sock:
        sock.recv(1)
    return os.getpid()
"""


class Gauge:
    """A TCP server. Each handler connects, and runs until the gauge sends it a byte or its process is killed.

    Attributes:
        limit: the most handlers that may run at once.
        hold: seconds for which a handler runs; a large number keeps handlers until it is lowered.
        running: the number of handlers that run now.
        most: the most handlers that ran at once.
        total: the handlers that have run.
        rounds: the rounds of the server's loop, each of 5 ms at most; a test may set it back to 0.
    """

    def __init__(self, limit, hold=0.02):
        self.limit, self.hold = limit, hold
        self.running = self.most = self.total = self.rounds = 0
        self._until = {}  # by connection, when it began
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._is_closing = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def source(self, name):
        """Return the source of a handler of this name."""
        return HANDLER.format(name=name, port=self.port)

    def _serve(self):
        while not self._is_closing:
            self._handle_ready(0.005)
            self.rounds += 1
            if len(self._until) > self.limit:  # a killed process's connection may close after its other files
                deadline = time.monotonic() + SETTLE
                while len(self._until) > self.limit and time.monotonic() < deadline:
                    self._handle_ready(0.01, accepts=False)
            self.running = len(self._until)
            self.most = max(self.most, self.running)
            for connection, began in list(self._until.items()):
                if time.monotonic() - began >= self.hold:
                    self._end(connection)

    def _handle_ready(self, seconds, accepts=True):
        for key, _ in self._selector.select(seconds):
            if key.fileobj is not self._listener:
                self._end(key.fileobj)  # the process died
            elif accepts:
                connection = self._listener.accept()[0]
                self._selector.register(connection, selectors.EVENT_READ)
                self._until[connection] = time.monotonic()
                self.total += 1

    def _end(self, connection):
        del self._until[connection]
        self._selector.unregister(connection)
        connection.close()  # the handler's `recv` returns

    def close(self):
        self._is_closing = True
        self._thread.join()
        self._selector.close()
        for connection in [*self._until, self._listener]:
            connection.close()
