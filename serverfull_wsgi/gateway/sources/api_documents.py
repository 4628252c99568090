"""The OpenAPI document of an API in CloudFormation's own resources."""

from __future__ import annotations

from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.gateway.access import Access
from serverfull_wsgi.gateway.formats import Route
from serverfull_wsgi.gateway.sites import Endpoint
from serverfull_wsgi.gateway.sources import openapi
from serverfull_wsgi.gateway.sources.apis import CollectedApi
from serverfull_wsgi.gateway.sources.resources import Resources
from serverfull_wsgi.gateway.values import mapping


def add_document(resources: Resources, api: CollectedApi, properties: Properties) -> None:
    """Add the routes of the document of an API."""
    if "BodyS3Location" in resources.declared(api.id):
        resources.warn(api.id, "BodyS3Location is not read; write the document as Body")
    for found in openapi.routes(mapping(properties.value("Body")), is_rest=api.is_rest):
        format = api.format(found.payload)
        access = Access(api.condition) if api.condition else found.access
        if found.fixed is None and access.unsupported:
            resources.warn_refused(api.id, access.unsupported, f"Body, {found.key}")
        route = Route(found.key, found.function, api.stage, operation_name=found.operation_name)
        endpoint = Endpoint(route, format, found.timeout or format.TIMEOUT, access, found.fixed)
        api.add(found.key, endpoint, resources.place(api.id, "Body"))
