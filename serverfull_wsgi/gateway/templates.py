"""Sites of a SAM template: the APIs and function URLs that its functions have.

    ========================================  =====================================================
    in the template                           site
    ========================================  =====================================================
    event ``Api``, ``AWS::Serverless::Api``   REST API; ``ServerlessRestApi`` if the event names none
    event ``HttpApi``, ``…::HttpApi``         HTTP API; ``ServerlessHttpApi`` if the event names none
    ``FunctionUrlConfig``                     function URL
    ========================================  =====================================================

Lambda authorizers and API keys restrict the callers of a route, as on AWS. Any other restriction makes the route refuse
each request: an IAM signature, a JWT or Cognito authorizer, a resource policy, mutual TLS. `TemplateSites.warnings` has
a line for each.

Source: the specification of AWS SAM, and its translator's rules for paths, stages and CORS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable
from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.fetchers.sam.template import SERVERLESS_FUNCTION, is_intrinsic, merge_globals
from serverfull_wsgi.gateway import openapi, sites
from serverfull_wsgi.gateway.access import OPEN, Access
from serverfull_wsgi.gateway.cors import parse_cors
from serverfull_wsgi.gateway.formats import Route, Stage, function_url, http_v1, http_v2, rest_v1
from serverfull_wsgi.gateway.route_table import METHODS
from serverfull_wsgi.gateway.sites import Endpoint, Format, Site
from serverfull_wsgi.gateway.template_access import IAM, access_of
from serverfull_wsgi.gateway.values import has_transform, is_true, mapping, texts
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID

REST, HTTP = "AWS::Serverless::Api", "AWS::Serverless::HttpApi"
_IMPLICIT = {REST: "ServerlessRestApi", HTTP: "ServerlessHttpApi"}
_GLOBALS = {REST: "Api", HTTP: "HttpApi"}
_API_REFERENCE = {REST: "RestApiId", HTTP: "ApiId"}
_EVENTS = {"Api": REST, "HttpApi": HTTP}


@dataclass
class _Api:
    """An API while its routes are collected."""

    type: str
    id: str
    properties: Properties
    stage: Stage
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    of_document: Access = OPEN  # the conditions of the OpenAPI document for a route that only an event has
    of_events: set[str] = field(default_factory=set)  # the keys of routes that events have


class TemplateSites:
    """The sites of the functions of a template.

    Args:
        fetcher: has the template, and the functions by their names.
        account_id: the account in events.

    Attributes:
        sites: the sites. An API without routes is not among them.
        warnings: one line for each property that has no effect, or because of which a route refuses its requests.
    """

    def __init__(self, fetcher: SamFetcher, *, account_id: str = DEFAULT_ACCOUNT_ID) -> None:
        self._template, self._resolver = fetcher.template, fetcher.resolver
        self._names = {id: name for name, id in fetcher.logical_ids().items()}
        self._account_id = account_id
        self._warnings: list[str] = []
        self._apis = {id: api for type in (REST, HTTP) for id, api in self._declared(type)}
        self.sites: list[Site] = []
        for api in self._apis.values():
            self._add_document(api)
        for id, name in self._names.items():
            if self._template.resources[id].get("Type") == SERVERLESS_FUNCTION:
                self._add_function(id, name)
        for api in self._apis.values():
            if api.endpoints:
                self.sites.append(self._site(api))
        self.warnings = list(dict.fromkeys(self._warnings))

    def _properties(self, id: str, extra: Any = None) -> Properties:
        own = self._template.resources[id].get("Properties")
        return Properties(self._template.location(id), merge_globals(extra, own or {}), self._resolver)

    def _declared(self, type: str) -> Iterator[tuple[str, _Api]]:
        common = self._template.globals.get(_GLOBALS[type]) or {}
        for id in self._template.of_type(type):
            try:
                if not self._resolver.is_created(id):
                    continue
            except Unresolvable as reason:
                self._warnings.append(f"{self._template.location(id)}.Condition: {reason}; the API is not served")
                continue
            properties, own = self._properties(id, common), mapping(self._template.resources[id].get("Properties"))
            for name in ("Auth", "Domain"):
                values = [mapping(each).get(name) for each in (common, own)]
                if None not in values and any(map(is_intrinsic, values)):
                    properties.add_problem(
                        name, "an intrinsic function cannot be merged with the Globals; write one of both"
                    )
            yield id, self._api(type, id, properties)

    def _api(self, type: str, id: str, properties: Properties) -> _Api:
        variables = properties.value("Variables" if type == REST else "StageVariables") or {}
        binary = properties.value("BinaryMediaTypes") or []
        stage = Stage(
            properties.text("StageName") or (rest_v1.DEFAULT_STAGE if type == REST else "$default"),
            id.lower(),
            self._account_id,
            variables={str(name): str(value) for name, value in mapping(variables).items()},
            binary_media_types=[each.replace("~1", "/") for each in texts(binary)],
        )
        return _Api(type, id, properties, stage)

    def _add_document(self, api: _Api) -> None:
        """Add the routes of the OpenAPI document of an API. Its conditions and those of the API's Auth must be met."""
        is_rest = api.type == REST
        document = mapping(api.properties.value("DefinitionBody"))
        api.of_document = openapi.common_access(document, is_rest=is_rest)
        if api.properties.has_problem("DefinitionBody") and not document:
            api.of_document = Access("a DefinitionBody that cannot be resolved")
            self._warnings += [line for line in api.properties.problems if ".DefinitionBody" in line]
        if api.properties.value("DefinitionUri") is not None or api.properties.has_problem("DefinitionUri"):
            api.of_document = Access("a DefinitionUri, which is not read")
        for found in openapi.routes(document, is_rest=is_rest):
            format: Format = rest_v1 if is_rest else http_v1 if found.payload == "1.0" else http_v2
            route = Route(found.key, found.function, api.stage, operation_name=found.operation_name)
            access = found.access.both(access_of(api.properties, is_rest=is_rest))
            if found.fixed is None and access.unsupported:
                self._warn_refused(api.id, f"DefinitionBody, {found.key}", access.unsupported)
            api.endpoints[found.key] = Endpoint(route, format, found.timeout or format.TIMEOUT, access, found.fixed)

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
        self._warnings += [line for line in properties.problems if ".Events." in line or ".FunctionUrlConfig" in line]

    def _add_event(self, type: str, properties: Properties, id: str, event: str, function: str) -> None:
        path = f"Events.{event}.Properties"
        api = self._api_of(type, id, event)
        key = _key(type, properties.text(f"{path}.Method"), properties.text(f"{path}.Path"))
        # an event whose Method or Path is not known would otherwise be the route of each one
        is_unknown = properties.has_problem(f"{path}.Method") or properties.has_problem(f"{path}.Path")
        if api is None or key is None or is_unknown:
            self._warnings.append(f"{self._template.location(id)}.{path}: is not served; give it a Path and a Method")
            return
        version = properties.text(f"{path}.PayloadFormatVersion") or "2.0"
        format: Format = rest_v1 if type == REST else http_v1 if version == "1.0" else http_v2
        timeout = (properties.number(f"{path}.TimeoutInMillis") or 0) / 1000
        access = access_of(api.properties, properties, path, is_rest=type == REST)
        if key in api.of_events:
            self._warnings.append(
                f"{self._template.location(id)}.{path}: another event has the route {key!r}; remove one"
            )
            return
        of_document = api.endpoints.get(key)
        access = access.both(api.of_document if of_document is None else of_document.access)
        if access.unsupported:
            self._warn_refused(id, f"Events.{event}", access.unsupported)
        api.of_events.add(key)
        api.endpoints[key] = Endpoint(Route(key, function, api.stage), format, timeout or format.TIMEOUT, access)

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
                common = self._template.globals.get(_GLOBALS[type]) or {}
                location = f"{self._template.path}:1: {api}"
                self._apis[api] = self._api(type, api, Properties(location, common, self._resolver))
        return self._apis.get(api) if isinstance(api, str) else None

    def _url(self, properties: Properties, id: str, name: str, function: str) -> Site:
        auth = properties.text("FunctionUrlConfig.AuthType")
        access = Access("" if auth in ("NONE", IAM) else f"AuthType {auth or 'without a value'}")
        if access.unsupported:
            self._warn_refused(id, "FunctionUrlConfig", access.unsupported)
        stage = Stage("$default", name.lower(), self._account_id)
        endpoint = Endpoint(
            Route(function=function, stage=stage), function_url, access=access._replace(needs_signature=auth == IAM)
        )
        cors = parse_cors(properties.value("FunctionUrlConfig.Cors"))
        return sites.function_url(tuple(dict.fromkeys((name, id))), endpoint, cors=cors)

    def _site(self, api: _Api) -> Site:
        names = tuple(dict.fromkeys(name for name in (api.id, api.properties.text("Name")) if name))
        if api.type == HTTP:
            document = mapping(api.properties.value("DefinitionBody"))
            configured = api.properties.value("CorsConfiguration")
            cors = parse_cors(configured) or parse_cors(document.get("x-amazon-apigateway-cors"))
            return sites.http_api(names, api.endpoints, api.stage.name, cors=cors)
        return sites.rest_api(names, {**_preflights(api), **api.endpoints}, api.stage.name)

    def _warn_refused(self, id: str, path: str, feature: str) -> None:
        self._warnings.append(
            f"{self._template.location(id)}.{path}: {feature} is not supported here, so each request is refused with "
            "500; remove it to let every caller in"
        )


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


