"""Custom domains of a template: SAM's property Domain, and CloudFormation's domains with their mappings.

    ================================================================  =================================
    in the template                                                   base path
    ================================================================  =================================
    ``Domain`` of ``AWS::Serverless::Api`` and ``HttpApi``            each one of ``BasePath``
    ``AWS::ApiGateway::DomainName``, ``AWS::ApiGateway::BasePathMapping``   ``BasePath``
    ``AWS::ApiGatewayV2::DomainName``, ``AWS::ApiGatewayV2::ApiMapping``    ``ApiMappingKey``
    ================================================================  =================================

A mapping may refer to an API of either kind. Certificates, endpoint types, security policies and Route 53 records have
no effect: the server in front of this one ends TLS, and DNS is not ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from serverfull_wsgi.fetchers.sam.properties import UNRESOLVED, Properties
from serverfull_wsgi.gateway.domains import ApiMapping, parse_domain
from serverfull_wsgi.gateway.sites import Site
from serverfull_wsgi.gateway.sources.resources import Resources
from serverfull_wsgi.gateway.values import texts

DOMAIN_NAMES = ("AWS::ApiGateway::DomainName", "AWS::ApiGatewayV2::DomainName")
MAPPINGS = {  # by type: the properties with the API and the base path
    "AWS::ApiGateway::BasePathMapping": ("RestApiId", "BasePath"),
    "AWS::ApiGatewayV2::ApiMapping": ("ApiId", "ApiMappingKey"),
}
_NOT_SERVED = "so the custom domain is not served"
_STAGES = ("AWS::ApiGateway::Stage", "AWS::ApiGatewayV2::Stage", "AWS::ApiGateway::Deployment")


class TemplateDomains:
    """The custom domains of a template.

    Args:
        resources: the resources of the template.
        sites: the sites of the template.
        serverless: the properties of the serverless APIs by logical id.

    Attributes:
        mappings: the APIs by domain and base path.
        names: all domains, with those that have no mapping.
    """

    def __init__(self, resources: Resources, sites: Iterable[Site], serverless: Mapping[str, Properties]) -> None:
        self._resources = resources
        self._sites = {site.names[0]: site for site in sites if site.is_api}
        self._without_mappings: set[str] = set()
        self._names = dict(self._declared())
        self.mappings = [*self._of_sam(serverless), *self._mapped()]
        self.names = list(
            dict.fromkeys([*filter(None, self._names.values()), *(each.domain for each in self.mappings)])
        )

    def _declared(self) -> Iterator[tuple[str, str]]:
        """Yield logical id and domain of each domain of CloudFormation; an empty text for one that is not known."""
        for id, properties in self._resources.of_type(*DOMAIN_NAMES):
            domain, mode = self._domain(id, properties, "DomainName"), properties.text("RoutingMode")
            if mode not in ("", "API_MAPPING_ONLY"):
                self._resources.warn(id, "routing rules are not read", "RoutingMode")
            if mode == "ROUTING_RULE_ONLY":
                self._without_mappings.add(domain)
            yield id, domain

    def _domain(self, id: str, properties: Properties, path: str) -> str:
        text = properties.text(path)
        domain = parse_domain(text)
        if not domain:
            reason = f"{text!r} is not a domain" if text else "the name is not known"
            self._resources.warn(id, f"{reason}, {_NOT_SERVED}; write one such as api.example.com", path)
        return domain

    def _of_sam(self, serverless: Mapping[str, Properties]) -> Iterator[ApiMapping]:
        for id, properties in serverless.items():
            site = self._sites.get(id)
            if site is None or not properties.mapping("Domain"):
                continue
            domain, given = self._domain(id, properties, "Domain.DomainName"), properties.value("Domain.BasePath")
            for base_path in given if isinstance(given, list) else texts(given) or ("",):
                if base_path is UNRESOLVED or properties.has_problem("Domain.BasePath"):
                    self._resources.warn(id, f"a base path is not known, {_NOT_SERVED} under it", "Domain.BasePath")
                elif domain:
                    yield ApiMapping(domain, str(base_path), site)

    def _mapped(self) -> Iterator[ApiMapping]:
        for type, (reference, base_path) in MAPPINGS.items():
            for id, properties in self._resources.of_type(type):
                domain, site = self._domain_of(id, properties), self._sites.get(self._resources.target(id, reference))
                base, stage = properties.text(base_path), self._stage(id, properties)
                if site is None:
                    self._resources.warn(id, f"its {reference} is no API of this template, {_NOT_SERVED} here")
                elif properties.has_problem(base_path):
                    self._resources.warn(id, f"its {base_path} is not known, {_NOT_SERVED} here")
                elif stage not in (None, "", _stage_of(site)):
                    self._resources.warn(
                        id, f"only the stage {_stage_of(site)!r} of {site.names[0]} is served, {_NOT_SERVED} here"
                    )
                elif domain and domain not in self._without_mappings:
                    base = "" if base == "(none)" else base
                    yield ApiMapping(domain, base, site, stage_in_path=stage is None)

    def _domain_of(self, id: str, properties: Properties) -> str:
        target = self._resources.target(id, "DomainName")
        return self._names[target] if target in self._names else self._domain(id, properties, "DomainName")

    def _stage(self, id: str, properties: Properties) -> str | None:
        """Return the stage of a mapping, an empty text if it is not known, or None for a mapping without a stage."""
        if "Stage" not in self._resources.declared(id):
            return None
        target = self._resources.target(id, "Stage")
        if self._resources.type(target) in _STAGES:
            return dict(self._resources.of_type(*_STAGES))[target].text("StageName")
        return properties.text("Stage")


def _stage_of(site: Site) -> str:
    return next((endpoint.route.stage.name for endpoint in site.endpoints.values()), "")
