"""The parameters of a template: their defaults, and the values that a setting gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from serverfull_wsgi.errors import ConfigurationError

SETTING = "SERVERFULL_TEMPLATE_PARAMETERS"

_entry = re.compile(r'\s*([^=,"\s]+)\s*=[^\S\n]*(?:"([^"]*)"|((?!")[^,\n]*))\s*?(?:[,\n]|\Z)')


class Unresolvable(Exception):
    """A value that a template gives and that cannot be known here; the message says why, and names the cure."""


def parse_parameters(text: str) -> dict[str, str]:
    """The text of the setting as a mapping: commas and line ends part entries, a value with commas stands in quotes.

    >>> parse_parameters('Stage=prod, Subnets="a,b"')
    {'Stage': 'prod', 'Subnets': 'a,b'}

    Raises `ConfigurationError`.
    """
    given: dict[str, str] = {}
    rest = text.strip().rstrip(",")
    while rest.strip():
        match = _entry.match(rest)
        if not match:
            raise ConfigurationError(
                f"{SETTING}: {rest.strip().splitlines()[0]!r} must begin with 'Name=value'; "
                "put a value with a comma in double quotes"
            )
        name, quoted, plain = match.groups()
        if name in given:
            raise ConfigurationError(f"{SETTING}: {name!r} stands there twice; each name can be given once")
        given[name] = plain.strip() if quoted is None else quoted
        rest = rest[match.end() :]
    return given


def check_parameters(declared: Mapping[str, Any], given: Mapping[str, str]) -> None:
    """Raises `ConfigurationError` for values the template's declarations do not allow, one line each."""
    wrong = []
    for name, declaration in declared.items():
        if name in given and (rule := _broken(declaration, given[name])):
            wrong.append(f"{SETTING}: {name!r} must be {rule}")
    if wrong:
        raise ConfigurationError("\n".join(wrong))


def parameter_value(name: str, declaration: Any, given: Mapping[str, str]) -> str | list[str]:
    """What ``Ref`` of a parameter is: text, or a list for the types that are lists. Raises `Unresolvable`."""
    declaration = declaration if isinstance(declaration, dict) else {}
    kind = str(declaration.get("Type", "String"))
    cure = f"set {SETTING}='{name}=…'"
    if name in given:
        value = given[name]
    elif kind.startswith("AWS::SSM::"):
        raise Unresolvable(f"parameter {name!r} lies in AWS's parameter store; {cure}")
    elif "Default" not in declaration:
        raise Unresolvable(f"parameter {name!r} has no default; {cure}")
    else:
        value = as_text(declaration["Default"])
    return [part.strip() for part in value.split(",")] if "List" in kind else value


def as_text(value: Any) -> str:
    """A scalar as CloudFormation hands it to Lambda: ``true`` for True, ``3`` for 3.

    Raises `Unresolvable` for null and for what is no scalar.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_scalar(value):
        return str(value)
    raise Unresolvable(f"{'null' if value is None else f'a {_kind(value)}'} stands where text is needed; write text")


def is_scalar(value: Any) -> bool:
    """Whether a value is text, a number or a boolean."""
    return isinstance(value, (str, int, float))


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else type(value).__name__


def _broken(declaration: Any, value: str) -> str:
    """The rule of a declaration that a value breaks; empty if it breaks none."""
    declaration = declaration if isinstance(declaration, dict) else {}
    kind = str(declaration.get("Type", "String"))
    values = [part.strip() for part in value.split(",")] if "List" in kind else [value]
    if "Number" in kind and not all(re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)", each) for each in values):
        return "a number" if kind == "Number" else "numbers parted by commas"
    choices = declaration.get("AllowedValues")
    allowed = [as_text(each) for each in choices if is_scalar(each)] if isinstance(choices, list) else []
    if allowed and not set(values) <= set(allowed):
        return f"one of: {', '.join(allowed)}"
    return ""
