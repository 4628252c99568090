"""Sites: the APIs, function URLs and load balancers that are served over plain HTTP.

A site has one or more names, the format of its events and answers, and endpoints. An endpoint is the end of a route: a
function with everything that happens between the request and its call. The functions `rest_api`, `http_api`,
`function_url` and `load_balancer` make sites.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from serverfull_wsgi.domain import Outcome
from serverfull_wsgi.gateway.access import OPEN, Access
from serverfull_wsgi.gateway.cors import Cors
from serverfull_wsgi.gateway.formats import (
    Answer,
    HttpRequest,
    Refusal,
    RequestContext,
    Stage,
    TargetGroup,
    alb,
    http_v2,
    rest_v1,
)
from serverfull_wsgi.gateway.formats import function_url as url_format
from serverfull_wsgi.gateway.gateway_responses import GatewayResponse
from serverfull_wsgi.gateway.route_table import RouteTable


class Format(Protocol):
    """A module of `gateway.formats`. ``route`` is a `Route`, and a `TargetGroup` for a load balancer."""

    @property
    def BODY_LIMIT(self) -> int: ...  # noqa: N802  (a constant of the module)

    @property
    def TIMEOUT(self) -> float | None: ...  # noqa: N802

    def event(self, request: HttpRequest, route: Any, context: RequestContext, /) -> dict[str, Any]: ...

    def answer(self, outcome: Outcome, request: HttpRequest, route: Any, context: RequestContext, /) -> Answer: ...

    def refuse(self, refusal: Refusal, request: HttpRequest, context: RequestContext, /) -> Answer: ...

    def own_headers(self, request: HttpRequest, context: RequestContext, /) -> list[tuple[str, str]]: ...


class FixedAnswer(NamedTuple):
    """The same answer to each request, without a function.

    Args:
        status: the status code.
        headers: pairs of name and value.
        body: the body.
        content_type: the Content-Type, unless the headers have one.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str = "application/json"


class Endpoint(NamedTuple):
    """The end of a route.

    Args:
        route: the route with its function: a `Route`, or the `TargetGroup` of a load balancer.
        format: the format of event and answer.
        timeout: seconds after which the gateway answers in the place of the function; None for no such limit.
        access: the conditions under which a caller may use the route.
        fixed: the answer in the place of a function's; None for a function.
    """

    route: Any
    format: Format
    timeout: float | None = None
    access: Access = OPEN
    fixed: FixedAnswer | None = None


@dataclass(frozen=True)
class Site:
    """An API, a function URL or a load balancer.

    Args:
        kind: ``"REST API"``, ``"HTTP API"``, ``"function URL"`` or ``"load balancer"``, for messages.
        names: the names of the site in a URL, such as logical id and name. Case does not count.
        format: the format of answers to requests that no endpoint matches.
        endpoints: the endpoints by route key.
        find: returns the endpoint for method and path, or None.
        stage: the first segment of a request's path; empty if the path has no stage.
        cors: the CORS configuration, or None.
        preflight_status: the status of answers to preflight requests.
        has_endpoint: False for an API that is served under its custom domains only.
        responses: changes of the answers to refused requests, by response type; of a REST API.
    """

    kind: str
    names: tuple[str, ...]
    format: Format
    endpoints: Mapping[str, Endpoint] = field(repr=False)
    find: Callable[[str, str], Endpoint | None] = field(repr=False)
    stage: str = ""
    cors: Cors | None = None
    preflight_status: int = 204
    has_endpoint: bool = True
    responses: Mapping[str, GatewayResponse] = field(default_factory=dict, repr=False)

    @cached_property
    def is_mixed(self) -> bool:
        """True if the routes have different conditions for callers."""
        return len({endpoint.access for endpoint in self.endpoints.values()}) > 1

    @cached_property
    def has_slash_at_end(self) -> bool:
        """True if a route of the site has a slash at its end."""
        return any(key.endswith("/") and not key.endswith(" /") for key in self.endpoints)

    @property
    def is_api(self) -> bool:
        """True for an API of API Gateway, which has routes of its own."""
        return self.kind in (REST_API, HTTP_API)

    def at_root(self) -> Site:
        """Return the site for all paths of a server: paths and events have no stage."""
        return (
            self._with_stages(lambda endpoint: replace(endpoint.route.stage, is_in_path=False)) if self.stage else self
        )

    def on_domain(self, base_path: str) -> Site:
        """Return the API as a custom domain serves it: the paths of requests have no stage.

        The paths in events of payload 1.0 begin with the base path, and those of payload 2.0 with a stage that is not
        ``$default``, as recorded.

        Args:
            base_path: the base path, such as ``/orders``; empty for none.
        """
        return self._with_stages(
            lambda endpoint: (
                endpoint.route.stage
                if endpoint.format is http_v2
                else replace(endpoint.route.stage, is_in_path=False, base_path=base_path)
            )
        )

    def _with_stages(self, stage_of: Callable[[Endpoint], Stage]) -> Site:
        endpoints = {
            key: endpoint._replace(route=replace(endpoint.route, stage=stage_of(endpoint)))
            for key, endpoint in self.endpoints.items()
        }
        table = RouteTable(endpoints, is_rest=self.kind == REST_API)
        return replace(self, endpoints=endpoints, find=table.find, stage="")


