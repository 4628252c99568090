"""The directories that environments see, where each has a root directory of its own.

A function with a code directory sees its code, its layers and the folders of packages for all functions. A function
that is imported by name sees the server's working directory and module search path instead, without the server's data.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.executors.isolated.merged_layers import LayerMerger
from serverfull_wsgi.executors.isolated.runtimes.launch import LaunchSpec
from serverfull_wsgi.executors.isolated.sandbox.memory import MIB
from serverfull_wsgi.executors.isolated.sandbox.root import Mount, Root
from serverfull_wsgi.executors.isolated.shared_folders import SETTING, check_mounts, parse_mounts
from serverfull_wsgi.executors.isolated.zygote.protocol import RootSpec
from serverfull_wsgi.storage.package_cache import PackageCache

_PROGRAMS = ("node",)  # of runtimes, beside the interpreters


class Roots:
    """The mounts of root directories.

    Args:
        hidden: files and directories of the server that no function sees, such as its keys and its event store.
        shared: folders that functions share, in the format of SERVERFULL_MOUNTS.
        logger: receives warnings.
        layer_cache: for layers that are merged into one folder; None to merge them for each server process.

    Raises:
        ConfigurationError: if a shared folder is missing, or would show what is hidden.
    """

    def __init__(
        self,
        hidden: Iterable[str],
        shared: str,
        logger: logging.Logger,
        layer_cache: PackageCache | None = None,
    ) -> None:
        self._hidden = tuple(sorted({os.path.realpath(path) for path in hidden if path}))
        self._shared = parse_mounts(shared)
        check_mounts(self._shared.values(), self._hidden)
        self._logger, self._layer_cache = logger, layer_cache
        self._has_warned = False

    @property
    def shares_folders(self) -> bool:
        """Whether there are folders that functions share."""
        return bool(self._shared)

    def check(self, function: Function, sandbox: str = "auto") -> None:
        """Raise `ConfigurationError` if a function mounts folders that no setting has, or that it would not see.

        ``sandbox`` is the setting of this name.
        """
        if sandbox not in ("auto", "root"):
            refuse_mounts(function, f"SERVERFULL_SANDBOX={sandbox}")
        for path in function.mounts:
            if path not in self._shared:
                raise ConfigurationError(
                    f"function {function.name!r} mounts {path}, which {SETTING} does not have; add FOLDER:{path} there"
                )

    def spec(self, target: str, preload: Sequence[str]) -> RootSpec:
        """Return the arguments of a template that is mounted at ``target``."""
        programs = [path for name in _PROGRAMS if (path := shutil.which(name))]
        return RootSpec(target, list(preload), programs)

    def merger(self) -> LayerMerger:
        """Return the merger of layers for one server process."""
        return LayerMerger(self._layer_cache, self._hidden, self._logger)

    def root(self, function: Function, spec: LaunchSpec, merged: Callable[[Sequence[str]], tuple[str, ...]]) -> Root:
        """Return the mounts of a function's environments. ``merged`` returns the folders of several layers to mount."""
        self.check(function)
        mounts = (*spec.mounts, *(self._shared[path] for path in function.mounts))
        if function.code is None:
            self._warn_of_open_directory()
            mounts = (*mounts, *(Mount(folder, folder) for folder in _server_folders()))
        return Root(
            code=function.code or "",
            layers=merged(_different(function.layers)),
            tmp_size=int(function.ephemeral_storage) * MIB,
            shm_size=int(function.memory_size) * MIB,
            mounts=mounts,
            hidden=self._hidden,
        )

    def _warn_of_open_directory(self) -> None:
        directory = os.getcwd()
        if directory in ("/", os.path.expanduser("~")) and not self._has_warned:
            self._has_warned = True
            seen = "do not see" if directory == "/" else "can read all of"
            self._logger.warning(
                "isolated functions without a code directory %s the server's working directory, %s; start the server "
                "in the directory of their code",
                seen,
                directory,
            )


def refuse_mounts(function: Function, reason: str) -> None:
    """Raise `ConfigurationError` if a function mounts folders, which it cannot see for this reason."""
    if function.mounts:
        raise ConfigurationError(
            f"function {function.name!r} mounts {', '.join(function.mounts)}, and only a function with a root "
            f"directory of its own sees shared folders ({reason}); set SERVERFULL_SANDBOX=root on a machine that "
            "allows it, or remove the mounts"
        )


def _different(layers: Sequence[str]) -> tuple[str, ...]:
    """Return the layers that exist, each once; the last place of a layer counts.

    >>> _different(["/usr", "/nowhere", "/bin", "/usr"])
    ('/bin', '/usr')
    """
    return tuple(reversed(dict.fromkeys(filter(os.path.isdir, reversed(layers)))))


def _server_folders() -> list[str]:
    """Return the working directory and the folders of the module search path, parents first."""
    paths = {os.getcwd(), *(os.path.abspath(path) for path in sys.path)}
    return sorted(path for path in paths if os.path.isdir(path) and path != "/")
