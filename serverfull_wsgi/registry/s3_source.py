"""Packages in S3 buckets, as CreateFunction and UpdateFunctionCode name them (the extra ``aws``)."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, BinaryIO

from serverfull_wsgi.errors import InvalidParameterValueException, ServiceException
from serverfull_wsgi.storage.archives import UNZIPPED_LIMIT
from serverfull_wsgi.telemetry.scope import LOGGER

CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 30.0  # seconds
_CHUNK = 1 << 20  # bytes


class S3Source:
    """Copies packages from S3, with the credentials that boto3 finds for the server.

    Args:
        region: the region of requests.
        endpoint: the URL of a service that stands in for AWS's; empty for AWS's own.
    """

    def __init__(self, region: str, endpoint: str = "") -> None:
        self._region, self._endpoint = region, endpoint
        self._client = lru_cache(maxsize=1)(self._make_client)  # a client takes tens of milliseconds to make

    @contextlib.contextmanager
    def download(self, bucket: str, key: str, version: str | None = None) -> Iterator[BinaryIO]:
        """Return a temporary file with an object.

        Raises:
            InvalidParameterValueException: if S3 refuses the request, or the object is too large.
            ServiceException: if S3 cannot be reached, or boto3 finds no credentials.
        """
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        names = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}
        with tempfile.TemporaryFile() as file:
            try:
                answer = self._client().get_object(**names)
                _copy(answer["Body"], answer["ContentLength"], file)
            except ClientError as error:
                code, message = (error.response["Error"].get(name, "") for name in ("Code", "Message"))
                raise InvalidParameterValueException(
                    f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
                ) from None
            except (BotoCoreError, HTTPClientError) as error:
                LOGGER.error("registry: cannot read s3://%s/%s: %s", bucket, key, error)
                raise ServiceException from error
            yield file

    def _make_client(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT, retries={"total_max_attempts": 2})
        return boto3.client("s3", region_name=self._region, endpoint_url=self._endpoint or None, config=config)


def _copy(body: Any, length: int, file: BinaryIO) -> None:
    if length > UNZIPPED_LIMIT:
        raise InvalidParameterValueException(f"Unzipped size must be smaller than {UNZIPPED_LIMIT} bytes")
    while chunk := body.read(_CHUNK):
        file.write(chunk)
