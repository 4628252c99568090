"""The folders of the machine that functions share, as SERVERFULL_MOUNTS names them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.executors.isolated.sandbox.root import Mount

SETTING = "SERVERFULL_MOUNTS"
_entry = re.compile(r"(/.*?):(/mnt/[a-zA-Z0-9_.-]+)(?::(ro|rw))?")


def parse_mounts(text: str) -> dict[str, Mount]:
    """Return the mounts by their path in environments.

    >>> parse_mounts("/srv/data:/mnt/data, /srv/out:/mnt/out:rw")["/mnt/out"]
    Mount(source='/srv/out', target='/mnt/out', is_writable=True)

    Raises `ConfigurationError`.
    """
    mounts: dict[str, Mount] = {}
    for entry in filter(None, (part.strip() for part in re.split(r"[,\n]", text))):
        match = _entry.fullmatch(entry)
        if match is None or match[2] in ("/mnt/.", "/mnt/.."):
            raise ConfigurationError(
                f"{SETTING}: {entry!r} must be FOLDER:PATH or FOLDER:PATH:rw, with an absolute folder of this machine "
                "and a path /mnt/NAME; ro is the default"
            )
        if match[2] in mounts:
            raise ConfigurationError(f"{SETTING}: {match[2]} is given twice; remove one of the entries")
        mounts[match[2]] = Mount(match[1], match[2], match[3] == "rw")
    return mounts


def check_mounts(mounts: Iterable[Mount], hidden: Iterable[str]) -> None:
    """Raise `ConfigurationError` for a folder that is missing, or shows a file or directory of ``hidden``."""
    for source, *_ in mounts:
        if not os.path.isdir(source):
            raise ConfigurationError(f"{SETTING}: there is no folder {source}; make it, or remove the entry")
        for path in filter(None, hidden):
            if _is_inside(source, path) or _is_inside(path, source):
                raise ConfigurationError(
                    f"{SETTING}: {source} would show {path}, which belongs to the server; share another folder"
                )


def _is_inside(path: str, folder: str) -> bool:
    real, parent = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([real, parent]) == parent
