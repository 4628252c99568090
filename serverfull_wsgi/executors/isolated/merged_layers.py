"""The layers of a function as the folders that become its ``/opt``, where it has a root directory of its own.

::

    one layer                      a bind mount
    several layers                 an overlay mount
    the kernel refuses that        a folder of hard links, or of copies if the layers are on another file system

The kernel refuses overlay mounts in user namespaces before Linux 5.11, on some file systems, and for folders of which
one is inside another. A merged folder is made once for the present files of the layers, and serves all processes that
share the cache. A layer that changes makes another folder at the next start of an environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from serverfull_wsgi.errors import ServiceException
from serverfull_wsgi.storage.package_cache import PackageCache

_PROBE_TIMEOUT = 10.0  # seconds; the probe takes about 0.03
_PROBE = """
import sys
sys.path.append(sys.argv[1])
from sandbox import linux, mounts
try:
    linux.unshare(processes=False)
    mounts.mount_overlay(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(str(error))
"""


class LayerMerger:
    """The layers of the functions of one server process.

    Args:
        cache: keeps merged folders for other processes and later starts; None for the server process's directory only.
        hidden: files and directories of the server that no merged folder has.
        logger: receives a line about each set of layers that the kernel does not merge.
    """

    def __init__(self, cache: PackageCache | None, hidden: Iterable[str], logger: logging.Logger) -> None:
        self._cache, self._hidden, self._logger = cache, frozenset(hidden), logger
        self._lock = threading.Lock()
        self._refusals: dict[tuple[str, ...], str] = {}

    def folders(self, layers: Sequence[str], directory: str) -> tuple[str, ...]:
        """Return the folders for an overlay mount, of which a later one has precedence; or one folder for a bind mount.

        Args:
            layers: existing folders, each once; a later layer has precedence.
            directory: the server process's own, for merged folders if the cache cannot be used.

        Raises:
            ServiceException: if a layer cannot be read, or no disk has room.
        """
        folders = tuple(layers)
        if len(folders) < 2 or self._refusals.get(folders) == "":
            return folders
        with self._lock:
            if not self._refusal(folders):
                return folders
            try:
                return (self._merged(folders, directory),)
            except OSError as error:
                self._logger.error("the layers %s cannot be merged into one folder: %s", ", ".join(folders), error)
                raise ServiceException() from error

    def _refusal(self, layers: tuple[str, ...]) -> str:
        if layers not in self._refusals:
            self._refusals[layers] = reason = overlay_refusal(layers)
            if reason:
                self._logger.info(
                    "the layers %s are merged into one folder of hard links or copies, since the kernel does not merge "
                    "them: %s",
                    ", ".join(layers),
                    reason,
                )
        return self._refusals[layers]

    def _merged(self, layers: tuple[str, ...], directory: str) -> str:
        hidden = {*self._hidden, os.path.realpath(directory)}
        entries = [entry for layer in layers for entry in _entries(os.path.realpath(layer), hidden)]
        digest = _digest(entries)
        if self._cache is not None:
            with contextlib.suppress(OSError):  # the cache cannot be used, so the directory of this process will do
                return self._cache.get(digest, lambda folder: _merge(entries, folder))
        target = Path(directory, "layers", digest)
        if not target.exists():
            target.parent.mkdir(mode=0o700, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
            try:
                _merge(entries, new)
                new.rename(target)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
        return str(target)


def overlay_refusal(layers: Sequence[str]) -> str:
    """Return the reason why the kernel does not merge folders by an overlay mount, or an empty text if it does.

    A child process mounts them, in namespaces of its own. Its start takes about 30 ms.
    """
    folder = os.path.dirname(os.path.abspath(__file__))
    try:
        probe = subprocess.run(  # noqa: S603
            [sys.executable, "-I", "-S", "-c", _PROBE, folder, *reversed(layers)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_PROBE_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the test of that failed: {error}"
    lines = probe.stderr.decode(errors="replace").splitlines()
    return (lines or [f"the test ended with status {probe.returncode}"])[-1] if probe.returncode else ""


_Entry = tuple[str, str, os.stat_result]  # path in the layer, path, status without following a link


def _entries(layer: str, hidden: set[str], inner: str = "") -> Iterator[_Entry]:
    """Yield the entries of a layer, each directory before its content."""
    with os.scandir(os.path.join(layer, inner)) as listing:
        found = sorted(listing, key=lambda one: one.name)
    for one in found:
        if one.path in hidden:
            continue
        path = os.path.join(inner, one.name)
        yield path, one.path, one.stat(follow_symlinks=False)
        if one.is_dir(follow_symlinks=False):
            yield from _entries(layer, hidden, path)


def _digest(entries: Iterable[_Entry]) -> str:
    """Return the identity of entries: their names, and the identity of their files. A hard link changes none of it."""
    digest = hashlib.sha256()
    for inner, _, status in entries:
        is_folder = stat.S_ISDIR(status.st_mode)
        file = () if is_folder else (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        digest.update(repr((inner, status.st_mode, *file)).encode())
    return digest.hexdigest()


def _merge(entries: Iterable[_Entry], folder: Path) -> None:
    """Fill an empty folder with hard links or copies; a later entry replaces an earlier one of the same path."""
    for inner, source, status in entries:
        target = os.path.join(folder, inner)
        is_folder = stat.S_ISDIR(status.st_mode)
        if os.path.lexists(target):
            had_folder = os.path.isdir(target) and not os.path.islink(target)
            if is_folder and had_folder:
                continue
            if had_folder:
                shutil.rmtree(target)
            else:
                os.unlink(target)
        if is_folder:
            os.mkdir(target, 0o755)
        else:
            _link_or_copy(source, target, status.st_mode)
    folder.chmod(0o755)


def _link_or_copy(source: str, target: str, mode: int) -> None:
    """Make a hard link of a file or a symbolic link; a copy if the file system or the kernel allows no hard link."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        if stat.S_ISREG(mode) or stat.S_ISLNK(mode):  # a copy of a pipe or a device has no use
            shutil.copy2(source, target, follow_symlinks=False)
