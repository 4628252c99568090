"""Names of functions and of their logs, as AWS writes them."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from zlib import crc32

from serverfull_wsgi.errors import InvalidParameterValueException, ValidationException, violation

LATEST = "$LATEST"  # the version that is not published: a function's current code

# The region and account of the functions' ARNs unless the settings name others.
DEFAULT_REGION = "us-east-1"  # AWS's first region
DEFAULT_ACCOUNT_ID = "123456789012"  # the account of all examples in AWS's documentation

# AWS's own patterns and lengths, which its error messages quote.
# Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
FUNCTION_NAME = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
QUALIFIER = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
NAME_LENGTH = 256
QUALIFIER_LENGTH = 128

_function_name = re.compile(FUNCTION_NAME, re.ASCII)
_qualifier = re.compile(QUALIFIER, re.ASCII)


@dataclass(frozen=True)
class FunctionName:
    """A function as a request addresses it: by name, partial ARN or ARN, with or without a qualifier.

    >>> name = FunctionName.parse("hello:prod", region="eu-west-1", account_id="123456789012")
    >>> name.name, name.qualifier, name.arn
    ('hello', 'prod', 'arn:aws:lambda:eu-west-1:123456789012:function:hello:prod')
    """

    name: str
    qualifier: str | None  # a version or an alias; None if the request has none
    region: str
    account_id: str  # 12 digits
    partition: str = "aws"
    arn: str = field(init=False)  # as addressed: with a qualifier only if the request has one
    lineage: str = field(init=False)  # the function's id in a trace's lineage: 8 hexadecimal digits

    def __post_init__(self) -> None:
        arn = f"arn:{self.partition}:lambda:{self.region}:{self.account_id}:function:{self.name}"
        object.__setattr__(self, "arn", f"{arn}:{self.qualifier}" if self.qualifier else arn)
        object.__setattr__(self, "lineage", f"{crc32(self.arn.encode()):08x}")

    @classmethod
    def parse(
        cls,
        text: str,
        qualifier: str | None = None,
        *,
        region: str = DEFAULT_REGION,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> FunctionName:
        """Return the function that ``text`` names.

        Args:
            text: a name, ``name:qualifier``, a partial ARN or an ARN.
            qualifier: the qualifier that the request gives beside the name; None without one.
            region: the region of a name that has none.
            account_id: the account of a name that has none.

        Raises:
            ValidationException: for a name or qualifier that breaks AWS's patterns.
            InvalidParameterValueException: for two qualifiers that differ.
        """
        match = _function_name.fullmatch(text)
        violations = name_violations(text) + qualifier_violations(qualifier)
        if violations or not match:
            raise ValidationException(violations)
        # Groups by number: error messages quote the pattern, and AWS's has no group names.
        partition, its_region, its_account, name, derived = match.group(2, 3, 9, 11, 13)
        if derived and qualifier and derived != qualifier:
            raise InvalidParameterValueException(
                "The derived qualifier from the function name does not match the specified qualifier."
            )
        return cls(
            name=name,
            qualifier=qualifier or derived,
            region=its_region[:-1] if its_region else region,
            account_id=its_account[:-1] if its_account else account_id,
            partition=partition or partition_of(region),
        )

    def without_qualifier(self) -> FunctionName:
        """Return the function as a whole, with all its versions and aliases."""
        return FunctionName(self.name, None, self.region, self.account_id, self.partition)

    @property
    def qualified_arn(self) -> str:
        """The ARN with its qualifier, ``$LATEST`` if the request has none. AWS names a missing function like this."""
        return self.arn if self.qualifier else f"{self.arn}:{LATEST}"


def name_violations(text: str) -> list[str]:
    """Return every constraint that a function name breaks, in AWS's words; an empty list for a valid name."""
    violations = []
    if not _function_name.fullmatch(text) or is_incomplete_arn(text):
        violations.append(violation(text, "functionName", f"satisfy regular expression pattern: {FUNCTION_NAME}"))
    if len(text) > NAME_LENGTH:
        violations.append(violation(text, "functionName", f"have length less than or equal to {NAME_LENGTH}"))
    return violations


def qualifier_violations(text: str | None) -> list[str]:
    """Return every constraint that a qualifier breaks, in AWS's words. None, for no qualifier, breaks none."""
    if text is None:
        return []
    violations = []
    if not _qualifier.fullmatch(text):
        violations.append(violation(text, "qualifier", f"satisfy regular expression pattern: {QUALIFIER}"))
    if len(text) > QUALIFIER_LENGTH:
        violations.append(violation(text, "qualifier", f"have length less than or equal to {QUALIFIER_LENGTH}"))
    return violations


def is_incomplete_arn(text: str) -> bool:
    """Return whether ``text`` is an ARN without region or account. AWS refuses one, although its pattern matches."""
    return text.startswith("arn:") and not re.match(r"arn:[^:]*:lambda:[^:]+-\d:\d{12}:", text, re.ASCII)


def partition_of(region: str) -> str:
    """Return the ARN partition of a region: ``aws``, ``aws-cn`` or ``aws-us-gov``."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def log_group_name(function_name: str) -> str:
    """Return AWS's name of the log group that holds all logs of a function."""
    return f"/aws/lambda/{function_name}"


def log_stream_name(version: str) -> str:
    """Return a new log stream name for one environment: ``2026/11/24/[$LATEST]`` and 32 hexadecimal digits."""
    return f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{version}]{os.urandom(16).hex()}"
