"""The account that the registry's functions belong to: its ARNs, and the errors that name them."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from serverfull_wsgi.errors import ResourceNotFoundException
from serverfull_wsgi.names import partition_of


class Account(NamedTuple):
    """A region, an account id, and the paths of the account's file systems, which SERVERFULL_MOUNTS has.

    >>> Account("eu-west-1", "123456789012").arn("hello", "prod")
    'arn:aws:lambda:eu-west-1:123456789012:function:hello:prod'
    """

    region: str
    account_id: str
    mounts: frozenset[str] = frozenset()

    def arn(self, name: str, qualifier: str | None = None) -> str:
        """Return the ARN of a function, or of its version or alias."""
        arn = f"arn:{partition_of(self.region)}:lambda:{self.region}:{self.account_id}:function:{name}"
        return f"{arn}:{qualifier}" if qualifier else arn

    def runtime_version_arn(self, runtime: str) -> str:
        """Return an ARN in AWS's form for a runtime. It stays the same, since runtimes are the machine's."""
        digest = hashlib.sha256(runtime.encode()).hexdigest()
        return f"arn:{partition_of(self.region)}:lambda:{self.region}::runtime:{digest}"

    def not_found(self, name: str, qualifier: str | None = None) -> ResourceNotFoundException:
        """Return the error for a function, version or alias that does not exist."""
        return ResourceNotFoundException(f"Function not found: {self.arn(name, qualifier)}")
