"""What a zygote has before the first job: the runtime client, and knowledge of what keeps processes apart here."""

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
from collections.abc import Iterator
from typing import Any

from ...sandbox import linux


def preload(modules: list[str]) -> dict[str, Any]:
    """Imports the runtime client and ``modules``; whether forks of this process can be environments, or why not."""
    try:
        if not importlib.util.find_spec("runtime_client"):
            return {"why": "there is no awslambdaric for this interpreter"}
        with _without_client():
            for name in ("awslambdaric.__main__", "awslambdaric.bootstrap", "concurrent.futures.thread"):
                importlib.import_module(name)
        with contextlib.suppress(ImportError, OSError):  # what each fork would load, 1 ms in all; not in every version
            importlib.import_module("awslambdaric.lambda_literals")
            ctypes.CDLL("libstdc++.so.6")
        for name in modules:
            importlib.import_module(name)
    except BaseException as error:
        return {"client": "awslambdaric.__main__" in sys.modules, "why": f"{type(error).__name__}: {error}"}
    if len(os.listdir("/proc/self/task")) > 1:
        return {"client": True, "why": "a preloaded module has started a thread"}
    gc.collect()
    gc.freeze()  # what is here now stays, so collections in the forks need not touch, and copy, its pages
    return {"client": True, "fork": True}


@contextlib.contextmanager
def _without_client() -> Iterator[None]:
    """The runtime's client, in C, reads the address of its API when it is loaded: not here, but in each fork."""
    stub = types.ModuleType("runtime_client")
    stub.initialize_client = lambda user_agent: None  # type: ignore[attr-defined]
    sys.modules["runtime_client"] = stub
    try:
        yield
    finally:
        del sys.modules["runtime_client"]


def probe() -> dict[str, str]:
    """What keeps processes apart here: for each means an empty text, or why it cannot be had."""
    found = {"namespaces": "", "proc": "", "tmp": ""}
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            linux.unshare()
            if not (pid := os.fork()):
                for name, act in (
                    ("proc", linux.mount_proc),
                    ("tmp", lambda: linux.mount_over("/tmp", "/tmp")),  # noqa: S108
                ):
                    try:
                        act()
                    except OSError as error:
                        found[name] = str(error)
                os.write(writer, json.dumps(found).encode())
                os._exit(0)
            os.waitpid(pid, 0)
        except OSError as error:
            os.write(writer, json.dumps(dict.fromkeys(found, str(error))).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else dict.fromkeys(found, "the trial ended without a word")
