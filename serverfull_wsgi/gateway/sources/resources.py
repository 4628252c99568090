"""The resources of a template for the sources of sites, and the references between them.

Resources name each other by ``Ref``, ``Fn::GetAtt``, or a text with one of both. `Resources.target` returns the logical
id behind such a reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable
from serverfull_wsgi.fetchers.sam.properties import Properties
from serverfull_wsgi.gateway.values import function_in, mapping
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID

_stand_in = re.compile(r"unresolved:([A-Za-z0-9]+)")


class Resources:
    """The resources of a template.

    Args:
        fetcher: has the template, and the functions by their names.
        account_id: the account in events.

    Attributes:
        functions: the names of the functions by logical id.
        warnings: one line for each route that refuses its requests, and for each property that has no effect.
    """

    def __init__(self, fetcher: SamFetcher, *, account_id: str = DEFAULT_ACCOUNT_ID) -> None:
        self.template, self.resolver = fetcher.template, fetcher.resolver
        self.functions = {id: name for name, id in fetcher.logical_ids().items()}
        self.account_id = account_id
        self.warnings: list[str] = []
        self._ids: dict[str, list[str]] = {}  # by type: a search of the template for each route would take too long
        for id in self.template.resources:
            self._ids.setdefault(self.type(id), []).append(id)

    def of_type(self, *types: str) -> Iterator[tuple[str, Properties]]:
        """Yield logical id and properties of each resource of these types that the template's conditions create."""
        for id in [id for type in types for id in self._ids.get(type, ())]:
            try:
                if self.resolver.is_created(id):
                    yield id, Properties(self.template.location(id), self._own(id), self.resolver)
            except Unresolvable as reason:
                self.warn(id, f"{reason}; it is not served", "Condition")

    def _own(self, id: str) -> Any:
        return mapping(self.template.resources.get(id)).get("Properties")

    def declared(self, id: str) -> dict[str, Any]:
        """Return the properties of a resource as the template has them, with their intrinsic functions."""
        return mapping(self._own(id))

    def type(self, id: str) -> str:
        """Return the type of a resource, or an empty text."""
        return str(mapping(self.template.resources.get(id)).get("Type", ""))

    def target(self, id: str, property: str) -> str:
        """Return the logical id to which a property refers, its text without a reference, or an empty text."""
        return self.target_of(self.declared(id).get(property))

    def target_of(self, value: Any) -> str:
        """Return the logical id to which a value refers, its text without a reference, or an empty text."""
        if isinstance(value, dict) and len(value) == 1:
            (name, argument), *_ = value.items()
            if name == "Ref" and isinstance(argument, str) and argument not in self.template.parameters:
                return argument
            if name == "Fn::GetAtt":
                return str(argument[0] if isinstance(argument, list) and argument else argument).partition(".")[0]
        text = self._text(value)
        found = _stand_in.search(text)
        return found[1] if found else text

    def function(self, id: str, property: str) -> str:
        """Return the function that a property names: by its ARN, its name or a URI with its ARN; else an empty text."""
        return self.function_of(self.declared(id).get(property))

    def function_of(self, value: Any) -> str:
        """Return the function that a value names, or an empty text."""
        return function_in(self._text(value)) or self.functions.get(self.target_of(value), "")

    def _text(self, value: Any) -> str:
        try:
            return str(self.resolver.resolve_reference(value))
        except Unresolvable:
            return ""

    def mentions(self, id: str, *targets: str) -> bool:
        """Return whether the text of a resource's properties has a reference to one of the logical ids.

        A reference inside of an intrinsic function counts too.
        """
        names = "|".join(map(re.escape, targets))
        return bool(targets and re.search(rf'"({names})[".]|\$\{{({names})[}}.]', json.dumps(self.declared(id))))

    def place(self, id: str, path: str = "") -> str:
        """Return a resource, or a part of it, for messages: ``template.yaml:12: Pets.Events.Get``."""
        return f"{self.template.location(id)}.{path}" if path else self.template.location(id)

    def warn(self, id: str, text: str, path: str = "") -> None:
        """Add a warning about a resource, or a part of it."""
        self.warnings.append(f"{self.place(id, path)}: {text}")

    def warn_refused(self, id: str, feature: str, path: str = "", *, status: int = 500) -> None:
        """Add a warning about a route that refuses its requests.

        Args:
            id: the logical id of the resource.
            feature: the feature that is not supported.
            path: the place of the route in the resource; empty for the resource.
            status: the status of the refusal.
        """
        refused = f"{feature} is not supported here, so each request is refused with {status}"
        self.warn(id, f"{refused}; remove it to let every caller in", path)
