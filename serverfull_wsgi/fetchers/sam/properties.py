"""The properties of one resource in a template, resolved."""

from __future__ import annotations

import re
from typing import Any

from serverfull_wsgi.fetchers.sam.intrinsics import NO_VALUE, Resolver
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable, as_text
from serverfull_wsgi.fetchers.sam.template import is_intrinsic

UNRESOLVED: Any = type("Unresolved", (), {"__repr__": lambda self: "UNRESOLVED"})()  # `Properties.problems` has a line

_LARGEST = 999_999_999  # nine digits: above each of AWS's limits, and a quick int() for any text


class Properties:
    """The properties of a resource. Each is resolved when it is first read.

    A ``path`` is a property's name, or the names on the way to an inner one: ``"Environment.Variables"``.

    Args:
        location: the beginning of each problem's line, ``template.yaml:12: HelloFunction``.
        properties: the resource's Properties, as in the template.
        resolver: resolves intrinsic functions.

    Attributes:
        problems: one line for each property that was read and cannot be used.
    """

    def __init__(self, location: str, properties: Any, resolver: Resolver) -> None:
        self._location = location
        self._resolver = resolver
        self._resolved: dict[str, Any] = {}
        self._properties: dict[str, Any] = properties if isinstance(properties, dict) else {}
        self.problems: list[str] = []
        if properties and not isinstance(properties, dict):
            self.add_problem("Properties", "must be a mapping; write 'Name: value' below it")

    def add_problem(self, path: str, problem: object) -> None:
        """Add a line with a property's problem and its cure, unless the same line is there already."""
        line = f"{self._location}.{path}: {problem}"
        if line not in self.problems:
            self.problems.append(line)

    def value(self, path: str) -> Any:
        """Return a property without intrinsic functions, or None if it is absent.

        Inner values that cannot be resolved are `UNRESOLVED`.
        """
        top, *inner = path.split(".")
        if top not in self._resolved:
            self._resolved[top] = self._resolve(top, self._properties.get(top, NO_VALUE))
        value, here = self._resolved[top], top
        for name in inner:
            value, here = self._as_mapping(here, value).get(name), f"{here}.{name}"
        return None if value is NO_VALUE or value is UNRESOLVED else value

    def mapping(self, path: str) -> dict[str, Any]:
        """Return a property that is a mapping; an empty one if the property is absent."""
        return self._as_mapping(path, self.value(path))

    def text(self, path: str) -> str:
        """Return a property that is text; an empty text if the property is absent."""
        value = self.value(path)
        try:
            return "" if value is None else as_text(value)
        except Unresolvable as reason:
            self.add_problem(path, reason)
            return ""

    def required(self, path: str, cure: str) -> str:
        """Return a top-level property that is text, and add a problem if it is absent."""
        text = self.text(path)
        if not text and self._resolved[path] in ("", None, NO_VALUE):
            self.add_problem(path, f"is missing; {cure}")
        return text

    def number(self, path: str, least: int = 1, most: int = _LARGEST) -> int | None:
        """Return a property that is a whole number, or the text of one; None if the property is absent."""
        text = self.text(path)
        if text and (not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not least <= int(text) <= most):
            self.add_problem(path, f"{text!r} must be a whole number from {least} to {most:,}; correct it")
            return None
        return int(text) if text else None

    def _as_mapping(self, path: str, value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        if value is not None and value is not NO_VALUE and value is not UNRESOLVED:
            self.add_problem(path, "must be a mapping; write 'Name: value' below it")
        return {}

    def _resolve(self, path: str, value: Any) -> Any:
        """Resolve each inner value by itself, so that all problems are reported together."""
        if isinstance(value, dict) and not is_intrinsic(value):
            members = {name: self._resolve(f"{path}.{name}", member) for name, member in value.items()}
            return {name: member for name, member in members.items() if member is not NO_VALUE}
        if isinstance(value, list):
            return [item for item in (self._resolve(path, item) for item in value) if item is not NO_VALUE]
        try:
            return self._resolver.resolve(value)
        except Unresolvable as reason:
            self.add_problem(path, reason)
            return UNRESOLVED
