"""Configured functions as AWS describes functions: from settings, templates, or a fetcher of the user's own.

A member is absent if its value is not known here, such as the size and the hash of the code. Paths of this machine are
never shown.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from math import ceil
from typing import Any
from uuid import UUID, uuid5

from serverfull_wsgi.api.management.calls import Members
from serverfull_wsgi.domain import Function
from serverfull_wsgi.env_vars import RESERVED_VARIABLES
from serverfull_wsgi.names import LATEST, log_group_name

ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}  # by platform.machine()
_REVISIONS = UUID("6f0ab0ae-5c5e-4d0c-8f3b-1c7f1f2c7f55")  # the name space of revision ids: random, and constant
CANNOT_RUN = "The function cannot run; 'serverfull check' on the server gives the reasons."


def configuration(function: Function, arn: str) -> Members:
    """Return the configuration of a function. ``arn`` is the function's ARN, as the result shows it.

    >>> members = configuration(Function(print, name="hello"), "arn:aws:lambda:us-east-1:123456789012:function:hello")
    >>> members["Handler"], members["Timeout"], members["State"]
    ('builtins.print', 3, 'Active')
    """
    members: Members = {
        "FunctionName": function.name,
        "FunctionArn": arn,
        "Runtime": function.runtime or f"python{sys.version_info.major}.{sys.version_info.minor}",
        "Handler": _handler_string(function),
        "Description": function.description,
        "Timeout": ceil(function.timeout),
        "MemorySize": int(function.memory_size),
        "Version": function.version,
        "PackageType": "Zip",
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "LoggingConfig": _logging_config(function),
    }
    if architecture := ARCHITECTURES.get(platform.machine().lower()):
        members["Architectures"] = [architecture]
    if function.code is not None:
        members["EphemeralStorage"] = {"Size": int(function.ephemeral_storage)}
    # AWS never shows the credentials of a function
    if variables := {name: text for name, text in function.environment.items() if name not in RESERVED_VARIABLES}:
        members["Environment"] = {"Variables": variables}
    target = function.event_config.dead_letter if function.event_config else None
    if target and target.startswith("arn:"):
        members["DeadLetterConfig"] = {"TargetArn": target}
    # Equal in all processes, and another one after a change
    members["RevisionId"] = str(uuid5(_REVISIONS, repr(sorted({**members, "FunctionArn": ""}.items()))))
    return members


def refused_configuration(name: str, arn: str) -> Members:
    """Return the configuration of a function that exists and cannot run."""
    return {
        "FunctionName": name,
        "FunctionArn": arn,
        "Version": LATEST,
        "State": "Failed",
        "StateReason": CANNOT_RUN,
        "StateReasonCode": "InvalidConfiguration",
    }


def alias(name: str, version: str, arn: str) -> Members:
    """Return an alias of a configured function."""
    revision = str(uuid5(_REVISIONS, f"{arn} {version}"))
    return {"AliasArn": arn, "Name": name, "FunctionVersion": version, "Description": "", "RevisionId": revision}


def _handler_string(function: Function) -> str:
    """Return the Handler string, or the name by which the module of a callable has it."""
    source: Any = function.source
    if isinstance(source, str):
        return source
    if function.handler_string:
        return function.handler_string
    if not isinstance(source, type) and not hasattr(source, "__qualname__"):
        source = type(source)
    return f"{source.__module__}.{source.__qualname__}"


def _logging_config(function: Function) -> Members:
    config = function.logging_config
    members = {"LogFormat": "Text", "LogGroup": log_group_name(function.name)}
    if config:
        members["LogFormat"] = config.log_format
        members["LogGroup"] = config.log_group or members["LogGroup"]
        if config.log_format == "JSON":
            members["ApplicationLogLevel"] = config.application_log_level or "INFO"
            members["SystemLogLevel"] = config.system_log_level or "INFO"
    return members


def aliases_of(fetcher: object) -> dict[str, str]:
    """Return the version of each ``name:alias`` of a fetcher, if it can list its aliases."""
    aliases: Callable[[], dict[str, str]] | None = getattr(fetcher, "aliases", None)
    return dict(aliases()) if callable(aliases) else {}
