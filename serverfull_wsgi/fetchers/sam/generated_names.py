"""Names of resources that SAM generates from a function or an API, so that a template can refer to them.

========================================  ==========================================================
name in a template                        resource
========================================  ==========================================================
``Fn.Alias``, ``FnAliaslive``             the alias of AutoPublishAlias
``Fn.Version``                            the version of AutoPublishAlias
``Fn.DestinationQueue``, ``…Topic``       the target of an EventInvokeConfig without a Destination
``FnRole``                                the role of a function without a Role
``FnUrl``                                 the URL of a function with FunctionUrlConfig
``FnEvent``                               the rule, subscription or mapping of the event ``Event``
``Api.Stage``                             the stage of an API
``ServerlessRestApi``, ``…HttpApi``       the API of events that name no API
========================================  ==========================================================

Source: the reference of generated resources in
https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-generated-resources.html
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple

from serverfull_wsgi.fetchers.sam.template import SERVERLESS_FUNCTION

_APIS = {"AWS::Serverless::Api": "", "AWS::Serverless::HttpApi": "$default"}  # types, with the default of StageName


class Kind(enum.Enum):
    """The kind of a generated resource."""

    ALIAS = enum.auto()
    VERSION = enum.auto()
    ROLE = enum.auto()
    URL = enum.auto()
    STAGE = enum.auto()
    OTHER = enum.auto()  # its names and attributes are known at AWS only


class GeneratedName(NamedTuple):
    """A name that SAM generates."""

    name: str
    kind: Kind
    owner: str = ""  # the logical id of the function or API; empty for an implicit API
    value: Any = None  # the name of an alias or a stage, as in the template


_IMPLICIT = {
    name: GeneratedName(name, Kind.STAGE if stage else Kind.OTHER, value=stage)
    for name, stage in {
        "ServerlessRestApi": "",
        "ServerlessRestApi.Stage": "Prod",
        "ServerlessRestApiProdStage": "Prod",
        "ServerlessHttpApi": "",
        "ServerlessHttpApi.Stage": "$default",
        "ServerlessHttpApiApiGatewayDefaultStage": "$default",
    }.items()
}


class GeneratedNames:
    """The generated names of a template's resources."""

    def __init__(self, resources: Mapping[str, Any]) -> None:
        self._resources = resources
        self._names: dict[str, GeneratedName] | None = None

    def find(self, name: str) -> GeneratedName | None:
        """Return the generated resource of this name, or None. A resource of the template has precedence."""
        if name in self._resources:
            return None
        if self._names is None:
            self._names = dict(_IMPLICIT)
            for id, resource in self._resources.items():
                if isinstance(resource, dict):
                    properties = resource.get("Properties")
                    values = properties if isinstance(properties, dict) else {}
                    for generated in _names_of(id, str(resource.get("Type")), values):
                        self._names.setdefault(generated.name, generated)
        return self._names.get(name)


def _names_of(id: str, type: str, properties: dict[str, Any]) -> list[GeneratedName]:
    if type in _APIS:
        return [
            GeneratedName(f"{id}.Stage", Kind.STAGE, id, properties.get("StageName", _APIS[type])),
            *(GeneratedName(f"{id}.{name}", Kind.OTHER, id) for name in ("Deployment", "DomainName")),
        ]
    if type != SERVERLESS_FUNCTION:
        return []
    names = [GeneratedName(f"{id}.{name}", Kind.OTHER, id) for name in ("DestinationQueue", "DestinationTopic")]
    if alias := properties.get("AutoPublishAlias"):
        names.append(GeneratedName(f"{id}.Alias", Kind.ALIAS, id, alias))
        names.append(GeneratedName(f"{id}.Version", Kind.VERSION, id))
        if isinstance(alias, str):
            names.append(GeneratedName(f"{id}Alias{alias}", Kind.ALIAS, id, alias))
    if "Role" not in properties:
        names.append(GeneratedName(f"{id}Role", Kind.ROLE, id))
    if "FunctionUrlConfig" in properties:
        names.append(GeneratedName(f"{id}Url", Kind.URL, id))
    events = properties.get("Events")
    return names + [
        GeneratedName(f"{id}{event}", Kind.OTHER, id) for event in (events if isinstance(events, dict) else ())
    ]
