"""A WSGI application that streams: three pieces of 8 MB, each after a call of ``/next``, and a count of an upload."""

import threading

_next = threading.Semaphore(0)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/steps":
        return _steps()
    if path == "/next":
        _next.release()
    if path == "/count":
        count = 0
        while piece := environ["wsgi.input"].read(65_536):
            count += len(piece)
        return [str(count).encode()]
    return [b"."]


def _steps():
    for _ in range(3):
        yield b"x" * 8_000_000
        _next.acquire()
