"""Configurations of functions: from the members of a request, with AWS's defaults and checks.

The members have passed the constraints of AWS's model before. As on AWS, an empty text, list or structure means that
the function shall not have the member. The texts are AWS's, except for members and values that this server refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from serverfull_wsgi.env_vars import RESERVED_VARIABLES, is_valid_value
from serverfull_wsgi.errors import ConfigurationError, InvalidParameterValueException
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.logging_config import LoggingConfig
from serverfull_wsgi.names import LATEST, log_group_name
from serverfull_wsgi.registry.account import Account
from serverfull_wsgi.registry.documents import Configuration
from serverfull_wsgi.registry.packages import Package

ENVIRONMENT_LIMIT = 4096  # bytes of compact JSON
LAYER_LIMIT = 5
REFUSED = (  # members of a request that this server cannot put in force
    "AcceleratorConfig",
    "CapacityProviderConfig",
    "CodeSigningConfigArn",
    "DurableConfig",
    "ImageConfig",
    "PublishTo",
    "RuntimeConfig",
    "SourceKMSKeyArn",
    "TenancyConfig",
)
_RUNTIMES = "python3.8 and later, nodejs16.x and later, provided, provided.al2, provided.al2023 and go1.x"
_versioned = re.compile(r"python(\d+)\.(\d+)|nodejs(\d+)?(?:\.\S+)?", re.ASCII)

SizeOf = Callable[[str], int | None]  # the bytes of a layer by the ARN of its version; None for an unknown layer


class EnvironmentTooLarge(InvalidParameterValueException):
    """Variables over the limit. As on AWS the message repeats them. The server's log must not."""

    @property
    def evidence(self) -> str:
        return f"The environment variables exceed the limit of {ENVIRONMENT_LIMIT} bytes."


