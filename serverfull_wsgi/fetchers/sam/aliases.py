"""Versions and aliases as resources of their own: AWS::Lambda::Version and AWS::Lambda::Alias.

A template has one state of the code. So each version of a function is version ``1``, as that of AutoPublishAlias.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from serverfull_wsgi.fetchers.sam.intrinsics import ALIAS_TYPE, VERSION_TYPE, Resolver
from serverfull_wsgi.fetchers.sam.notes import Notes
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable, as_text
from serverfull_wsgi.fetchers.sam.template import Template
from serverfull_wsgi.fetchers.static import ALIAS
from serverfull_wsgi.names import LATEST

VERSION = "1"  # the number of each version
_WITHOUT_EFFECT = {
    "RoutingConfig": "a template has one state of the code, so all calls go to FunctionVersion",
    "ProvisionedConcurrencyConfig": "only AWS::Serverless::Function provisions concurrency; the alias starts on demand",
    "ProvisioningScalingConfig": "only AWS::Serverless::Function provisions concurrency; the version starts on demand",
}


class DeclaredVersion(NamedTuple):
    """A version or an alias of a function."""

    function: str  # its name
    alias: str  # empty for a version
    version: str  # VERSION or $LATEST


def read_versions(template: Template, resolver: Resolver, notes: Notes) -> Iterator[DeclaredVersion]:
    """Yield the versions and aliases of a template, and add a warning for each that cannot be served."""
    for id, resource in template.of_type(VERSION_TYPE, ALIAS_TYPE).items():
        properties = resource.get("Properties")
        values = properties if isinstance(properties, dict) else {}
        try:
            if not resolver.is_created(id):
                continue
            name = _text("FunctionName", values, resolver).rpartition(":")[2]
            if resource["Type"] == VERSION_TYPE:
                yield DeclaredVersion(name, "", VERSION)
            else:
                yield _alias(name, values, resolver)
        except Unresolvable as reason:
            kind = "version" if resource["Type"] == VERSION_TYPE else "alias"
            notes.add(id, "", f"{reason}; the function cannot be called with this {kind}")
            continue
        for property, text in _WITHOUT_EFFECT.items():
            if property in values:
                notes.add(id, property, text)


def _alias(function: str, values: dict[str, object], resolver: Resolver) -> DeclaredVersion:
    alias, version = _text("Name", values, resolver), _text("FunctionVersion", values, resolver)
    if not ALIAS.fullmatch(alias):
        raise Unresolvable(f"the Name {alias!r} must be letters, digits, '-' and '_', and not a number; correct it")
    if version not in (VERSION, LATEST):
        raise Unresolvable(
            f"the FunctionVersion {version!r} is at AWS only; "
            f"refer to an {VERSION_TYPE} of this template, or to {LATEST}"
        )
    return DeclaredVersion(function, alias, version)


def _text(property: str, values: dict[str, object], resolver: Resolver) -> str:
    try:
        return as_text(resolver.resolve(values.get(property)))
    except Unresolvable as reason:
        raise Unresolvable(f"{property}: {reason}") from None
