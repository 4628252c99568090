"""The program of a Python environment that is not forked, at the place of ``/var/runtime/bootstrap.py`` on AWS.

A wrapper script (AWS_LAMBDA_EXEC_WRAPPER) gets its path as the last argument, and may change the handler in _HANDLER.
The variable `PACKAGES` has the arguments for ``packages.py``, if the function must not import the server's packages.
The variable `FRAMES` has the descriptor of a connection for frames, its inode, and the address of the Runtime API.
"""

import importlib
import importlib.util
import os
import sys
import types

PACKAGES, FRAMES = "_SERVERFULL_PACKAGES", "_SERVERFULL_FRAMES"
_finders = list(sys.meta_path)
_hidden: list[types.ModuleType] = []  # kept, so that nothing is freed


def load(name: str) -> types.ModuleType:
    """Return a module of this folder, which functions cannot import."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"_serverfull_{name}", program)
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def connect(descriptor: str, inode: str, address: str, client: types.ModuleType, own: list[str]) -> None:
    """Have a client use frames, unless it is the function's own, or a wrapper has closed the connection.

    A wrapper can also have set another address, as of a proxy.

    Args:
        descriptor: of the connection for frames.
        inode: of the connection.
        address: of the Runtime API.
        client: the module ``awslambdaric.lambda_runtime_client``.
        own: the folders of the function.
    """
    if not has_inode(int(descriptor), int(inode)):
        return
    transport = load("python_transport")
    if os.environ.get("AWS_LAMBDA_RUNTIME_API") != address or transport.belongs_to(client, own):
        os.close(int(descriptor))
    else:
        http = client.runtime_client
        frames = transport.FrameClient(int(descriptor), client, lambda: http)
        client.runtime_client = frames  # type: ignore[attr-defined]
        if "runtime_client" in sys.modules:
            sys.modules["runtime_client"] = frames


def has_inode(fd: int, inode: int) -> bool:
    """Return whether a descriptor is open and has this inode."""
    try:
        return os.fstat(fd).st_ino == inode
    except OSError:
        return False


def prepare(client: types.ModuleType) -> None:
    """Connect the client, hide the server's packages from the function, and hide the modules that this needs."""
    imported = set(sys.modules)
    import json

    given = json.loads(os.environ.pop(PACKAGES, "{}"))
    frames = os.environ.pop(FRAMES, "")
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)  # also those of a wrapper script
    own = [sys.path[0], *(folder for folder in folders if folder not in given["client"])] if given else []
    if frames:
        connect(*frames.split(), client, own)  # type: ignore[call-arg, arg-type]
    if given:
        packages = load("packages")
        packages.find_packages(given["preload"])
        packages.restrict_imports(own, given["modules"], _finders)
    _hidden.extend(sys.modules.pop(name) for name in set(sys.modules) - imported)


if __name__ == "__main__":
    import_client = importlib.import_module("python_client").import_client  # of this folder
    sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]  # in the place of this folder: functions must not import its modules
    del sys.modules["python_client"]
    client = import_client()
    bootstrap = client.bootstrap  # Sentry's integration finds the name in the main module

    prepare(sys.modules["awslambdaric.lambda_runtime_client"])
    sys.argv = [str(client.__file__), os.environ["_HANDLER"]]
    client.main(sys.argv)
