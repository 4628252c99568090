"""The command and variables that start a function's process, for each runtime of AWS's."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import InvalidRuntimeException
from serverfull_wsgi.executors.isolated.sandbox.root import OPT, TASK, Mount
from serverfull_wsgi.executors.isolated.sandbox.root_template import NODE_MODULES, PYTHON_MODULES, RUNTIME
from serverfull_wsgi.names import log_group_name

HERE = os.path.dirname(os.path.abspath(__file__))
BOOTSTRAP = "bootstrap.py"  # of the folder of the runtimes: starts a Python environment that is not forked
OWN_RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"  # of the server's own interpreter
SNAP_START = "snap-start"  # an initialization type
LOG_FD = 3  # the telemetry descriptor
PACKAGES = "_SERVERFULL_PACKAGES"  # the variable by which `BOOTSTRAP` gets its arguments
FRAMES = "_SERVERFULL_FRAMES"  # the variable for the connection for frames: see the package ``runtime_api``
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # exit statuses of a shell
_python = re.compile(r"python3\.[0-9]{1,2}")
_node = re.compile(r"nodejs[0-9]{1,2}\.x")
_RUNTIMES = "python3.x, nodejsN.x, provided, provided.al2, provided.al2023 and go1.x"
_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
INTERPRETER_VARIABLES = {"LANG": "C.UTF-8", "PATH": ":".join(_PATH)}  # of a zygote: none of the server
_NODE_HEAP_MINIMUM = 16  # MiB; matters only for memory sizes that AWS does not have


class LaunchSpec(NamedTuple):
    """The command and variables of one environment's function process."""

    python: str  # path of an interpreter; its zygote forks the environment
    argv: tuple[str, ...]  # the command to exec; if empty, the fork runs `handler`
    handler: str
    root: str  # the code directory
    path: tuple[str, ...]  # put at the front of Python's module search path
    variables: dict[str, str]
    modules: str = ""  # the folder of packages for all Python functions, or an empty text
    mounts: tuple[Mount, ...] = ()  # beside the code and the layers, for a root directory of its own
    has_frames: bool = False  # whether the runtime can use frames: see the package ``runtime_api``
    wrapper: tuple[str, ...] = ()  # for Python: the command that starts the interpreter, by AWS_LAMBDA_EXEC_WRAPPER

    @property
    def is_snap_start(self) -> bool:
        """Whether the environment starts from a snapshot, or is one."""
        return self.variables["AWS_LAMBDA_INITIALIZATION_TYPE"] == SNAP_START

    def for_snapshot(self) -> LaunchSpec:
        """Return the launch spec of a snapshot and of its environments. They lack two variables, as on AWS.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/snapstart-monitoring.html
        """
        variables = {**self.variables, "AWS_LAMBDA_INITIALIZATION_TYPE": SNAP_START}
        variables.pop("AWS_LAMBDA_LOG_GROUP_NAME", None)
        return self._replace(variables=variables)


def launch_spec(
    function: Function,
    handler: str,
    *,
    region: str,
    python: str,
    node_modules: str = "",
    python_modules: str = "",
    has_root: bool = False,
    has_frames: bool = False,
) -> LaunchSpec:
    """Return the launch spec of a function.

    Args:
        function: the function.
        handler: its Handler string.
        region: the AWS region that the function sees.
        python: path of the interpreter for a Python runtime.
        node_modules: the folder of packages for all Node.js functions, or an empty text.
        python_modules: the folder of packages for all Python functions, or an empty text.
        has_root: whether the environment has a root directory of its own, with AWS's paths.
        has_frames: whether Python functions use frames; Node.js functions do.

    Raises:
        InvalidRuntimeException: if the runtime is unknown, or its program is not on this machine.
    """
    runtime = function.runtime or OWN_RUNTIME
    root = function.code or os.getcwd()
    if _python.fullmatch(runtime):
        argv: tuple[str, ...] = ()
        path = (root, *python_layer_folders(function))
        if function.code is None:
            path = (*path, *(entry for entry in sys.path if entry))
        special = {"PYTHONPATH": os.pathsep.join(path[1:])} if path[1:] else {}
        program_folder = os.path.dirname(python)
    elif _node.fullmatch(runtime):
        argv = _node_command(function, runtime)
        path = ()
        modules = [*node_layer_folders(function), *filter(None, [node_modules])]
        special = {"NODE_PATH": os.pathsep.join(modules)} if modules else {}
        program_folder = os.path.dirname(argv[0])
    elif runtime.startswith("provided") or runtime == "go1.x":
        argv, path, special, program_folder = (_bootstrap(function, runtime),), (), {}, ""
    else:
        raise InvalidRuntimeException(f"The runtime {runtime!r} is not supported; use one of {_RUNTIMES}.")
    variables = {
        **_variables(function, runtime, region),
        "LAMBDA_RUNTIME_DIR": HERE,
        "PATH": os.pathsep.join(
            dict.fromkeys(filter(None, (*_layer_folders(function, "bin"), program_folder, *_PATH)))
        ),
        "LD_LIBRARY_PATH": os.pathsep.join((root, os.path.join(root, "lib"), *_layer_folders(function, "lib"))),
        "LAMBDA_TASK_ROOT": root,
        **special,
    }
    wrapper = _wrapper(function, root, has_root=has_root)
    mounts: tuple[Mount, ...] = ()
    if has_root:
        shared = {node_modules: NODE_MODULES, python_modules: PYTHON_MODULES}
        mounts = tuple(Mount(source, target) for source, target in shared.items() if os.path.isdir(source))
        seen = Translation({one.source: one.target for one in mounts}, function)
        variables = {name: seen.paths(value) for name, value in variables.items()}
        argv, wrapper, path = seen.each(argv), seen.each(wrapper), tuple(dict.fromkeys(seen.each(path)))
        root, python_modules = seen.path(root), seen.path(python_modules)
    variables |= {"_HANDLER": handler, **_logging_variables(function), **function.environment}
    if path and "PYTHONPATH" in function.environment:
        path = (root, *filter(None, function.environment["PYTHONPATH"].split(os.pathsep)))
    argv = wrapper + argv if argv else ()
    has_frames = runtime.startswith("nodejs") or (has_frames and runtime.startswith("python"))
    return LaunchSpec(
        python, argv, handler, root, path, variables, python_modules, mounts, wrapper=wrapper, has_frames=has_frames
    )


