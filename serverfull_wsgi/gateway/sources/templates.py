"""The sites of a SAM or CloudFormation template."""

from __future__ import annotations

from collections.abc import Iterable

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
from serverfull_wsgi.gateway.sites import Site, with_own_names
from serverfull_wsgi.gateway.sources.cloudformation import cloudformation_sites
from serverfull_wsgi.gateway.sources.domains import TemplateDomains
from serverfull_wsgi.gateway.sources.ignored import warn_ignored
from serverfull_wsgi.gateway.sources.resources import Resources
from serverfull_wsgi.gateway.sources.sam import SamSites
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID


class TemplateSites:
    """The sites of the functions of a template.

    Args:
        fetcher: has the template, and the functions by their names.
        account_id: the account in events.

    Attributes:
        sites: the sites. An API without routes is not among them.
        domains: the custom domains of the APIs.
        warnings: one line for each property that has no effect, or because of which a route refuses its requests.

    Raises:
        ConfigurationError: for two routes of one API that match the same requests, and for values that are nested too
            deeply.
    """

    def __init__(self, fetcher: SamFetcher, *, account_id: str = DEFAULT_ACCOUNT_ID) -> None:
        resources = Resources(fetcher, account_id=account_id)
        try:
            sam = SamSites(resources)
            found = [*sam.sites, *cloudformation_sites(resources)]
            self.sites: list[Site] = with_own_names(found)
            self._warn_shared(resources, found)
            self.domains = TemplateDomains(resources, self.sites, sam.properties)
        except RecursionError:
            path = fetcher.template.path
            raise ConfigurationError(f"{path}:1: an API is nested too deeply; write it flatter") from None
        warn_ignored(resources, sam.properties)
        self._warn_unreachable(resources)
        self.warnings = list(dict.fromkeys(resources.warnings))

    def _warn_shared(self, resources: Resources, found: Iterable[Site]) -> None:
        for before, site in zip(found, self.sites, strict=True):
            for name in before.names:
                if site.is_api and name not in site.names:
                    resources.warn(site.names[0], f"another API has the name {name!r} too; use the logical id instead")

    def _warn_unreachable(self, resources: Resources) -> None:
        mapped = {mapping.site.names[0] for mapping in self.domains.mappings}
        for site in self.sites:
            if not site.has_endpoint and site.names[0] not in mapped:
                resources.warn(
                    site.names[0],
                    "its default endpoint is disabled and it has no custom domain, so it has no address with "
                    "SERVERFULL_FRONT; serve it with 'serverfull serve --api'",
                )
