"""How a request names a function: by name, partial ARN or ARN, with or without a qualifier."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, field
from zlib import crc32

from serverfull_wsgi.errors import InvalidParameterValueException, ValidationException, violation

LATEST = "$LATEST"

# AWS's own patterns, which its error messages quote.
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
    """A function as a request addresses it; region and account are the server's where the request names none.

    >>> name = FunctionName.parse("hello:prod", region="eu-west-1", account_id="123456789012")
    >>> name.name, name.qualifier, name.arn
    ('hello', 'prod', 'arn:aws:lambda:eu-west-1:123456789012:function:hello:prod')
    """

    name: str
    qualifier: str | None
    region: str
    account_id: str
    partition: str = "aws"
    arn: str = field(init=False)  # exactly as addressed: it has a qualifier when the request had one
    lineage: str = field(init=False)  # what stands for the function in a trace's lineage: 8 hex digits

    def __post_init__(self) -> None:
        arn = f"arn:{self.partition}:lambda:{self.region}:{self.account_id}:function:{self.name}"
        object.__setattr__(self, "arn", f"{arn}:{self.qualifier}" if self.qualifier else arn)
        object.__setattr__(self, "lineage", f"{crc32(self.arn.encode()):08x}")

    @classmethod
    def parse(cls, text: str, qualifier: str | None = None, *, region: str, account_id: str) -> FunctionName:
        """``qualifier`` is the one given beside the name, None without one.

        Raises `ValidationException` for what breaks AWS's patterns, `InvalidParameterValueException` for two
        qualifiers that differ.
        """
        match = _function_name.fullmatch(text)
        violations = name_violations(text) + qualifier_violations(qualifier)
        if violations or not match:
            raise ValidationException(violations)
        # By number, since error messages quote the pattern as AWS writes it.
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

    @property
    def qualified_arn(self) -> str:
        """The ARN with its qualifier, ``$LATEST`` where the request had none: how AWS names what it cannot find."""
        return self.arn if self.qualifier else f"{self.arn}:{LATEST}"


def name_violations(text: str) -> list[str]:
    """What is wrong with a function name, in AWS's words; nothing for a good one."""
    found = []
    if not _function_name.fullmatch(text) or _is_torso(text):
        found.append(violation(text, "functionName", f"satisfy regular expression pattern: {FUNCTION_NAME}"))
    if len(text) > NAME_LENGTH:
        found.append(violation(text, "functionName", f"have length less than or equal to {NAME_LENGTH}"))
    return found


def qualifier_violations(text: str | None) -> list[str]:
    """The same for a qualifier that was given beside the name."""
    if text is None:
        return []
    found = []
    if not _qualifier.fullmatch(text):
        found.append(violation(text, "qualifier", f"satisfy regular expression pattern: {QUALIFIER}"))
    if len(text) > QUALIFIER_LENGTH:
        found.append(violation(text, "qualifier", f"have length less than or equal to {QUALIFIER_LENGTH}"))
    return found


def _is_torso(text: str) -> bool:
    """An ARN that leaves out its region or account, which AWS's pattern would let pass."""
    return text.startswith("arn:") and not re.match(r"arn:[^:]*:lambda:[^:]+-\d:\d{12}:", text, re.ASCII)


def partition_of(region: str) -> str:
    """The ARN partition a region belongs to."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def log_group_name(function_name: str) -> str:
    """Return AWS's name of the log group that holds all logs of a function."""
    return f"/aws/lambda/{function_name}"


def log_stream_name(version: str) -> str:
    """Return a new log stream name for one environment: ``2026/11/24/[$LATEST]`` and 32 hexadecimal digits."""
    return f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{version}]{secrets.token_hex(16)}"
