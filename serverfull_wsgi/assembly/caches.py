"""The caches of unpacked archives, in the data directory of settings."""

from __future__ import annotations

from pathlib import Path

from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.storage.package_cache import PackageCache


def package_cache(settings: Settings, folder: str) -> PackageCache:
    """Return the cache of unpacked archives in a folder of the data directory."""
    return PackageCache(Path(settings.data_dir, folder).absolute(), may_create=settings.creates_files)
