"""The packages of the interpreter that a function with a code directory can import: AWS's own, and no others.

A function must not depend on packages that happen to be installed for the server. After AWS's client has been imported,
the search path of a fork therefore has the function's own folders and the standard library only. A finder at the end of
``sys.meta_path`` still finds, in this order:

1. the distributions of SERVERFULL_ZYGOTE_PRELOAD, and boto3 and the hooks of SnapStart as in AWS's runtimes, with
   their dependencies, if they are installed for the interpreter;
2. every package in the folder of SERVERFULL_PYTHON_MODULES.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from typing import Any

_LIBRARY = os.path.dirname(os.__file__)
_CURE = (
    "boto3 is not installed for this function, and AWS's Python runtimes bring it: install boto3 for the server, in a "
    "layer or in the code directory, or set SERVERFULL_PYTHON_MODULES to a folder in which pip has installed it\n"
)
_OF_RUNTIME = ("boto3", "snapshot-restore-py")
_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_names: set[str] = set()  # of top-level modules
_distributions: set[str] = set()  # normal names


def find_packages(preloaded: Iterable[str]) -> None:
    """Find the distributions that functions can import; the names of preloaded modules are among them."""
    tops = {module.partition(".")[0] for module in preloaded}
    _names.update(tops)
    for distribution in _with_requirements([*_OF_RUNTIME, *_distributions_of(tops)]):
        _distributions.add(_normal(distribution.metadata["Name"]))
        _names.update(_modules_of(distribution))


def visible_entries(preloaded: Iterable[str]) -> Iterator[str]:
    """Yield the files and folders that AWS's client and the importable distributions have been installed as."""
    tops = {module.partition(".")[0] for module in preloaded}
    seen = set()
    for distribution in _with_requirements(["awslambdaric", *_OF_RUNTIME, *_distributions_of(tops)]):
        for first in _first_parts(distribution):
            path = str(distribution.locate_file(first))
            if first not in ("..", "__pycache__") and path not in seen and os.path.exists(path):
                seen.add(path)
                yield path
    for top in tops:  # a module without a distribution, or of an editable installation
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(top)
            places = [*(spec.submodule_search_locations or [spec.origin or ""])] if spec else []
            for path in places:
                if path not in seen and os.path.isabs(path) and not path.startswith(_LIBRARY + os.sep):
                    seen.add(path)
                    yield path


def _distributions_of(tops: Collection[str]) -> list[str]:
    """Return the names of the distributions that have these top-level modules."""
    if not tops:
        return []
    by_module = importlib.metadata.packages_distributions()
    return [name for top in tops for name in by_module.get(top, [])]


def _with_requirements(names: Iterable[str]) -> Iterator[importlib.metadata.Distribution]:
    """Yield the installed distributions of these names, and all that they require."""
    waiting, done = list(names), set()
    while waiting:
        name = _normal(waiting.pop())
        if name in done:
            continue
        done.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        yield distribution
        needed = [each for each in distribution.requires or () if "extra ==" not in each]
        waiting += [match[0] for each in needed if (match := _name.match(each))]


def _first_parts(distribution: importlib.metadata.Distribution) -> set[str]:
    """Return the names in the folder of a distribution that it consists of: packages, modules, libraries, metadata."""
    if distribution.files:
        return {file.parts[0] for file in distribution.files}
    metadata = getattr(distribution, "_path", None)  # Debian's packages have no list of files
    modules = {part for name in _modules_of(distribution) for part in (name, f"{name}.py")}
    return modules | ({os.path.basename(metadata)} if metadata else set())


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
