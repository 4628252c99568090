"""Configuration of a function's log: AWS's advanced logging controls.

Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from serverfull_wsgi.errors import ConfigurationError

FORMATS = ("Text", "JSON")
APPLICATION_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
SYSTEM_LEVELS = ("DEBUG", "INFO", "WARN")
_GROUP = r"[a-zA-Z0-9_\-/.#]{1,512}"


@dataclass(frozen=True)
class LoggingConfig:
    """Format, levels and group of the log of one isolated function.

    Args:
        log_format: ``"Text"`` or ``"JSON"``.
        application_log_level: the least level of the function's own records; with the format JSON only. Empty for
            AWS's default, INFO.
        system_log_level: the least level of the platform's lines, such as the report; likewise.
        log_group: the name that the function finds in AWS_LAMBDA_LOG_GROUP_NAME. Empty for ``/aws/lambda/NAME``.

    Raises:
        ConfigurationError: for values that AWS refuses.

    >>> LoggingConfig("JSON", system_log_level="WARN").log_format
    'JSON'
    """

    log_format: str = "Text"
    application_log_level: str = ""
    system_log_level: str = ""
    log_group: str = ""

    def __post_init__(self) -> None:
        self._check("log_format", FORMATS)
        for name, levels in (("application_log_level", APPLICATION_LEVELS), ("system_log_level", SYSTEM_LEVELS)):
            if getattr(self, name):
                self._check(name, levels)
                if self.log_format != "JSON":
                    raise ConfigurationError(f"logging_config: {name} needs log_format='JSON', not 'Text'")
        if self.log_group and not re.fullmatch(_GROUP, self.log_group):
            raise ConfigurationError(
                f"logging_config: log_group={self.log_group!r} must be 1 to 512 letters, digits and '_-/.#'"
            )

    def _check(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise ConfigurationError(f"logging_config: {name}={getattr(self, name)!r} must be {', '.join(choices)}")
