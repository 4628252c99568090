"""Gateway responses in the forms of SAM, CloudFormation and OpenAPI.

    ==========================================================  =============================================
    in the template                                             headers
    ==========================================================  =============================================
    ``GatewayResponses`` of ``AWS::Serverless::Api``            ``ResponseParameters: {Headers: {NAME: …}}``
    ``AWS::ApiGateway::GatewayResponse``                        ``gatewayresponse.header.NAME``
    ``x-amazon-apigateway-gateway-responses`` of a document     ``gatewayresponse.header.NAME``
    ==========================================================  =============================================

A response changes how a refusal looks, and not who is refused. So a part that is not supported is left out, with a
warning, and the rest of the response is served.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from serverfull_wsgi.gateway.gateway_responses import GatewayResponse, unknown_variables
from serverfull_wsgi.gateway.sources.documents import Document
from serverfull_wsgi.gateway.sources.mocks import is_header
from serverfull_wsgi.gateway.sources.resources import Resources
from serverfull_wsgi.gateway.values import mapping, whole_number

MEMBERS = ("StatusCode", "ResponseParameters", "ResponseTemplates")  # of one response
_PREFIX = "gatewayresponse.header."
_JSON = "application/json"
_static = re.compile(r"'(.*)'", re.DOTALL)
_sent = re.compile(r"method\.request\.header\.([!#$%&'*+.^_`|~0-9A-Za-z-]+)")


def gateway_responses(value: Any, warn: Callable[[str], None]) -> dict[str, GatewayResponse]:
    """Return the responses by type.

    Args:
        value: the responses of a document or of SAM, by type.
        warn: receives a text for each part of a response that is left out.
    """
    return {type: gateway_response(type, mapping(members), warn) for type, members in mapping(value).items()}


def document_responses(resources: Resources, id: str, document: Document) -> dict[str, GatewayResponse]:
    """Return the responses of the OpenAPI document of an API."""
    value = document.members.get("x-amazon-apigateway-gateway-responses")
    return gateway_responses(value, partial(resources.warn, id))


def gateway_response(type: str, members: dict[str, Any], warn: Callable[[str], None]) -> GatewayResponse:
    """Return one response. The names of its members begin with a capital, or with a small letter."""
    members = {str(name)[:1].upper() + str(name)[1:]: value for name, value in members.items()}
    status = whole_number(members.get("StatusCode"))
    headers: list[tuple[str, str]] = []
    request_headers: list[tuple[str, str]] = []
    for name, text in _headers(mapping(members.get("ResponseParameters"))):
        static, sent = _static.fullmatch(text), _sent.fullmatch(text)
        if static and is_header(name, static[1]):
            headers.append((name, static[1]))
        elif sent and is_header(name, ""):
            request_headers.append((name, sent[1]))
        else:
            warn(
                f"the header {name!r} of {type} is left out, since only 'text' and method.request.header.NAME are known"
            )
    content_type, template = _template(members.get("ResponseTemplates"))
    if template is not None and (unknown := unknown_variables(template)):
        warn(f"the body of {type} stays as it is on AWS, since {unknown[0]!r} of its template is not known")
        template = None
    is_status = status is not None and 200 <= status <= 599
    return GatewayResponse(
        status if is_status else None, tuple(headers), tuple(request_headers), template, content_type
    )


def _headers(parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in mapping(parameters.get("Headers")).items():
        yield str(name), str(value)
    for name, value in parameters.items():
        if str(name).startswith(_PREFIX):
            yield name.removeprefix(_PREFIX), str(value)


def _template(templates: Any) -> tuple[str, str | None]:
    """Return media type and text of a template: the one for JSON, or the first. The text is None without a template."""
    found = {str(type): str(text) for type, text in mapping(templates).items() if str(type).isprintable()}
    content_type = _JSON if _JSON in found or not found else next(iter(found))
    return content_type, found.get(content_type)
