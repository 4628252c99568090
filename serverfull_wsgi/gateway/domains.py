"""Custom domains: which API a Host and the beginning of a path address.

A domain maps base paths to APIs. Base path and stage are not part of the path that the API's routes match::

    Host: api.example.com       /orders/v1/pets/7  ──▶  the API with the base path orders/v1:  /pets/7
                                /orders/7          ──▶  the API with the base path orders:     /7
                                /cats              ──▶  the API without a base path:           /cats

The longest base path counts, as on AWS, and a domain has precedence over a wildcard such as ``*.example.com``, which
stands for one label. A host of a domain serves nothing else, even under a path that no API has.

Source: "API mappings" in the developer's guide of API Gateway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.gateway.sites import Site

_host = re.compile(r"\s*(\[[^\]]*\]|[^\s:,;/@]+)")
_domain = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


class ApiMapping(NamedTuple):
    """An API under a base path of a domain.

    Args:
        domain: the domain, as `parse_domain` returns it.
        base_path: the base path, such as ``orders/v1``; empty for all other paths.
        site: the API.
        stage_in_path: True if the API's stage follows the base path, as for a mapping that names no stage.
    """

    domain: str
    base_path: str
    site: Site
    stage_in_path: bool = False


class Domains:
    """The custom domains of a server.

    Args:
        mappings: the APIs by domain and base path.
        names: domains that may have no mapping, and then refuse each request.

    Raises:
        ConfigurationError: if two APIs have the same base path of a domain.
    """

    def __init__(self, mappings: Iterable[ApiMapping] = (), names: Iterable[str] = ()) -> None:
        self._mappings = list(mappings)
        self._bases: dict[str, dict[tuple[str, ...], Site]] = {name: {} for name in names}
        owners: dict[tuple[str, tuple[str, ...]], Site] = {}
        for mapping in self._mappings:
            base, site = _base(mapping), mapping.site
            owner = owners.setdefault((mapping.domain, base), site)
            if owner is not site:
                shown = "/".join((mapping.domain, *base))
                raise ConfigurationError(
                    f"{owner.kind} {owner.names[0]!r} and {site.kind} {site.names[0]!r} both have the custom domain "
                    f"{shown!r}; change the base path of one"
                )
            self._bases.setdefault(mapping.domain, {})[base] = site.on_domain("/".join(("", *base)) if base else "")
        for name, bases in self._bases.items():
            self._bases[name] = dict(sorted(bases.items(), key=lambda item: -len(item[0])))

    def find(self, host: str, path: str) -> tuple[Site | None, str] | None:
        """Return the API and the path for it; None for a host that is not a custom domain.

        The API is None if the domain has none for this path.

        Args:
            host: the Host header. Case, port and a dot at the end do not count.
            path: the path, percent-encoded.
        """
        bases = self._bases_of(host) if self._bases else None
        if bases is None:
            return None
        first, *segments = path.split("/")
        for base, site in bases.items():
            if tuple(map(unquote, segments[: len(base)])) == base:
                return site, "/".join((first, *segments[len(base) :])) or "/"
        return None, path

    def _bases_of(self, host: str) -> dict[tuple[str, ...], Site] | None:
        name = host_name(host)
        if name in self._bases:
            return self._bases[name]
        return self._bases.get("*." + name.partition(".")[2])

    def urls(self) -> list[tuple[str, Site]]:
        """Return domain with base path, and API, of each mapping."""
        return [("/".join((mapping.domain, *_base(mapping))), mapping.site) for mapping in self._mappings]


def _base(mapping: ApiMapping) -> tuple[str, ...]:
    """Return the segments before the path of the API's routes."""
    parts = [part for part in mapping.base_path.split("/") if part]
    return (*parts, mapping.site.stage) if mapping.stage_in_path and mapping.site.stage else tuple(parts)


def host_name(host: str) -> str:
    """Return the name in a Host header, in lower case, without port and without dots at its end.

    The rest of a Host that is not valid does not count: such a request must not reach another part of the server.

    >>> host_name("API.example.com.:8080"), host_name("api.example.com:x"), host_name("[::1]:8080")
    ('api.example.com', 'api.example.com', '[::1]')
    """
    found = _host.match(host)
    return found[1].lower().rstrip(".") if found else ""


def parse_domain(text: str) -> str:
    """Return a domain as browsers send it in Host; an empty text for one that no Host can be.

    >>> parse_domain("API.Example.com."), parse_domain("*.bücher.example"), parse_domain("a b")
    ('api.example.com', '*.xn--bcher-kva.example', '')
    """
    try:
        name = ".".join(
            label if label == "*" else label.encode("idna").decode()
            for label in text.strip().lower().removesuffix(".").split(".")
        )
    except UnicodeError:
        return ""
    return name if len(name) <= 253 and _domain.fullmatch(name) else ""
