"""What SQLite leaves out of a write-ahead log without a word, and whether that was damage.

SQLite reads a -wal up to the first frame that is not as it was written, as after a crash it should: the last commit may
have been cut off. But commits that were synced later than that frame tell that it had been whole once.

Source of the format: https://www.sqlite.org/fileformat2.html#walformat
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

HEADER, FRAME = 32, 24  # bytes: of the file's header, and of each frame's, which a page follows
CUT_OFF = 1  # commits that a crash may leave beyond the tear: the one that was being written
MAGIC = {0x377F0682: "<", 0x377F0683: ">"}  # and the byte order of checksums


def damage(path: Path) -> str:
    """What is wrong with the log at ``path``, which nobody has open; empty if nothing is, or if there is none.

    Of its last two commits that cannot be told. Takes 0.1 ms a frame, and SQLite keeps logs to about 1,000.
    """
    try:
        with path.open("rb") as file:
            return _damage(file)
    except FileNotFoundError:
        return ""


def _damage(file: BinaryIO) -> str:
    header = file.read(HEADER)
    first = file.read(FRAME)
    if len(first) < FRAME:
        return ""
    magic, _, page_size = struct.unpack(">III", header[:12])
    sums = _sums(header[:24], MAGIC.get(magic, "<"), (0, 0))
    if magic not in MAGIC or sums != struct.unpack(">II", header[24:]):
        return "the header of its -wal is not as it was written"
    whole, beyond = True, 0
    for frame, page in _frames(file, page_size):
        if frame[8:16] == header[16:24]:
            sums = _sums(frame[:8] + page, MAGIC[magic], sums) if whole else sums
            whole = whole and sums == struct.unpack(">II", frame[16:])
            beyond += not whole and frame[4:8] != bytes(4)
        else:
            whole = False
    return f"{beyond} commits in its -wal follow a place that is not as it was written" if beyond > CUT_OFF else ""


def _frames(file: BinaryIO, page_size: int) -> Iterator[tuple[bytes, bytes]]:
    """The frames that are there in full, each as its header and its page."""
    file.seek(HEADER)
    while len(frame := file.read(FRAME + page_size)) == FRAME + page_size:
        yield frame[:FRAME], frame[FRAME:]


def _sums(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    """The checksum so far, with ``data`` added."""
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, two in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second