REST_API, HTTP_API, FUNCTION_URL = "REST API", "HTTP API", "function URL"


def http_api(
    names: tuple[str, ...],
    endpoints: Mapping[str, Endpoint],
    stage: str = "$default",
    *,
    cors: Cors | None = None,
    has_endpoint: bool = True,
) -> Site:
    """Return an HTTP API. The routes of its endpoints have the stage ``stage``."""
    find, in_path = RouteTable(endpoints).find, "" if stage == "$default" else stage
    return Site(HTTP_API, names, http_v2, endpoints, find, in_path, cors, has_endpoint=has_endpoint)


def rest_api(
    names: tuple[str, ...],
    endpoints: Mapping[str, Endpoint],
    stage: str = rest_v1.DEFAULT_STAGE,
    *,
    has_endpoint: bool = True,
    responses: Mapping[str, GatewayResponse] | None = None,
) -> Site:
    """Return a REST API. The routes of its endpoints have the stage ``stage``."""
    find = RouteTable(endpoints, is_rest=True).find
    return Site(REST_API, names, rest_v1, endpoints, find, stage, has_endpoint=has_endpoint, responses=responses or {})


def function_url(names: tuple[str, ...], endpoint: Endpoint, *, cors: Cors | None = None) -> Site:
    """Return the URL of a function: each method and path is a call of it."""
    endpoints = {endpoint.route.key: endpoint}
    return Site(FUNCTION_URL, names, url_format, endpoints, lambda *_: endpoint, cors=cors, preflight_status=200)


def url_names(functions: Collection[str], alias: str, id: str) -> tuple[str, ...]:
    """Return the names of a function URL.

    Args:
        functions: the names of the function.
        alias: the alias that the URL is for; empty for none.
        id: the logical id of the URL; empty for none.

    >>> url_names(["pets", "Pets"], "live", "PetsUrl")
    ('pets', 'Pets', 'pets:live', 'Pets:live', 'PetsUrl')
    """
    of_alias = [f"{name}:{alias}" for name in functions] if alias else []
    return tuple(dict.fromkeys(filter(None, (*functions, *of_alias, id))))


def with_own_names(sites: Collection[Site]) -> list[Site]:
    """Return the sites with the names that only one of them has.

    A function and each of its aliases may have a URL. The name of the function alone then belongs to the URL without
    an alias. Several APIs may have one name, as on AWS. Then each of them has its logical id only.
    """
    counts = Counter((site.is_api, name) for site in sites for name in site.names)
    return [
        replace(site, names=tuple(name for name in site.names if counts[site.is_api, name] < 2 or _owns(site, name)))
        for site in sites
    ]


def _owns(site: Site, name: str) -> bool:
    """Return whether a name stays with a site if several sites have the name."""
    if site.kind != FUNCTION_URL:
        return name == site.names[0]
    (endpoint,) = site.endpoints.values()
    return ":" in name or ":" not in endpoint.route.function


def load_balancer(name: str, group: TargetGroup, access: Access = OPEN) -> Site:
    """Return a load balancer with one target group: each method and path is a call of its function."""
    endpoint = Endpoint(group, alb, access=access)
    return Site("load balancer", (name,), alb, {"$default": endpoint}, lambda *_: endpoint)
