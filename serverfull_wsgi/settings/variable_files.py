"""Files of environment variables for isolated functions: dotenv files, and the JSON files of ``sam --env-vars``.

The files are the operator's. So they may hold the credentials that Lambda would set, unlike a function's own variables.

No error and no warning contains a value.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

from serverfull_wsgi.env_vars import SERVER_VARIABLES, is_valid_value
from serverfull_wsgi.errors import ConfigurationError

FOR_ALL = "Parameters"  # sam's key for variables of each function
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def read_dotenv(path: str, origin: str) -> dict[str, str]:
    """Return the variables of a dotenv file: ``NAME=value`` lines, comments, quotes and ``export``.

    A ``$`` in a value stands for itself. ``origin`` names the file in error messages.

    Raises:
        ConfigurationError: for a line that is not valid, and for a name that Lambda keeps for itself. The message has
            the line's number.
    """
    variables: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(_text(path, origin))):
        if binding.error or (binding.key is not None and binding.value is None):
            rule = "has the form NAME=value, with quotes that are closed"
        elif binding.key is None:  # a comment or an empty line
            continue
        else:
            rule = _broken_rule(binding.key, binding.value)
            variables[binding.key] = str(binding.value)
        if rule:
            text = binding.original.string  # with the empty lines before the binding
            line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
            raise ConfigurationError(f"{origin}: line {line}: a line {rule}; correct or remove it")
    return variables


def read_sam_variables(path: str, origin: str) -> dict[str, dict[str, str]]:
    """Return the variables of a JSON file in the format of ``sam --env-vars``, by function, or under `FOR_ALL`.

    ``origin`` names the file in error messages. Numbers and booleans become text as with `sam`, and null an empty text.

    Raises:
        ConfigurationError: if the file has another form, and for a name that Lambda keeps for itself.
    """
    text = _text(path, origin)
    try:
        sections = json.loads(text)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise ConfigurationError(f"{origin}: line {line}: the file is not valid JSON; correct it") from None
    if not isinstance(sections, dict) or not all(isinstance(section, dict) for section in sections.values()):
        raise ConfigurationError(
            f'{origin}: the file must have the form {{"Function": {{"NAME": "value"}}}}, as for sam --env-vars'
        )
    return {
        function: {name: _sam_text(name, value, f"{origin}: {function}") for name, value in section.items()}
        for function, section in sections.items()
    }


def overrides_of(sections: Mapping[str, Mapping[str, str]], *names: str) -> dict[str, str]:
    """Return the variables for a function with these names. Its own variables win over those of all functions.

    >>> overrides_of({"Parameters": {"A": "1", "B": "1"}, "Orders": {"B": "2"}}, "orders-prod", "Orders")
    {'A': '1', 'B': '2'}
    """
    merged = dict(sections.get(FOR_ALL, {}))
    for name in names:
        merged.update(sections.get(name, {}))
    return merged


def _text(path: str, origin: str) -> str:
    data = b""
    try:
        data = Path(path).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{origin}: the file cannot be read: {error.strerror}; name another file") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{origin}: line {line}: the text is not UTF-8; save the file as UTF-8") from None


def _sam_text(name: str, value: Any, origin: str) -> str:
    if isinstance(value, (dict, list)):
        raise ConfigurationError(f"{origin}: the value of {name!r} must be a text or a number; put it in quotes")
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if rule := _broken_rule(name, text):
        raise ConfigurationError(f"{origin}: {name!r}: a variable {rule}; correct or remove it")
    return text


def _broken_rule(name: str, value: str | None) -> str:
    """Return the rule that a variable breaks, or an empty text."""
    if name in SERVER_VARIABLES:
        return f"must not set {name}, which Lambda keeps for itself"
    if not _NAME.fullmatch(name):
        return "has a name of letters, digits and '_'"
    return "" if is_valid_value(value) else "has a value that is text without NUL"
