"""AWS Signature Version 4: whether a claim may stand, and what its signature has to be. Pure rules, without a clock.

Nothing is normalised that decides what is called: the path is signed as it was sent, without taking out dots or empty
segments. Equal is only what AWS's own rules make so: the order and the spelling of query parameters, and the blanks
in and around a header's value.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from hashlib import sha256
from time import gmtime, strftime
from urllib.parse import quote

from serverfull_wsgi.auth.sigv4.errors import IncompleteSignatureException, InvalidSignatureException
from serverfull_wsgi.auth.sigv4.parsing import ALGORITHM, SIGNATURE, Request, SignatureFields

TERMINATOR = "aws4_request"
WINDOW = 300  # seconds that a signature's date may be away from ours, either way

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_date = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_header_name = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+", re.ASCII)  # RFC 9110's token, in lower case


def check_scope(claim: SignatureFields, region: str, service: str) -> None:
    """Raises `InvalidSignatureException` for a signature made for another day, region or service."""
    day, its_region, its_service, terminator = claim.scope
    if its_region != region:
        raise InvalidSignatureException(f"Credential should be scoped to a valid region, not '{its_region}'.")
    if its_service != service:
        raise InvalidSignatureException(f"Credential should be scoped to correct service: '{service}'.")
    if terminator != TERMINATOR:
        raise InvalidSignatureException(f"Credential should be scoped with a valid terminator: '{TERMINATOR}'.")
    if day != claim.date[:8]:
        raise InvalidSignatureException(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{day}' != '{claim.date[:8]}', from '{claim.date}'."
        )


def check_time(claim: SignatureFields, now: int) -> int:
    """Until when the signature is good; ``now`` and that are in seconds since 1970.

    Raises `InvalidSignatureException` before and after its time, `IncompleteSignatureException` for what is no date.
    """
    signed = _seconds(claim.date)
    if now < signed - WINDOW:
        latest = f"{_iso(now + WINDOW)} ({_iso(now)} + {WINDOW // 60} min.)"
        raise InvalidSignatureException(f"Signature not yet current: {claim.date} is still later than {latest}")
    lifetime = WINDOW if claim.expires is None else claim.expires
    if now > signed + lifetime:
        span = f"{WINDOW // 60} min." if claim.expires is None else f"{lifetime} sec."
        earliest = f"{_iso(now - lifetime)} ({_iso(now)} - {span})"
        raise InvalidSignatureException(f"Signature expired: {claim.date} is now earlier than {earliest}")
    return signed + lifetime


def _seconds(date: str) -> int:
    try:
        if not _date.fullmatch(date):
            raise ValueError(date)
        numbers = (int(date[start:end]) for start, end in ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15)))
        return int(datetime(*numbers, tzinfo=timezone.utc).timestamp())  # type: ignore[misc,arg-type]
    except ValueError:
        raise IncompleteSignatureException("Date must be in ISO-8601 'basic format', as 20150830T123600Z is.") from None


def _iso(seconds: int) -> str:
    return strftime("%Y%m%dT%H%M%SZ", gmtime(seconds))


def check_signed_headers(claim: SignatureFields, headers: Mapping[str, str]) -> None:
    """Raises `InvalidSignatureException` unless the host and every ``x-amz-…`` header that is there is signed.

    Not so ``x-amzn-trace-id``, which proxies change and SDKs leave out.
    """
    names = claim.signed_headers.split(";")
    if names != sorted(set(names)) or not all(map(_header_name.fullmatch, names)):
        raise InvalidSignatureException("SignedHeaders must be names in lower case, sorted, each of them once.")
    if "host" not in names:
        raise InvalidSignatureException("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if unsigned := sorted(name for name in headers if name.startswith("x-amz-") and name not in names):
        raise InvalidSignatureException(f"Headers that are present must be signed: {', '.join(unsigned)}.")
    if absent := [name for name in names if name not in headers]:
        raise InvalidSignatureException(f"Headers that are signed must be present: {', '.join(absent)}.")


def check_payload(headers: Mapping[str, str], digest: str) -> None:
    """Raises `InvalidSignatureException` for a request that says something else of its body than ``digest``.

    ``digest`` is the hexadecimal SHA-256 of the bytes that came, and the only one that is believed.
    """
    stated = headers.get("x-amz-content-sha256", digest)
    if stated.startswith(("UNSIGNED-", "STREAMING-")):
        raise InvalidSignatureException("The payload has to be signed, and as a whole: send its SHA-256.")
    if stated != digest:
        raise InvalidSignatureException("The provided 'x-amz-content-sha256' header does not match what was computed.")


def matches(claim: SignatureFields, request: Request, digest: str, secret: str) -> bool:
    """Whether the holder of ``secret`` signed just this request, with a body of this SHA-256. In constant time."""
    expected = signature(claim, canonical_request(claim, request, digest), secret)
    return hmac.compare_digest(expected.encode(), claim.signature.encode("latin-1"))


def canonical_request(claim: SignatureFields, request: Request, digest: str) -> bytes:
    """The one form of all requests that AWS's rules hold for equal; every byte that counts has its place in it."""
    query = sorted(pair for pair in request.query if pair[0] != SIGNATURE)
    lines = [
        request.method,
        quote(request.path.encode("latin-1")) or "/",
        "&".join(f"{name}={value}" for name, value in query),
        *(f"{name}:{_trimmed(request.headers[name])}" for name in claim.signed_headers.split(";")),
        "",
        claim.signed_headers,
        digest,
    ]
    return "\n".join(lines).encode("latin-1")


def _trimmed(value: str) -> str:
    """Blanks at the ends taken off, and runs of them made one; in bytes, whose blanks are only ASCII's."""
    return b" ".join(value.encode("latin-1").split()).decode("latin-1")


def signature(claim: SignatureFields, canonical: bytes, secret: str) -> str:
    """The signature of a canonical request, in hexadecimal."""
    key = f"AWS4{secret}".encode()
    for part in claim.scope:
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    to_sign = "\n".join([ALGORITHM, claim.date, "/".join(claim.scope), sha256(canonical).hexdigest()])
    return hmac.digest(key, to_sign.encode("latin-1"), "sha256").hex()
