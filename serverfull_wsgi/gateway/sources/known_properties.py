"""The properties of APIs and function URLs that are served, and those that restrict no caller.

Any other property may be a condition for callers: it is new at AWS, is not supported here, or is misspelt, as in
``DefaultAuthoriser``. AWS refuses the deployment of a misspelt one. Here each route below it refuses its requests.

Sources, as of 2026: aws-sam-translator 1.115, the schemas of CloudFormation in cfn-lint 1.58, and the reference of the
``x-amazon-apigateway`` extensions in the developer's guide of API Gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serverfull_wsgi.fetchers.sam.properties import Properties

_EXTENSION = "x-amazon-apigateway-"


def _names(*texts: str) -> frozenset[str]:
    return frozenset(" ".join(texts).split())


_DOMAIN = _names(
    "BasePath CertificateArn DomainName EndpointAccessMode EndpointConfiguration IpAddressType MutualTlsAuthentication",
    "NormalizeBasePath OwnershipVerificationCertificateArn Route53 SecurityPolicy",
)
_EVENT = "Auth Method Path Stage TimeoutInMillis"

_KNOWN: Mapping[str, Mapping[str, frozenset[str]]] = {  # by type, and by path: the names below it
    "AWS::Serverless::Api": {
        "": _names(
            "AccessLogSetting AlwaysDeploy ApiKeySourceType Auth BinaryMediaTypes CacheClusterEnabled CacheClusterSize",
            "CanarySetting Cors DefinitionBody DefinitionUri Description DisableExecuteApiEndpoint Domain",
            "EndpointAccessMode EndpointConfiguration FailOnWarnings GatewayResponses MergeDefinitions MethodSettings",
            "MinimumCompressionSize Mode Models Name OpenApiVersion PropagateTags SecurityPolicy StageName Tags",
            "TracingEnabled Variables",
        ),
        "Auth": _names(
            "AddApiKeyRequiredToCorsPreflight AddDefaultAuthorizerToCorsPreflight ApiKeyRequired Authorizers",
            "DefaultAuthorizer InvokeRole ResourcePolicy UsagePlan",
        ),
        "Domain": _DOMAIN,
    },
    "AWS::Serverless::HttpApi": {
        "": _names(
            "AccessLogSettings Auth CorsConfiguration DefaultRouteSettings DefinitionBody DefinitionUri Description",
            "DisableExecuteApiEndpoint Domain FailOnWarnings Name PropagateTags RouteSettings StageName StageVariables",
            "Tags",
        ),
        "Auth": _names("Authorizers DefaultAuthorizer EnableIamAuthorizer ResourcePolicy"),
        "Domain": _DOMAIN,
    },
    "Api": {
        "": _names(_EVENT, "RequestModel RequestParameters ResponseTransferMode RestApiId"),
        "Auth": _names("ApiKeyRequired AuthorizationScopes Authorizer InvokeRole OverrideApiAuth ResourcePolicy"),
        "RequestModel": _names("Model Required ValidateBody ValidateParameters"),
    },
    "HttpApi": {
        "": _names(_EVENT, "ApiId PayloadFormatVersion RouteSettings"),
        "Auth": _names("ApiKeyRequired AuthorizationScopes Authorizer InvokeRole ResourcePolicy"),
    },
    "FunctionUrlConfig": {"": _names("AuthType Cors InvokeMode")},
    "AWS::Lambda::Url": {"": _names("AuthType Cors InvokeMode Qualifier TargetFunctionArn")},
    "AWS::ApiGateway::RestApi": {
        "": _names(
            "ApiKeySourceType BinaryMediaTypes Body BodyS3Location Description DisableExecuteApiEndpoint",
            "EndpointAccessMode EndpointConfiguration FailOnWarnings MinimumCompressionSize Mode Name Parameters",
            "Policy SecurityPolicy Tags",
        ),
        "Parameters": _names("endpointConfigurationTypes ignore"),
    },
    "AWS::ApiGateway::Method": {
        "": _names(
            "ApiKeyRequired AuthorizationScopes AuthorizationType AuthorizerId HttpMethod Integration MethodResponses",
            "OperationName RequestModels RequestParameters RequestValidatorId ResourceId RestApiId",
        ),
    },
    "AWS::ApiGateway::Authorizer": {
        "": _names(
            "AuthType AuthorizerCredentials AuthorizerResultTtlInSeconds AuthorizerUri IdentitySource",
            "IdentityValidationExpression Name RestApiId Type",
        )
    },
    "AWS::ApiGatewayV2::Api": {
        "": _names(
            "Body BodyS3Location CorsConfiguration CredentialsArn Description DisableExecuteApiEndpoint",
            "DisableSchemaValidation FailOnWarnings IpAddressType Name ProtocolType RouteKey RouteSelectionExpression",
            "Tags Target Version",
        )
    },
    "AWS::ApiGatewayV2::Route": {
        "": _names(
            "ApiId ApiKeyRequired AuthorizationScopes AuthorizationType AuthorizerId OperationName RouteKey Target"
        )
    },
    "AWS::ApiGatewayV2::Integration": {
        "": _names(
            "ApiId ConnectionType CredentialsArn Description IntegrationMethod IntegrationType IntegrationUri",
            "PassthroughBehavior PayloadFormatVersion TimeoutInMillis",
        )
    },
    "AWS::ApiGatewayV2::Authorizer": {
        "": _names(
            "ApiId AuthorizerCredentialsArn AuthorizerPayloadFormatVersion AuthorizerResultTtlInSeconds AuthorizerType",
            "AuthorizerUri EnableSimpleResponses IdentitySource IdentityValidationExpression JwtConfiguration Name",
        ),
        "JwtConfiguration": _names("Audience Issuer"),
    },
}
_EXTENSIONS = _names(
    "any-method api-key-source auth authorizer authtype binary-media-types cors documentation endpoint-access-mode",
    "endpoint-configuration gateway-responses importexport-version integration integrations minimum-compression-size",
    "request-validator request-validators security-policy tag-value",
)
_INTEGRATION = _names(
    "connectionType credentials httpMethod passthroughBehavior payloadFormatVersion requestParameters requestTemplates",
    "responseTransferMode responses timeoutInMillis type uri cacheKeyParameters cacheNamespace contentHandling",
)


def unknown_property(type: str, properties: Properties, prefix: str = "") -> str:
    """Return the path of a property that is not known; an empty text without one.

    Args:
        type: the type of the resource, or of the event.
        properties: the properties of the resource.
        prefix: the path of the event's properties in ``properties``.
    """
    for path, names in _KNOWN[type].items():
        parent = ".".join(filter(None, (prefix, path)))
        for name in properties.names(parent):
            place = f"{parent}.{name}" if parent else name
            if name not in names and not name.startswith("Fn::") and _has_value(properties, place):
                return f"{path}.{name}" if path else name
    return ""


def _has_value(properties: Properties, path: str) -> bool:
    return properties.value(path) is not None or properties.has_problem(path)


def unsupported_extension(members: Mapping[str, Any]) -> str:
    """Return a member of an OpenAPI object that is or may be an unsupported condition; an empty text without one.

    >>> unsupported_extension({"x-amazon-apigateway-policy": {}, "x-amazon-apigateway-cors": {}, "x-mine": 1})
    'x-amazon-apigateway-policy'
    """
    for name, value in members.items():
        extension = str(name).removeprefix(_EXTENSION)
        if extension != name and (extension not in _EXTENSIONS or _restricts(extension, value)):
            return str(name)
    return ""


def _restricts(extension: str, value: Any) -> bool:
    if extension == "api-key-source":
        return not is_key_in_header(value)
    return extension == "endpoint-configuration" and is_private(value)


def is_key_in_header(source: Any) -> bool:
    """Return whether API keys come from the header ``X-Api-Key``, and not from an authorizer."""
    return source in (None, "HEADER")


def is_private(configuration: Any) -> bool:
    """Return whether the configuration of an endpoint is that of a private API."""
    text = str(configuration).upper()
    return "PRIVATE" in text or "VPCENDPOINTIDS" in text


def unknown_member(integration: Mapping[str, Any]) -> str:
    """Return a member of an integration of an OpenAPI document that is not known; an empty text without one."""
    return next((name for name in integration if name not in _INTEGRATION and not str(name).startswith("Fn::")), "")
