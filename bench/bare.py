"""The least that a Runtime API can be: one connection, one request after the other, and nothing is checked."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from time import perf_counter

ID = "8f507cfc-2a0a-4f19-9a8f-1d0f0c5a9e3b"
ROOT = Path(__file__).parent.parent


class BareLoop:
    """AWS's runtime client over such an API; what it takes less than anything else here is what there is to gain."""

    def __init__(self, handler):
        listener = socket.create_server(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        environ = {
            "AWS_LAMBDA_RUNTIME_API": address,
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
        self._receive()  # that it wants its first event

    def timed(self, event):
        """Seconds from the event to its answer; that the client asks for the next is not counted."""
        deadline = int((time.time() + 60) * 1000)
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(event)}\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {ID}\r\nLambda-Runtime-Deadline-Ms: {deadline}\r\n"
            "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:echo\r\n\r\n"
        )
        started = perf_counter()
        self._socket.sendall(head.encode() + event)
        self._receive()
        taken = perf_counter() - started
        self._socket.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        self._receive()
        return taken

    def _receive(self):
        """A whole request of the client's."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        while len(body) < int(lengths[0] if lengths else 0):
            body += self._more()
        return body

    def _more(self):
        data = self._socket.recv(65536)
        if not data:
            raise RuntimeError("the client has gone")
        return data

    def close(self):
        self._process.kill()
        self._process.wait()
        self._socket.close()
