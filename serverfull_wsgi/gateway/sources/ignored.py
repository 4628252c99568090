"""Properties that have no effect here and restrict no caller: limits of a stage, logs, caches, traces, streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.fetchers.sam.template import SERVERLESS_FUNCTION
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
_STAGE = "a stage limits, caches, logs and traces no requests here"
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
            resources.warn(id, f"{', '.join(named)}: {_STAGE}")
        if "UsagePlan" in properties.mapping("Auth"):
            resources.warn(id, "requests of a usage plan are not counted or limited here", "Auth.UsagePlan")
    for id, _ in resources.of_type("AWS::ApiGateway::UsagePlan"):
        resources.warn(id, "requests of a usage plan are not counted or limited here")
    for id, path in _streams(resources):
        resources.warn(id, "answers are not streamed here, so clients receive the whole answer at its end", path)
    for id, properties in resources.of_type(SERVERLESS_FUNCTION):
        for name in properties.mapping("Events"):
            if properties.mapping(f"Events.{name}.Properties").get("RouteSettings"):
                resources.warn(id, f"RouteSettings: {_STAGE}", f"Events.{name}")
    for id, _ in resources.of_type("AWS::Serverless::WebSocketApi"):
        resources.warn(id, "WebSocket APIs are not served")


def _streams(resources: Resources) -> Iterator[tuple[str, str]]:
    """Yield logical id and path of each property because of which AWS streams answers."""
    for id, properties in resources.of_type(SERVERLESS_FUNCTION):
        events = [f"Events.{name}.Properties.ResponseTransferMode" for name in properties.mapping("Events")]
        yield from ((id, path) for path in ("FunctionUrlConfig.InvokeMode", *events) if _is_stream(properties, path))
    for type, path in (
        ("AWS::Lambda::Url", "InvokeMode"),
        ("AWS::ApiGateway::Method", "Integration.ResponseTransferMode"),
    ):
        yield from ((id, path) for id, properties in resources.of_type(type) if _is_stream(properties, path))


def _is_stream(properties: Properties, path: str) -> bool:
    return properties.text(path) in ("STREAM", "RESPONSE_STREAM")
