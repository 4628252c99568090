"""Properties of APIs that have no effect here and restrict no caller: limits of a stage, logs, caches, traces."""

from __future__ import annotations

from collections.abc import Mapping

from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.gateway.sources.resources import Resources

_REST = (
    "AccessLogSetting",
    "CacheClusterEnabled",
    "CanarySetting",
    "MethodSettings",
    "MinimumCompressionSize",
    "TracingEnabled",
)
_HTTP = ("AccessLogSettings", "DefaultRouteSettings", "RouteSettings")
_TYPES = {
    "AWS::Serverless::Api": _REST,
    "AWS::Serverless::HttpApi": _HTTP,
    "AWS::ApiGateway::RestApi": _REST,
    "AWS::ApiGateway::Stage": _REST,
    "AWS::ApiGatewayV2::Stage": _HTTP,
}


def warn_ignored(resources: Resources, serverless: Mapping[str, Properties]) -> None:
    """Add a warning for each API or stage with such properties, and for each usage plan.

    Args:
        resources: the resources of the template.
        serverless: the properties of the serverless APIs, with the Globals, by logical id.
    """
    found = {id: properties for type in _TYPES for id, properties in resources.of_type(type)}
    for id, properties in {**found, **serverless}.items():
        named = [name for name in _TYPES.get(resources.type(id), _REST + _HTTP) if properties.declared(name)]
        if named:
            resources.warn(id, f"{', '.join(named)}: a stage limits, caches, logs and traces no requests here")
        if "UsagePlan" in properties.mapping("Auth"):
            resources.warn(id, "requests of a usage plan are not counted or limited here", "Auth.UsagePlan")
    for id, _ in resources.of_type("AWS::ApiGateway::UsagePlan"):
        resources.warn(id, "requests of a usage plan are not counted or limited here")
