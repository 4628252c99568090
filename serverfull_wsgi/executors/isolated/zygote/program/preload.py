"""Imports and tests that a zygote does once, so that its forks need not."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import sys
import types
from collections.abc import Callable, Iterator

from ...sandbox import linux
from ..protocol import SandboxSupport


def preload(modules: list[str]) -> tuple[bool, str]:
    """Import AWS's runtime client and ``modules``.

    Return whether the interpreter has the client, and why a fork cannot be an environment (empty if it can).
    """
    try:
        if not importlib.util.find_spec("runtime_client"):
            return False, "there is no awslambdaric for this interpreter"
        with _stub_client():
            for name in ("awslambdaric.__main__", "awslambdaric.bootstrap", "concurrent.futures.thread"):
                importlib.import_module(name)
        with contextlib.suppress(ImportError, OSError):  # saves each fork 1 ms; some versions lack them
            importlib.import_module("awslambdaric.lambda_literals")
            ctypes.CDLL("libstdc++.so.6")
        for name in modules:
            importlib.import_module(name)
    except BaseException as error:
        return "awslambdaric.__main__" in sys.modules, f"{type(error).__name__}: {error}"
    if len(os.listdir("/proc/self/task")) > 1:
        return True, "a preloaded module has started a thread"
    gc.collect()
    gc.freeze()  # a collection in a fork then skips these objects, and does not copy their pages
    return True, ""


@contextlib.contextmanager
def _stub_client() -> Iterator[None]:
    """Replace the C module ``runtime_client``, which reads the address of the API at import: each fork imports it."""
    stub = types.ModuleType("runtime_client")
    stub.initialize_client = lambda user_agent: None  # type: ignore[attr-defined]
    sys.modules["runtime_client"] = stub
    try:
        yield
    finally:
        del sys.modules["runtime_client"]


def probe() -> SandboxSupport:
    """Test in a fork which means of isolation this machine allows."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        _report_support(writer)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as report:
        reasons = report.read()
    os.waitpid(pid, 0)
    if not reasons:
        return SandboxSupport(*["the test process ended without a result"] * 3)
    return SandboxSupport(*json.loads(reasons))


def _report_support(writer: int) -> None:
    """Enter namespaces, mount in a child, and write the reasons why something failed, as JSON."""
    try:
        linux.unshare()
        if not (pid := os.fork()):
            proc = _error_of(linux.mount_proc)
            tmp = _error_of(lambda: linux.bind_mount("/tmp", "/tmp"))  # noqa: S108
            os.write(writer, json.dumps(SandboxSupport("", proc, tmp)).encode())
            os._exit(0)
        os.waitpid(pid, 0)
    except OSError as error:
        os.write(writer, json.dumps([str(error)] * 3).encode())


def _error_of(mount: Callable[[], None]) -> str:
    try:
        mount()
    except OSError as error:
        return str(error)
    return ""
