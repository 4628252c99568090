"""Warnings about paths of a function that a root directory of its own does not have."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import islice

from serverfull_wsgi.domain import Function
from serverfull_wsgi.executors.isolated.sandbox.root import TMP
from serverfull_wsgi.executors.isolated.sandbox.root_template import FILES_OF_ETC, FOLDERS_OF_ETC, PROGRAM_FOLDERS

READ_ENTRIES = 5000  # of a code directory, in search of links; their reading takes about 0.1 seconds
_OWN = ("/dev", "/opt", "/proc", "/var/runtime", "/var/task")
_CURE = "name a path below /var/task, /opt or /mnt (SERVERFULL_MOUNTS), or set SERVERFULL_SANDBOX=namespaces"


def root_warnings(function: Function) -> list[str]:
    """Return a warning for each variable with a path of this machine that the function does not see.

    Also return one for links in its code directory that lead out of it.
    """
    if function.code is None:
        return []
    visible = [*_visible(), *function.mounts]
    lines = [
        f"{function.name}: the variable {name} names {path}, which the function does not see; {_CURE}"
        for name, value in function.environment.items()
        for path in value.split(os.pathsep)
        if path.startswith("/")
        and path.rstrip("/") not in ("", TMP)
        and os.path.exists(path)
        and not _is_below(path, visible)
    ]
    if link := next(_leading_out(function.code, visible), None):
        lines.append(
            f"{function.name}: {link} is a link to {os.path.realpath(link)}, which the function does not see; copy it "
            "into the code directory"
        )
    return lines


def _visible() -> list[str]:
    etc = [f"/etc/{name}" for name in (*FILES_OF_ETC, *FOLDERS_OF_ETC)]
    return [*(f"/{name}" for name in PROGRAM_FOLDERS), *_OWN, *etc, sys.prefix, sys.base_prefix]


def _is_below(path: str, folders: list[str]) -> bool:
    path = os.path.normpath(path)
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def _leading_out(code: str, visible: list[str]) -> Iterator[str]:
    """Yield the links in a code directory that lead to what the function does not see."""
    inside = [os.path.realpath(code), *visible]
    entries = (os.path.join(folder, name) for folder, folders, files in os.walk(code) for name in (*folders, *files))
    for path in islice(entries, READ_ENTRIES):
        if os.path.islink(path) and os.path.exists(path) and not _is_below(os.path.realpath(path), inside):
            yield path
