"""Warnings about functions that do run, one for each subject."""

from __future__ import annotations

from serverfull_wsgi.fetchers.sam.template import Template

SHOWN_PLACES = 3  # after the first: a line stays readable


class Notes:
    """A collection of warnings. A text that concerns several places of the template is one warning."""

    def __init__(self, template: Template) -> None:
        self._template = template
        self._places: dict[str, list[tuple[str, str]]] = {}

    def add(self, id: str, path: str, text: str) -> None:
        """Add a warning about a property of a resource or section; ``path`` is empty for the resource itself."""
        self._places.setdefault(text, []).append((id, path))

    def lines(self) -> list[str]:
        """Return one line for each text: ``FILE:LINE: RESOURCE.PROPERTY: text``, with the other places in brackets."""
        return [f"{self._where(places)}: {text}" for text, places in self._places.items()]

    def _where(self, places: list[tuple[str, str]]) -> str:
        (id, path), *others = dict.fromkeys(places)
        where = _joined(self._template.location(id), path)
        if not others:
            return where
        shown = [_joined(*place) for place in others[:SHOWN_PLACES]]
        if len(others) > SHOWN_PLACES:
            shown.append(f"{len(others) - SHOWN_PLACES} more")
        return f"{where} (also {', '.join(shown)})"


def _joined(id: str, path: str) -> str:
    return f"{id}.{path}" if path else id
