"""The entry point of a zygote. It loads the package by path, under a name that no function's module has."""

import importlib.util
import os
import sys

PACKAGE_FOLDER = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAME = "_serverfull"


def load(folder: str) -> None:
    """Load a folder as the package `NAME`."""
    spec = importlib.util.spec_from_file_location(
        NAME, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    sys.modules[NAME] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "__main__":
    control, mounts, *modules = sys.argv[1:]
    sys.path.pop(0)  # this folder: functions must not import its modules
    load(PACKAGE_FOLDER)
    mount_server = 0
    if mounts:
        own_end, other_end = map(int, mounts.split(":"))
        mount_server = os.fork()
        os.close(other_end if mount_server else own_end)
        if not mount_server:
            os.close(int(control))
            importlib.import_module(f"{NAME}.zygote.program.mount_server").serve(other_end)
    client_fault, exec_reason = importlib.import_module(f"{NAME}.zygote.program.preload").preload(modules)
    packages = importlib.import_module(f"{NAME}.runtimes.packages")
    packages.find_packages(modules)
    main = importlib.import_module(f"{NAME}.zygote.program.fork_server").main
    main(int(control), (own_end, mount_server) if mounts else None, client_fault, exec_reason)
