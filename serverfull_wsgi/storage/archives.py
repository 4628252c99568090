"""Zip archives, which are unpacked after a check of all their entries.

An archive is not trusted. Python's `zipfile` rewrites ``../../evil`` to ``evil`` and, up to 3.11.7, reads entries that
overlap (67 KB become 3 GB). So every entry of an archive is checked before one is written.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import stat
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, NoReturn

UNZIPPED_LIMIT = 262_144_000  # bytes: AWS's limit for a deployment package, unzipped
ENTRY_LIMIT = 65_535  # the most that an archive without ZIP64 can have; 50,000 files take ten seconds to unpack
_HEADER = 30  # bytes of an entry's header, without its name and extra field; their lengths are its last four bytes
_END, _ZIP64 = 22, 76  # bytes of the end record, and of ZIP64's record and locator before it
_LINK_LIMIT = 4096  # bytes of a link's target: Linux's PATH_MAX
_CHUNK = 1 << 20  # bytes


class BadPackage(Exception):
    """A package that cannot be used. The message has the reason and the cure."""


class DamagedArchive(BadPackage):
    """An archive that is not a zip archive, or whose files cannot be read from it."""


class UnzippedTooLarge(BadPackage):
    """An archive whose files are over `UNZIPPED_LIMIT` together."""


def sha256_of(file: BinaryIO) -> str:
    """Return the digest of an archive in hexadecimal. The archive is at its end afterwards."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def unpack(file: BinaryIO, directory: Path, *, is_sealed: bool = False) -> None:
    """Unpack an archive to an empty directory, after a check of all its entries.

    Args:
        file: the archive.
        directory: the empty directory.
        is_sealed: True to make all files and folders read-only, and to refuse paths that differ in case only, which
            would be one file on some file systems.

    Raises:
        BadPackage: if an entry is not safe.
        DamagedArchive: if the archive cannot be read.
        UnzippedTooLarge: if its files are too large.
        OSError: if the files cannot be written.
    """
    try:
        size = file.seek(0, os.SEEK_END)
        if _count_entries(file, size) > ENTRY_LIMIT:
            _refuse_count()
        with zipfile.ZipFile(file) as archive:
            entries = _checked_entries(archive, size)
            if is_sealed:
                _check_cases(entries)
            _extract(archive, entries, directory)
    except zipfile.BadZipFile as error:
        raise DamagedArchive(f"not a valid zip archive: {error}; pack it again") from None
    except (EOFError, RuntimeError, NotImplementedError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise DamagedArchive(f"the archive cannot be unpacked: {error}; pack it again with zip") from None
    if is_sealed:
        _make_read_only(directory)


def _make_read_only(directory: Path) -> None:
    for folder, _, names, fd in os.fwalk(directory, topdown=False):
        for name in names:
            mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
            if stat.S_ISREG(mode):
                os.chmod(name, stat.S_IMODE(mode) & 0o555 | 0o400, dir_fd=fd)
        os.chmod(folder, 0o555)  # noqa: S103  (a folder above keeps others out)


def _count_entries(file: BinaryIO, size: int) -> int:
    """Return the number of entries, at most one above the limit; 0 if the archive is damaged, which `zipfile` reports.

    `zipfile` reads all entries at once, and ten million of them fill the memory. It ignores the number that the archive
    itself states.
    """
    tail_size = min(size, _END + 65_535 + _ZIP64)  # the end record with the longest comment
    file.seek(size - tail_size)
    tail = file.read()
    end = len(tail) - _END
    if tail[end : end + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + _END:
        return 0
    start, length = end, int.from_bytes(tail[end + 12 : end + 16], "little")
    if tail[end - 20 : end - 16] == b"PK\6\7" and end >= _ZIP64:
        start = end - _ZIP64
        length = int.from_bytes(tail[start + 40 : start + 48], "little")
    if (begin := size - tail_size + start - length) < 0:
        return 0
    file.seek(begin)
    directory, count, place = file.read(length), 0, 0
    while directory[place : place + 4] == b"PK\1\2" and count <= ENTRY_LIMIT:
        lengths = directory[place + 28 : place + 34]
        place += 46 + sum(int.from_bytes(lengths[at : at + 2], "little") for at in (0, 2, 4))
        count += 1
    return count


def _refuse_count() -> NoReturn:
    _refuse(f"it has more than {ENTRY_LIMIT:,} entries", "remove files from it")


def _checked_entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by their paths below the directory. Raises `BadPackage` if one of them is not safe."""
    entries: dict[str, zipfile.ZipInfo] = {}
    total = 0
    if len(archive.infolist()) > ENTRY_LIMIT:
        _refuse_count()
    for info in archive.infolist():
        path = _path(info.orig_filename)
        mode = info.external_attr >> 16
        if info.flag_bits & 1:
            _refuse(f"{path!r} is encrypted")
        if _is_link(info) and info.file_size > _LINK_LIMIT:
            _refuse(f"{path!r} is too long for a link")
        if path in entries and not (info.is_dir() and entries[path].is_dir()):
            _refuse(f"two entries have the path {path!r}")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            _refuse(f"{path!r} is not a file, a directory or a link")
        total += info.file_size
        if max(total, size) > UNZIPPED_LIMIT:
            raise UnzippedTooLarge(
                f"its unzipped size is over AWS's limit of {UNZIPPED_LIMIT:,} bytes; remove files from it"
            )
        if path:
            entries[path] = info
    _check_overlaps(archive)
    links = {path for path, info in entries.items() if _is_link(info)}
    for path in entries if links else ():
        if any(str(parent) in links for parent in Path(path).parents):
            _refuse(f"{path!r} is inside a link")
    return entries


def _check_cases(entries: dict[str, zipfile.ZipInfo]) -> None:
    """Refuse two paths, or two folders of paths, that differ in case only."""
    seen: dict[str, str] = {}
    for path in entries:
        for part in (path, *map(str, Path(path).parents)):
            if seen.setdefault(part.casefold(), part) != part:
                _refuse(f"{seen[part.casefold()]!r} and {part!r} differ in case only", "rename one of them")


def _path(name: str) -> str:
    """Return the path of an entry below the directory; empty for the directory itself."""
    parts = re.split(r"[/\\]", name)
    if "\0" in name or ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", name):
        _refuse(f"{name!r} points outside the package")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _check_overlaps(archive: zipfile.ZipFile) -> None:
    """Refuse entries that share bytes: a small archive can have very many of them."""
    file = archive.fp
    assert file  # noqa: S101  (an open archive has one)
    free = 0  # the first byte after the entries so far
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        file.seek(info.header_offset)
        header = file.read(_HEADER)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        if len(header) < _HEADER or info.header_offset < free:
            _refuse(f"{info.orig_filename!r} overlaps another entry")
        free = info.header_offset + _HEADER + lengths + info.compress_size
    if free > archive.start_dir:
        _refuse("its last entry overlaps its central directory")


def _extract(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], directory: Path) -> None:
    """Write the files first and the links last, so that no file is written through a link; then check the links."""
    room = UNZIPPED_LIMIT
    links = []
    for folder in {path if info.is_dir() else os.path.dirname(path) for path, info in entries.items()}:
        (directory / folder).mkdir(parents=True, exist_ok=True)
    for path, info in entries.items():
        if info.is_dir():
            continue
        file = directory / path
        if _is_link(info):
            links.append((file, archive.read(info).decode()))
            continue
        room = _write(archive, info, file, room)
    for link, target in links:
        link.symlink_to(target)
    root = directory.resolve()
    for link, _ in links:
        if not Path(os.path.realpath(link)).is_relative_to(root):
            _refuse(f"the link {str(link.relative_to(directory))!r} points outside the package")


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, room: int) -> int:
    """Write one file with its permissions and return the bytes that remain of ``room``.

    The file's owner can always read and write the file.
    """
    with archive.open(info) as source, open(target, "xb") as file:
        while chunk := source.read(_CHUNK):
            room -= len(chunk)
            if room < 0:
                _refuse("its files are larger than its central directory states")
            file.write(chunk)
    target.chmod((info.external_attr >> 16 & 0o777 or 0o644) | 0o600)
    return room


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def _refuse(reason: str, cure: str = "pack it again without this entry") -> NoReturn:
    raise BadPackage(f"{reason}; {cure}")
