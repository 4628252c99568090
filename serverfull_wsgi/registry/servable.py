"""Stored configurations as functions that an executor can run."""

from __future__ import annotations

from collections.abc import Sequence

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ConfigurationError, InvalidParameterValueException
from serverfull_wsgi.event_config import EventConfig
from serverfull_wsgi.registry.configuration import logging_config_of
from serverfull_wsgi.registry.documents import Configuration, Document


def function_of(document: Document, configuration: Configuration, code: str, layers: Sequence[str]) -> Function:
    """Return the function of a stored configuration.

    Args:
        document: the function with all versions.
        configuration: one version.
        code: the directory of the unpacked package.
        layers: the directories of its layers.

    Raises:
        ConfigurationError: for values that no function can have.
    """
    target = configuration.get("DeadLetterConfig", {}).get("TargetArn")
    return Function(
        configuration["Handler"],
        document["name"],
        version=configuration["Version"],
        timeout=configuration["Timeout"],
        memory_size=configuration["MemorySize"],
        ephemeral_storage=configuration["EphemeralStorage"]["Size"],
        description=configuration["Description"],
        code=code,
        runtime=configuration["Runtime"],
        environment=configuration.get("Environment", {}).get("Variables", {}),
        layers=layers,
        event_config=EventConfig(dead_letter=target) if target else None,
        logging_config=logging_config_of(configuration["LoggingConfig"]),
        snap_start=configuration["SnapStart"]["OptimizationStatus"] == "On",
        reserved=document["reserved"],
        mounts=[config["LocalMountPath"] for config in configuration.get("FileSystemConfigs", ())],
    )


def check_servable(document: Document) -> None:
    """Raise `InvalidParameterValueException` if the function could not run, so that no such document is written."""
    try:
        function_of(document, document["latest"], "/", ())
    except ConfigurationError as error:
        raise InvalidParameterValueException(f"{error}") from None
