"""The OpenAPI document of an API in CloudFormation's own resources."""

from __future__ import annotations

from serverfull_wsgi.gateway.access import Access
from serverfull_wsgi.gateway.formats import Route
from serverfull_wsgi.gateway.sites import Endpoint
from serverfull_wsgi.gateway.sources import openapi
from serverfull_wsgi.gateway.sources.apis import CollectedApi
from serverfull_wsgi.gateway.sources.resources import Resources


def add_document(resources: Resources, api: CollectedApi) -> None:
    """Add the routes of the document of an API."""
    for found in openapi.routes(api.document.members, is_rest=api.is_rest):
        format = api.format(found.payload)
        access = Access(api.condition) if api.condition else found.access
        if access.unsupported:
            resources.warn_refused(api.id, access.unsupported, f"Body, {found.key}")
        function = api.function(found.function)
        route = Route(found.key, function, api.stage, operation_name=found.operation_name)
        endpoint = Endpoint(route, format, found.timeout or format.TIMEOUT, access, found.fixed)
        api.add(found.key, endpoint, api.document.place)