def _preflights(api: _Api) -> Mapping[str, Endpoint]:
    """Return the OPTIONS routes that SAM's Cors adds to each path of a REST API that has none.

    The answer is fixed. Values are written with quotes inside of the quotes, such as ``"'*'"``.
    """
    value = api.properties.value("Cors")
    if value is None or value is False:
        return {}
    members = mapping(value) if isinstance(value, dict) else {"AllowOrigin": value}
    methods: dict[str, set[str]] = {}
    for key in api.endpoints:
        method, _, path = key.partition(" ")
        methods.setdefault(path, set()).add(method)
    routes: dict[str, Endpoint] = {}
    for path, of_path in methods.items():
        if of_path & {"ANY", "OPTIONS"} and f"OPTIONS {path}" in api.endpoints:
            continue
        allowed = set(METHODS) - {"ANY"} if "ANY" in of_path else of_path | {"OPTIONS"}
        lines = [
            ("Access-Control-Allow-Origin", _unquoted(members.get("AllowOrigin", "*"))),
            ("Access-Control-Allow-Methods", _unquoted(members.get("AllowMethods", ",".join(sorted(allowed))))),
        ]
        for name in ("AllowHeaders", "MaxAge"):
            if members.get(name) is not None:
                header = "Access-Control-Allow-Headers" if name == "AllowHeaders" else "Access-Control-Max-Age"
                lines.append((header, _unquoted(members[name])))
        if is_true(members.get("AllowCredentials")):
            lines.append(("Access-Control-Allow-Credentials", "true"))
        key = f"OPTIONS {path}"
        printable = tuple(line for line in lines if line[1].isprintable())
        routes[key] = Endpoint(Route(key, stage=api.stage), rest_v1, fixed=printable)
    return routes


def _unquoted(value: Any) -> str:
    return str(value).strip("'")
