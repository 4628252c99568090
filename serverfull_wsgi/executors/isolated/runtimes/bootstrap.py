"""The program of a Python environment that is not forked, at the place of ``/var/runtime/bootstrap.py`` on AWS.

A wrapper script (AWS_LAMBDA_EXEC_WRAPPER) gets its path as the last argument, and may change the handler in _HANDLER.
The variable `PACKAGES` has the arguments for ``packages.py``, if the function must not import the server's packages.
"""

import importlib
import importlib.util
import os
import sys
import types

PACKAGES = "_SERVERFULL_PACKAGES"
_finders = list(sys.meta_path)
_hidden: list[types.ModuleType] = []  # kept, so that nothing is freed


def restrict(arguments: str) -> None:
    """Hide the server's packages from the function, and the modules that this needs."""
    imported = set(sys.modules)
    import json

    given = json.loads(arguments)
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "packages.py")
    spec = importlib.util.spec_from_file_location("_serverfull_packages", program)
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    packages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(packages)
    packages.find_packages(given["preload"])
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)  # also those of a wrapper script
    own = [sys.path[0], *(folder for folder in folders if folder not in given["client"])]
    packages.restrict_imports(own, given["modules"], _finders)
    _hidden.extend(sys.modules.pop(name) for name in set(sys.modules) - imported)


if __name__ == "__main__":
    import_client = importlib.import_module("python_client").import_client  # of this folder
    sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]  # in the place of this folder: functions must not import its modules
    del sys.modules["python_client"]
    client = import_client()
    bootstrap = client.bootstrap  # Sentry's integration finds the name in the main module

    if PACKAGES in os.environ:
        restrict(os.environ.pop(PACKAGES))
    sys.argv = [str(client.__file__), os.environ["_HANDLER"]]
    client.main(sys.argv)
