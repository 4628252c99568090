"""Code packages: folders as they are, zip archives unpacked into a private folder that is gone when the process ends.

What a process leaves that was killed, the next one to unpack something removes: a process holds its folder locked.

An archive is not trusted. Python's `zipfile` rewrites ``../../evil`` to ``evil`` and, up to 3.11.7, reads entries that
overlap (67 KB become 3 GB), so an archive is looked through before anything of it is written.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import lzma
import os
import re
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import NoReturn

UNZIPPED_LIMIT = 262_144_000  # bytes: AWS's limit for a deployment package, unzipped
_HEADER = 30  # bytes of a local header, without the name and the extra field whose lengths are at its end
_LINK_LIMIT = 4096  # bytes of a link's target
_CHUNK = 1 << 20
_PREFIX = "serverfull-code-"
_GRACE = 60.0  # seconds in which a new folder is sure to be locked


class BadPackage(Exception):
    """A package that cannot be used; the message says why, and names the cure."""


class Packages:
    """Unpacks each archive once. The folder it makes is its process's own, and readable for its user only."""

    def __init__(self) -> None:
        self._root: Path | None = None
        self._unpacked: dict[str, str] = {}

    def folder(self, path: str) -> str:
        """The folder with the code of a package, a folder or a zip archive. Raises `BadPackage`."""
        if os.path.isdir(path):
            return path
        if path not in self._unpacked:
            self._unpacked[path] = self._unpack(path)
        return self._unpacked[path]

    def inline(self, code: str, suffix: str) -> str:
        """A folder with ``code`` as its ``index.py`` or ``index.js``. Raises `BadPackage`."""
        try:
            folder = self._new_folder()
            (folder / f"index.{suffix}").write_text(code, encoding="utf-8")
        except (OSError, ValueError) as error:
            raise BadPackage(f"it cannot be written: {error}; correct it") from None
        return str(folder)

    def _unpack(self, path: str) -> str:
        try:
            with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
                entries = _examined(archive, os.path.getsize(path))
                folder = self._new_folder()
                try:
                    _extract(archive, entries, folder)
                except BaseException:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
                return str(folder)
        except zipfile.BadZipFile as error:
            raise BadPackage(f"it is no good zip archive: {error}; pack it again") from None
        except OSError as error:
            raise BadPackage(f"it cannot be unpacked: {error.strerror or error}; pack it again") from None
        except (EOFError, RuntimeError, NotImplementedError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise BadPackage(f"it cannot be unpacked: {error}; pack it again with zip") from None

    def _new_folder(self) -> Path:
        if self._root is None:
            for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
                with contextlib.suppress(OSError):
                    _remove_left(left)
            self._root = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._held = os.open(self._root, os.O_RDONLY)  # until the process and its forks are gone
            with contextlib.suppress(OSError):  # a file system without locks keeps what is left
                fcntl.flock(self._held, fcntl.LOCK_EX)
            atexit.register(_remove, self._root, os.getpid())
        return Path(tempfile.mkdtemp(dir=self._root))


def _remove(root: Path, owner: int) -> None:
    """What a process made, it removes itself; its forks leave it alone."""
    if os.getpid() == owner:
        shutil.rmtree(root, ignore_errors=True)


def _remove_left(root: Path) -> None:
    """Removes a folder of this user's that nobody holds any more. Raises OSError for one that somebody does."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(fd)
        if found.st_uid == os.getuid() and found.st_mtime < time.time() - _GRACE:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(root, ignore_errors=True)
    finally:
        os.close(fd)


def _examined(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by the path each will have, if all of them are harmless."""
    entries: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for info in archive.infolist():
        path = _path(info.orig_filename)
        mode = info.external_attr >> 16
        if info.flag_bits & 1:
            _refuse(f"{path!r} is encrypted")
        if _is_link(info) and info.file_size > _LINK_LIMIT:
            _refuse(f"{path!r} is too long for a link")
        if path in entries and not (info.is_dir() and entries[path].is_dir()):
            _refuse(f"{path!r} is in it twice")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            _refuse(f"{path!r} is neither a file nor a folder nor a link")
        total += info.file_size
        if max(total, size) > UNZIPPED_LIMIT:
            _refuse(f"it has more than {UNZIPPED_LIMIT:,} bytes unzipped, AWS's limit", "leave out what is not needed")
        if path:
            entries[path] = info
    _check_overlaps(archive)
    links = {path for path, info in entries.items() if _is_link(info)}
    for path in entries if links else ():
        if any(str(parent) in links for parent in Path(path).parents):
            _refuse(f"{path!r} lies behind a link")
    return entries


def _path(name: str) -> str:
    """The path of an entry below the folder; empty for the folder itself."""
    parts = re.split(r"[/\\]", name)
    if "\0" in name or ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", name):
        _refuse(f"{name!r} leads out of its folder")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _check_overlaps(archive: zipfile.ZipFile) -> None:
    """Refuses entries that share bytes, of which a small archive can have very many."""
    file = archive.fp
    assert file  # noqa: S101  (an open archive has one)
    free = 0  # where the next entry may begin
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        file.seek(info.header_offset)
        header = file.read(_HEADER)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        if len(header) < _HEADER or info.header_offset < free:
            _refuse(f"{info.orig_filename!r} overlaps another entry")
        free = info.header_offset + _HEADER + lengths + info.compress_size
    if free > archive.start_dir:
        _refuse("its last entry overlaps its directory")


def _extract(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], folder: Path) -> None:
    """Writes files first and links last, so that nothing is written through a link; then sees where these lead."""
    room = UNZIPPED_LIMIT
    links = []
    for path, info in entries.items():
        target = folder / path
        if info.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if _is_link(info):
            links.append((target, archive.read(info).decode()))
            continue
        room = _write(archive, info, target, room)
    for target, leads_to in links:
        target.symlink_to(leads_to)
    inside = folder.resolve()
    for target, _ in links:
        if not Path(os.path.realpath(target)).is_relative_to(inside):
            _refuse(f"the link {str(target.relative_to(folder))!r} leads out of its folder")


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, room: int) -> int:
    """Writes one file with its permissions, for its owner at least to read; returns how many bytes are left."""
    with archive.open(info) as source, open(target, "xb") as file:
        while chunk := source.read(_CHUNK):
            room -= len(chunk)
            if room < 0:
                _refuse("it is larger than its directory says")
            file.write(chunk)
    target.chmod((info.external_attr >> 16 & 0o777 or 0o644) | 0o600)
    return room


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def _refuse(reason: str, cure: str = "pack it again without that") -> NoReturn:
    raise BadPackage(f"{reason}; {cure}")
