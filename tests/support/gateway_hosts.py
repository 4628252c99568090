"""Hosts of the gateway's tests: WSGI applications and real servers, behind werkzeug's client."""

import contextlib
from http.client import HTTPConnection
from urllib.parse import quote, unquote

import pytest
from werkzeug.test import Client

from tests.support.servers import Server, free_port, gunicorn, running

SITE = "tests.support.gateway_site:everything"
IN_PROCESS = {  # the path of the sites, and the application's name in the module of the sites
    "bare": ("", "everything"),
    "prefix": ("/a shop/here", "prefixed"),
    "flask": ("/lambda", "in_flask"),
    "django": ("/lambda", "in_django"),
}
GUNICORN = {
    "sync": ("--worker-class", "sync"),
    "gthread": ("--worker-class", "gthread", "--threads", "4"),
    "gevent": ("--worker-class", "gevent"),
    "granian-worker": ("--worker-class", "serverfull_wsgi.workers.GranianWorker", "--threads", "4"),
}
OTHERS = {
    "waitress": ("waitress", "--listen", "127.0.0.1:{port}", SITE),
    "granian": ("granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}", SITE),
}
SERVERS = [pytest.param(name, marks=pytest.mark.once) for name in (*GUNICORN, *OTHERS)]
MOUNTS = [pytest.param(name, marks=pytest.mark.once) for name in list(IN_PROCESS)[1:]]
NAMES = [pytest.param("bare", marks=pytest.mark.quick), *MOUNTS, *SERVERS]
NO_RAW_PATH = ("granian", "granian-worker")  # pass on the decoded path only


class Forwarding:
    """A WSGI application that sends each request to a server over a socket, as it is."""

    def __init__(self, port):
        self._port = port

    def __call__(self, environ, start_response):
        with contextlib.closing(HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            connection.putrequest(
                environ["REQUEST_METHOD"], environ["RAW_URI"], skip_host=True, skip_accept_encoding=True
            )
            for key, value in environ.items():
                if key.startswith("HTTP_") or (key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value):
                    connection.putheader(key.removeprefix("HTTP_").replace("_", "-").title(), value)
            connection.endheaders(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
            response = connection.getresponse()
            headers = [(name, value) for name, value in response.getheaders() if name.lower() != "transfer-encoding"]
            start_response(f"{response.status} {response.reason}", headers)
            return [response.read()]


class Host:
    """The sites in one host: a WSGI application, which has them below a prefix."""

    def __init__(self, prefix, application, name="", server=None):
        self.prefix, self._application, self._server = quote(prefix), application, server
        self.has_raw_path = name not in NO_RAW_PATH

    def client(self, path=""):
        """Return a client that sends requests below a path of the sites."""
        return Client(below(self.prefix + path, self._application), use_cookies=False)

    @property
    def port(self):
        return self._server.port

    def output(self):
        """Return the log of the server."""
        return self._server.output()

    @property
    def whole(self):
        """Return a client that sends requests with whole paths, with the prefix."""
        return Client(self._application, use_cookies=False)


def below(path, application):
    """Return a WSGI application that passes requests on to another, below a path."""

    def passing(environ, start_response):
        environ["PATH_INFO"] = unquote(path) + environ["PATH_INFO"]
        environ["RAW_URI"] = environ["REQUEST_URI"] = path + environ["RAW_URI"]
        return application(environ, start_response)

    return passing


@contextlib.contextmanager
def host(name, log):
    """Serve the sites in the host ``name`` until the block ends."""
    if name in IN_PROCESS:
        from tests.support import gateway_site  # makes applications, which most tests do not need

        prefix, attribute = IN_PROCESS[name]
        yield Host(prefix, getattr(gateway_site, attribute), name)
    elif name in GUNICORN:
        with gunicorn(log, *GUNICORN[name], application=SITE) as server:
            yield Host("", Forwarding(server.port), name, server)
    else:
        port = free_port()
        argv = ["-m", *(part.format(port=port) for part in OTHERS[name])]
        with running(Server(argv, log, port=port)) as server:
            yield Host("", Forwarding(server.port), name, server)
