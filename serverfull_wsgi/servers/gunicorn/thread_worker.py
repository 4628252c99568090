"""gunicorn's worker gthread, for clients that send or read slowly or not at all.

gunicorn's own gthread worker gives a connection to a thread at once, and the thread waits for the client: eight slow
clients stop eight threads. In `ThreadWorker` the main thread waits for all clients, and a thread has a connection only
between the end of a request and the end of its handler::

    accept ──▶ receiving ── complete ──▶ handling ──▶ sending ── all sent ──▶ kept alive or closing
                ▲  │                   (pool: a thread)  │                         │
                │  └─ deadline: 408, closing             └─ deadline: closed       │
                └───────────────────── the next request ───────────────────────────┘

The main thread makes all these changes. In `sending` it sends the bytes that the kernel did not take from the thread.

- Health checks have a pool of one thread of their own. They are answered while all other threads run handlers.
- If `worker_connections` are open, or `MAX_MEMORY` is used, the connection that has made no progress for the longest
  time is closed. So idle clients do not keep others out.
- A closed connection is half-closed first, and the main thread waits for the client's end (RFC 9112, section 9.6).
- With TLS in gunicorn, HTTP/2, uWSGI's protocol or the PROXY protocol, the worker works as gunicorn's own.
"""

from __future__ import annotations

import contextlib
import errno
import re
import selectors
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn.workers import gthread

from serverfull_wsgi.api.wrapped import applications_in
from serverfull_wsgi.servers.gunicorn.connections import Connection
from serverfull_wsgi.servers.gunicorn.workers import client_timeout_of, clip_evidence, late_answer
from serverfull_wsgi.settings.settings import Settings

