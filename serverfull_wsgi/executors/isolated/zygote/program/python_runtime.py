"""The runtime client in a fork of the zygote, with the effect of ``python -m awslambdaric HANDLER``.

It is AWS's client or the fallback client, which has the same modules.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import io
import os
import sys
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

from ...runtimes.packages import restrict_imports
from ...runtimes.python_client import is_fallback, prefer_own_client
from ...runtimes.python_transport import FrameClient, belongs_to
from ...sandbox import linux
from ..protocol import FRAMES_FD, StartRequest
from .child import COUNTER_FD
from .preload import finders_at_start, hide_modules

Connect = Callable[..., None]  # (descriptor of the counter, descriptor of the connection for frames or None)


def load_libraries() -> None:
    """Load the C++ library that the client's C module needs, which saves each fork 1 ms."""
    with contextlib.suppress(OSError):
        ctypes.CDLL("libstdc++.so.6")


def run_client(request: StartRequest, prepare: Callable[[Any, Connect], None] | None = None) -> None:
    """Run the runtime client for the handler of ``request`` until the process ends.

    For a snapshot, ``prepare`` gets the class of the client, and a function that a fork of the snapshot calls with the
    descriptor of its counter of events, and with that of its connection for frames, if it has one.

    The zygote imported the client with other variables, so that everything decided at import is decided again.
    """
    os.environ.clear()
    os.environ.update(request.env)
    time.tzset()
    sys.path[:0] = request.path
    sys.stdout = sys.__stdout__ = _stream(1, "stdout", "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "stderr", "backslashreplace")  # type: ignore[misc]
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # the module random does this itself in a fork
    hide_modules(os.environ.get("AWS_EXECUTION_ENV", ""))
    if request.hides_packages:
        prefer_own_client(request.path)
    from awslambdaric import __main__ as runtime
    from awslambdaric import bootstrap, lambda_runtime_client

    _become_main(runtime)
    if "AWS_LAMBDA_LOG_FORMAT" in os.environ or "AWS_LAMBDA_LOG_LEVEL" in os.environ:
        importlib.reload(bootstrap)
    # The marshaller depends on AWS_EXECUTION_ENV, the C client on AWS_LAMBDA_RUNTIME_API.
    lambda_runtime_client.LambdaRuntimeClient.marshaller = lambda_runtime_client.LambdaMarshaller()
    connect = _connector(lambda_runtime_client, request.path if request.hides_packages else ())
    if prepare is None:
        connect(COUNTER_FD, FRAMES_FD if request.has_frames else None)
    else:
        prepare(lambda_runtime_client.LambdaRuntimeClient, connect)
    if request.hides_packages:
        restrict_imports(request.path, request.modules, finders_at_start)
    sys.argv = [runtime.__file__, request.handler]
    runtime.main(sys.argv)


def _connector(client: Any, own: Sequence[str]) -> Connect:
    """Return a function that connects the client's module to the Runtime API, and counts events in a descriptor.

    Without a connection for frames it imports the C module of AWS's client, which reads the address of the API. The
    place of that module may be hidden by then. A client in one of the folders ``own`` is the function's: it uses HTTP.
    """
    spec = None if is_fallback() else importlib.util.find_spec("runtime_client")
    fallback = client.runtime_client

    def load_http() -> Any:
        if spec is None or spec.loader is None:
            fallback.initialize_client()
            return fallback
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.initialize_client(client._user_agent())
        return module

    def connect(counter: int, frames: int | None = None) -> None:
        if frames is None or belongs_to(client, own):
            client.runtime_client = load_http()
        else:
            client.runtime_client = FrameClient(frames, client, load_http)
        if spec is not None:
            sys.modules["runtime_client"] = client.runtime_client
        _count_events(client.LambdaRuntimeClient, counter)

    return connect


def _become_main(runtime: types.ModuleType) -> None:
    """Make the client's module the main one. Sentry's integration finds its name ``bootstrap`` there."""
    del sys.modules[runtime.__name__]
    runtime.__name__ = "__main__"
    sys.modules["__main__"] = runtime


def _count_events(client: Any, fd: int) -> None:
    """Have the class of the client count the events that it returns, in memory that the server can read.

    The client reads an event in C, while other threads can end the process. The count shows that the event is lost.
    """
    counter = linux.map_counter(fd)
    os.close(fd)
    counter.value = 1
    wait = client.wait_next_invocation

    def wait_next_invocation(self: Any) -> Any:
        event = wait(self)
        counter.value += 1
        return event

    client.wait_next_invocation = wait_next_invocation


def _stream(fd: int, name: str, errors: str) -> io.TextIOWrapper:
    """Return an unbuffered text stream, as ``python -u`` opens it."""
    raw = io.FileIO(fd, "w", closefd=False)
    raw.name = f"<{name}>"
    return io.TextIOWrapper(raw, "utf-8", errors, "\n", write_through=True)
