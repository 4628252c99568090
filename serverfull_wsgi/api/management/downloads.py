"""Links to packages: a path of this server that is signed, good for one package and for ten minutes.

The key of the signature lies in the registry, so every process accepts the links of the others. The link needs no other
signature: clients get it by an HTTP GET without credentials, as they do with AWS's links to S3.
"""

from __future__ import annotations

import hmac
import re
import time
from urllib.parse import parse_qs

from serverfull_wsgi.errors import AccessDeniedException
from serverfull_wsgi.wsgi.requests import CODE_PATH

LIFETIME = 600  # seconds: AWS's
_link = re.compile(r"[0-9a-f]{64}", re.ASCII)


def link(url: str, sha256: str, secret: bytes, now: float | None = None) -> str:
    """Return the URL of a package below the application's ``url``.

    >>> link("http://localhost:8080", "0" * 64, b"key", now=0).partition("Signature=")[0][-28:]
    '000000000000000?Expires=600&'
    """
    expires = int(time.time() if now is None else now) + LIFETIME
    return f"{url}{CODE_PATH}{sha256}?Expires={expires}&Signature={_signature(sha256, expires, secret)}"


def verified(path: str, query: str, secret: bytes, now: float | None = None) -> str:
    """Return the SHA-256 of the package in a link's path and query. Raises `AccessDeniedException`."""
    parameters = parse_qs(query)
    expires, signature = (parameters.get(name, [""])[0] for name in ("Expires", "Signature"))
    sha256 = path.removeprefix(CODE_PATH)
    is_formed = _link.fullmatch(sha256) and expires.isascii() and expires.isdigit() and len(expires) < 12
    expected = _signature(sha256, int(expires), secret) if is_formed else ""
    if not expected or not hmac.compare_digest(expected.encode(), signature.encode()):
        raise AccessDeniedException("The link's signature is not valid. Call GetFunction for a new link.")
    if int(expires) < (time.time() if now is None else now):
        raise AccessDeniedException("The link has expired. Call GetFunction for a new link.")
    return sha256


def _signature(sha256: str, expires: int, secret: bytes) -> str:
    return hmac.digest(secret, f"{sha256}\n{expires}".encode(), "sha256").hex()
