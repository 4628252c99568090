"""The rules of AWS Signature Version 4: pure functions, without a clock and without credentials.

The path is signed as the client sent it. Dots and empty segments are not removed, because they decide which function
is called. Only differences that AWS's own rules ignore are ignored here: the order and spelling of query parameters,
and blanks in and around a header's value.

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
WINDOW = 300  # seconds between a signature's date and the server's time, before or after: AWS's limit

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_date = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_header_name = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+", re.ASCII)  # RFC 9110's token, in lower case


def check_scope(fields: SignatureFields, region: str, service: str) -> None:
    """Raise `InvalidSignatureException` for a signature of another day, region or service."""
    day, signed_region, signed_service, terminator = fields.scope
    if signed_region != region:
        message = f"Credential should be scoped to a valid region, not '{signed_region}'."
        raise InvalidSignatureException(message, quoted=[signed_region])
    if signed_service != service:
        raise InvalidSignatureException(f"Credential should be scoped to correct service: '{service}'.")
    if terminator != TERMINATOR:
        raise InvalidSignatureException(f"Credential should be scoped with a valid terminator: '{TERMINATOR}'.")
    if day != fields.date[:8]:
        raise InvalidSignatureException(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{day}' != '{fields.date[:8]}', from '{fields.date}'.",
            quoted=[day],
        )


def check_time(fields: SignatureFields, now: int) -> int:
    """Return the end of the signature's life. ``now`` and the result are in seconds since 1970.

    Raises:
        InvalidSignatureException: before and after the signature's life.
        IncompleteSignatureException: if the date is not valid.
    """
    signed = _parse_date(fields.date)
    if now < signed - WINDOW:
        latest = f"{_format_date(now + WINDOW)} ({_format_date(now)} + {WINDOW // 60} min.)"
        raise InvalidSignatureException(f"Signature not yet current: {fields.date} is still later than {latest}")
    lifetime = WINDOW if fields.expires is None else fields.expires
    if now > signed + lifetime:
        span = f"{WINDOW // 60} min." if fields.expires is None else f"{lifetime} sec."
        earliest = f"{_format_date(now - lifetime)} ({_format_date(now)} - {span})"
        raise InvalidSignatureException(f"Signature expired: {fields.date} is now earlier than {earliest}")
    return signed + lifetime


def _parse_date(date: str) -> int:
    try:
        if not _date.fullmatch(date):
            raise ValueError(date)
        numbers = (int(date[start:end]) for start, end in ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15)))
        return int(datetime(*numbers, tzinfo=timezone.utc).timestamp())  # type: ignore[misc,arg-type]
    except ValueError:
        raise IncompleteSignatureException("Date must be in ISO-8601 'basic format', as 20150830T123600Z is.") from None


def _format_date(seconds: int) -> str:
    return strftime("%Y%m%dT%H%M%SZ", gmtime(seconds))


def check_signed_headers(fields: SignatureFields, headers: Mapping[str, str]) -> None:
    """Raise `InvalidSignatureException` unless the host and every ``x-amz-…`` header of the request is signed.

    ``x-amzn-trace-id`` needs no signature: proxies change it and SDKs do not sign it.
    """
    names = fields.signed_headers.split(";")
    if names != sorted(set(names)) or not all(map(_header_name.fullmatch, names)):
        raise InvalidSignatureException("SignedHeaders must be names in lower case, sorted, each of them once.")
    if "host" not in names:
        raise InvalidSignatureException("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if unsigned := sorted(name for name in headers if name.startswith("x-amz-") and name not in names):
        shown = ", ".join(unsigned)
        raise InvalidSignatureException(f"Headers that are present must be signed: {shown}.", quoted=[shown])
    if absent := [name for name in names if name not in headers]:
        shown = ", ".join(absent)
        raise InvalidSignatureException(f"Headers that are signed must be present: {shown}.", quoted=[shown])


def check_payload(headers: Mapping[str, str], digest: str) -> None:
    """Raise `InvalidSignatureException` if the request's header has another SHA-256 of the body than ``digest``.

    ``digest`` is the hexadecimal SHA-256 of the bytes that were received.
    """
    stated = headers.get("x-amz-content-sha256", digest)
    if stated.startswith(("UNSIGNED-", "STREAMING-")):
        raise InvalidSignatureException("The payload has to be signed, and as a whole: send its SHA-256.")
    if stated != digest:
        raise InvalidSignatureException("The provided 'x-amz-content-sha256' header does not match what was computed.")


def matches(fields: SignatureFields, request: Request, digest: str, secret: str) -> bool:
    """Return whether ``secret`` signed exactly this request, with a body of this SHA-256. Compares in constant time."""
    expected = signature(fields, canonical_request(fields, request, digest), secret)
    return hmac.compare_digest(expected.encode(), fields.signature.encode("latin-1"))


def canonical_request(fields: SignatureFields, request: Request, digest: str) -> bytes:
    """Return the canonical form: equal for requests that differ only where AWS's rules ignore differences."""
    query = sorted(pair for pair in request.query if pair[0] != SIGNATURE)
    lines = [
        request.method,
        quote(request.path.encode("latin-1")) or "/",
        "&".join(f"{name}={value}" for name, value in query),
        *(f"{name}:{_collapse_blanks(request.headers[name])}" for name in fields.signed_headers.split(";")),
        "",
        fields.signed_headers,
        digest,
    ]
    return "\n".join(lines).encode("latin-1")


def _collapse_blanks(value: str) -> str:
    """Remove blanks at both ends, and replace runs of blanks by one. In bytes, only ASCII has blanks."""
    return b" ".join(value.encode("latin-1").split()).decode("latin-1")


def signature(fields: SignatureFields, canonical: bytes, secret: str) -> str:
    """Return the signature of a canonical request, in hexadecimal."""
    key = f"AWS4{secret}".encode()
    for part in fields.scope:
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    to_sign = "\n".join([ALGORITHM, fields.date, "/".join(fields.scope), sha256(canonical).hexdigest()])
    return hmac.digest(key, to_sign.encode("latin-1"), "sha256").hex()
