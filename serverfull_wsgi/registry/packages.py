"""Code packages: zip archives, named by their SHA-256, and unpacked once on a machine."""

from __future__ import annotations

import os
import threading
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

from serverfull_wsgi.errors import InvalidParameterValueException, RequestEntityTooLargeException, ServiceException
from serverfull_wsgi.registry.objects import DirectoryStore
from serverfull_wsgi.registry.s3_source import S3Source
from serverfull_wsgi.storage.archives import (
    UNZIPPED_LIMIT,
    BadPackage,
    DamagedArchive,
    UnzippedTooLarge,
    sha256_of,
    unpack,
)
from serverfull_wsgi.storage.package_cache import PackageCache
from serverfull_wsgi.telemetry.scope import LOGGER

# Recorded from AWS: "Zipped size must be smaller than 52428800 bytes", "Unzipped size must be smaller than …".
ZIPPED_LIMIT = 52_428_800  # bytes, of an archive in a request; one in S3 has no limit of its own
NOT_A_ZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."
FOLDER = "code"
UNPACKED_PATIENCE = 86_400.0  # seconds: a call takes less, so no call runs code that is deleted


class Package(NamedTuple):
    """A package that is stored, checked and unpacked."""

    sha256: str  # hexadecimal
    size: int  # bytes, zipped

    @property
    def code_sha256(self) -> str:
        """AWS's CodeSha256: Base64."""
        return b64encode(bytes.fromhex(self.sha256)).decode("ascii")


class PackageStore:
    """The packages of a registry.

    Args:
        store: keeps the archives.
        cache: keeps the unpacked archives of this machine.
        source: copies packages from S3; None if boto3 is not installed.
    """

    def __init__(self, store: DirectoryStore, cache: PackageCache, source: S3Source | None = None) -> None:
        self._store, self._cache, self._source = store, cache, source
        self._known: dict[str, str] = {}  # the directories of packages that this process has used

    def add(self, file: BinaryIO, *, limit: int = ZIPPED_LIMIT) -> Package:
        """Check an archive, unpack it, and write it to the store. The package is on the disk after this.

        Raises as `check`.
        """
        package = self.check(file, limit=limit)
        file.seek(0)
        try:
            self._store.put_file(f"{FOLDER}/{package.sha256}", file)
        except OSError as error:
            _fail(f"write the package {package.sha256}", error)
        return package

    def fetch(self, bucket: str, key: str, version: str | None = None, *, dry_run: bool = False) -> Package:
        """Copy a package from S3, as `add` does, or check it for a dry run. Later changes of the object have no effect.

        Raises as `check`, and as `S3Source.download`.
        """
        if self._source is None:
            raise InvalidParameterValueException(
                "Code in S3 needs boto3 on this server: pip install 'serverfull-wsgi[aws]'; or send a ZipFile"
            )
        with self._source.download(bucket, key, version) as file:
            return (self.check if dry_run else self.add)(file, limit=UNZIPPED_LIMIT)

    def check(self, file: BinaryIO, *, limit: int = ZIPPED_LIMIT) -> Package:
        """Check an archive, and unpack it to the machine's cache. The store is not changed.

        Args:
            file: the archive, at any position.
            limit: its greatest length in bytes.

        Raises:
            RequestEntityTooLargeException: if the archive is larger than ``limit``.
            InvalidParameterValueException: if it cannot be unpacked safely, or is too large then.
            ServiceException: if the files cannot be written.
        """
        size = file.seek(0, os.SEEK_END)
        if size > limit:
            raise RequestEntityTooLargeException(f"Zipped size must be smaller than {limit} bytes")
        sha256 = sha256_of(file)
        try:
            self._cached(sha256, lambda directory: unpack(file, directory, is_sealed=True))
        except UnzippedTooLarge:
            raise InvalidParameterValueException(f"Unzipped size must be smaller than {UNZIPPED_LIMIT} bytes") from None
        except DamagedArchive:
            raise InvalidParameterValueException(NOT_A_ZIP) from None
        except BadPackage as reason:
            raise InvalidParameterValueException(f"{NOT_A_ZIP} The archive is refused: {reason}.") from None
        except OSError as error:
            _fail(f"unpack the package {sha256}", error)
        return Package(sha256, size)

    def open(self, sha256: str) -> BinaryIO:
        """Return the archive as it was uploaded. Raises FileNotFoundError."""
        return self._store.open(f"{FOLDER}/{sha256}")

    def directory(self, sha256: str) -> str:
        """Return the directory of the unpacked package. The first use on a machine unpacks it.

        Raises `ServiceException` if the package is lost or damaged.
        """
        if sha256 in self._known and os.path.isdir(self._known[sha256]):
            return self._known[sha256]
        try:
            return self._cached(sha256, lambda directory: self._unpack_stored(sha256, directory))
        except (OSError, BadPackage) as error:
            _fail(f"unpack the package {sha256}", error)

    def delete_unpacked(self, needed: set[str]) -> int:
        """Delete the unpacked packages of this machine that were not needed for a day, and return their number."""
        try:
            return self._cache.delete_unneeded(needed, UNPACKED_PATIENCE)
        except OSError as error:
            _fail("delete unpacked packages", error)

    def path(self, sha256: str) -> str:
        """Return the directory that the unpacked package has, or will have."""
        return str(self._cache.path(sha256))

    def _cached(self, sha256: str, make: Callable[[Path], None]) -> str:
        with self._lock():  # the cache's locks hold between processes
            path = self._known[sha256] = self._cache.get(sha256, make)
            return path

    def _lock(self) -> threading.Lock:
        """Return the lock. Its first use creates it, since gevent replaces `threading.Lock` after the constructor."""
        lock: threading.Lock = self.__dict__.setdefault("_unpacking", threading.Lock())
        return lock

    def _unpack_stored(self, sha256: str, directory: Path) -> None:
        with self.open(sha256) as file:
            if sha256_of(file) != sha256:
                raise BadPackage(f"the package {sha256} is damaged; restore it from a backup, or deploy it again")
            unpack(file, directory, is_sealed=True)


def _fail(action: str, error: Exception) -> NoReturn:
    """Log the reason of a failure, and raise `ServiceException`, whose message does not reveal it."""
    LOGGER.error("registry: cannot %s: %s", action, error)
    raise ServiceException from error
