"""Warnings about Node.js functions that need the AWS SDK. AWS's runtimes bring the SDK, and a server does not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from serverfull_wsgi.domain import Function
from serverfull_wsgi.executors.isolated.runtimes.checks import names_of
from serverfull_wsgi.executors.isolated.runtimes.launch import node_layer_folders

READ_FILES = 2000  # of one function; their reading takes about a second
READ_BYTES = 8 * 1024 * 1024  # of one file: more than a bundle with the whole SDK has
_import = re.compile(
    rb"""(?:\brequire\s*\(|\bfrom\b|\bimport\b\s*\(?)\s*["'`](@aws-sdk/[\w.-]+|aws-sdk)(?:/[\w./-]*)?["'`]"""
)


def sdk_warnings(functions: Iterable[Function], node_modules: str) -> list[str]:
    """Return a warning about Node.js functions whose code names packages of the AWS SDK that they cannot import.

    Functions that lack the same packages share a warning.

    Args:
        functions: functions of any runtime.
        node_modules: the folder of packages for all Node.js functions, or an empty text.
    """
    by_place: dict[tuple[str, ...], tuple[str, ...]] = {}  # the packages that code in these folders lacks
    lacking: dict[tuple[str, ...], list[Function]] = {}
    for function in functions:
        if function.code and (function.runtime or "").startswith("nodejs"):
            place = (function.code, *node_layer_folders(function), function.environment.get("NODE_PATH", ""))
            if place not in by_place:
                by_place[place] = _missing(function, node_modules)
            if missing := by_place[place]:
                lacking.setdefault(missing, []).append(function)
    return [_warning(those, missing) for missing, those in lacking.items()]


def _warning(functions: list[Function], missing: tuple[str, ...]) -> str:
    codes = {function.code for function in functions}
    place = str(codes.pop()) if len(codes) == 1 else "their code directories"
    return (
        f"{names_of(functions)}: no {', '.join(missing)} here; AWS's runtimes bring the AWS SDK. Install it in {place} "
        "or a layer, or set SERVERFULL_NODE_MODULES to a folder in which npm has installed it"
    )


def _missing(function: Function, node_modules: str) -> tuple[str, ...]:
    search_path = function.environment.get("NODE_PATH", "").split(os.pathsep)
    shared = [Path(folder) for folder in (*node_layer_folders(function), *search_path, node_modules) if folder]
    missing: set[str] = set()
    for file in islice(_source_files(str(function.code)), READ_FILES):
        own = [folder / "node_modules" for folder in file.parents]
        for package in _imported(file) - missing:
            if not any((folder / package).exists() for folder in (*own, *shared)):
                missing.add(package)
    return tuple(sorted(missing))


def _source_files(code: str) -> Iterator[Path]:
    for folder, folders, names in os.walk(code):
        folders[:] = sorted(name for name in folders if name != "node_modules")
        yield from (Path(folder, name) for name in sorted(names) if name.endswith((".js", ".mjs", ".cjs")))


def _imported(file: Path) -> set[str]:
    """Return the packages of the AWS SDK that a file names."""
    try:
        with open(file, "rb") as source:
            return {name.decode() for name in _import.findall(source.read(READ_BYTES))}
    except OSError:
        return set()
