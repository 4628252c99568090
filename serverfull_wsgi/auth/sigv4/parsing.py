"""The fields of a signature, in the header Authorization or in the query. Nothing is verified here.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from serverfull_wsgi.auth.sigv4.errors import IncompleteSignatureException

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_EXPIRES = 7 * 24 * 60 * 60  # seconds: AWS's limit for the life of a presigned request

SIGNATURE = "X-Amz-Signature"  # the one query parameter that is not signed
_QUERY = "Algorithm", "Credential", "Date", "Expires", "Security-Token", "SignedHeaders", "Signature"
_IN_QUERY = frozenset(f"X-Amz-{name}" for name in _QUERY)
_unreserved = re.compile(r"[A-Za-z0-9._~-]*")
_credential = re.compile("/".join(["([!-.0-~]+)"] * 5))

Pairs = Sequence[tuple[str, str]]


class Request(NamedTuple):
    """The parts of a request that can be signed. As in WSGI, each character of a text is one byte."""

    method: str
    path: str  # as the client sent it: percent-encoded, with the prefix of a mount
    query: Pairs  # names and values, percent-encoded by AWS's rules
    headers: Mapping[str, str]  # by names in lower case


class SignatureFields(NamedTuple):
    """The fields of a signature as the client sent them. They are not trusted before `signature.matches` is true."""

    access_key_id: str
    scope: tuple[str, str, str, str]  # day, region, service, terminator
    date: str  # 20150830T123600Z
    signed_headers: str  # host;x-amz-date
    signature: str
    session_token: str
    expires: int | None  # seconds that a presigned request is valid; None for a signed header


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Return the parameters of a query string, encoded by AWS's rules. A parameter without ``=`` has an empty value.

    >>> query_pairs("b=%c3%a9&a&b=1+2")
    [('b', '%C3%A9'), ('a', ''), ('b', '1%202')]
    """
    if not query:
        return []
    return [
        (_reencode(name), _reencode(value)) for name, _, value in (pair.partition("=") for pair in query.split("&"))
    ]


def _reencode(text: str) -> str:
    if _unreserved.fullmatch(text):
        return text  # most are; the next line takes 3 µs
    return quote(unquote_to_bytes(text.replace("+", " ").encode("latin-1")), safe="")


def parse_signature(headers: Mapping[str, str], query: Pairs) -> SignatureFields | None:
    """Return the signature's fields, or None for a request without a signature.

    Raises `IncompleteSignatureException` if the fields are not complete or not valid.
    """
    authorization = headers.get("authorization")
    in_query = [pair for pair in query if pair[0] in _IN_QUERY]
    if authorization is not None:
        if in_query:
            raise IncompleteSignatureException("Sign a request once: in its Authorization header or in its query.")
        return _from_header(authorization, headers)
    if {"X-Amz-Algorithm", "X-Amz-Credential", SIGNATURE}.isdisjoint(name for name, _ in in_query):
        return None
    return _from_query(in_query)


def _from_header(authorization: str, headers: Mapping[str, str]) -> SignatureFields:
    algorithm, _, rest = authorization.partition(" ")
    parameters = [part.strip(" ").partition("=") for part in rest.split(",")]
    fields = {name: value for name, _, value in parameters}
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not fields.get(name)]
    if missing:
        raise IncompleteSignatureException(
            " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        )
    if len(parameters) != 3:
        raise IncompleteSignatureException("Authorization header has more than its three parameters.")
    if "x-amz-date" not in headers:
        raise IncompleteSignatureException("Authorization header requires existence of a 'X-Amz-Date' header.")
    fields |= {"Algorithm": algorithm, "Date": headers["x-amz-date"]}
    return _signature_fields(fields, headers.get("x-amz-security-token", ""), None)


def _from_query(in_query: Pairs) -> SignatureFields:
    fields = {name.removeprefix("X-Amz-"): unquote_to_bytes(value).decode("latin-1") for name, value in in_query}
    if len(fields) != len(in_query):
        raise IncompleteSignatureException("AWS query-string parameters must be given once each.")
    token = fields.pop("Security-Token", "")
    if len(fields) != len(_IN_QUERY) - 1:
        raise IncompleteSignatureException(
            "AWS query-string parameters must include 'X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Signature', "
            "'X-Amz-SignedHeaders', 'X-Amz-Date' and 'X-Amz-Expires'."
        )
    if not re.fullmatch(r"\d{1,6}", fields["Expires"], re.ASCII) or int(fields["Expires"]) > MAX_EXPIRES:
        raise IncompleteSignatureException(f"X-Amz-Expires must be a number of seconds, and at most {MAX_EXPIRES}.")
    return _signature_fields(fields, token, int(fields["Expires"]))


def _signature_fields(fields: Mapping[str, str], token: str, expires: int | None) -> SignatureFields:
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
