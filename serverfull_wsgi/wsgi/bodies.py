"""Bodies that hold deployment packages: over `PAYLOAD_LIMIT` they are in files, and their total size is bounded.

A package has up to 50 MiB, and its request a third more. Without a bound, clients could fill the memory or the disk.
The bytes that have arrived count. A client that sends slowly therefore takes no room from the others.
"""

from __future__ import annotations

import io
from collections import deque
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO

from serverfull_wsgi.errors import InvalidRequestContentException, TooManyRequestsException
from serverfull_wsgi.wsgi.requests import (
    PAYLOAD_LIMIT,
    TooLarge,
    discard_body,
    length_of,
    read_body,
    read_up_to,
    require_whole_chunks,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PIECE = 1 << 20  # bytes of one read, and of one place
PLACES = 270  # pieces of bodies in files at a time, in each process: four of the largest bodies
_free: deque[None] = deque([None] * PLACES)  # `pop` and `extend` are atomic


class FileBody(io.BufferedIOBase):
    """A body in a file without a name, with a place for each piece. Close it to delete the file and to free the places.

    `write` raises `TooManyRequestsException` if no place is free.
    """

    def __init__(self) -> None:
        self._places: list[None] = []
        self._file: BinaryIO = TemporaryFile()  # noqa: SIM115  (closed by `close`)

    def read(self, size: int | None = -1, /) -> bytes:
        return self._file.read(-1 if size is None else size)

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        end = self._file.tell() + len(data)
        try:
            while len(self._places) * PIECE < end:
                self._places.append(_free.pop())
        except IndexError:
            raise TooManyRequestsException("CallerRateLimitExceeded") from None
        return self._file.write(data)

    def content(self) -> mmap:
        """Return the body in pages of the file, which take no memory of their own."""
        self._file.flush()
        return mmap(self._file.fileno(), 0, access=ACCESS_READ)

    def close(self) -> None:
        places, self._places = self._places, []
        _free.extend(places)
        if hasattr(self, "_file"):  # Python closes the object after an exception in the constructor, too
            self._file.close()
        super().close()


Body = io.BytesIO | FileBody


def open_body(environ: WSGIEnvironment, limit: int) -> Body:
    """Return the whole body, of at most ``limit`` bytes, as a file at its start. The caller closes it.

    Raises:
        TooLarge: for a body over the limit.
        TooManyRequestsException: if `PLACES` pieces of bodies are in files.
        InvalidRequestContentException: as `read_body`.
    """
    body = environ.get("wsgi.input")
    if isinstance(body, FileBody):  # the check of the signature has read it
        body.seek(0)
        return body
    if not environ.get("CONTENT_LENGTH"):
        return _open_undeclared(environ, limit)
    declared = length_of(environ["CONTENT_LENGTH"])
    if declared > limit:
        discard_body(environ)
        raise TooLarge(declared)
    if declared <= PAYLOAD_LIMIT:
        return io.BytesIO(read_body(environ, limit))
    file = _to_file(environ, b"", declared)
    if (size := file.seek(0, io.SEEK_END)) < declared:
        file.close()
        raise InvalidRequestContentException(
            f"The request body ended {declared - size} bytes before its Content-Length."
        )
    file.seek(0)
    return file


def _open_undeclared(environ: WSGIEnvironment, limit: int) -> Body:
    """Return a body in chunks, whose length is known at its end only."""
    if not environ.get("wsgi.input_terminated"):
        return io.BytesIO(b"")
    require_whole_chunks(environ)
    start = read_up_to(environ, PAYLOAD_LIMIT + 1)
    require_whole_chunks(environ, start)
    if len(start) <= PAYLOAD_LIMIT:
        return io.BytesIO(start)
    file = _to_file(environ, start, limit + 1)
    if (size := file.seek(0, io.SEEK_END)) > limit:
        file.close()
        discard_body(environ)
        raise TooLarge(size)
    file.seek(0)
    return file


def _to_file(environ: WSGIEnvironment, start: bytes, size: int) -> FileBody:
    """Return a file with ``start`` and the rest of the body, together at most ``size`` bytes."""
    file = FileBody()
    try:
        file.write(start)
        left = size - len(start)
        while left > 0 and (piece := read_up_to(environ, min(left, PIECE))):
            file.write(piece)
            left -= len(piece)
    except TooManyRequestsException:
        file.close()
        discard_body(environ)
        raise
    except BaseException:
        file.close()
        raise
    return file


def digest_of(body: Body) -> str:
    """Return the SHA-256 of a body in hexadecimal. The body is at its start afterwards."""
    digest = sha256()
    while piece := body.read(PIECE):
        digest.update(piece)
    body.seek(0)
    return digest.hexdigest()


def content_of(body: Body) -> bytes | mmap:
    """Return the bytes of a body: in memory, or in pages of its file."""
    return body.content() if isinstance(body, FileBody) else body.read()


def drop_body(environ: WSGIEnvironment) -> None:
    """Drop the body of a refused request: delete its file, or read the rest so that the client reads the response."""
    if isinstance(body := environ.get("wsgi.input"), FileBody):
        body.close()
    else:
        discard_body(environ)
