"""Values of settings in their plain spelling, which need no environs: its import takes as long as that of gunicorn."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

PREFIX = "SERVERFULL_"
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class NotPlain(Exception):
    """A value that environs has to read: it breaks a rule, or has another spelling."""


def _number(text: str, pattern: str, kind: Callable[[str], float]) -> float:
    if not re.fullmatch(pattern, text):
        raise NotPlain
    return kind(text)


_PARSERS: Mapping[str, Callable[[str], Any]] = {  # by environs's names of types
    "str": str,
    "bool": _BOOLEANS.__getitem__,
    "int": partial(_number, pattern="[0-9]{1,15}", kind=int),
    "float": partial(_number, pattern=r"[0-9]{1,15}(\.[0-9]{1,15})?", kind=float),
}


class PlainEnv:
    """The variables of a mapping, with the methods of `MappingEnv` that readers call.

    Each method returns the value that environs returns, or raises `NotPlain`.

    Args:
        given: the variables that have a value, by name. A reader may replace a value.
    """

    def __init__(self, given: dict[str, str]) -> None:
        self.given = given

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        return partial(self._read, _PARSERS[kind])

    def _read(
        self,
        parse: Callable[[str], Any],
        name: str,
        default: Any,
        validate: Callable[[Any], object] | None = None,
        **messages: Any,
    ) -> Any:
        if PREFIX + name not in self.given:
            return default
        try:
            value = parse(self.given[PREFIX + name])
            if validate:
                validate(value)
        except Exception:  # environs reads the value again, and reports the rule
            raise NotPlain from None
        return value
