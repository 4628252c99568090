"""Lower bounds for a call in another process: a minimal Runtime API, and a ping-pong over a socket pair."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from time import perf_counter

ID = "8f507cfc-2a0a-4f19-9a8f-1d0f0c5a9e3b"
ROOT = Path(__file__).parent.parent


class PingPong:
    """A child process that sends back each event: the least that a call in another process can take."""

    def __init__(self):
        self._socket, child = socket.socketpair()
        program = "import socket\nother = socket.socket(fileno=0)\nwhile data := other.recv(65536): other.sendall(data)"
        self._process = subprocess.Popen([sys.executable, "-S", "-c", program], stdin=child)
        child.close()

    def timed_call(self, event):
        """Return the seconds from sending ``event`` to its return."""
        started = perf_counter()
        self._socket.sendall(event)
        self._socket.recv(65536)
        return perf_counter() - started

    def close(self):
        """Close the connection, which ends the child."""
        self._socket.close()
        self._process.wait()


class BareRuntimeApi:
    """AWS's runtime client on a minimal Runtime API: one connection, one request after the other, no checks."""

    def __init__(self, handler):
        listener = socket.create_server(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        environ = {
            "AWS_LAMBDA_RUNTIME_API": address,
            # as this package sets it: from python3.12 on, AWS's client takes another way to its next event
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python3.{sys.version_info.minor}",
            "LAMBDA_TASK_ROOT": str(ROOT / "bench"),
            "PATH": os.environ["PATH"],
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", handler],
            cwd=ROOT / "bench",
            env={**environ, "AWS_LAMBDA_FUNCTION_NAME": "echo", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"},
        )
        with listener:
            self._socket, _ = listener.accept()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._receive()  # the request for the first event

    def timed_call(self, event):
        """Return the seconds from sending ``event`` to its response, without the request for the next event."""
        deadline = int((time.time() + 60) * 1000)
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(event)}\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {ID}\r\nLambda-Runtime-Deadline-Ms: {deadline}\r\n"
            "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:echo\r\n\r\n"
        )
        started = perf_counter()
        self._socket.sendall(head.encode() + event)
        self._receive()
        seconds = perf_counter() - started
        self._socket.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        self._receive()
        return seconds

    def _receive(self):
        """Return the body of the client's next request."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._read()
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        while len(body) < int(lengths[0] if lengths else 0):
            body += self._read()
        return body

    def _read(self):
        data = self._socket.recv(65536)
        if not data:
            raise RuntimeError("the runtime client closed its connection")
        return data

    def close(self):
        """Kill the runtime client and close the connection."""
        self._process.kill()
        self._process.wait()
        self._socket.close()
