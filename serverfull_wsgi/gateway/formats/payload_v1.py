"""Members of payload 1.0, which REST APIs and HTTP APIs share. A member without a value is null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serverfull_wsgi.gateway.formats import answers, parts
from serverfull_wsgi.gateway.formats.inputs import HttpRequest, RequestContext

RESULT_KEYS = frozenset({"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded", "base64Encoded"})


def identity(request: HttpRequest, context: RequestContext, user_agent: str | None) -> dict[str, str | None]:
    """Return ``identity`` of the request context. All but address and user agent are null without authentication."""
    caller, iam = context.caller, context.caller.iam
    members = {
        "accessKey": iam and iam.access_key,
        "accountId": iam and iam.account_id,
        "caller": iam and iam.caller_id,
        "cognitoAuthenticationProvider": None,
        "cognitoAuthenticationType": None,
        "cognitoIdentityId": None,
        "cognitoIdentityPoolId": None,
        "principalOrgId": iam and iam.principal_org_id,
        "sourceIp": request.source_ip,
        "user": iam and iam.user_id,
        "userAgent": user_agent,
        "userArn": iam and iam.user_arn,
    }
    if caller.api_key is not None:
        members |= {"apiKey": caller.api_key, "apiKeyId": caller.api_key_id}
    return members


def query_members(request: HttpRequest) -> dict[str, Any]:
    """Return the members for the query: the last value of each name, and all values."""
    values = parts.query_values(request.query)
    return {
        "queryStringParameters": parts.last(values) or None,
        "multiValueQueryStringParameters": values or None,
    }


def lambda_authorizer(context: RequestContext) -> dict[str, str]:
    """Return ``authorizer`` for a Lambda authorizer: its context as text, and the principal."""
    values: Mapping[str, Any] = context.caller.lambda_context or {}
    texts = {name: text for name, value in values.items() if (text := answers.scalar(value)) is not None}
    return {**texts, "principalId": context.caller.principal_id}
