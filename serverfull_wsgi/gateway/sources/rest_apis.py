"""REST APIs of CloudFormation's own resources: ``AWS::ApiGateway::RestApi``, Resource, Method, Stage and Authorizer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.gateway import sites
from serverfull_wsgi.gateway.access import Access
from serverfull_wsgi.gateway.formats import Route, Stage, rest_v1
from serverfull_wsgi.gateway.gateway_responses import GatewayResponse
from serverfull_wsgi.gateway.sites import Endpoint, Site
from serverfull_wsgi.gateway.sources import openapi, validators
from serverfull_wsgi.gateway.sources.api_access import access_of, condition_of_api
from serverfull_wsgi.gateway.sources.api_documents import add_document
from serverfull_wsgi.gateway.sources.apis import CollectedApi, first_stage, has_endpoint
from serverfull_wsgi.gateway.sources.documents import Document, read_document
from serverfull_wsgi.gateway.sources.mocks import NotStatic, access_of_mock, as_openapi, mock_answer
from serverfull_wsgi.gateway.sources.resources import Resources
from serverfull_wsgi.gateway.sources.responses import MEMBERS, document_responses, gateway_response
from serverfull_wsgi.gateway.values import mapping, texts, whole_number

_STAGE = "prod"  # CDK's name


def rest_apis(resources: Resources) -> Iterator[Site]:
    """Yield the REST APIs of a template that have routes."""
    methods = list(resources.of_type("AWS::ApiGateway::Method"))
    for id, properties in resources.of_type("AWS::ApiGateway::RestApi"):
        document = read_document(resources, id, properties, "Body", "BodyS3Location")
        stage = _stage(resources, id, properties, document)
        condition = condition_of_api(resources, id, properties, stage.name, document)
        api = CollectedApi(id, True, stage, document, condition)
        for method_id, method in methods:
            if resources.target(method_id, "RestApiId") == id:
                _add_method(resources, api, method_id, method)
        add_document(resources, api)
        if api.endpoints:
            names = tuple(dict.fromkeys(filter(None, (id, properties.text("Name")))))
            has_own, responses = has_endpoint(properties, document), _responses(resources, api)
            yield sites.rest_api(names, api.endpoints, stage.name, has_endpoint=has_own, responses=responses)


def _stage(resources: Resources, api: str, properties: Properties, document: Document) -> Stage:
    binary = [item.replace("~1", "/") for item in texts(properties.value("BinaryMediaTypes"))]
    binary += openapi.binary_media_types(document.members)
    name, variables = _STAGE, {}
    stage = first_stage(resources, ["AWS::ApiGateway::Stage", "AWS::ApiGateway::Deployment"], "RestApiId", api)
    if stage is not None:
        name = stage.text("StageName")
        variables = mapping(stage.value("Variables")) or mapping(stage.value("StageDescription.Variables"))
    named = {str(key): str(value) for key, value in variables.items()}
    return Stage(name, api.lower(), resources.account_id, variables=named, binary_media_types=binary)


def _add_method(resources: Resources, api: CollectedApi, id: str, method: Properties) -> None:
    path, name = _path(resources, resources.target(id, "ResourceId")), method.text("HttpMethod").upper()
    if path is None or not name:
        unknown = "ResourceId is no resource of this template" if path is None else "HttpMethod is not known"
        resources.warn(id, f"its {unknown}, so it is not served")
        return
    api.add(f"{name} {path}", _endpoint(resources, api, id, method, f"{name} {path}"), resources.place(id))


def _endpoint(resources: Resources, api: CollectedApi, id: str, method: Properties, key: str) -> Endpoint:
    integration = mapping(method.value("Integration"))
    kind = str(integration.get("Type")).upper()
    if kind == "MOCK":
        return _mock(resources, api, id, method, key)
    function = resources.function_of(mapping(resources.declared(id).get("Integration")).get("Uri"))
    access = _access(resources, api, id, method)
    if not function or kind != "AWS_PROXY":
        access = Access("an integration without a function of this template")
    if access.unsupported:
        resources.warn_refused(id, access.unsupported)
    milliseconds = whole_number(integration.get("TimeoutInMillis"))
    timeout = milliseconds / 1000 if milliseconds else rest_v1.TIMEOUT
    operation = method.text("OperationName") or None
    route = Route(key, api.function(function), api.stage, operation_name=operation)
    return Endpoint(route, rest_v1, timeout, access)


def _access(resources: Resources, api: CollectedApi, id: str, method: Properties) -> Access:
    access = access_of(resources, id, method, is_rest=True).both(validators.of_method(resources, id, method))
    return Access(api.condition).both(access)


def _responses(resources: Resources, api: CollectedApi) -> dict[str, GatewayResponse]:
    """Return the gateway responses of an API: those of its document, and of resources."""
    responses = document_responses(resources, api.id, api.document)
    for id, properties in resources.of_type("AWS::ApiGateway::GatewayResponse"):
        if resources.target(id, "RestApiId") == api.id:
            type, members = properties.text("ResponseType"), {name: properties.value(name) for name in MEMBERS}
            responses[type] = gateway_response(type, members, partial(resources.warn, id))
    return responses


def _mock(resources: Resources, api: CollectedApi, id: str, method: Properties, key: str) -> Endpoint:
    access, fixed = _access(resources, api, id, method), None
    try:
        fixed = mock_answer(as_openapi(mapping(method.value("Integration"))))
    except NotStatic as reason:
        access = access.both(Access(str(reason)))
    access = access_of_mock(access)
    if access.unsupported:
        resources.warn_refused(id, access.unsupported)
    return Endpoint(Route(key, stage=api.stage), rest_v1, access=access, fixed=fixed)


def _path(resources: Resources, resource: str) -> str | None:
    """Return the path of a resource of a REST API, or None if it is not in the template."""
    parts: list[str] = []
    while True:
        type = resources.type(resource)
        if type == "AWS::ApiGateway::RestApi":  # Fn::GetAtt RestApi.RootResourceId
            return "/" + "/".join(reversed(parts))
        if type != "AWS::ApiGateway::Resource" or len(parts) > len(resources.template.resources):
            return None
        part = resources.declared(resource).get("PathPart")
        if not isinstance(part, str):
            return None
        parts.append(part)
        resource = resources.target(resource, "ParentId")
