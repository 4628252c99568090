"""Restrictions of a whole API that are not supported: who may reach it, by network, certificate, policy or firewall.

    ============================================================  =============================
    in the template                                               restriction
    ============================================================  =============================
    ``EndpointConfiguration`` with ``PRIVATE``                    a private API
    ``ApiKeySourceType`` with ``AUTHORIZER``                      API keys from an authorizer
    ``AWS::WAFv2::WebACLAssociation``, of WAF Regional too        a web ACL
    ``MutualTlsAuthentication`` of a domain                       mutual TLS
    ``Policy``, ``x-amazon-apigateway-policy``                    a resource policy
    ============================================================  =============================

An API with one of these refuses each request.
"""

from __future__ import annotations

from collections.abc import Collection

from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.gateway.sources.domains import DOMAIN_NAMES, MAPPINGS
from serverfull_wsgi.gateway.sources.known_properties import is_key_in_header, is_private, unknown_property
from serverfull_wsgi.gateway.sources.resources import Resources

_ASSOCIATIONS = ("AWS::WAFv2::WebACLAssociation", "AWS::WAFRegional::WebACLAssociation")
_STAGES = ("AWS::ApiGateway::Stage", "AWS::ApiGatewayV2::Stage")


def restriction_of(resources: Resources, id: str, type: str, properties: Properties, stage: str) -> str:
    """Return a restriction of an API that is not supported; an empty text without one.

    Args:
        resources: the resources of the template.
        id: the logical id of the API.
        type: the type of the API.
        properties: the properties of the API.
        stage: the name of its stage.
    """
    if is_private([properties.value(name) for name in ("EndpointConfiguration", "Parameters")]):
        return "a private endpoint"
    if properties.has_problem("EndpointConfiguration"):
        return "an EndpointConfiguration that is not known"
    if not is_key_in_header(properties.value("ApiKeySourceType")) or properties.has_problem("ApiKeySourceType"):
        return "an ApiKeySourceType other than HEADER"
    if unknown := unknown_property(type, properties):
        return f"the property {unknown}"
    stages = [key for key, _ in resources.of_type(*_STAGES) if id in _apis_of(resources, key)]
    if acl := web_acl_of(resources, [id, f"{id}{stage}Stage", *stages]):  # SAM's name of a stage
        return f"the web ACL of {acl}"
    return "mutual TLS" if _has_mutual_tls(resources, id) else ""


def _apis_of(resources: Resources, stage: str) -> tuple[str, str]:
    return resources.target(stage, "RestApiId"), resources.target(stage, "ApiId")


def web_acl_of(resources: Resources, ids: Collection[str]) -> str:
    """Return the association of a web ACL with one of these resources; an empty text without one."""
    found = (id for id, _ in resources.of_type(*_ASSOCIATIONS) if resources.mentions(id, *ids))
    return next(found, "")


def _has_mutual_tls(resources: Resources, api: str) -> bool:
    """Return whether a custom domain with mutual TLS is mapped to an API."""
    domains = set()
    for id, properties in resources.of_type(*DOMAIN_NAMES):
        if "MutualTlsAuthentication" in resources.declared(id):
            domains |= {id, properties.text("DomainName")}
    return any(
        resources.target(id, reference) == api and resources.target(id, "DomainName") in domains
        for type, (reference, _) in MAPPINGS.items()
        for id, _ in resources.of_type(type)
    )