MAX_MEMORY = 512 * 1024 * 1024  # bytes of waiting requests and answers: about 80 of the largest payloads
LOOK_INTERVAL = 0.25  # seconds between two looks at the deadlines
LINGER = 2.0  # seconds that a closed connection waits for the client's end: gunicorn's value
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ThreadWorker(gthread.ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's gthread worker, in which no thread waits for a client.

    Attributes:
        client_timeout: seconds in which a client has to send the next 64 KiB of its request, or the rest of it, and to
            read the next 64 KiB of its answer. None until `run` reads SERVERFULL_CLIENT_TIMEOUT.
    """

    client_timeout: float | None = None

    def run(self) -> None:
        self._timeout = client_timeout_of(self)
        self.log.error_log.addFilter(clip_evidence)
        self._waiting: dict[Connection, None] = {}  # receiving or sending, in the main thread
        self._lingering: dict[socket.socket, float] = {}  # closed; the end of their time
        self._next_look = 0.0
        self._health_pool = ThreadPoolExecutor(1, "serverfull-health")
        self._is_health_check = _health_check_pattern(self.wsgi).match
        self._buffers = _can_buffer(self.cfg)
        try:
            super().run()
        finally:
            self._health_pool.shutdown(wait=False)

    def accept(self, listener: Any) -> None:
        if not self._buffers:
            super().accept(listener)
            return
        try:
            accepted, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                if self._lingering:
                    self._end_lingering(next(iter(self._lingering)))
                else:
                    self._drop_slowest()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        connection = Connection(
            self.cfg,
            accepted,
            client,
            listener.getsockname(),
            seconds=self._timeout,
            on_unsent=self._defer_sending,
            linger=self._linger,
        )
        self._receive(connection)
        if self.nr_conns >= self.worker_connections:
            self._drop_slowest()

    def on_client_socket_readable(self, connection: Any, client: Any) -> None:
        """Receive the next request of a kept-alive connection."""
        if not self._buffers:
            super().on_client_socket_readable(connection, client)
            return
        self.poller.unregister(client)
        self.keepalived_conns.remove(connection)
        connection.start_request()
        self._receive(connection)

    def enqueue_req(self, connection: Any) -> None:
        """Give a complete request to a thread."""
        is_check = self._buffers and self._is_health_check(connection.received)
        pool = self._health_pool if is_check else self.tpool
        response = pool.submit(self.handle, connection)
        response.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, connection, done))

    def finish_request(self, connection: Any, response: Future[Any]) -> None:
        """Send the rest of the answer, and then keep the connection alive or close it."""
        if self._buffers:
            connection.is_in_thread = False
            if connection.sock.unsent:
                connection.response = response
                self._send(connection)
                return
        super().finish_request(connection, response)
        if self._buffers and connection.received and connection in self.keepalived_conns:
            self.on_client_socket_readable(connection, connection.sock)  # the next request came with this one

    def murder_pending(self) -> None:
        """Disconnect clients that were too slow. gunicorn calls this after each event, and each second."""
        super().murder_pending()
        now = time.monotonic()
        if not self._buffers or now < self._next_look:
            return
        self._next_look = now + LOOK_INTERVAL
        for connection in [it for it in self._waiting if self._is_late(it, now)]:
            self._drop_late(connection)
        for sock in [sock for sock, end in self._lingering.items() if now > end]:
            self._end_lingering(sock)
        while sum(connection.buffered for connection in self._waiting) > MAX_MEMORY and self._drop_slowest():
            pass

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        waits = self._buffers and (self._waiting or self._lingering)
        super().wait_for_and_dispatch_events(timeout=min(timeout, LOOK_INTERVAL) if waits else timeout)

    def _cap_keepalive(self, deadline: float) -> None:
        """Close connections without a request soon after the stop."""
        super()._cap_keepalive(deadline)
        for connection in self._waiting if self._buffers else ():
            if connection.response is None and not connection.received:
                connection.receiving.time = min(connection.receiving.time, deadline)

    # The states of a connection, in the main thread

    def _receive(self, connection: Connection, _sock: Any = None) -> None:
        try:
            if connection.receive():
                self._stop_waiting(connection)
                connection.is_in_thread = True
                self.enqueue_req(connection)
        except BlockingIOError:
            self._wait(connection, selectors.EVENT_READ, self._receive)
            if connection.needs_continue():
                with contextlib.suppress(OSError):
                    connection.sock.send(CONTINUE, socket.MSG_DONTWAIT)
        except OSError:
            self._drop(connection)

    def _defer_sending(self, connection: Connection) -> None:
        self.method_queue.defer(self._send, connection)

    def _send(self, connection: Connection, _sock: Any = None) -> None:
        if connection.sock.fileno() < 0:  # dropped before this call, which a thread deferred
            return
        before = connection.sock.unsent
        try:
            is_sent = connection.sock.send_unsent()
        except OSError:
            self._drop(connection)
            return
        if connection.sock.unsent < before:
            connection.progress = time.monotonic()
        if not is_sent:
            self._wait(connection, selectors.EVENT_WRITE, self._send)
            return
        if connection.registered == selectors.EVENT_WRITE:
            self._stop_waiting(connection)
        if response := connection.response:
            connection.response = None
            self.finish_request(connection, response)

    def _wait(self, connection: Connection, event: int, callback: Any) -> None:
        if connection.registered != event:
            self.poller.register(connection.sock, event, partial(callback, connection))
            connection.registered = event
            self._waiting[connection] = None

    def _stop_waiting(self, connection: Connection) -> None:
        if connection.registered:
            self.poller.unregister(connection.sock)
            connection.registered = 0
            del self._waiting[connection]

    def _is_late(self, connection: Connection, now: float) -> bool:
        is_receiving = connection.registered == selectors.EVENT_READ
        return now > (connection.receiving if is_receiving else connection.sock.sending).time

    def _drop_late(self, connection: Connection) -> None:
        if connection.registered == selectors.EVENT_READ and connection.received:
            with contextlib.suppress(OSError):
                connection.sock.send(late_answer(self._timeout), socket.MSG_DONTWAIT)
            self._stop_waiting(connection)
            self.nr_conns -= 1
            self._linger(connection.sock)
        else:
            self._drop(connection)

    def _drop_slowest(self) -> bool:
        """Close the connection that has made no progress for the longest time. Return False if none waits."""
        kept_alive = self.keepalived_conns[0] if self.keepalived_conns else None
        slowest = min(self._waiting, key=lambda it: it.progress, default=None)
        if kept_alive and (not slowest or kept_alive.progress < slowest.progress):
            self.keepalived_conns.popleft()
            self.poller.unregister(kept_alive.sock)
            self.nr_conns -= 1
            kept_alive.close()
        elif slowest:
            self._drop(slowest)
        return bool(kept_alive or slowest)

    def _drop(self, connection: Connection) -> None:
        """Disconnect a client. If a thread has the connection, the end of the thread's work closes it."""
        self._stop_waiting(connection)
        connection.sock.break_off()
        if not connection.is_in_thread:
            self.nr_conns -= 1
            connection.sock.close()

    def _linger(self, sock: socket.socket) -> None:
        """Close a connection as RFC 9112 requires: wait for the client's end, so that it receives the whole answer."""
        try:
            sock.shutdown(socket.SHUT_WR)
            self.poller.register(sock, selectors.EVENT_READ, self._drain)
        except (OSError, ValueError, KeyError):
            sock.close()
            return
        self._lingering[sock] = time.monotonic() + LINGER

    def _drain(self, sock: socket.socket) -> None:
        try:
            if sock.recv(65_536, socket.MSG_DONTWAIT):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._end_lingering(sock)

    def _end_lingering(self, sock: socket.socket) -> None:
        del self._lingering[sock]
        self.poller.unregister(sock)
        sock.close()


def _can_buffer(cfg: Any) -> bool:
    """Return whether connections have plain HTTP/1.1."""
    return not (
        cfg.is_ssl
        or "h2" in cfg.http_protocols
        or getattr(cfg, "protocol", "http") != "http"
        or str(cfg.proxy_protocol).lower() not in ("false", "off")
    )


def _health_check_pattern(wsgi: Any) -> re.Pattern[bytes]:
    """Return the pattern of a health check's request line. The application may be mounted below any path."""
    paths = [application.healthcheck for application in applications_in(wsgi)] or [Settings().healthcheck]
    names = b"|".join(re.escape(path.encode()) for path in paths)
    return re.compile(rb"(?:GET|HEAD) [^ ?]*(?:%s)(?:\?[^ ]*)? HTTP/1" % names)
