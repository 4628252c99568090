"""What a request says of its signature, in the header Authorization or in its query. Nothing is believed here yet.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from serverfull_wsgi.auth.sigv4.errors import IncompleteSignatureException

ALGORITHM = "AWS4-HMAC-SHA256"
LONGEST = 7 * 24 * 60 * 60  # seconds that a presigned request may be good for

SIGNATURE = "X-Amz-Signature"
_QUERY = "Algorithm", "Credential", "Date", "Expires", "Security-Token", "SignedHeaders", "Signature"
_IN_QUERY = frozenset(f"X-Amz-{name}" for name in _QUERY)
_unreserved = re.compile(r"[A-Za-z0-9._~-]*")
_credential = re.compile("/".join(["([!-.0-~]+)"] * 5))

Pairs = Sequence[tuple[str, str]]


class Request(NamedTuple):
    """What of a request can be signed. Text is as WSGI has it, one character for each byte."""

    method: str
    path: str  # as it was sent: percent-encoded, and with whatever prefix the application is mounted under
    query: Pairs  # names and values, encoded as AWS does
    headers: Mapping[str, str]  # by names in lower case


class SignatureFields(NamedTuple):
    """What a request says of its signature. Nothing of it is believed before `matches` says so."""

    access_key_id: str
    scope: tuple[str, str, str, str]  # day, region, service, terminator
    date: str  # 20150830T123600Z
    signed_headers: str  # host;x-amz-date
    signature: str
    session_token: str
    expires: int | None  # seconds, of a presigned request; None for one signed in its header


def pairs_of(query: str) -> list[tuple[str, str]]:
    """The parameters of a query string as it was sent, each encoded as AWS does: a parameter without ``=`` is empty.

    >>> pairs_of("b=%c3%a9&a&b=1+2")
    [('b', '%C3%A9'), ('a', ''), ('b', '1%202')]
    """
    if not query:
        return []
    return [(_recoded(name), _recoded(value)) for name, _, value in (pair.partition("=") for pair in query.split("&"))]


def _recoded(text: str) -> str:
    if _unreserved.fullmatch(text):
        return text  # as most are; the other way takes 3 µs
    return quote(unquote_to_bytes(text.replace("+", " ").encode("latin-1")), safe="")


def claim_of(headers: Mapping[str, str], query: Pairs) -> SignatureFields | None:
    """What a request says of its signature, None if it has none. Raises `IncompleteSignatureException`."""
    authorization = headers.get("authorization")
    in_query = [pair for pair in query if pair[0] in _IN_QUERY]
    if authorization is not None:
        if in_query:
            raise IncompleteSignatureException("Sign a request once: in its Authorization header or in its query.")
        return _claim_of_header(authorization, headers)
    if {"X-Amz-Algorithm", "X-Amz-Credential", SIGNATURE}.isdisjoint(name for name, _ in in_query):
        return None
    return _claim_of_query(in_query)


def _claim_of_header(authorization: str, headers: Mapping[str, str]) -> SignatureFields:
    algorithm, _, rest = authorization.partition(" ")
    given = [part.strip(" ").partition("=") for part in rest.split(",")]
    fields = {name: value for name, _, value in given}
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not fields.get(name)]
    if missing:
        raise IncompleteSignatureException(
            " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        )
    if len(given) != 3:
        raise IncompleteSignatureException("Authorization header has more than its three parameters.")
    if "x-amz-date" not in headers:
        raise IncompleteSignatureException("Authorization header requires existence of a 'X-Amz-Date' header.")
    fields |= {"Algorithm": algorithm, "Date": headers["x-amz-date"]}
    return _claim(fields, headers.get("x-amz-security-token", ""), None)


def _claim_of_query(in_query: Pairs) -> SignatureFields:
    fields = {name.removeprefix("X-Amz-"): unquote_to_bytes(value).decode("latin-1") for name, value in in_query}
    if len(fields) != len(in_query):
        raise IncompleteSignatureException("AWS query-string parameters must be given once each.")
    token = fields.pop("Security-Token", "")
    if len(fields) != len(_IN_QUERY) - 1:
        raise IncompleteSignatureException(
            "AWS query-string parameters must include 'X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Signature', "
            "'X-Amz-SignedHeaders', 'X-Amz-Date' and 'X-Amz-Expires'."
        )
    if not re.fullmatch(r"\d{1,6}", fields["Expires"], re.ASCII) or int(fields["Expires"]) > LONGEST:
        raise IncompleteSignatureException(f"X-Amz-Expires must be a number of seconds, and at most {LONGEST}.")
    return _claim(fields, token, int(fields["Expires"]))


def _claim(fields: Mapping[str, str], token: str, expires: int | None) -> SignatureFields:
    if fields["Algorithm"] != ALGORITHM:
        raise IncompleteSignatureException(f"Unsupported AWS 'algorithm': only {ALGORITHM} is taken.")
    credential = _credential.fullmatch(fields["Credential"])
    if not credential:
        raise IncompleteSignatureException(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."
        )
    key, day, region, service, terminator = credential.groups()
    scope = (day, region, service, terminator)
    return SignatureFields(key, scope, fields["Date"], fields["SignedHeaders"], fields["Signature"], token, expires)