class Translation:
    """The paths of an environment with a root directory of its own, by the paths of the server.

    >>> seen = Translation({}, Function("app.handler", code="/srv/app", layers=["/srv/app/layer", "/srv/b"]))
    >>> seen.path("/srv/app/app.py"), seen.path("/srv/app/layer/bin"), seen.path("/usr/bin/node")
    ('/var/task/app.py', '/opt/bin', '/usr/bin/node')
    >>> seen.paths("/srv/b/bin:/srv/app/layer/bin:/bin")
    '/opt/bin:/bin'
    """

    def __init__(self, others: Mapping[str, str], function: Function) -> None:
        places = {HERE: RUNTIME, **others, **dict.fromkeys(function.layers, OPT)}
        if function.code is not None:
            places[function.code] = TASK
        self._places = sorted(places.items(), key=lambda place: -len(place[0]))  # a folder before its parents

    def path(self, path: str) -> str:
        """Return one path as the environment sees it."""
        for source, target in self._places:
            if path == source or path.startswith(source.rstrip("/") + "/"):
                return target + path[len(source.rstrip("/")) :]
        return path

    def each(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return several paths."""
        return tuple(self.path(path) for path in paths)

    def paths(self, text: str) -> str:
        """Return a list of paths with colons between them, each once."""
        return os.pathsep.join(dict.fromkeys(self.each(text.split(os.pathsep)))) if "/" in text else text


def _variables(function: Function, runtime: str, region: str) -> dict[str, str]:
    """Return the variables that Lambda sets for every function, except those that differ by environment.

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
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "_LAMBDA_TELEMETRY_LOG_FD": str(LOG_FD),
    }


def python_layer_folders(function: Function) -> tuple[str, ...]:
    """Return the folders of the layers in which Python modules are searched for."""
    return _layer_folders(function, "python", f"python/lib/{function.runtime or OWN_RUNTIME}/site-packages")


def node_layer_folders(function: Function) -> tuple[str, ...]:
    """Return the folders in which packages of the layers are searched for."""
    version = (function.runtime or "")[:-2].replace("js", "")  # nodejs20.x: a layer's folder is nodejs/node20
    return _layer_folders(function, "nodejs/node_modules", f"nodejs/{version}/node_modules")


def _logging_variables(function: Function) -> dict[str, str]:
    config = function.logging_config
    if config is None:
        return {}
    variables = {"AWS_LAMBDA_LOG_GROUP_NAME": config.log_group} if config.log_group else {}
    if config.log_format == "JSON":
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        variables["AWS_LAMBDA_LOG_LEVEL"] = config.application_log_level or "INFO"
    return variables


def _layer_folders(function: Function, *folders: str) -> tuple[str, ...]:
    """Return the paths of ``folders`` that exist in the layers; a later layer has precedence."""
    paths = (os.path.join(layer, folder) for layer in reversed(function.layers) for folder in folders)
    return tuple(path for path in paths if os.path.isdir(path))


def _wrapper(function: Function, root: str, *, has_root: bool) -> tuple[str, ...]:
    """Return the wrapper script of a function, if it has one. Look a path below /opt or /var/task up in its folders.

    A script that is missing ends the start as on AWS, with a line in the log and the exit status of a shell.
    Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html
    """
    name = function.environment.get("AWS_LAMBDA_EXEC_WRAPPER", "")
    if not name:
        return ()
    candidates = [name]
    for prefix, folders in (("/opt/", (*reversed(function.layers),)), ("/var/task/", (root,))):
        if name.startswith(prefix):
            candidates = [] if has_root else candidates  # the server's own /opt is invisible
            candidates += [os.path.join(folder, name.removeprefix(prefix)) for folder in folders]
    path = next(filter(os.path.isfile, candidates), None)
    if path is None:
        return "/bin/sh", "-c", f'echo "$0: does not exist"; exit {_NOT_FOUND}', name
    if not os.access(path, os.X_OK):
        return "/bin/sh", "-c", f'echo "$0: is not an executable"; exit {_NOT_EXECUTABLE}', name
    return (path,)


def _node_command(function: Function, runtime: str) -> tuple[str, ...]:
    node = shutil.which("node")
    if node is None:
        raise InvalidRuntimeException(f"The runtime {runtime!r} needs Node.js: no 'node' is on the server's PATH.")
    heap = max(_NODE_HEAP_MINIMUM, int(function.memory_size) * 9 // 10)  # this and the header size are AWS's own
    return (
        node,
        f"--max-old-space-size={heap}",
        "--max-http-header-size=81920",
        os.path.join(HERE, "node_bootstrap.mjs"),
    )


def _bootstrap(function: Function, runtime: str) -> str:
    """Return the program of a custom runtime: from the code directory, or else from a layer, as on AWS."""
    root = function.code or os.getcwd()
    if runtime == "go1.x":
        return os.path.join(root, str(function.handler))
    candidates = [os.path.join(folder, "bootstrap") for folder in (root, *reversed(function.layers))]
    return next((path for path in candidates if os.path.exists(path)), candidates[0])
