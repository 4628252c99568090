"""Sites of SAM's resources: the APIs and function URLs that serverless functions have.

    ========================================  =====================================================
    in the template                           site
    ========================================  =====================================================
    event ``Api``, ``AWS::Serverless::Api``   REST API; ``ServerlessRestApi`` if the event names none
    event ``HttpApi``, ``…::HttpApi``         HTTP API; ``ServerlessHttpApi`` if the event names none
    ``FunctionUrlConfig``                     function URL
    ========================================  =====================================================

Source: the specification of AWS SAM, and its translator's rules for paths, stages and CORS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from serverfull_wsgi.fetchers.sam.parameters import Unresolvable
from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.fetchers.sam.template import SERVERLESS_FUNCTION, is_intrinsic, merge_globals
from serverfull_wsgi.gateway import sites
from serverfull_wsgi.gateway.access import OPEN, Access
from serverfull_wsgi.gateway.cors import parse_cors
from serverfull_wsgi.gateway.formats import Route, Stage, function_url, rest_v1
from serverfull_wsgi.gateway.gateway_responses import GatewayResponse
from serverfull_wsgi.gateway.route_table import METHODS
from serverfull_wsgi.gateway.sites import Endpoint, Site
from serverfull_wsgi.gateway.sources import openapi
from serverfull_wsgi.gateway.sources.apis import CollectedApi, cors_of, has_endpoint
from serverfull_wsgi.gateway.sources.documents import read_document
from serverfull_wsgi.gateway.sources.known_properties import unknown_property
from serverfull_wsgi.gateway.sources.mocks import access_of_mock
from serverfull_wsgi.gateway.sources.preflights import preflights
from serverfull_wsgi.gateway.sources.resources import Resources
from serverfull_wsgi.gateway.sources.responses import document_responses, gateway_responses
from serverfull_wsgi.gateway.sources.restrictions import restriction_of
from serverfull_wsgi.gateway.sources.sam_access import IAM, access_of
from serverfull_wsgi.gateway.sources.validators import of_event
from serverfull_wsgi.gateway.values import has_transform, mapping, texts

REST, HTTP = "AWS::Serverless::Api", "AWS::Serverless::HttpApi"
_IMPLICIT = {REST: "ServerlessRestApi", HTTP: "ServerlessHttpApi"}
_GLOBALS = {REST: "Api", HTTP: "HttpApi"}
_API_REFERENCE = {REST: "RestApiId", HTTP: "ApiId"}
_EVENTS = {"Api": REST, "HttpApi": HTTP}


@dataclass
class _Api(CollectedApi):
    """A serverless API. ``of_document`` has the conditions of its document for a route that only an event has."""

    properties: Properties = field(kw_only=True)
    of_document: Access = OPEN


class SamSites:
    """The sites of a template's serverless functions.

    Args:
        resources: the resources of the template.

    Attributes:
        sites: the sites. An API without routes is not among them.
        properties: the properties of each API, with the Globals, by logical id.

    Raises:
        ConfigurationError: for two routes of one API that match the same requests.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources, self._template = resources, resources.template
        self._apis = {id: api for type in (REST, HTTP) for id, api in self._declared(type)}
        self.sites: list[Site] = []
        for api in self._apis.values():
            self._add_document(api)
        for id, name in resources.functions.items():
            if resources.type(id) == SERVERLESS_FUNCTION:
                self._add_function(id, name)
        self.sites += [self._site(api) for api in self._apis.values() if api.endpoints]
        self.properties = {id: api.properties for id, api in self._apis.items()}

    def _properties(self, id: str, extra: Any = None) -> Properties:
        own = self._template.resources[id].get("Properties")
        return Properties(self._template.location(id), merge_globals(extra, own or {}), self._resources.resolver)

    def _declared(self, type: str) -> Iterator[tuple[str, _Api]]:
        common = self._common(type)
        for id in self._template.of_type(type):
            try:
                if not self._resources.resolver.is_created(id):
                    continue
            except Unresolvable as reason:
                self._resources.warn(id, f"{reason}; the API is not served", "Condition")
                continue
            properties, own = self._properties(id, common), self._resources.declared(id)
            for name in ("Auth", "Domain"):
                values = [mapping(each).get(name) for each in (common, own)]
                if None not in values and not all(map(_is_plain, values)):
                    properties.add_problem(name, "only two mappings can be merged with the Globals; write one of both")
            yield id, self._api(type, id, properties)

    def _common(self, type: str) -> Any:
        """Return the Globals of a type of API, as the template has them."""
        all = self._template.globals
        return all if is_intrinsic(all) else all.get(_GLOBALS[type]) or {}

    def _api(self, type: str, id: str, properties: Properties) -> _Api:
        if not _is_plain(self._common(type)):
            properties.add_problem("Auth", f"Globals.{_GLOBALS[type]} must be a mapping; write 'Name: value' below it")
        variables = properties.value("Variables" if type == REST else "StageVariables") or {}
        document = read_document(self._resources, id, properties, "DefinitionBody", "DefinitionUri")
        own = [each.replace("~1", "/") for each in texts(properties.value("BinaryMediaTypes"))]
        stage = Stage(
            properties.text("StageName") or (rest_v1.DEFAULT_STAGE if type == REST else "$default"),
            id.lower(),
            self._resources.account_id,
            variables={str(name): str(value) for name, value in mapping(variables).items()},
            binary_media_types=[*own, *openapi.binary_media_types(document.members)],
        )
        restriction = restriction_of(self._resources, id, type, properties, stage.name)
        return _Api(id, type == REST, stage, document, restriction, properties=properties)

    def _add_document(self, api: _Api) -> None:
        """Add the routes of the OpenAPI document of an API. Its conditions and those of the API's Auth must be met."""
        is_rest, members = api.is_rest, api.document.members
        api.of_document = openapi.common_access(members, is_rest=is_rest).both(Access(api.document.problem))
        for found in openapi.routes(members, is_rest=is_rest):
            format = api.format(found.payload)
            function = api.function(found.function)
            route = Route(found.key, function, api.stage, operation_name=found.operation_name)
            method, _, _ = found.key.partition(" ")
            access = found.access.both(access_of(api.properties, is_rest=is_rest, method=method))
            access = Access(api.condition).both(access_of_mock(access) if found.fixed else access)
            if access.unsupported:
                self._resources.warn_refused(api.id, access.unsupported, f"DefinitionBody, {found.key}")
            endpoint = Endpoint(route, format, found.timeout or format.TIMEOUT, access, found.fixed)
            api.add(found.key, endpoint, api.document.place)

    def _add_function(self, id: str, name: str) -> None:
        properties = self._properties(id)
        alias = properties.text("AutoPublishAlias")
        function = f"{name}:{alias}" if alias else name
        for event in properties.mapping("Events"):
            type = _EVENTS.get(properties.text(f"Events.{event}.Type"))
            if type is not None:
                self._add_event(type, properties, id, event, function)
        if properties.mapping("FunctionUrlConfig"):
            self.sites.append(self._url(properties, id, name, function))
        self._resources.warnings += [
            line for line in properties.problems if ".Events." in line or ".FunctionUrlConfig" in line
        ]

    def _add_event(self, type: str, properties: Properties, id: str, event: str, function: str) -> None:
        path = f"Events.{event}.Properties"
        api = self._api_of(type, id, event)
        key = _key(type, properties.text(f"{path}.Method"), properties.text(f"{path}.Path"))
        # an event whose Method or Path is not known would otherwise be the route of each one
        is_unknown = properties.has_problem(f"{path}.Method") or properties.has_problem(f"{path}.Path")
        if api is None or key is None or is_unknown:
            self._resources.warn(id, "is not served; give it a Path and a Method", path)
            return
        format = api.format(properties.text(f"{path}.PayloadFormatVersion") or "2.0")
        timeout = (properties.number(f"{path}.TimeoutInMillis") or 0) / 1000
        access = access_of(api.properties, properties, path, is_rest=type == REST, method=key.partition(" ")[0])
        if api.is_rest:
            access = access.both(of_event(properties, path))
        if unknown := unknown_property("Api" if api.is_rest else "HttpApi", properties, path):
            access = access.both(Access(f"the property {unknown}"))
        access = access.both(Access(api.condition))
        of_document = api.endpoints.get(key)
        access = access.both(api.of_document if of_document is None else of_document.access)
        if access.unsupported:
            self._resources.warn_refused(id, access.unsupported, f"Events.{event}")
        if of_document is None:
            endpoint = Endpoint(Route(key, function, api.stage), format, timeout or format.TIMEOUT, access)
        else:  # as on AWS, the event changes nothing in a document; its conditions are for safety
            endpoint = of_document._replace(access=access)
        api.add(key, endpoint, self._resources.place(id, f"Events.{event}"), replaces=api.document.place)

    def _api_of(self, type: str, id: str, event: str) -> _Api | None:
        """Return the API of an event: the one that it refers to, or the implicit one.

        None if an intrinsic function other than Ref stands for the reference, or for a mapping around it: the API may
        have conditions for its callers.
        """
        value: Any = self._template.resources[id].get("Properties")
        for name in ("Events", event, "Properties"):
            value = mapping(value).get(name)
            if is_intrinsic(value) or has_transform(value) or not (value is None or isinstance(value, dict)):
                return None
        reference = mapping(value).get(_API_REFERENCE[type])
        api = reference.get("Ref", "") if isinstance(reference, dict) else reference
        if api is None:
            api = _IMPLICIT[type]
            if api not in self._apis:
                location = f"{self._template.path}:1: {api}"
                properties = Properties(location, self._common(type), self._resources.resolver)
                self._apis[api] = self._api(type, api, properties)
        return self._apis.get(api) if isinstance(api, str) else None

    def _url(self, properties: Properties, id: str, name: str, function: str) -> Site:
        auth = properties.text("FunctionUrlConfig.AuthType")
        access = Access("" if auth in ("NONE", IAM) else f"AuthType {auth or 'without a value'}")
        if unknown := unknown_property("FunctionUrlConfig", properties, "FunctionUrlConfig"):
            access = Access(f"the property {unknown}")
        if access.unsupported:
            self._resources.warn_refused(id, access.unsupported, "FunctionUrlConfig")
        stage = Stage("$default", name.lower(), self._resources.account_id)
        endpoint = Endpoint(
            Route(function=function, stage=stage), function_url, access=access._replace(needs_signature=auth == IAM)
        )
        cors = parse_cors(properties.value("FunctionUrlConfig.Cors"))
        alias = function.partition(":")[2]
        # the URL of an alias needs a name that a host can have: SAM's logical id of the resource
        names = sites.url_names((name, id), alias, f"{id}Url" if alias else "")
        return sites.function_url(names, endpoint, cors=cors)

    def _site(self, api: _Api) -> Site:
        names = tuple(dict.fromkeys(name for name in (api.id, api.properties.text("Name")) if name))
        has_own = has_endpoint(api.properties, api.document)
        if api.is_rest:
            access = access_of(api.properties, is_rest=True, method="OPTIONS").both(api.of_document)
            access = access_of_mock(access).both(Access(api.condition))
            of_cors = preflights(api.properties.value("Cors"), api.endpoints, api.stage, access)
            return sites.rest_api(
                names,
                {**of_cors, **api.endpoints},
                api.stage.name,
                has_endpoint=has_own,
                responses=self._responses(api),
            )
        cors = cors_of(self._resources, api.id, api.properties, api.document)
        return sites.http_api(names, api.endpoints, api.stage.name, cors=cors, has_endpoint=has_own)

    def _responses(self, api: _Api) -> dict[str, GatewayResponse]:
        value = api.properties.value("GatewayResponses")
        own = gateway_responses(value, lambda text: self._resources.warn(api.id, text, "GatewayResponses"))
        return {**document_responses(self._resources, api.id, api.document), **own}


def _is_plain(value: Any) -> bool:
    return isinstance(value, dict) and not is_intrinsic(value)


def _key(type: str, method: str, path: str) -> str | None:
    """Return the route key of an event, or None if it has none.

    >>> _key(REST, "any", "/pets/"), _key(HTTP, "", "")
    ('ANY /pets', '$default')
    """
    method = (
        (method or ("ANY" if type == HTTP else ""))
        .upper()
        .replace("X-AMAZON-APIGATEWAY-ANY-METHOD", "ANY")
        .replace("*", "ANY")
    )
    if not path:
        return "$default" if type == HTTP and method == "ANY" else None
    if path == "$default" and type == HTTP:
        return path
    path = "/" + path.strip("/") if path != "/" else path
    return f"{method} {path}" if method in METHODS else None
