"""How a function's process begins: what is run, and with which variables, for each runtime of AWS's."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import NamedTuple

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import InvalidRuntimeException
from serverfull_wsgi.names import log_group_name

HERE = os.path.dirname(os.path.abspath(__file__))
OWN_RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
_python = re.compile(r"python3\.[0-9]{1,2}")
_node = re.compile(r"nodejs[0-9]{1,2}\.x")
_RUNTIMES = "python3.x, nodejsN.x, provided, provided.al2, provided.al2023 and go1.x"
_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
LOG_FD = 3  # the telemetry descriptor


class LaunchSpec(NamedTuple):
    """The start of an environment.

    ``python`` is the interpreter whose zygote forks it. ``argv`` is what is exec'ed; empty, the fork runs ``handler``
    with ``path`` at the front of its module search path.
    """

    python: str
    argv: tuple[str, ...]
    handler: str
    root: str
    path: tuple[str, ...]
    variables: dict[str, str]


def launch_spec(function: Function, handler: str, *, region: str, python: str) -> LaunchSpec:
    """How ``function`` starts; ``python`` is the interpreter to use for one whose runtime is Python.

    Raises `InvalidRuntimeException` for a runtime that is unknown, or not to be had on this machine.
    """
    runtime = function.runtime or OWN_RUNTIME
    root = function.code or os.getcwd()
    if _python.fullmatch(runtime):
        argv: tuple[str, ...] = ()
        path = (root, *_layered(function, "python", f"python/lib/{runtime}/site-packages"))
        if function.code is None:
            path = (*path, *(entry for entry in sys.path if entry))
        special = {"PYTHONPATH": os.pathsep.join(path[1:])} if path[1:] else {}
        binaries = os.path.dirname(python)
    elif _node.fullmatch(runtime):
        argv = _node_command(function, runtime)
        path = ()
        modules = _layered(function, "nodejs/node_modules", f"nodejs/{runtime[:-2].replace('js', '')}/node_modules")
        special = {"NODE_PATH": os.pathsep.join(modules)} if modules else {}
        binaries = os.path.dirname(argv[0])
    elif runtime.startswith("provided") or runtime == "go1.x":
        argv, path, special, binaries = (_bootstrap(function, runtime),), (), {}, ""
    else:
        raise InvalidRuntimeException(f"The runtime {runtime!r} is none that runs here; those that do are {_RUNTIMES}.")
    variables = {
        **_variables(function, runtime, region),
        "PATH": os.pathsep.join(dict.fromkeys(filter(None, (*_layered(function, "bin"), binaries, *_PATH)))),
        "LD_LIBRARY_PATH": os.pathsep.join((root, os.path.join(root, "lib"), *_layered(function, "lib"))),
        "LAMBDA_TASK_ROOT": root,
        "_HANDLER": handler,
        **special,
        **function.environment,
    }
    if path and "PYTHONPATH" in function.environment:
        path = (root, *filter(None, function.environment["PYTHONPATH"].split(os.pathsep)))
    return LaunchSpec(python, argv, handler, root, path, variables)


def _variables(function: Function, runtime: str, region: str) -> dict[str, str]:
    """What Lambda says to every function, but for what depends on the environment.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    return {
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(int(function.memory_size)),
        "AWS_LAMBDA_LOG_GROUP_NAME": log_group_name(function.name),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        "LAMBDA_RUNTIME_DIR": HERE,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "_LAMBDA_TELEMETRY_LOG_FD": str(LOG_FD),
    }


def _layered(function: Function, *folders: str) -> tuple[str, ...]:
    """Those of ``folders`` that the layers have; what is in a later layer goes before the earlier ones."""
    paths = (os.path.join(layer, folder) for layer in reversed(function.layers) for folder in folders)
    return tuple(path for path in paths if os.path.isdir(path))


def _node_command(function: Function, runtime: str) -> tuple[str, ...]:
    node = shutil.which("node")
    if node is None:
        raise InvalidRuntimeException(f"The runtime {runtime!r} needs Node.js, and no 'node' is on the server's PATH.")
    heap = max(16, int(function.memory_size) * 9 // 10)  # what AWS's own start gives of the memory
    return (
        node,
        f"--max-old-space-size={heap}",
        "--max-http-header-size=81920",
        os.path.join(HERE, "node_bootstrap.mjs"),
    )


def _bootstrap(function: Function, runtime: str) -> str:
    """The program of a custom runtime: from the code directory, else from a layer, as on AWS."""
    root = function.code or os.getcwd()
    if runtime == "go1.x":
        return os.path.join(root, str(function.handler))
    candidates = [os.path.join(place, "bootstrap") for place in (root, *reversed(function.layers))]
    return next((path for path in candidates if os.path.exists(path)), candidates[0])
