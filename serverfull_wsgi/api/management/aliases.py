"""Aliases of functions."""

from __future__ import annotations

from serverfull_wsgi.api.management.calls import Call, Members
from serverfull_wsgi.api.management.service import Management
from serverfull_wsgi.api.model.pagination import page
from serverfull_wsgi.errors import ResourceNotFoundException


def create(management: Management, call: Call) -> Members:
    """Create an alias of a version."""
    return management.writable(call).create_alias(call.named.name, call.parameters, call.caller.name)


def get(management: Management, call: Call) -> Members:
    """Return one alias."""
    name, alias = call.named, call.parameters["Name"]
    if registry := management.deployed(name.name):
        return registry.alias(name.name, alias)
    management.require(name)
    for found in management.aliases(name):
        if found["Name"] == alias:
            return found
    raise ResourceNotFoundException(f"Cannot find alias arn: {management.name(name.name, alias).arn}")


def update(management: Management, call: Call) -> Members:
    """Change members of an alias."""
    registry = management.writable(call)
    return registry.update_alias(call.named.name, call.parameters["Name"], call.parameters, call.caller.name)


def delete(management: Management, call: Call) -> Members:
    """Delete an alias. As on AWS, an alias that does not exist is deleted too."""
    management.writable(call).delete_alias(call.named.name, call.parameters["Name"], call.caller.name)
    return {}


def list_all(management: Management, call: Call) -> Members:
    """Return a page of a function's aliases, or of those that point to one version."""
    version = call.parameters.get("FunctionVersion")
    items = [item for item in management.aliases(call.named) if version in (None, item["FunctionVersion"])]
    return page(call.operation, items, call.parameters, lambda item: str(item["Name"]))
