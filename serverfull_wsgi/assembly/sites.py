"""The server of APIs, function URLs and load balancers, as settings describe it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from serverfull_wsgi.assembly.extras import needs_extra
from serverfull_wsgi.auth.credentials import CredentialsFile
from serverfull_wsgi.auth.sigv4.verifier import Verifier
from serverfull_wsgi.dispatcher import Dispatcher
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.fetchers.abilities import template_fetchers
from serverfull_wsgi.gateway.authorizers import Authorizers, TokenVerifier
from serverfull_wsgi.gateway.domains import ApiMapping, Domains
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.locations import Locations
from serverfull_wsgi.gateway.missing_functions import missing_functions
from serverfull_wsgi.gateway.requests import parse_proxies
from serverfull_wsgi.gateway.sources.configuration import choose, parse_load_balancers, parse_routes
from serverfull_wsgi.protocols import Fetcher, is_listable
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.storage.private_files import readable_by_others
from serverfull_wsgi.telemetry.scope import LOGGER


def create_sites(settings: Settings, fetcher: Fetcher) -> Callable[[Dispatcher], SiteServer]:
    """Return a function that makes the server of the APIs, function URLs and load balancers of SERVERFULL_FRONT.

    Warnings about routes of a template are logged. Raises `ConfigurationError`.
    """
    sites = [parse_routes(settings.routes, settings.account_id)] if settings.routes else []
    sites += parse_load_balancers(settings.load_balancers, settings.region, settings.account_id)
    mappings: list[ApiMapping] = []
    domain_names: list[str] = []
    for template in template_fetchers(fetcher):
        from serverfull_wsgi.gateway.sources.templates import TemplateSites  # needs the extra `sam`

        found = TemplateSites(template, account_id=settings.account_id)
        sites += found.sites
        mappings += found.domains.mappings
        domain_names += found.domains.names
        for line in found.warnings:
            LOGGER.warning("%s", line)
    if not settings.registry and is_listable(fetcher):  # a function of a registry may be deployed later
        for line in missing_functions(sites, fetcher):
            LOGGER.warning("%s", line)
    proxies, keys = parse_proxies(settings.trusted_proxies), _api_keys(settings)
    conditions = [endpoint.access for site in sites for endpoint in site.endpoints.values()]
    if not keys and any(access.needs_api_key for access in conditions):
        LOGGER.warning(
            "routes that need an API key refuse each request: set SERVERFULL_API_KEYS or SERVERFULL_API_KEYS_FILE"
        )
    if not settings.credentials_file and any(access.needs_signature for access in conditions):
        LOGGER.warning("routes that need an IAM signature refuse each request: set SERVERFULL_CREDENTIALS_FILE")
    tokens: TokenVerifier | None = None
    if any(access.token for access in conditions):
        with needs_extra("jwt", "a JWT authorizer of the template"):
            from serverfull_wsgi.gateway.json_web_tokens import Tokens
        tokens = Tokens()

    def server(dispatcher: Dispatcher) -> SiteServer:
        authorizers = Authorizers(dispatcher, keys, tokens=tokens, timeout=settings.front_timeout)
        gateway = Gateway(dispatcher, authorizers, timeout=settings.front_timeout)
        if settings.is_front_at_root:
            root = choose(sites, settings.front_api)
            return SiteServer(gateway, root=root, proxies=proxies, verifiers=_verifiers(settings))
        locations = Locations(sites, settings.front, Domains(mappings, domain_names))
        return SiteServer(gateway, locations=locations, proxies=proxies, verifiers=_verifiers(settings))

    return server


def _verifiers(settings: Settings) -> dict[str, Verifier]:
    """Return the verifiers of signatures for routes; none if no credentials file is set."""
    if not settings.credentials_file:
        return {}
    credentials = CredentialsFile(settings.credentials_file)
    return {
        service: Verifier(
            credentials,
            settings.region,
            service,
            account_id=settings.account_id,
            replay_guard=settings.replay_guard,
        )
        for service in ("lambda", "execute-api")
    }


def _api_keys(settings: Settings) -> tuple[str, ...]:
    """Return the API keys of both settings. Log a warning if others can read the file."""
    if not settings.api_keys_file:
        return settings.api_keys
    path = Path(settings.api_keys_file).absolute()
    origin = f"SERVERFULL_API_KEYS_FILE={settings.api_keys_file}"
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the file is not text"
        raise ConfigurationError(f"{origin}: {reason}; name a file with a key in each line") from None
    if readable_by_others(path.parent, [path.name]):
        LOGGER.warning("%s: other users of this machine can read the file; run chmod o-r %s", origin, path)
    return (*settings.api_keys, *filter(None, map(str.strip, lines)))
