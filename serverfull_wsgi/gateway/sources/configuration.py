"""Sites of settings, for functions without a template."""

from __future__ import annotations

import re

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.gateway import sites
from serverfull_wsgi.gateway.formats import Route, Stage, TargetGroup, http_v2
from serverfull_wsgi.gateway.sites import Endpoint, Site
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, partition_of

ROUTES = "routes"  # the name of the HTTP API that has the routes of the setting
_function = re.compile(r"[a-zA-Z0-9-_]{1,140}(:[a-zA-Z0-9-_$]{1,128})?", re.ASCII)
_name = re.compile(r"[a-zA-Z0-9-]{1,32}", re.ASCII)


def parse_routes(text: str, account_id: str = DEFAULT_ACCOUNT_ID) -> Site:
    """Return the HTTP API of SERVERFULL_ROUTES, with payload 2.0 and the stage ``$default``.

    >>> list(parse_routes("GET /pets/{id}=pets, ANY /{proxy+}=web:prod").endpoints)
    ['GET /pets/{id}', 'ANY /{proxy+}']

    Raises `ConfigurationError`.
    """
    stage = Stage("$default", ROUTES, account_id)
    endpoints: dict[str, Endpoint] = {}
    for entry in _entries(text):
        key, equals, function = (part.strip() for part in entry.rpartition("="))
        if not equals or not _function.fullmatch(function):
            raise ConfigurationError(
                f"SERVERFULL_ROUTES: {entry!r} must be METHOD /path=function or METHOD /path=function:alias, such as "
                "GET /pets/{id}=pets"
            )
        key = " ".join(key.split())
        if key in endpoints:
            raise ConfigurationError(f"SERVERFULL_ROUTES: there are two routes {key!r}; remove one")
        endpoints[key] = Endpoint(Route(key, function, stage), http_v2, http_v2.TIMEOUT)
    try:
        return sites.http_api((ROUTES,), endpoints)
    except ConfigurationError as error:
        raise ConfigurationError(f"SERVERFULL_ROUTES: {error}") from None


def parse_load_balancers(text: str, region: str = DEFAULT_REGION, account_id: str = DEFAULT_ACCOUNT_ID) -> list[Site]:
    """Return the load balancers of SERVERFULL_ALB. A last ``:multi`` turns multi-value headers on.

    >>> [site.endpoints["$default"].route.function for site in parse_load_balancers("web=Echo, old=Echo:prod:multi")]
    ['Echo', 'Echo:prod']

    Raises `ConfigurationError`.
    """
    found: dict[str, Site] = {}
    for entry in _entries(text):
        name, _, target = (part.strip() for part in entry.partition("="))
        function = target.removesuffix(":multi")
        if not _name.fullmatch(name) or not _function.fullmatch(function):
            raise ConfigurationError(
                f"SERVERFULL_ALB: {entry!r} must be name=function, name=function:alias, or one of these with :multi at "
                "its end; the name has up to 32 letters, digits and '-'"
            )
        if name.lower() in found:
            raise ConfigurationError(f"SERVERFULL_ALB: there are two load balancers {name!r}; rename one")
        arn = f"arn:{partition_of(region)}:elasticloadbalancing:{region}:{account_id}:targetgroup/{name}/{0:016x}"
        found[name.lower()] = sites.load_balancer(name, TargetGroup(arn, function != target, function))
    return list(found.values())


def choose(sites: list[Site], name: str) -> Site:
    """Return the site to serve at the root: the one of this name, or the only API, or the only site.

    Raises `ConfigurationError` with the names of all sites.
    """
    if not sites:
        raise ConfigurationError(
            "there is no API to serve: no function of a template has an event Api or HttpApi, or a function URL; set "
            "SERVERFULL_ROUTES='GET /path=function'"
        )
    if name:
        chosen = [site for site in sites if name.lower() in map(str.lower, site.names)]
    else:
        chosen = [site for site in sites if site.is_api] or sites
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(f"{site.names[0]} ({site.kind})" for site in chosen or sites)
    problem = f"there is no API {name!r}" if not chosen else f"there are {len(chosen)} APIs to serve"
    raise ConfigurationError(
        f"{problem}; choose one with SERVERFULL_FRONT_API or 'serverfull serve --api NAME': {names}"
    )


def _entries(text: str) -> list[str]:
    return [entry for entry in re.split(r"[,\n]", text) if entry.strip()]
