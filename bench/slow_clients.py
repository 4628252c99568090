"""Ordinary callers beside slow clients, for each server: python -m bench.slow_clients [SERVER…].

A quarter of the slow clients each send nothing, send a head a byte a second, send a body a byte a second, and never
read an answer of 5 MB. A client that the server disconnects connects again.
"""

import argparse
import asyncio
import contextlib
import http.client
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench.servers import ROOT, clean_environ, free_port

SERVE = ["-m", "serverfull_wsgi", "serve", "--bind", "127.0.0.1:{port}"]
GUNICORN = ["-m", "gunicorn", "serverfull_wsgi:app", "--no-control-socket", "--bind", "127.0.0.1:{port}"]
SERVERS = {
    "serve": SERVE,
    "gthread": [*GUNICORN, "--threads", "8"],
    "sync": [*GUNICORN, "--workers", "4"],
    "gevent": [*GUNICORN, "--worker-class", "gevent"],
    "granian": ["-m", "granian", "--interface", "wsgi", "--port", "{port}", "serverfull_wsgi:app"],
    "waitress": ["-m", "waitress", "--listen=127.0.0.1:{port}", "serverfull_wsgi:app"],
}
HEAD = "POST /2015-03-31/functions/{}/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n"
TIMEOUT = 20.0  # seconds after which a call counts as failed


def main():
    options = _options()
    for name in options.servers or ["serve"]:
        with tempfile.TemporaryDirectory() as folder:
            _measure(name, SERVERS[name], options, folder)


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="*", metavar="SERVER", help=f"of: {', '.join(SERVERS)}")
    parser.add_argument("--clients", type=int, default=500, help="slow clients (default: 500)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of slow clients (default: all)")
    parser.add_argument("--callers", type=int, default=4, help="ordinary callers (default: 4)")
    parser.add_argument("--seconds", type=float, default=30, help="duration (default: 30)")
    return parser.parse_args()


def _measure(name, argv, options, folder):
    port = free_port()
    environ = {
        "SERVERFULL_FUNCTIONS": "echo=bench.handlers.echo,large=bench.handlers.large",
        "SERVERFULL_EVENTS": "memory",
    }
    argv = [part.format(port=port) for part in argv]
    with open(Path(folder, "log"), "wb") as log:
        server = subprocess.Popen(
            [sys.executable, *argv], cwd=ROOT, env={**clean_environ(), **environ}, stdout=log, stderr=log
        )
    try:
        _wait(port)
        for clients in (0, options.clients):
            _show(f"{name}, {clients} slow clients", *_calls_beside(port, clients, options))
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
        server.kill()


def _wait(port):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return _call(port, "GET", "/healthcheck")
        time.sleep(0.1)
    raise RuntimeError("the server does not answer")


def _calls_beside(port, clients, options):
    """Return the durations of calls and of health checks, in seconds, beside slow clients. Failures are infinite."""
    stop = threading.Event()
    slow = threading.Thread(
        target=lambda: asyncio.run(_slow_clients(port, clients, [KINDS[kind] for kind in options.kinds], stop))
    )
    slow.start()
    time.sleep(2)
    calls, checks = [], []
    until = time.monotonic() + options.seconds
    path = "/2015-03-31/functions/echo/invocations"
    threads = [
        threading.Thread(target=_repeat, args=(until, calls, port, "POST", path)) for _ in range(options.callers)
    ]
    threads.append(threading.Thread(target=_repeat, args=(until, checks, port, "GET", "/healthcheck")))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    slow.join()
    return calls, checks


def _repeat(until, durations, port, method, path):
    while time.monotonic() < until:
        started = time.perf_counter()
        try:
            _call(port, method, path)
            durations.append(time.perf_counter() - started)
        except (OSError, http.client.HTTPException):
            durations.append(float("inf"))
        time.sleep(0.05)


def _call(port, method, path):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        connection.request(method, path, b"{}" if method == "POST" else None)
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise OSError(f"status {response.status}")


async def _slow_clients(port, count, kinds, stop):
    tasks = [asyncio.create_task(_repeat_slowly(port, kinds[number % len(kinds)])) for number in range(count)]
    while not stop.is_set():
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat_slowly(port, kind):
    loop = asyncio.get_running_loop()
    while True:
        with contextlib.closing(socket.socket()) as sock, contextlib.suppress(OSError):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await kind(loop, sock)
        await asyncio.sleep(0.2)


async def _send_nothing(loop, sock):
    await loop.sock_recv(sock, 1)


async def _send_slow_head(loop, sock):
    await loop.sock_sendall(sock, HEAD.format("echo", 2).encode())
    while True:
        await loop.sock_sendall(sock, b"X")
        await asyncio.sleep(1)


async def _send_slow_body(loop, sock):
    await loop.sock_sendall(sock, HEAD.format("echo", 1000).encode() + b"\r\n")
    while True:
        await loop.sock_sendall(sock, b" ")
        await asyncio.sleep(1)


async def _never_read(loop, sock):
    await loop.sock_sendall(sock, HEAD.format("large", 2).encode() + b"\r\n{}")
    while True:
        await asyncio.sleep(1)
        sock.send(b"")  # raises an error if the server has disconnected this client


KINDS = {"nothing": _send_nothing, "head": _send_slow_head, "body": _send_slow_body, "unread": _never_read}


def _show(title, calls, checks):
    print(f"{title:32} calls: {_summary(calls)}; health checks: {_summary(checks)}", flush=True)


def _summary(durations):
    failed = durations.count(float("inf"))
    cuts = statistics.quantiles(durations, n=100, method="inclusive") if len(durations) > 1 else durations * 99
    return f"{len(durations)}, {failed} failed, p50 {1000 * cuts[49]:.0f} ms, p99 {1000 * cuts[98]:.0f} ms"


if __name__ == "__main__":
    main()
