"""The properties of one resource in a template, as they are read."""

from __future__ import annotations

import re
from typing import Any

from serverfull_wsgi.fetchers.sam.intrinsics import NO_VALUE, Resolver
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable, as_text
from serverfull_wsgi.fetchers.sam.template import is_intrinsic

UNRESOLVED: Any = type("Unresolved", (), {"__repr__": lambda self: "UNRESOLVED"})()  # told in `Properties.problems`


class Properties:
    """Resolves properties when they are asked for; ``problems`` then has a line for each that could not be.

    ``where`` is what the lines begin with. A ``path`` is a property's name, or leads to one inside another:
    ``"Environment.Variables"``.
    """

    def __init__(self, where: str, properties: Any, resolver: Resolver) -> None:
        self._where = where
        self._resolver = resolver
        self._known: dict[str, Any] = {}
        self._given: dict[str, Any] = properties if isinstance(properties, dict) else {}
        self.problems: list[str] = []
        if properties and not isinstance(properties, dict):
            self.problems.append(f"{where}.Properties: this must be a mapping; write 'Name: value' below it")

    def refuse(self, path: str, problem: object) -> None:
        """Notes once what is wrong with a property, and the cure."""
        line = f"{self._where}.{path}: {problem}"
        if line not in self.problems:
            self.problems.append(line)

    def value(self, path: str) -> Any:
        """The property without intrinsic functions, None without it; inside it, what could not be is `UNRESOLVED`."""
        top, *inner = path.split(".")
        if top not in self._known:
            self._known[top] = self._resolved(top, self._given.get(top, NO_VALUE))
        value, here = self._known[top], top
        for name in inner:
            value, here = self._as_mapping(here, value).get(name), f"{here}.{name}"
        return None if value is NO_VALUE or value is UNRESOLVED else value

    def mapping(self, path: str) -> dict[str, Any]:
        """A property that is a mapping, empty without one."""
        return self._as_mapping(path, self.value(path))

    def text(self, path: str) -> str:
        """A property that is text, empty without one."""
        value = self.value(path)
        try:
            return "" if value is None else as_text(value)
        except Unresolvable as reason:
            self.refuse(path, reason)
            return ""

    def required(self, path: str, cure: str) -> str:
        """A property that is text and has to be there."""
        text = self.text(path)
        if not text and self._known[path] in ("", None, NO_VALUE):
            self.refuse(path, f"this is missing; {cure}")
        return text

    def number(self, path: str, least: int = 1, most: int = 999_999_999) -> int | None:
        """A property that is a whole number, also where a parameter gives it as text; None without one."""
        text = self.text(path)
        if text and (not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not least <= int(text) <= most):
            self.refuse(path, f"{text!r} is no whole number from {least} to {most:,}; correct it")
            return None
        return int(text) if text else None

    def _as_mapping(self, path: str, value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        if value is not None and value is not NO_VALUE and value is not UNRESOLVED:
            self.refuse(path, "this must be a mapping; write 'Name: value' below it")
        return {}

    def _resolved(self, path: str, value: Any) -> Any:
        """Goes into what is written out, so that everything in it that cannot be resolved is told at once."""
        if isinstance(value, dict) and not is_intrinsic(value):
            members = {name: self._resolved(f"{path}.{name}", member) for name, member in value.items()}
            return {name: member for name, member in members.items() if member is not NO_VALUE}
        if isinstance(value, list):
            return [item for item in (self._resolved(path, item) for item in value) if item is not NO_VALUE]
        try:
            return self._resolver.resolve(value)
        except Unresolvable as reason:
            self.refuse(path, reason)
            return UNRESOLVED
