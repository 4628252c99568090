"""Reading a WSGI request: the path as the client sent it, the body within a limit, and ids."""

from __future__ import annotations

import os
import re
from collections import deque
from functools import lru_cache
from time import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from serverfull_wsgi.errors import InvalidRequestContentException

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ROUTING_ARGS = "wsgiorg.routing_args"  # the place other WSGI routers use: ((), {"FunctionName": …})
REQUEST_ID = "serverfull.request_id"
PAYLOAD_LIMIT = 6_291_456  # bytes, of a synchronous call
_PIECE = 64 * 1024
_DISCARDED = 16 * 1024 * 1024  # bytes of a refused body that are read and thrown away


def raw_path(environ: WSGIEnvironment) -> str:
    """The path below the application, still percent-encoded.

    PATH_INFO is decoded, so that ``%2F`` and ``/`` look the same in it. gunicorn and others pass the request target
    as it came; it is believed as far as it means the same as PATH_INFO, which a host application may have rewritten.
    """
    path_info: str = environ.get("PATH_INFO", "")
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    path = re.sub(r"^https?://[^/?]*", "", target).partition("?")[0]  # some clients send the whole URL
    mount = environ.get("SCRIPT_NAME", "")
    if mount:
        depth = mount.count("/")
        head, path = _split_after(path, depth)
        if unquote(head, "latin-1") != mount:
            path = ""
    return path if unquote(path, "latin-1") == path_info else quote(path_info, safe="/:$", encoding="latin-1")


def _split_after(path: str, segments: int) -> tuple[str, str]:
    parts = path.split("/")
    return "/".join(parts[: segments + 1]), "/" + "/".join(parts[segments + 1 :])


def decoded(label: str) -> str:
    """A percent-encoded path segment as text; bytes that are no UTF-8 become U+FFFD."""
    return unquote(label)


def text_of(label: str) -> str:
    """The same for a segment of PATH_INFO, in which WSGI passes each byte as one character."""
    return label.encode("latin-1", "replace").decode("utf-8", "replace")


class TooLarge(Exception):
    """A body over its limit; ``size`` in bytes, as declared or as far as it was read."""

    def __init__(self, size: int) -> None:
        self.size = size


def read_body(environ: WSGIEnvironment, limit: int) -> bytes:
    """The whole body; refused by its declared length before it is read, or as soon as it is longer than ``limit``.

    Raises `TooLarge`, and `InvalidRequestContentException` for a length that is no number, and for a body that breaks
    off.
    """
    declared = environ.get("CONTENT_LENGTH")
    if declared:
        length = _length(declared)
        if length > limit:
            _discard(environ, min(length, _DISCARDED))
            raise TooLarge(length)
        body = _read(environ, length)
        if len(body) < length:
            raise InvalidRequestContentException(
                f"The request body ended {length - len(body)} bytes before its Content-Length."
            )
        return body
    if not environ.get("wsgi.input_terminated"):
        return b""  # only a server that ends the input itself (chunked, HTTP/2) can be read without a length
    body = _read(environ, limit + 1)
    if len(body) > limit:
        _discard(environ, _DISCARDED)
        raise TooLarge(len(body))
    return body


@lru_cache(maxsize=1024)
def _length(declared: str) -> int:
    if not (declared.isascii() and declared.isdigit()):
        raise InvalidRequestContentException("The Content-Length header must be a whole number of bytes.")
    return int(declared.lstrip("0")[:20] or 0)  # 20 digits are over any limit, and int() refuses some thousands


def _read(environ: WSGIEnvironment, size: int) -> bytes:
    """Up to ``size`` bytes of the input, less only where it ends.

    Some inputs give them in small pieces, and a faulty one may give more.
    """
    stream = environ["wsgi.input"]
    try:
        body: bytes = stream.read(size)
        if not body or len(body) >= size:
            return body[:size]
        pieces = [body]
        missing = size - len(body)
        while missing > 0 and (piece := stream.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
    except Exception:  # the client has gone, or its chunks are no chunks: what that raises, each server has its own
        raise InvalidRequestContentException("The request body broke off, or its chunks are malformed.") from None
    return b"".join(pieces)[:size]


def _discard(environ: WSGIEnvironment, length: int) -> None:
    """Takes what the client is sending, up to a bound: one that cannot finish sending never reads its answer."""
    try:
        while length > 0 and (piece := environ["wsgi.input"].read(min(length, _PIECE))):
            length -= len(piece)
    except Exception:  # noqa: S110  (as in `_read`; the answer is a refusal already)
        pass


class Ids(NamedTuple):
    """What a request is known by: its id, and the random part of a trace's root for when the client brings none."""

    request_id: str
    trace: str


def new_ids() -> Ids:
    """A random UUID (version 4) and 96 random bits in hexadecimal, both from the system's randomness.

    Made for 128 requests at once: each reading lets go of the interpreter's lock, and between busy threads that costs
    25 µs. `uuid.uuid4` alone takes 2.5 µs.
    """
    try:
        return _ready.pop()
    except IndexError:
        return _make_ready()


def _make_ready() -> Ids:
    """Some ids, and more for those who ask next; a forked child must not have what its parent has."""
    drawn = os.urandom(28 * 128).hex()
    first, *others = (_ids_of(drawn[begin : begin + 56]) for begin in range(0, len(drawn), 56))
    _ready.extend(others)
    return first


def _ids_of(h: str) -> Ids:
    return Ids(f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:32]}", h[32:])


_ready: deque[Ids] = deque()
os.register_at_fork(after_in_child=_ready.clear)

_fields = re.compile(
    r"\s*(?:(?P<Root>Root=1-[0-9a-f]{8}-[0-9a-f]{24})|(?P<Parent>Parent=[0-9a-f]{16})|(?P<Sampled>Sampled=[01?])"
    r"|(?P<Lineage>Lineage=[0-9a-f:|]{1,512}))\s*",
    re.ASCII,
)


def trace_id(header: str | None, trace: str) -> str:
    """An X-Amzn-Trace-Id for this request: the client's where it is well-formed, otherwise a new one.

    >>> trace_id(None, "40378aa81e4eecc34002f96a")[-35:]
    '-40378aa81e4eecc34002f96a;Sampled=0'
    """
    root = f"Root=1-{int(time()):08x}-{trace}"
    if header is None:
        return f"{root};Sampled=0"
    found = [match for match in map(_fields.fullmatch, header.split(";")) if match]
    fields = {str(match.lastgroup): match[match.lastgroup or 0] for match in found}
    return ";".join(
        fields.get(name, default)
        for name, default in (("Root", root), ("Parent", ""), ("Sampled", "Sampled=0"), ("Lineage", ""))
        if fields.get(name, default)
    )
