"""Sites of CloudFormation's own resources, as CDK writes them into its templates.

=================================================  ==============
resources                                          site
=================================================  ==============
``AWS::ApiGateway::RestApi``, …Resource, …Method   REST API
``AWS::ApiGatewayV2::Api``, …Route, …Integration   HTTP API
``AWS::Lambda::Url``                               function URL
``…ElasticLoadBalancingV2::TargetGroup``           load balancer
=================================================  ==============
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from serverfull_wsgi.gateway import sites
from serverfull_wsgi.gateway.access import Access
from serverfull_wsgi.gateway.cors import parse_cors
from serverfull_wsgi.gateway.formats import Route, Stage, TargetGroup, function_url
from serverfull_wsgi.gateway.sites import Endpoint, Site
from serverfull_wsgi.gateway.sources.http_apis import http_apis
from serverfull_wsgi.gateway.sources.known_properties import unknown_property
from serverfull_wsgi.gateway.sources.resources import Resources
from serverfull_wsgi.gateway.sources.rest_apis import rest_apis
from serverfull_wsgi.gateway.sources.restrictions import web_acl_of
from serverfull_wsgi.gateway.values import has_transform, is_true, listed, mapping

_condition = re.compile(r'"(authenticate-\w+|jwt-validation|source-ip|http-header|query-string)"')  # who may call


def cloudformation_sites(resources: Resources) -> list[Site]:
    """Return the sites of a template that CloudFormation's own resources describe.

    Raises `ConfigurationError` for two routes of one API that match the same requests.
    """
    return [
        *_function_urls(resources),
        *http_apis(resources),
        *rest_apis(resources),
        *_load_balancers(resources),
    ]


def _function_urls(resources: Resources) -> Iterator[Site]:
    for id, properties in resources.of_type("AWS::Lambda::Url"):
        name = resources.function(id, "TargetFunctionArn") or properties.text("TargetFunctionArn")
        qualifier, auth = properties.text("Qualifier"), properties.text("AuthType")
        if not name:
            resources.warn(id, "names no function of this template, so it is not served")
            continue
        access = Access("" if auth in ("NONE", "AWS_IAM") else f"AuthType {auth or 'without a value'}")
        access = access._replace(needs_signature=auth == "AWS_IAM")
        if has_transform(resources.declared(id)):
            access = Access("a macro that may add conditions")
        if unknown := unknown_property("AWS::Lambda::Url", properties):
            access = Access(f"the property {unknown}")
        if properties.has_problem("Qualifier"):
            access = Access("a Qualifier that cannot be resolved")
        if access.unsupported:
            resources.warn_refused(id, access.unsupported)
        function = f"{name}:{qualifier}" if qualifier and ":" not in name else name
        name, _, alias = function.partition(":")
        route = Route(function=function, stage=Stage("$default", name.lower(), resources.account_id))
        cors = parse_cors(properties.value("Cors"))
        ids = [key for key, value in resources.functions.items() if value == name]
        names = sites.url_names([name, *ids], alias, id)
        yield sites.function_url(names, Endpoint(route, function_url, access=access), cors=cors)


def _load_balancers(resources: Resources) -> Iterator[Site]:
    for id, properties in resources.of_type("AWS::ElasticLoadBalancingV2::TargetGroup"):
        if properties.text("TargetType") != "lambda":
            continue
        declared = resources.declared(id).get("Targets")
        targets = [mapping(each).get("Id") for each in declared] if isinstance(declared, list) else []
        functions = [resources.function_of(target) for target in targets]
        if len(functions) != 1 or not functions[0]:
            resources.warn(id, "has no single function of this template as its target, so it is not served")
            continue
        attributes = {
            str(mapping(each).get("Key")): mapping(each).get("Value")
            for each in listed(properties.value("TargetGroupAttributes"))
        }
        is_multi = is_true(attributes.get("lambda.multi_value_headers.enabled"))
        access = Access(_condition_of_listeners(resources, id))
        if access.unsupported:
            resources.warn_refused(id, access.unsupported, status=502)
        group = TargetGroup(has_multi_value_headers=is_multi, function=functions[0])
        yield sites.load_balancer(id, group, access)


def _condition_of_listeners(resources: Resources, group: str) -> str:
    """Return a condition of a listener or a rule that forwards to a target group; an empty text without one.

    The text of the resource is searched, so a condition inside of an intrinsic function counts too.
    """
    reference = re.compile(rf'"{group}"|\$\{{{group}\}}')
    balancers = []
    rules = {id: text for id, text in _texts(resources, "ListenerRule") if reference.search(text)}
    of_rules = {resources.target(id, "ListenerArn") for id in rules}
    for id, text in _texts(resources, "Listener"):
        if reference.search(text):
            rules[id] = text
        if id in rules or id in of_rules:
            balancers.append(resources.target(id, "LoadBalancerArn"))
            if "MutualAuthentication" in resources.declared(id):
                return f"MutualAuthentication of {id}"
    if acl := web_acl_of(resources, [id for id in balancers if id]):
        return f"the web ACL of {acl}"
    for id, balancer in resources.of_type("AWS::ElasticLoadBalancingV2::LoadBalancer"):
        if id in balancers and (balancer.text("Scheme") == "internal" or balancer.has_problem("Scheme")):
            return f"the internal Scheme of {id}"
    if changed := next((id for id in rules if "Transforms" in resources.declared(id)), ""):
        return f"Transforms of {changed}"
    found = ((id, _condition.search(text)) for id, text in rules.items())
    return next((f"{match[1]} of {id}" for id, match in found if match), "")


def _texts(resources: Resources, type: str) -> Iterator[tuple[str, str]]:
    for id, _ in resources.of_type(f"AWS::ElasticLoadBalancingV2::{type}"):
        yield id, json.dumps(resources.declared(id))
