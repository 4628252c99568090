"""Locations: which site a request addresses, by its Host or by the beginning of its path.

    =====================================================  ==========================================
    request                                                site, and the path for it
    =====================================================  ==========================================
    ``Host: pets.execute-api.localhost``, ``/prod/cats``   API ``pets``, stage ``prod``: ``/cats``
    ``/_aws/execute-api/pets/prod/cats``                   the same
    ``Host: web.lambda-url.localhost``, ``/cats``          URL of the function ``web``: ``/cats``
    ``/_aws/lambda-url/web/cats``                          the same
    ``/_aws/elb/web/cats``                                 load balancer ``web``: ``/cats``
    ``Host: api.example.com``, ``/pets/cats``              the API of this domain and base path: ``/cats``
    =====================================================  ==========================================

The decision needs the raw path and the Host only. It is made before any authentication, so a public route never reaches
another part of the server, and nothing else is served under the host of a site. An HTTP API with the stage ``$default``
has no stage in the path under its Host, and the segment ``$default`` in the other form.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.evidence import clipped
from serverfull_wsgi.gateway.domains import Domains, host_name
from serverfull_wsgi.gateway.formats import alb, function_url, http_v2, rest_v1
from serverfull_wsgi.gateway.sites import Endpoint, Format, Site

FORMS = ("hosts", "paths")

_host = re.compile(r"([^.:]+)\.(execute-api|lambda-url)\.", re.IGNORECASE)
_address = re.compile(r"\A(\[[^]]*\]|[\d.]+)(?=:|\Z)")
_path = re.compile(r"/_aws/(execute-api|lambda-url|elb)/([^/]+)(/[^/]*)?")
_SERVICES = {"REST API": "execute-api", "HTTP API": "execute-api", "function URL": "lambda-url", "load balancer": "elb"}
_WORDS = {"execute-api": "API", "lambda-url": "function URL", "elb": "load balancer"}
_FORMATS: dict[str, Format] = {"execute-api": http_v2, "lambda-url": function_url, "elb": alb}


class Location(NamedTuple):
    """The site that a request addresses.

    Args:
        site: the site; None if there is none of this name, or the path does not begin with its stage.
        path: the path for the site, percent-encoded.
        format: the format in which a request without a site is refused.
        is_root: True for a site under every path, beside which the health check is served.
        fault: without a site, the reason, with the names that the request addresses.
    """

    site: Site | None
    path: str
    format: Format
    is_root: bool = False
    fault: str = ""


class Locations:
    """The sites of a server by their names.

    Args:
        sites: the sites.
        forms: ``hosts``, ``paths``, or both: the forms of addresses that are served.
        domains: the custom domains, which are served with ``hosts``.

    Raises:
        ConfigurationError: for an unknown form, and for two sites of one service with the same name.
    """

    def __init__(self, sites: Iterable[Site], forms: Collection[str] = FORMS, domains: Domains | None = None) -> None:
        if unknown := set(forms) - set(FORMS):
            raise ConfigurationError(f"the form {min(unknown)!r} is not one of {', '.join(FORMS)}")
        self._forms = forms
        self._domains = domains or Domains()
        self._sites: dict[tuple[str, str], Site] = {}
        for site in sites:
            service = _SERVICES[site.kind]
            for name in {name.lower() for name in site.names}:
                if self._sites.setdefault((service, name), site) is not site:
                    other = self._sites[service, name]
                    raise ConfigurationError(
                        f"{other.kind} {other.names[0]!r} and {site.kind} {site.names[0]!r} would both be served as "
                        f"{name!r}, since case does not count; rename one"
                    )

    def find(self, host: str, path: str) -> Location | None:
        """Return the location of a request, or None for a request to another part of the server.

        Args:
            host: the Host header; the port does not count.
            path: the path, percent-encoded.
        """
        if "hosts" in self._forms:
            if (found := self._domains.find(host, path)) is not None:
                site, path = found
                if site is None:  # inferred: 403 without a mapping
                    fault = f"no API of the domain {clipped(host_name(host))!r} has the base path of the request"
                    return Location(None, path, rest_v1, fault=fault)
                return Location(site, path, site.format)
            if match := _host.match(host):
                name, service = match.groups()
                return self._located(service.lower(), name, path, is_host=True)
        if "paths" in self._forms and (match := _path.match(path)):
            service, name, stage = match.groups()
            start = match.end() if stage is None else match.start(3)
            return self._located(service, unquote(name), path[start:] or "/", is_host=False)
        return None

    def urls(self, origin: str) -> list[str]:
        """Return the `route_lines` of all sites, with URLs below ``origin``, such as ``http://127.0.0.1:8080``."""
        return [line for start, site in self._starts(origin) for line in route_lines(start, site.endpoints)]

    def _starts(self, origin: str) -> Iterator[tuple[str, Site]]:
        """Yield the beginning of the URLs of each site, in each form that is served."""
        scheme, _, authority = origin.rpartition("://")
        port = re.search(r":\d*\Z", authority)
        domain = _address.sub("localhost", authority)  # no name can stand before an address
        for (service, name), site in self._sites.items():
            if name != site.names[0].lower() or not site.has_endpoint:
                continue
            if "hosts" in self._forms and service != "elb":
                in_path = f"/{site.stage}" if site.stage else ""
                label = next(name for name in site.names if ":" not in name)  # a host has no alias
                yield f"{scheme}://{label}.{service}.{domain}{in_path}", site
            if "paths" in self._forms:
                stage = f"/{site.stage or '$default'}" if service == "execute-api" else ""
                yield f"{origin}/_aws/{service}/{site.names[0]}{stage}", site
        for domain, site in self._domains.urls() if "hosts" in self._forms else ():
            name, slash, base = domain.partition("/")
            yield f"{scheme}://{name}{port[0] if port else ''}{slash}{base}", site

    def _located(self, service: str, name: str, path: str, is_host: bool) -> Location:
        site = self._sites.get((service, name.lower()))
        if site is None:
            return Location(None, path, _FORMATS[service], fault=f"there is no {_WORDS[service]} {clipped(name)!r}")
        format, stage = site.format, site.stage
        if not site.has_endpoint:  # AWS's answers to an endpoint that is disabled are the same
            fault = f"{site.kind} {site.names[0]!r} is served under its custom domains only"
            return Location(None, path, format, fault=fault)
        if not stage and service == "execute-api" and not is_host:
            stage = "$default"
        if not stage:
            return Location(site, path, format)
        path = "/" + path.lstrip("/") if site.kind == "REST API" else path  # as recorded: //stage is /stage
        first, slash, rest = path[1:].partition("/")
        if unquote(first) != stage:
            fault = f"a path of {site.kind} {site.names[0]!r} must begin with its stage, /{stage}"
            return Location(None, path, format, fault=fault)
        return Location(site, slash + rest or "/", format)


def route_lines(start: str, endpoints: Mapping[str, Endpoint]) -> Iterator[str]:
    """Yield a line for each route: its method, its URL, which begins with ``start``, and its conditions."""
    for key, endpoint in endpoints.items():
        method, _, path = ("ANY /{proxy+}" if key == "$default" else key).partition(" ")
        conditions = endpoint.access.text
        yield f"{method} {start}{path}" + (f" ({conditions})" if conditions else "")
