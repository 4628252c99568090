"""The properties of one resource in a template, resolved."""

from __future__ import annotations

import re
from typing import Any

from serverfull_wsgi.fetchers.sam.intrinsics import NO_VALUE, Resolver
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable, as_text
from serverfull_wsgi.fetchers.sam.stand_ins import StandIn, ValueAtAws
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
        notes: path and text of each warning about a property that was read and has a stand-in.
    """

    def __init__(self, location: str, properties: Any, resolver: Resolver) -> None:
        self._location = location
        self._resolver = resolver
        self._resolved: dict[str, Any] = {}
        is_known = isinstance(properties, dict) and not is_intrinsic(properties)
        self._properties: dict[str, Any] = properties if is_known else {}
        self.problems: list[str] = []
        self.notes: list[tuple[str, str]] = []
        if properties and not is_known:
            self.add_problem("Properties", "must be a mapping; write 'Name: value' below it")

    def add_problem(self, path: str, problem: object) -> None:
        """Add a line with a property's problem and its cure, unless the same line is there already."""
        line = f"{self._location}.{path}: {problem}"
        if line not in self.problems:
            self.problems.append(line)

    def has_problem(self, path: str) -> bool:
        """Return whether a property that was read, or a property inside of it, has a problem."""
        start = f"{self._location}.{path}"
        return any(line.startswith((f"{start}:", f"{start}.")) for line in self.problems)

    def declared(self, name: str) -> Any:
        """Return a property as the template has it, with intrinsic functions; None if it is absent."""
        return self._properties.get(name)

    def names(self, path: str) -> list[str]:
        """Return the names of the members of a property; those of all properties for an empty path."""
        return [str(name) for name in (self.mapping(path) if path else self._properties)]

    def value(self, path: str) -> Any:
        """Return a property without intrinsic functions, or None if it is absent.

        Inner values that cannot be resolved are `UNRESOLVED`; a stand-in counts as such a value.
        """
        value = self._without_stand_ins(path, self._find(path))
        return None if value is NO_VALUE or value is UNRESOLVED else value

    def _find(self, path: str) -> Any:
        """Return a property without intrinsic functions; each of its values that has stand-ins is a `StandIn`."""
        top, *inner = path.split(".")
        if top not in self._resolved:
            self._resolved[top] = self._resolve(top, self._properties.get(top, NO_VALUE))
        value, here = self._resolved[top], top
        for name in inner:
            value, here = self._as_mapping(here, value).get(name), f"{here}.{name}"
        return value

    def _without_stand_ins(self, path: str, value: Any) -> Any:
        """Return ``value`` with `UNRESOLVED` for each stand-in, and add the problems."""
        if isinstance(value, StandIn):
            for missing in value.missing:
                self.add_problem(path, missing)
            return UNRESOLVED
        if isinstance(value, dict):
            return {name: self._without_stand_ins(f"{path}.{name}", member) for name, member in value.items()}
        return [self._without_stand_ins(path, item) for item in value] if isinstance(value, list) else value

    def mapping(self, path: str) -> dict[str, Any]:
        """Return a property that is a mapping; an empty one if the property is absent.

        A member that has stand-ins is a `StandIn`.
        """
        return self._as_mapping(path, self._find(path))

    def text_or_missing(self, path: str) -> tuple[str, tuple[ValueAtAws, ...]]:
        """Return a property that is text, and the values at AWS for which the text has stand-ins."""
        found = self._find(path)
        value, missing = found if isinstance(found, StandIn) else (found, ())
        if value is None or value is NO_VALUE or value is UNRESOLVED:
            return "", ()
        try:
            return as_text(value), missing
        except Unresolvable as reason:
            self.add_problem(path, reason)
            return "", ()

    def add_generated(self, path: str, reason: str, effect: str, cure: str) -> None:
        """Add a warning about a value that SAM would generate, or a problem if the resolver is strict."""
        if self._resolver.is_strict:
            self.add_problem(path, f"{reason}; {cure}")
        else:
            self.notes.append((path, f"{reason}; {effect}; {cure}"))

    def add_note(self, path: str, missing: ValueAtAws, effect: str) -> None:
        """Add a warning about a value that only AWS has."""
        self.notes.append((path, missing.note(effect)))

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
        if isinstance(value, StandIn) and isinstance(value.value, dict):
            return value.members()
        if isinstance(value, StandIn):
            self._without_stand_ins(path, value)
            return {}
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
            resolved, missing = self._resolver.resolve_with_stand_ins(value)
            return StandIn(resolved, tuple(missing)) if missing else resolved
        except Unresolvable as reason:
            self.add_problem(path, reason)
            return UNRESOLVED
