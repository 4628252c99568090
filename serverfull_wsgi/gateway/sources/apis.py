"""APIs of a template while their routes are collected."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.gateway.cors import Cors, parse_cors
from serverfull_wsgi.gateway.formats import Stage, http_v1, http_v2, rest_v1
from serverfull_wsgi.gateway.route_table import shape_of
from serverfull_wsgi.gateway.sites import Endpoint, Format
from serverfull_wsgi.gateway.sources.documents import Document
from serverfull_wsgi.gateway.sources.resources import Resources
from serverfull_wsgi.gateway.values import is_true, mapping

_variable = re.compile(r"\$\{stageVariables\.(\w+)\}")
_DISABLED = "DisableExecuteApiEndpoint"


@dataclass
class CollectedApi:
    """An API while its routes are collected.

    Args:
        id: the logical id.
        is_rest: True for a REST API, False for an HTTP API.
        stage: the stage of its routes.
        document: the OpenAPI document.
        condition: a condition for the callers of all routes that is not supported; empty for none.
    """

    id: str
    is_rest: bool
    stage: Stage
    document: Document
    condition: str = ""
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    _places: dict[tuple[str, ...], str] = field(default_factory=dict)

    def add(self, key: str, endpoint: Endpoint, place: str, *, replaces: str = "") -> None:
        """Add a route.

        Args:
            key: the route key.
            endpoint: the end of the route.
            place: the resource that has the route, with its file and line.
            replaces: the place whose route this one may replace.

        Raises:
            ConfigurationError: if another place has a route for the same requests, as AWS refuses the deployment.
        """
        shape = shape_of(key, is_rest=self.is_rest)
        other = self._places.setdefault(shape, place)
        if other not in (place, replaces):
            raise ConfigurationError(
                f"{place}: the route {key!r} of {self.id} is also the route of {other}; AWS refuses the deployment of "
                "such a template, so remove one of the routes"
            )
        self._places[shape] = place
        self.endpoints[key] = endpoint

    def function(self, name: str) -> str:
        """Return a function's name with the values of the stage variables in it, ``pets:${stageVariables.alias}``.

        A variable that the stage does not have stays in the name, which no function has.
        """
        return _variable.sub(lambda found: self.stage.variables.get(found[1], found[0]), name)

    def format(self, payload: str) -> Format:
        """Return the format of a route whose events have this payload version."""
        return rest_v1 if self.is_rest else http_v1 if payload == "1.0" else http_v2


def first_stage(resources: Resources, types: Collection[str], reference: str, api: str) -> Properties | None:
    """Return the properties of the first stage of an API, and add a warning for each other one.

    Args:
        resources: the resources of the template.
        types: the types of resources that have a stage. One without a ``StageName`` has none.
        reference: the property with the API.
        api: the logical id of the API.
    """
    found = [
        (id, stage)
        for id, stage in resources.of_type(*types)
        if resources.target(id, reference) == api and stage.text("StageName")
    ]
    for id, _ in found[1:]:
        resources.warn(id, f"only the stage {found[0][1].text('StageName')!r} of {api} is served")
    return found[0][1] if found else None


def has_endpoint(properties: Properties, document: Document) -> bool:
    """Return False for an API without its default endpoint, and for one for which this is not known."""
    configuration = mapping(document.members.get("x-amazon-apigateway-endpoint-configuration"))
    in_document = configuration.get("disableExecuteApiEndpoint")
    is_disabled = is_true(properties.value(_DISABLED)) or is_true(in_document)
    return not is_disabled and not properties.has_problem(_DISABLED)


def cors_of(resources: Resources, id: str, properties: Properties, document: Document) -> Cors | None:
    """Return the CORS configuration of an HTTP API, or None without one.

    SAM refuses credentials for the origin ``*``: each site could then act with the cookies of its visitors.
    """
    configured = properties.value("CorsConfiguration")
    cors = parse_cors(configured) or parse_cors(document.members.get("x-amazon-apigateway-cors"))
    if cors and cors.is_credentialed and "*" in cors.origins:
        resources.warn(id, "AWS refuses AllowCredentials for the origin '*', so credentials are not allowed")
        return replace(cors, is_credentialed=False)
    return cors
