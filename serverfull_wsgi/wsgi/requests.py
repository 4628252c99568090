"""WSGI requests: the path as the client sent it, and the body within a limit."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote

from serverfull_wsgi.errors import InvalidRequestContentException

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ROUTING_ARGS = "wsgiorg.routing_args"  # the key that other WSGI routers use too: ((), {"FunctionName": …})
REQUEST_ID = "serverfull.request_id"  # the key of the request's id, for endpoints of routes
PAYLOAD_LIMIT = 6_291_456  # bytes (6 MiB) of a synchronous call: AWS's limit
CODE_PATH = "/serverfull/code/"  # of the signed links to packages; a code's SHA-256 follows
MAX_DISCARDED = 16 * 1024 * 1024  # bytes of a refused body that are read and dropped; over twice AWS's largest payload
_CHUNK = 64 * 1024  # bytes that are dropped at a time, the size of a socket's buffer

_scheme_and_host = re.compile(r"\Ahttps?://[^/?]*", re.IGNORECASE)  # some clients send the whole URL
_function = re.compile(r"/20\d\d-\d\d-\d\d/functions/([^/]+)")
_plain = re.compile(r"[A-Za-z0-9/._~-]*")  # characters that no client percent-encodes
_RAW_BY_SDKS, _RAW_BY_BROWSERS = "/", "/!$&'()*+,;=:@"  # besides plain characters: those that clients do not encode


def sent_path(environ: WSGIEnvironment) -> str | None:
    """Return the whole path as the client sent it: percent-encoded, with the prefix of a mount.

    gunicorn, uWSGI and waitress pass the request target on. It counts only if it means the same as SCRIPT_NAME and
    PATH_INFO, which a host application may have rewritten. Without a target, the decoded path is returned if all its
    characters are plain. None if the path cannot be known.
    """
    decoded_path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if not target:
        return decoded_path if _plain.fullmatch(decoded_path) else None
    path = _scheme_and_host.sub("", target).partition("?")[0]
    return path if unquote(path, "latin-1") == decoded_path else None


def signable_paths(environ: WSGIEnvironment) -> tuple[str, ...]:
    """Return the whole paths that a client may have signed: the path as it was sent, if the server passes it on.

    granian does not. Then these are the decoded path as AWS's SDKs encode it, and as browsers and HTTP libraries do.
    Both mean the same path. A path with an encoded slash, or in another form, cannot be verified there.
    """
    path = sent_path(environ)
    if path is not None:
        return (path,)
    if environ.get("RAW_URI") or environ.get("REQUEST_URI"):
        return ()
    decoded_path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return tuple(quote(decoded_path, raw, encoding="latin-1") for raw in (_RAW_BY_SDKS, _RAW_BY_BROWSERS))


def raw_path(environ: WSGIEnvironment) -> str:
    """Return the path below the application, percent-encoded.

    This is the end of `sent_path`. If that is not known, PATH_INFO is encoded again: an encoded slash is lost then.

    A path that is not empty begins with a slash. gunicorn takes SCRIPT_NAME from a header of its trusted peers, and
    PATH_INFO may then have none. A route would match such a path otherwise than its function reads it.
    """
    path_info: str = environ.get("PATH_INFO", "")
    path, mount = sent_path(environ) or "", environ.get("SCRIPT_NAME", "")
    if path_info and not path_info.startswith("/"):
        return "/" + quote(path_info, safe="/:$", encoding="latin-1")
    if mount:
        segments = path.split("/")
        depth = mount.count("/") + 1
        prefix, path = "/".join(segments[:depth]), "/" + "/".join(segments[depth:])
        if unquote(prefix, "latin-1") != mount:
            path = ""
    return path if unquote(path, "latin-1") == path_info else quote(path_info, safe="/:$", encoding="latin-1")


def function_in_path(environ: WSGIEnvironment) -> str:
    """Return the function in a path of the Lambda API, or an empty text. Other than ``:`` and ``$`` stay encoded."""
    match = _function.search(raw_path(environ))
    return quote(unquote(match[1]), safe="$:") if match else ""


def decoded(segment: str) -> str:
    """Return a percent-encoded path segment as text. Bytes that are not UTF-8 become U+FFFD."""
    return unquote(segment)


def text_of(segment: str) -> str:
    """Return a segment of PATH_INFO as text. WSGI passes each byte of PATH_INFO as one character."""
    return segment.encode("latin-1", "replace").decode("utf-8", "replace")


def first_value(query: str, name: str) -> str | None:
    """Return the first value of a parameter in a query string, or None.

    >>> first_value("a=1&Qualifier=prod&Qualifier=2", "Qualifier")
    'prod'
    """
    if not query:
        return None
    return parse_qs(query, keep_blank_values=True, max_num_fields=None).get(name, [None])[0]


class TooLarge(Exception):
    """A body over its limit. ``size`` is in bytes: the declared length, or the length that was read."""

    def __init__(self, size: int) -> None:
        self.size = size


def read_body(environ: WSGIEnvironment, limit: int) -> bytes:
    """Return the whole body, of at most ``limit`` bytes.

    A body whose declared length is over the limit is refused unread. Without a length the body is refused when it
    exceeds the limit.

    Raises:
        TooLarge: for a body over the limit.
        InvalidRequestContentException: for a length that is not a number, for a body that breaks off, and as
            `require_whole_chunks`.
    """
    declared = environ.get("CONTENT_LENGTH")
    if declared:
        length = length_of(declared)
        if length > limit:
            discard_body(environ)
            raise TooLarge(length)
        body = read_up_to(environ, length)
        if len(body) < length:
            raise InvalidRequestContentException(
                f"The request body ended {length - len(body)} bytes before its Content-Length."
            )
        return body
    if not environ.get("wsgi.input_terminated"):
        return b""  # only a server that ends the input itself (chunked, HTTP/2) can be read without a length
    require_whole_chunks(environ)
    body = read_up_to(environ, limit + 1)
    require_whole_chunks(environ, body)
    if len(body) > limit:
        discard_body(environ)
        raise TooLarge(len(body))
    return body


def require_whole_chunks(environ: WSGIEnvironment, body: bytes = b"") -> None:
    """Raise `InvalidRequestContentException` for a body without a length whose end the server does not report.

    granian passes on a body that broke off as if it were whole. A function would run with a part of its event. The body
    is read and dropped.

    Args:
        environ: the request.
        body: the bytes that are read already. In HTTP/2 nothing else shows that there is a body.
    """
    is_streamed = bool(body) and str(environ.get("SERVER_PROTOCOL", "")).startswith("HTTP/2")
    if ("HTTP_TRANSFER_ENCODING" in environ or is_streamed) and is_granian(environ):
        discard_body(environ)
        raise InvalidRequestContentException(
            "A body without Content-Length cannot be accepted here, since granian does not report if it breaks off. "
            "Send a Content-Length, or serve with gunicorn's own workers."
        )


def is_granian(environ: WSGIEnvironment) -> bool:
    """Return whether the server is granian, which differs from PEP 3333 in chunks and in header values."""
    return str(environ.get("SERVER_SOFTWARE", "")).lower() == "granian"


def discard_body(environ: WSGIEnvironment) -> None:
    """Read and drop the rest of the body, at most `MAX_DISCARDED` bytes.

    A client that cannot finish sending does not read its response. A body that breaks off, or has an invalid length,
    needs no more reading: this raises nothing.
    """
    try:
        declared = environ.get("CONTENT_LENGTH")
        left = MAX_DISCARDED if environ.get("wsgi.input_terminated") else 0
        if declared:
            left = min(length_of(declared), MAX_DISCARDED)
        while left > 0 and (piece := environ["wsgi.input"].read(min(left, _CHUNK))):
            left -= len(piece)
    except Exception:  # noqa: S110  (as in `read_up_to`; the request is refused already)
        pass


@lru_cache(maxsize=1024)
def length_of(declared: str) -> int:
    """Return the number of a Content-Length header. Raises `InvalidRequestContentException` if it is not a number."""
    if not (declared.isascii() and declared.isdigit()):
        raise InvalidRequestContentException("The Content-Length header must be a whole number of bytes.")
    return int(declared.lstrip("0")[:20] or 0)  # 20 digits are over any limit, and int() refuses over 4,300


def read_up_to(environ: WSGIEnvironment, size: int) -> bytes:
    """Return ``size`` bytes of the input, or fewer at its end.

    Raises `InvalidRequestContentException` for a body that breaks off.

    Some inputs return small pieces, and a faulty one may return more than was requested.
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
    except Exception:  # the client disconnected or its chunks are malformed; each server raises its own exceptions
        raise InvalidRequestContentException("The request body broke off, or its chunks are malformed.") from None
    return b"".join(pieces)[:size]