def new_configuration(
    name: str, request: Mapping[str, Any], package: Package, account: Account, layer_size: SizeOf
) -> Configuration:
    """Return the configuration of a new function, without RevisionId and LastModified.

    Args:
        name: the function's name.
        request: the members of CreateFunction.
        package: the function's package.
        account: the account of the function.
        layer_size: returns the size of a layer that this server has.

    Raises:
        InvalidParameterValueException: for members that cannot be in force.
    """
    refuse_members(request)
    if request.get("PackageType", "Zip") != "Zip":
        raise InvalidParameterValueException(
            "PackageType Image is not supported: this server runs no container images; deploy a zip archive"
        )
    if not request.get("Runtime") or not request.get("Handler"):
        raise InvalidParameterValueException(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    defaults: Configuration = {
        "FunctionName": name,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "Version": LATEST,
        "TracingConfig": {"Mode": "PassThrough"},
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": log_group_name(name)},
    }
    with_code = with_package(defaults, package, request.get("Architectures"))
    return changed_configuration(with_code, request, account, layer_size)


def with_package(configuration: Configuration, package: Package, architectures: list[str] | None) -> Configuration:
    """Return a configuration with another package."""
    changed = {**configuration, "CodeSha256": package.code_sha256, "CodeSize": package.size}
    return changed | ({"Architectures": architectures} if architectures else {})


def changed_configuration(
    old: Configuration, request: Mapping[str, Any], account: Account, layer_size: SizeOf
) -> Configuration:
    """Return a configuration with the members that a request gives.

    Raises:
        InvalidParameterValueException: for members that cannot be in force.
    """
    refuse_members(request)
    new = dict(old)
    for name in ("Role", "Handler", "Description", "Timeout", "MemorySize", "EphemeralStorage", "TracingConfig"):
        if request.get(name) not in (None, {}):
            new[name] = request[name]
    if request.get("Runtime"):
        _check_runtime(request["Runtime"])
        new["Runtime"] = request["Runtime"]
        new["RuntimeVersionConfig"] = {"RuntimeVersionArn": account.runtime_version_arn(request["Runtime"])}
    if request.get("SnapStart"):
        apply_on = request["SnapStart"].get("ApplyOn", "None")
        new["SnapStart"] = {"ApplyOn": apply_on, "OptimizationStatus": "Off"}
    _check_snap_start(new)
    if "Environment" in request:
        _check_variables(request["Environment"].get("Variables", {}))
        _set(new, "Environment", request["Environment"])
    if "LoggingConfig" in request:
        new["LoggingConfig"] = _logging_config(old["LoggingConfig"], request["LoggingConfig"])
    if "KMSKeyArn" in request:
        _set(new, "KMSKeyArn", request["KMSKeyArn"])
    if "DeadLetterConfig" in request:
        _check_dead_letter(request["DeadLetterConfig"].get("TargetArn") or None)
        _set(new, "DeadLetterConfig", {name: arn for name, arn in request["DeadLetterConfig"].items() if arn})
    if "FileSystemConfigs" in request:
        _check_file_systems(request["FileSystemConfigs"], account)
        _set(new, "FileSystemConfigs", request["FileSystemConfigs"])
    if "VpcConfig" in request:
        _set_vpc(new, request["VpcConfig"])
    if "Layers" in request:
        _set(new, "Layers", _layers(request["Layers"], account, layer_size))
    return new


def _check_file_systems(configs: list[dict[str, str]], account: Account) -> None:
    """Raise `InvalidParameterValueException` for a path that no folder of this machine has. ARNs are not looked at."""
    for path in (config["LocalMountPath"] for config in configs):
        if path not in account.mounts:
            raise InvalidParameterValueException(
                f"FileSystemConfigs: no folder of this server has the LocalMountPath {path}; the operator shares one "
                f"with SERVERFULL_MOUNTS=FOLDER:{path}"
            )


def refuse_members(request: Mapping[str, Any]) -> None:
    """Raise `InvalidParameterValueException` for a member that this server cannot put in force."""
    for name in REFUSED:
        if request.get(name):
            raise InvalidParameterValueException(f"{name} is not supported by this server; leave it out")
    if request.get("S3ObjectStorageMode", "COPY") != "COPY":
        raise InvalidParameterValueException(
            "S3ObjectStorageMode REFERENCE is not supported by this server, which copies packages; leave it out"
        )


def _set(configuration: Configuration, name: str, value: Any) -> None:
    """Set a member, or remove it if the value is empty."""
    if value:
        configuration[name] = value
    else:
        configuration.pop(name, None)


def _check_snap_start(configuration: Configuration) -> None:
    """Raise `InvalidParameterValueException`, in AWS's words, for SnapStart of a runtime that has no snapshots here."""
    runtime = configuration["Runtime"]
    if configuration["SnapStart"]["ApplyOn"] != "None" and not runtime.startswith("python"):
        raise InvalidParameterValueException(f"{runtime} is not supported for SnapStart enabled functions.")


def _check_runtime(runtime: str) -> None:
    """Raise `InvalidParameterValueException` for a runtime that AWS has retired, or that this server cannot run.

    Of retired runtimes, go1.x and provided can run here and are accepted.
    """
    versioned = _versioned.fullmatch(runtime)
    if versioned is None and not runtime.startswith("provided") and runtime != "go1.x":
        raise InvalidParameterValueException(f"The runtime {runtime} is not supported by this server; use {_RUNTIMES}")
    if versioned is None:
        return
    major, minor, node = versioned.groups(default="0")
    is_current = (int(major), int(minor)) >= (3, 8) if runtime.startswith("python") else int(node) >= 16
    if not is_current:
        raise InvalidParameterValueException(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )


def _check_variables(variables: Mapping[str, str]) -> None:
    start = "Lambda was unable to configure your environment variables because the environment variables you have "
    if reserved := [name for name in variables if name in RESERVED_VARIABLES]:
        raise InvalidParameterValueException(
            f"{start}provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    if unusable := [name for name, value in variables.items() if not is_valid_value(value)]:
        raise InvalidParameterValueException(
            f"{start}provided have values with NUL or half a surrogate pair: {', '.join(unusable)}"
        )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > ENVIRONMENT_LIMIT:
        raise EnvironmentTooLarge(f"{start}provided exceeded the 4KB limit. String measured: {measured}")


def _logging_config(old: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return a logging configuration: levels belong to the format JSON, and are INFO unless given."""
    config = {**old, **given}
    levels = ("ApplicationLogLevel", "SystemLogLevel")
    if config["LogFormat"] == "JSON":
        config = {**dict.fromkeys(levels, "INFO"), **config}
    else:
        config = {name: value for name, value in config.items() if name not in levels or name in given}
    logging_config_of(config)
    return config


def logging_config_of(config: Mapping[str, str]) -> LoggingConfig:
    """Return the value for AWS's LoggingConfig. Raises `InvalidParameterValueException`."""
    try:
        return LoggingConfig(
            config["LogFormat"],
            config.get("ApplicationLogLevel", ""),
            config.get("SystemLogLevel", ""),
            config.get("LogGroup", ""),
        )
    except ConfigurationError as error:
        raise InvalidParameterValueException(f"{error}") from None


def _check_dead_letter(target: str | None) -> None:
    try:
        EventConfig(dead_letter=target)
    except ConfigurationError as error:
        raise InvalidParameterValueException(f"{error}") from None


def _set_vpc(configuration: Configuration, given: Mapping[str, Any]) -> None:
    """Store a VpcConfig in AWS's form of an answer. A function that has none keeps none if the lists are empty."""
    if configuration.get("VpcConfig") or given.get("SubnetIds") or given.get("SecurityGroupIds"):
        configuration["VpcConfig"] = {
            "SubnetIds": given.get("SubnetIds", []),
            "SecurityGroupIds": given.get("SecurityGroupIds", []),
            "VpcId": "",
            "Ipv6AllowedForDualStack": given.get("Ipv6AllowedForDualStack", False),
        }


def _layers(arns: list[str], account: Account, layer_size: SizeOf) -> list[dict[str, Any]]:
    """Return the layers of a function in the form of an answer."""
    if len(arns) > LAYER_LIMIT:
        raise InvalidParameterValueException(f"Cannot reference more than {LAYER_LIMIT} layers.")
    seen: dict[str, str] = {}
    for arn in arns:
        layer, _, _ = arn.rpartition(":")
        if layer in seen:
            raise InvalidParameterValueException(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{seen[layer]} and {arn} are versions of the same layer."
            )
        seen[layer] = arn
    sizes = {}
    for arn in arns:
        if arn.split(":")[3] != account.region:
            raise InvalidParameterValueException(
                "Layers are not in the same region as the function. "
                f"Layers are expected to be in region {account.region}."
            )
        if (size := layer_size(arn)) is None:
            raise InvalidParameterValueException(f"Layer version {arn} does not exist.")
        sizes[arn] = size
    return [{"Arn": arn, "CodeSize": size} for arn, size in sizes.items()]
