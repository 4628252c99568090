"""Imports that a zygote does once, so that its forks need not, and the modules that a fork starts with.

The zygote imports AWS's runtime client first, or else the fallback client, then the modules of
SERVERFULL_ZYGOTE_PRELOAD, and then its own program. A fork that runs Python hides the program's modules again: a
function's own ``queue.py`` is then found before the standard library's, as after ``python -m awslambdaric``. This
module itself may import only modules that the command ``python -m awslambdaric`` has imported when it calls the client.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy  # noqa: F401  (python -m imports it)
import sys
import types

from ...runtimes.python_client import import_fallback

FIRST_WITH_THREAD = 12  # from Python 3.12 on, AWS's client polls in a thread

_of_client: set[str] = set()  # names of modules
_of_client_with_thread: set[str] = set()
_of_functions: set[str] = set()  # likewise with the modules to preload; empty if there are none
finders_at_start: list[object] = []  # of ``sys.meta_path``, before a module of a function is imported
_hidden: list[types.ModuleType] = []  # kept, so that nothing is freed


def preload(modules: list[str]) -> tuple[str, str]:
    """Import AWS's runtime client, or else the fallback client, and ``modules``.

    Return why AWS's client cannot be imported, and why a fork cannot be an environment. Both are empty if all is well.
    """
    finders_at_start[:] = sys.meta_path
    client_fault = _import_client()
    try:
        for name in modules:
            importlib.import_module(name)
        _of_functions.update(sys.modules if modules else ())
    except BaseException as error:
        return client_fault, _text(error)
    if len(os.listdir("/proc/self/task")) > 1:
        return client_fault, "a preloaded module has started a thread"
    return client_fault, ""


def _import_client() -> str:
    """Import AWS's client, or else the fallback client. Return why AWS's cannot be imported."""
    fault = _import_aws_client()
    if fault:
        import_fallback()
    _of_client.update(sys.modules)
    importlib.import_module("concurrent.futures.thread")
    _of_client_with_thread.update(sys.modules)
    return fault


def _import_aws_client() -> str:
    """Import AWS's client, with a stub of its C module, which reads the address of the API at import."""
    if not importlib.util.find_spec("runtime_client"):
        return "it is not installed"
    stub = types.ModuleType("runtime_client")
    stub.initialize_client = lambda user_agent: None  # type: ignore[attr-defined]
    sys.modules["runtime_client"] = stub
    try:
        importlib.import_module("awslambdaric.__main__")
        if importlib.util.find_spec("awslambdaric.lambda_literals"):  # saves each fork 1 ms; some versions lack it
            importlib.import_module("awslambdaric.lambda_literals")
    except BaseException as error:
        return _text(error)
    finally:
        del sys.modules["runtime_client"]
    return _fault_of_c_module()


def _fault_of_c_module() -> str:
    """Import the C module in a fork, as each environment will do. Return the error, or an empty text."""
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        try:
            importlib.import_module("runtime_client")
        except BaseException as error:
            os.write(writer, _text(error).encode())
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        fault = file.read().decode()
    status = os.waitpid(pid, 0)[1]
    return fault or (f"its C module ends the process with wait status {status}" if status else "")


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def hide_modules(runtime: str) -> None:
    """Remove the modules from ``sys.modules`` that AWS's client would not have imported, in a fork.

    Args:
        runtime: the value of AWS_EXECUTION_ENV, which ends in the version of Python.
    """
    minor = runtime.rpartition(".")[2]
    has_thread = minor.isdigit() and int(minor) >= FIRST_WITH_THREAD
    visible = _of_functions or (_of_client_with_thread if has_thread else _of_client)
    for name in [name for name in sys.modules if name not in visible or name.partition(".")[0] == "_serverfull"]:
        _hidden.append(sys.modules.pop(name))
