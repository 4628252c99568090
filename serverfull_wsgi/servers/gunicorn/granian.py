"""A gunicorn worker that serves HTTP with granian, a server in Rust.

gunicorn's arbiter opens the sockets, starts and restarts the workers, and passes signals on, as for every other worker
class. So the settings, hooks, signals and log lines are those of gunicorn, and only the code between the socket and the
application is another::

    arbiter ── fork ──> worker, main thread: waits for a stop, and sends gunicorn a sign of life
                        ├── granian's runtime thread (Rust): connections, HTTP
                        └── up to ``--threads`` threads: body, application, response

granian's own process manager is not used. Its hooks run in the main process only, it opens one listening socket for
each worker, so that connections are reset when a worker ends, and after a crash in the first seconds of a worker it
stops the whole server.

granian waits for a request's head without a thread, but for the body in one of the threads. It passes no raw path, and
does not report a body in chunks that breaks off.
"""

from __future__ import annotations

import asyncio
import os
import select
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from granian._futures import _new_cbscheduler
from granian._granian import SocketHolder, WorkerSignal, WSGIWorker
from granian.http import HTTP1Settings, HTTP2Settings
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.errors import AppImportError
from gunicorn.workers.base import Worker

from serverfull_wsgi.servers.gunicorn.spare_threads import SpareThreads
from serverfull_wsgi.settings.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

LOOK_INTERVAL = 1.0  # seconds between two signs of life
# Seconds in which granian's threads end after the last response. If the interpreter ends before a thread that waits for
# its lock, the worker aborts with a panic of Rust.
THREADS_END = 0.1
IDLE_THREAD = 30  # seconds after which an idle thread ends: granian's own default
# gunicorn's options that act between the socket and the application, where granian is. Each would have no effect.
UNSUPPORTED = (
    "accesslog",
    "max_requests",
    "limit_request_line",
    "limit_request_fields",
    "limit_request_field_size",
    "proxy_protocol",
    "secure_scheme_headers",
    "http_protocols",
    "keepalive",
    "ciphers",
    "ssl_context",
    "pre_request",
    "post_request",
)


class GranianWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """A worker of gunicorn with granian's HTTP server.

    Attributes:
        client_timeout: seconds in which a client has to send the head of a request. None for the setting's default.
    """

    client_timeout: float | None = None

    def load_wsgi(self) -> None:
        if names := unsupported_options(self.cfg):
            raise AppImportError(f"granian does not support these options of gunicorn: {', '.join(names)}; remove them")
        for name in ("threads", "worker_connections"):  # with 0 of them, granian answers no request
            if getattr(self.cfg, name) < 1:
                raise AppImportError(f"granian needs {self.cfg.settings[name].cli[0]} of 1 or more")
        if self.cfg.is_ssl:
            _check_certificate(self.cfg)
        super().load_wsgi()

    def run(self) -> None:
        try:
            servers = [_Server(self, listener) for listener in self.sockets]
        except Exception as error:  # of a certificate, or of another version's interface: the next worker fails too
            self.log.error("granian cannot start: %s", error)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        while self.alive and os.getppid() == self.ppid:
            self.notify()
            self._wait_for_signal()
        for server in servers:
            server.stop()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        for server in servers:
            while time.monotonic() < deadline and not server.ended.wait(LOOK_INTERVAL):
                self.notify()
        time.sleep(THREADS_END)

    def _wait_for_signal(self) -> None:
        """Return at the next signal, or when the next sign of life is due."""
        interval = min(LOOK_INTERVAL, self.timeout or LOOK_INTERVAL)
        if select.select([self.PIPE[0]], [], [], interval)[0]:
            os.read(self.PIPE[0], 64)


def unsupported_options(cfg: Config) -> list[str]:
    """Return the names of options that are set and would have no effect: as on the command line, if they are there."""
    defaults = Config().settings
    given = [cfg.settings[name] for name in UNSUPPORTED if cfg.settings[name].get() != defaults[name].get()]
    return [it.cli[-1] if it.cli else it.name for it in given]


def _check_certificate(cfg: Config) -> None:
    """Raise `AppImportError` for a certificate or key that cannot be loaded. granian would abort each worker."""
    if not cfg.certfile or not cfg.keyfile:
        raise AppImportError("granian needs both --certfile and --keyfile for HTTPS")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cfg.certfile, cfg.keyfile)
    except OSError as error:  # also of ssl
        message = f"--certfile {cfg.certfile}, --keyfile {cfg.keyfile}: not a certificate and its key: {error}"
        raise AppImportError(message) from error


