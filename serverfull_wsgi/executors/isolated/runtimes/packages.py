"""The packages of the interpreter that a function with a code directory can import: AWS's own, and no others.

A function must not depend on packages that happen to be installed for the server. After AWS's client has been imported,
the search path of a fork therefore has the function's own folders and the standard library only. A finder at the end of
``sys.meta_path`` still finds, in this order:

1. the distributions of SERVERFULL_ZYGOTE_PRELOAD, and boto3 as in AWS's runtimes, with their dependencies, if they are
   installed for the interpreter;
2. every package in the folder of SERVERFULL_PYTHON_MODULES.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from typing import Any

_LIBRARY = os.path.dirname(os.__file__)
_CURE = (
    "boto3 is not installed for this function, and AWS's Python runtimes bring it: install boto3 for the server, in a "
    "layer or in the code directory, or set SERVERFULL_PYTHON_MODULES to a folder in which pip has installed it\n"
)
_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_names: set[str] = set()  # of top-level modules
_distributions: set[str] = set()  # normal names


def find_packages(preloaded: Iterable[str]) -> None:
    """Find the distributions that functions can import; the names of preloaded modules are among them."""
    waiting = ["boto3"]
    tops = {module.partition(".")[0] for module in preloaded}
    if tops:
        by_module = importlib.metadata.packages_distributions()
        waiting += [name for top in tops for name in by_module.get(top, [])]
        _names.update(tops)
    while waiting:
        name = _normal(waiting.pop())
        if name in _distributions:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        _distributions.add(name)
        _names.update(_modules_of(distribution))
        needed = [each for each in distribution.requires or () if "extra ==" not in each]
        waiting += [match[0] for each in needed if (match := _name.match(each))]


def _modules_of(distribution: importlib.metadata.Distribution) -> Iterator[str]:
    if text := distribution.read_text("top_level.txt"):
        yield from text.split()
        return
    for file in distribution.files or ():
        first = file.parts[0]
        if first.endswith(".py") or (len(file.parts) > 1 and not first.endswith((".dist-info", ".egg-info"))):
            yield first.removesuffix(".py")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def restrict_imports(own: Iterable[str], modules: str, finders: Iterable[object]) -> None:
    """Leave the packages that the module's docstring lists, in a process that has imported AWS's client.

    Args:
        own: the folders of the function and its layers.
        modules: the folder of SERVERFULL_PYTHON_MODULES, or an empty text.
        finders: ``sys.meta_path`` as it was when the interpreter started.
    """
    folders = set(own)
    installed = [path for path in sys.path if path not in folders and not _is_library(path)]
    sys.path[:] = [path for path in sys.path if path not in installed]
    of_python = (BuiltinImporter, FrozenImporter, PathFinder)  # and not of .pth files, as of editable installations
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder in of_python or finder not in finders]
    sys.meta_path.append(_Finder(installed, modules))


def _is_library(path: str) -> bool:
    return path == _LIBRARY or os.path.basename(path) == "lib-dynload" or path.endswith(".zip")


class _Finder:
    """A finder of the packages that are visible beside the function's own."""

    def __init__(self, installed: list[str], modules: str) -> None:
        self._installed = installed
        self._modules = [modules] if modules else []
        self._has_logged = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a top-level module. The parts of a package are found by its own path."""
        if path is not None:
            return None
        spec = PathFinder.find_spec(name, self._installed) if name in _names else None
        spec = spec or (PathFinder.find_spec(name, self._modules) if self._modules else None)
        if spec is None and name in ("boto3", "botocore") and not self._has_logged:
            self._has_logged = True
            sys.stderr.write(_CURE)
        return spec

    def find_distributions(self, context: Any = None) -> Iterator[Any]:
        """Find the metadata of the same packages, for ``importlib.metadata``."""
        from importlib import metadata

        name = context.name if context else None
        for path in (self._installed, self._modules):
            found = metadata.MetadataPathFinder.find_distributions(
                metadata.DistributionFinder.Context(name=name, path=path)
            )
            for distribution in found:
                if path is self._modules or _normal(distribution.metadata["Name"] or "") in _distributions:
                    yield distribution
