"""Members of payload 2.0, which function URLs and HTTP APIs share. A member without a value is absent, never null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serverfull_wsgi.gateway.formats import parts
from serverfull_wsgi.gateway.formats.inputs import HttpRequest


def cookie_members(header: str | None) -> dict[str, Any]:
    """Return ``cookies``: each cookie of the Cookie header.

    >>> cookie_members("session=abc123; theme=dark")
    {'cookies': ['session=abc123', 'theme=dark']}
    """
    cookies = [cookie for cookie in header.split("; ") if cookie] if header else None
    return {"cookies": cookies} if cookies else {}


def query_members(request: HttpRequest) -> dict[str, Any]:
    """Return ``queryStringParameters``: the decoded values of each name, joined with commas."""
    values = parts.query_values(request.query)
    return {"queryStringParameters": parts.joined(values)} if values else {}


def body_members(request: HttpRequest, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return ``body`` and ``isBase64Encoded``. A body whose type is not known to be text is base64."""
    if not request.body:
        return {"isBase64Encoded": False}
    is_binary = not parts.is_text(headers.get("content-type", ""))
    return {"body": parts.body_text(request.body, is_binary), "isBase64Encoded": is_binary}
