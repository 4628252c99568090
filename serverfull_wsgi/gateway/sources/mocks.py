"""Mock integrations of REST APIs: the answer that an API gives itself, as a pure function.

On AWS a request template makes a status, the status selects one of the responses, and a response has a status for the
client, headers, and a template for the body. The same answer goes to each client here, so all of these must be static
text. A mock with a template that has to be run (VTL), or with a header that depends on the request, is not supported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from serverfull_wsgi.gateway.access import Access
from serverfull_wsgi.gateway.sites import FixedAnswer
from serverfull_wsgi.gateway.values import is_pattern, mapping, whole_number

_HEADER = "method.response.header."
_JSON = "application/json"
_directive = re.compile(  # of VTL: a reference, a comment, or a command
    r"\$!?\{?[A-Za-z_]|#\*|##|#\[\[|#\{?(set|if|elseif|else|end|foreach|include|parse|stop|break|evaluate|define|macro)\b"
)
_status = re.compile(r"[{,]\s*[\"']?statusCode[\"']?\s*:\s*[\"']?(\d{3})[\"']?\s*[,}]", re.ASCII)
_static = re.compile(r"'(.*)'", re.DOTALL)
_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


def access_of_mock(access: Access) -> Access:
    """Return the conditions of a mock. A signature is for a function, so no key may be accepted without one."""
    return Access("a mock with an IAM signature") if access.needs_signature else access


class NotStatic(Exception):
    """A mock whose answer depends on the request, or that has no answer. The message names its feature."""


def mock_answer(integration: Mapping[str, Any]) -> FixedAnswer:
    """Return the answer of a mock integration.

    Args:
        integration: the members of the OpenAPI extension; see `as_openapi` for CloudFormation's.

    Raises:
        NotStatic: if the answer is not static.

    >>> mock_answer({"responses": {"default": {"statusCode": "204"}}}).status
    204
    """
    response = _selected(mapping(integration.get("responses")), _requested(integration))
    media_type, body = _template(response.get("responseTemplates"), "a response template")
    status = whole_number(response.get("statusCode", 200))
    if status is None or not 200 <= status <= 599:
        raise NotStatic("a mock with the status " + repr(response.get("statusCode"))[:40])
    return FixedAnswer(
        status, _headers(mapping(response.get("responseParameters"))), body.encode("utf-8", "replace"), media_type
    )


def _requested(integration: Mapping[str, Any]) -> int | None:
    """Return the status that the request template makes; None without a template."""
    _, template = _template(integration.get("requestTemplates"), "a request template")
    if not template.strip():
        return None
    found = _status.search(template)
    if found is None:
        raise NotStatic("a mock whose request template has no status")
    return int(found[1])


def _selected(responses: Mapping[str, Any], status: int | None) -> dict[str, Any]:
    """Return the response for a status: the first whose pattern matches, or the default one."""
    for pattern, response in responses.items():
        if status is not None and pattern != "default" and is_pattern(pattern) and re.fullmatch(pattern, str(status)):
            return mapping(response)
    if "default" not in responses:
        raise NotStatic("a mock without a response" if status is None else f"a mock without a response for {status}")
    return mapping(responses["default"])


def _template(templates: Any, shown: str) -> tuple[str, str]:
    """Return media type and text of a template: the one for JSON, or the first."""
    found = {str(type): "" if text is None else str(text) for type, text in mapping(templates).items()}
    media_type = _JSON if _JSON in found or not found else next(iter(found))
    text = found.get(media_type, "")
    if is_dynamic(text):
        raise NotStatic(f"{shown} of a mock that has to be run")
    return media_type if media_type.isprintable() else _JSON, text


def is_dynamic(template: str) -> bool:
    """Return whether a template has directives of VTL.

    >>> is_dynamic("costs 5 $, see #top"), is_dynamic('{"id": "$context.requestId"}')
    (False, True)
    """
    return _directive.search(template) is not None


def _headers(parameters: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the headers of a response. Headers that HTTP does not allow are left out."""
    headers = {name.removeprefix(_HEADER): value for name, value in parameters.items() if name.startswith(_HEADER)}
    lines = [(name, static_text(value, name)) for name, value in headers.items()]
    return tuple(line for line in lines if is_header(*line))


def is_header(name: str, value: str) -> bool:
    """Return whether HTTP allows a header with this name and value."""
    return _token.fullmatch(name) is not None and value.isprintable()


def static_text(value: Any, name: str) -> str:
    """Return the text of a static value, which is in quotes: ``"'*'"``. Raises `NotStatic` for any other value."""
    found = _static.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise NotStatic(f"the header {name[:80]} of a mock, whose value is not in single quotes,")
    return found[1]


def as_openapi(integration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Integration of an ``AWS::ApiGateway::Method`` with the members of the OpenAPI extension.

    >>> as_openapi({"IntegrationResponses": [{"StatusCode": "204"}]})["responses"]["default"]["statusCode"]
    '204'
    """
    responses = integration.get("IntegrationResponses")
    members = [mapping(each) for each in responses] if isinstance(responses, list) else []
    return {
        "requestTemplates": integration.get("RequestTemplates"),
        "responses": {
            str(each.get("SelectionPattern") or "default"): {
                "statusCode": each.get("StatusCode", 200),
                "responseParameters": each.get("ResponseParameters"),
                "responseTemplates": each.get("ResponseTemplates"),
            }
            for each in members
        },
    }
