"""HTTP APIs of CloudFormation's own resources: ``AWS::ApiGatewayV2::Api``, Route, Integration, Stage and Authorizer."""

from __future__ import annotations

from collections.abc import Iterator

from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.gateway import sites
from serverfull_wsgi.gateway.access import Access
from serverfull_wsgi.gateway.formats import Route, Stage, http_v2
from serverfull_wsgi.gateway.sites import Endpoint, Site
from serverfull_wsgi.gateway.sources.api_access import access_of, condition_of_api
from serverfull_wsgi.gateway.sources.api_documents import add_document
from serverfull_wsgi.gateway.sources.apis import CollectedApi, cors_of, first_stage, has_endpoint
from serverfull_wsgi.gateway.sources.documents import read_document
from serverfull_wsgi.gateway.sources.known_properties import unknown_property
from serverfull_wsgi.gateway.sources.resources import Resources
from serverfull_wsgi.gateway.values import mapping, whole_number

_NO_FUNCTION = Access("an integration without a function of this template")


def http_apis(resources: Resources) -> Iterator[Site]:
    """Yield the HTTP APIs of a template that have routes."""
    integrations = dict(resources.of_type("AWS::ApiGatewayV2::Integration"))
    routes = list(resources.of_type("AWS::ApiGatewayV2::Route"))
    for id, properties in resources.of_type("AWS::ApiGatewayV2::Api"):
        if properties.text("ProtocolType") == "WEBSOCKET":
            resources.warn(id, "WebSocket APIs are not served")
            continue
        document = read_document(resources, id, properties, "Body", "BodyS3Location")
        stage = _stage(resources, id)
        condition = condition_of_api(resources, id, properties, stage.name, document)
        api = CollectedApi(id, False, stage, document, condition)
        for route_id, route in routes:
            if resources.target(route_id, "ApiId") == id:
                _add_route(resources, api, route_id, route, integrations)
        add_document(resources, api)
        if "Target" in resources.declared(id):
            _add_target(resources, api, properties)
        if api.endpoints:
            names = tuple(dict.fromkeys(filter(None, (id, properties.text("Name")))))
            cors = cors_of(resources, id, properties, document)
            has_own = has_endpoint(properties, document)
            yield sites.http_api(names, api.endpoints, api.stage.name, cors=cors, has_endpoint=has_own)


def _add_target(resources: Resources, api: CollectedApi, properties: Properties) -> None:
    """Add the route of an API that is created with its function, as its only route without others."""
    function, access = resources.function(api.id, "Target"), Access(api.condition)
    key = properties.text("RouteKey") or "$default"
    for id, _ in resources.of_type("AWS::ApiGatewayV2::ApiGatewayManagedOverrides"):
        if resources.target(id, "ApiId") == api.id:
            access = access.both(Access("ApiGatewayManagedOverrides"))
    if not function or properties.has_problem("RouteKey"):
        access = access.both(_NO_FUNCTION)
    if access.unsupported:
        resources.warn_refused(api.id, access.unsupported, "Target")
    endpoint = Endpoint(Route(key, function, api.stage), http_v2, http_v2.TIMEOUT, access)
    api.add(key, endpoint, resources.place(api.id, "Target"))


def _stage(resources: Resources, api: str) -> Stage:
    found = first_stage(resources, ["AWS::ApiGatewayV2::Stage"], "ApiId", api)
    if found is None:
        return Stage("$default", api.lower(), resources.account_id)
    variables = mapping(found.value("StageVariables"))
    named = {str(name): str(value) for name, value in variables.items()}
    return Stage(found.text("StageName") or "$default", api.lower(), resources.account_id, variables=named)


def _add_route(
    resources: Resources, api: CollectedApi, id: str, route: Properties, integrations: dict[str, Properties]
) -> None:
    key = route.text("RouteKey")
    if not key:
        resources.warn(id, "its RouteKey is not known, so it is not served")
        return
    target = resources.target(id, "Target").rpartition("/")[2]
    integration = integrations.get(target)
    function = resources.function(target, "IntegrationUri") if integration else ""
    format = api.format((integration.text("PayloadFormatVersion") if integration else "") or "2.0")
    milliseconds = whole_number(integration.value("TimeoutInMillis")) if integration else None
    access = Access(api.condition) if api.condition else access_of(resources, id, route, is_rest=False)
    if not function or (integration and integration.text("IntegrationType") != "AWS_PROXY"):
        access = _NO_FUNCTION
    if integration and (unknown := unknown_property("AWS::ApiGatewayV2::Integration", integration)):
        access = Access(f"the property {unknown} of the integration")
    if access.unsupported:
        resources.warn_refused(id, access.unsupported)
    timeout = milliseconds / 1000 if milliseconds else format.TIMEOUT
    endpoint = Endpoint(Route(key, api.function(function), api.stage), format, timeout, access)
    api.add(key, endpoint, resources.place(id))
