"""All hosts of the application, behind one interface: ``request(method, target, …)``."""

import contextlib
import http.client
import io
import json
from urllib.parse import quote, unquote_to_bytes
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from werkzeug.datastructures import Headers

from serverfull_wsgi import ChoosingExecutor, InProcessExecutor, ProcessExecutor
from tests.support import site
from tests.support.isolated import hidden_client, needs_client
from tests.support.servers import Server, free_port, gunicorn, running


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, Headers(headers), body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:200]!r}>"


class InProcess:
    """Calls a WSGI application as a server does. A ``raw`` server passes on the path as the client sent it."""

    def __init__(self, application, prefix="", *, raw=True):
        self._application, self._prefix, self._raw = validator(application), prefix, raw

    def request(self, method, target, body=b"", headers=None):
        target = quote(self._prefix) + target
        path, _, query = target.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "SCRIPT_NAME": "",
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            **{_variable(name): value for name, value in (headers or {}).items()},
            **({"RAW_URI": target} if self._raw else {}),
        }
        setup_testing_defaults(environ)
        responses = []

        def start_response(status, headers, exc_info=None):
            responses.append((int(status.split()[0]), headers))
            return lambda data: None

        with contextlib.closing(self._application(environ, start_response)) as pieces:
            content = b"".join(pieces)
        return Response(*responses[-1], content)


def _variable(header):
    """Return the key of a header in a WSGI environ."""
    name = header.upper().replace("-", "_")
    return name if name == "CONTENT_TYPE" else f"HTTP_{name}"


class OverSocket:
    """Sends requests to a server over a socket."""

    def __init__(self, server, prefix=""):
        self._server, self._prefix = server, prefix

    def request(self, method, target, body=b"", headers=None):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)) as connection:
            connection.request(method, quote(self._prefix) + target, body, headers or {})
            response = connection.getresponse()
            return Response(response.status, response.getheaders(), response.read())


def invoke(host, name, payload=b"", **headers):
    """Invoke a function over ``host``. A header is a keyword such as ``X_Amz_Log_Type="Tail"``."""
    headers = {header.replace("_", "-"): value for header, value in headers.items()}
    return host.request("POST", f"/2015-03-31/functions/{name}/invocations", payload, headers)


def post(application, name, payload=b"", **headers):
    """Invoke a function of a WSGI application, called directly."""
    return invoke(InProcess(application), name, payload, **headers)


IN_PROCESS = {
    "bare": lambda: InProcess(site.application),
    "no-raw-path": lambda: InProcess(site.application, raw=False),
    "prefix": lambda: InProcess(site.prefixed, site.PREFIX),
    "flask": lambda: InProcess(site.in_flask, "/lambda"),
    "django": lambda: InProcess(site.in_django, "/lambda"),
}
_GTHREAD = ("--worker-class", "gthread", "--threads", "4")
GUNICORN = {
    "sync": ("--workers", "2"),
    "gthread": _GTHREAD,
    "gevent": ("--worker-class", "gevent"),
    "granian": ("--worker-class", "serverfull_wsgi.workers.GranianWorker", "--threads", "4"),
    "sync-preload": ("--workers", "2", "--preload"),
    "gthread-preload": (*_GTHREAD, "--preload"),
    "gevent-preload": ("--worker-class", "gevent", "--preload"),
}
NAMES = [*IN_PROCESS, *GUNICORN, "gthread-prefix", "waitress"]
NAMES += [pytest.param(name, marks=needs_client) for name in ("isolated", "isolated-http", "isolated-fallback")]
TRANSPORTS = {"isolated": "socket", "isolated-http": "http"}


@contextlib.contextmanager
def host(name, log):
    """Serve the application in the host ``name`` until the block ends."""
    if name in IN_PROCESS:
        yield IN_PROCESS[name]()
    elif name in TRANSPORTS:  # without a private /tmp, so that tests see the files of handlers
        isolated = ProcessExecutor(sandbox="process", eager=True, python_transport=TRANSPORTS[name])
        executor = ChoosingExecutor(InProcessExecutor(), isolated, isolate=True)
        with contextlib.closing(site.make(executor=executor)) as application:
            application.start()
            yield InProcess(application)
    elif name == "isolated-fallback":  # under the fallback client
        with contextlib.ExitStack() as stack:
            with hidden_client():
                it = stack.enter_context(host("isolated", log))
            yield it
    elif name == "waitress":
        port = free_port()
        argv = ["-m", "waitress", f"--listen=127.0.0.1:{port}", "tests.support.site:application"]
        with running(Server(argv, log, port=port)) as server:
            yield OverSocket(server)
    elif name == "gthread-prefix":
        with gunicorn(log, *_GTHREAD, application="tests.support.site:prefixed", ready=quote(site.PREFIX)) as server:
            yield OverSocket(server, site.PREFIX)
    else:
        with gunicorn(log, *GUNICORN[name]) as server:
            yield OverSocket(server)
