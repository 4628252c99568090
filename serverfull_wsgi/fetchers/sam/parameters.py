"""The parameters of a template: their defaults, and the values that a setting gives them."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from typing import Any

from serverfull_wsgi.errors import ConfigurationError

SETTING = "SERVERFULL_TEMPLATE_PARAMETERS"
LAYERS = "SERVERFULL_LAYERS"

# https://docs.aws.amazon.com/lambda/latest/api/API_GetLayerVersionByArn.html, here also without a version
_layer = re.compile(r"arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+(:\d+)?", re.ASCII)
_entry = re.compile(r'\s*([^=,"\s]+)\s*=[^\S\n]*(?:"([^"]*)"|((?!")[^,\n]*))\s*?(?:[,\n]|\Z)')


class Unresolvable(Exception):
    """A template's value that cannot be determined outside AWS. The message has the reason and the cure."""


def parse_parameters(text: str, setting: str = SETTING) -> dict[str, str]:
    """Return the text of a setting as a dictionary.

    Commas and line ends separate entries. A value with commas is in double quotes.

    >>> parse_parameters('Stage=prod, Subnets="a,b"')
    {'Stage': 'prod', 'Subnets': 'a,b'}

    Raises `ConfigurationError`.
    """
    values: dict[str, str] = {}
    rest = text.strip().rstrip(",")
    while rest.strip():
        match = _entry.match(rest)
        if not match:
            raise ConfigurationError(
                f"{setting}: {rest.strip().splitlines()[0]!r} must begin with 'Name=value'; "
                "put a value with a comma in double quotes"
            )
        name, quoted, plain = match.groups()
        if name in values:
            raise ConfigurationError(f"{setting}: {name!r} is given twice; remove one of the entries")
        values[name] = plain.strip() if quoted is None else quoted
        rest = rest[match.end() :]
    return values


def parse_layers(text: str) -> dict[str, str]:
    """Return the paths of layers by ARN from the text of SERVERFULL_LAYERS. A path becomes absolute.

    >>> parse_layers("arn:aws:lambda:us-east-1:017000801446:layer:Tools=/srv/tools")
    {'arn:aws:lambda:us-east-1:017000801446:layer:Tools': '/srv/tools'}

    Raises `ConfigurationError`.
    """
    layers = parse_parameters(text, LAYERS)
    for arn, path in layers.items():
        if not _layer.fullmatch(arn) or not path:
            raise ConfigurationError(
                f"{LAYERS}: '{arn}={path}' must be ARN=PATH, the ARN of a layer with or without its version, and the "
                "path of a folder or zip archive"
            )
    return {arn: os.path.abspath(path) for arn, path in layers.items()}


def check_parameters(declarations: Mapping[str, Any], values: Mapping[str, str]) -> None:
    """Raise `ConfigurationError`, with a line for each value that the template's declaration does not allow."""
    errors = []
    for name, declaration in declarations.items():
        if name in values and (rule := _broken_rule(declaration, values[name])):
            errors.append(f"{SETTING}: {name!r} must be {rule}")
    if errors:
        raise ConfigurationError("\n".join(errors))


class Parameter:
    """A parameter's declaration.

    Attributes:
        is_list: True if the parameter's value is a list.
        is_hidden: True if the parameter is a secret (NoEcho).
    """

    def __init__(self, declaration: Any) -> None:
        self._declaration: dict[str, Any] = declaration if isinstance(declaration, dict) else {}
        self._kind = str(self._declaration.get("Type", "String"))
        self.is_list = "List" in self._kind
        self.is_hidden = str(self._declaration.get("NoEcho")).lower() == "true"

    @property
    def missing(self) -> str:
        """The reason why the template does not have the parameter's value; an empty text if it does."""
        if self._kind.startswith("AWS::SSM::"):
            return "is stored in AWS Systems Manager"
        return "" if "Default" in self._declaration else "has no default"

    def value(self, given: str | None) -> str | list[str]:
        """Return the value of a ``Ref``: the given one or the default, as text, or as a list if the type is a list."""
        text = as_text(self._declaration["Default"]) if given is None else given
        return [part.strip() for part in text.split(",")] if self.is_list else text


def as_text(value: Any) -> str:
    """Return a scalar as the text that CloudFormation passes to Lambda: ``true`` for True, ``3`` for 3.

    Raises `Unresolvable` for null, a list and a mapping.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_scalar(value):
        return str(value)
    raise Unresolvable(f"must be text, not {'null' if value is None else f'a {_kind(value)}'}; write text")


def is_scalar(value: Any) -> bool:
    """Return True for text, a number and a boolean."""
    return isinstance(value, (str, int, float))


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else type(value).__name__


def _broken_rule(declaration: Any, value: str) -> str:
    """Return the rule of a declaration that a value breaks; an empty text if the value is allowed."""
    declaration = declaration if isinstance(declaration, dict) else {}
    kind = str(declaration.get("Type", "String"))
    values = [part.strip() for part in value.split(",")] if "List" in kind else [value]
    if "Number" in kind and not all(re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)", each) for each in values):
        return "a number" if kind == "Number" else "numbers separated by commas"
    choices = declaration.get("AllowedValues")
    allowed = [as_text(each) for each in choices if is_scalar(each)] if isinstance(choices, list) else []
    if allowed and not set(values) <= set(allowed):
        return f"one of: {', '.join(allowed)}"
    return ""