class _Server:
    """granian's server for one listener of a worker. Its threads run as soon as it is made."""

    def __init__(self, worker: GranianWorker, listener: Any) -> None:
        cfg, sock = worker.cfg, listener.sock
        is_unix = isinstance(sock.getsockname(), (str, bytes))
        self.ended = threading.Event()  # all responses are sent
        self._signal = WorkerSignal()
        self._signal.add_cb(self.ended.set)
        client_timeout = worker.client_timeout or Settings().client_timeout
        server = WSGIWorker(
            worker.age,
            (None, SocketHolder(sock.fileno(), is_unix, cfg.backlog)),
            None,  # a pipe for granian's metrics
            1,  # threads for connections: more are no help to one interpreter
            512,  # threads of the runtime for files, which are not served here
            cfg.threads,
            IDLE_THREAD,
            cfg.worker_connections,
            "1",  # HTTP/1
            HTTP1Settings(header_read_timeout=max(1, int(client_timeout * 1000))),
            HTTP2Settings(),
            None,  # static files
            *_tls(cfg),
            (None, None),  # metrics
        )
        serve = server.serve_mtr_uds if is_unix else server.serve_mtr
        loop = asyncio.new_event_loop()  # granian's scheduler needs one, also for WSGI, where it never runs
        loop.close()  # its descriptors: at the interpreter's end they may be closed in an order that prints an error
        call = _caller(worker.wsgi, _environ(cfg, listener))
        serve(_new_cbscheduler(loop, call, impl_asyncio=True), loop, self._signal)

    def stop(self) -> None:
        """Accept no more connections, and set `ended` as soon as the running requests are answered."""
        self._signal.set()


def _tls(cfg: Config) -> tuple[Any, ...]:
    """Return granian's arguments for TLS: enabled, certificate, key, password, version, CA, revoked, client's duty."""
    is_required = cfg.cert_reqs == ssl.CERT_REQUIRED
    return (bool(cfg.is_ssl), cfg.certfile, cfg.keyfile, None, "tls1.2", cfg.ca_certs, [], is_required)


def _environ(cfg: Config, listener: Any) -> dict[str, Any]:
    """Return the part of each WSGI environ that no request changes.

    It has none of the process's environment variables, which granian itself would copy: a variable such as REMOTE_USER
    must not stand for an authenticated caller. SERVER_NAME is the listener's address as under gunicorn, not the
    request's Host.
    """
    environ = {
        "SCRIPT_NAME": "",
        "SERVER_SOFTWARE": "granian",
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,
        "wsgi.multiprocess": cfg.workers > 1,
        "wsgi.multithread": True,
        "wsgi.run_once": False,
        "wsgi.version": (1, 0),
    }
    address = listener.sock.getsockname()
    if isinstance(address, tuple):  # a unix socket has no port: there, the request's Host stands in both
        environ |= {"SERVER_NAME": address[0], "SERVER_PORT": str(address[1])}
    return environ


class _Start:
    """The ``start_response`` of one request."""

    __slots__ = ("headers", "status")

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        self.status, self.headers = int(status[:3]), headers


def _caller(wsgi: WSGIApplication, environ: dict[str, Any]) -> Callable[[Any, dict[str, Any]], int]:
    """Return the function that granian calls for each request, with the response's transport and the request."""

    threads = SpareThreads()

    def call(transport: Any, request: dict[str, Any]) -> int:
        start = _Start()
        body: Iterable[bytes] = wsgi({**request, **environ}, start)  # type: ignore[arg-type]  # (start returns no write)
        if isinstance(body, (list, tuple)):
            transport.response_bytes(start.status, start.headers, b"".join(body))
        else:
            pieces = _Pieces(body)
            transport.response_iter(start.status, start.headers, pieces)
        threads.end_call()
        return start.status

    return call


class _Pieces:
    """The pieces of a response's body. The first piece is made at once, since the application may start there."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        self._pieces = iter(body)
        self._first = [next(self._pieces, b"")]

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._first.pop() if self._first else next(self._pieces)

    def close(self) -> None:
        if close := getattr(self._body, "close", None):
            close()
