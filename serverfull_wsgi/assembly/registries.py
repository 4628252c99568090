"""The registry of deployed functions, as settings describe it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from serverfull_wsgi.assembly.caches import package_cache
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.executors.isolated.shared_folders import parse_mounts
from serverfull_wsgi.fetchers.fallback import FallbackFetcher
from serverfull_wsgi.fetchers.registry import RegistryFetcher
from serverfull_wsgi.fetchers.sam.parameters import parse_layers
from serverfull_wsgi.fetchers.static import StaticFetcher
from serverfull_wsgi.protocols import Fetcher
from serverfull_wsgi.registry.account import Account
from serverfull_wsgi.registry.layers import Layers
from serverfull_wsgi.registry.objects import DirectoryStore
from serverfull_wsgi.registry.packages import PackageStore
from serverfull_wsgi.registry.registry import Registry
from serverfull_wsgi.registry.s3_source import S3Source
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.storage.packages import Packages
from serverfull_wsgi.telemetry.scope import LOGGER


def create_registry(settings: Settings, configured: Fetcher) -> Registry:
    """Return the registry of SERVERFULL_REGISTRY, which is not empty.

    ``configured`` has the functions of the configuration, whose names cannot be deployed. Raises `ConfigurationError`.
    """
    origin = f"SERVERFULL_REGISTRY={settings.registry}"
    if "://" in settings.registry:
        raise ConfigurationError(f"{origin}: only a directory is supported; name a directory on a local disk")
    store = DirectoryStore(Path(settings.registry))
    try:
        store.check()
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin}: {error}") from None
    except OSError as error:  # of a path that cannot be followed
        raise ConfigurationError(f"{origin}: {error.strerror}; name a directory of the server's user") from None
    source = S3Source(settings.region, settings.s3_endpoint) if importlib.util.find_spec("boto3") else None
    return Registry(
        store,
        PackageStore(store, package_cache(settings, "deployed"), source),
        Account(settings.region, settings.account_id, frozenset(parse_mounts(settings.mounts))),
        layers=Layers(parse_layers(settings.layers), Packages(package_cache(settings, "packages"))),
        is_served_elsewhere=FallbackFetcher(configured, StaticFetcher({})).is_configured,
    )


def with_registry(configured: Fetcher, registry: Registry) -> Fetcher:
    """Return the functions of the configuration and those of the registry. Log a warning for names that both have."""
    fetcher = FallbackFetcher(configured, RegistryFetcher(registry))
    if hidden := [name for name in registry.names() if fetcher.is_configured(name)]:
        LOGGER.warning(
            "registry: %s %s deployed, but the configuration's function of this name is served; rename or delete one",
            ", ".join(hidden),
            "is" if len(hidden) == 1 else "are",
        )
    return fetcher
