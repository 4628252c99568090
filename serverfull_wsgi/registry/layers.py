"""Layers that this server has: those of the setting SERVERFULL_LAYERS."""

from __future__ import annotations

import os
from collections.abc import Mapping

from serverfull_wsgi.errors import ResourceConflictException
from serverfull_wsgi.storage.archives import BadPackage
from serverfull_wsgi.storage.packages import Packages


class Layers:
    """Layers on this machine, by ARN.

    Args:
        paths: a folder or zip archive for each layer, by the ARN of the layer's version, or of the layer, which stands
            for every version.
        packages: unpacks the archives.
    """

    def __init__(self, paths: Mapping[str, str], packages: Packages | None = None) -> None:
        self._paths, self._packages = paths, packages or Packages()

    def size(self, arn: str) -> int | None:
        """Return the bytes of a version of a layer, 0 for a folder; None if this server does not have it."""
        path = self._path(arn)
        if path is None or not os.path.exists(path):
            return None
        return os.path.getsize(path) if os.path.isfile(path) else 0

    def directory(self, arn: str) -> str:
        """Return the folder with the content of a layer.

        Raises `ResourceConflictException` if this server no longer has the layer, or cannot unpack it.
        """
        path = self._path(arn)
        try:
            if path is None or not os.path.exists(path):
                raise BadPackage("this server does not have it; set SERVERFULL_LAYERS")
            return self._packages.directory(path)
        except BadPackage as reason:
            raise ResourceConflictException(f"The layer {arn} cannot be used: {reason}.") from None

    def _path(self, arn: str) -> str | None:
        return self._paths.get(arn) or self._paths.get(arn.rpartition(":")[0])
