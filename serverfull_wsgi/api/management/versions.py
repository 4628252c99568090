"""Versions of functions."""

from __future__ import annotations

from serverfull_wsgi.api.management.calls import Call, Members
from serverfull_wsgi.api.management.functions import shown
from serverfull_wsgi.api.management.service import Management, version_number
from serverfull_wsgi.api.model import recorded
from serverfull_wsgi.api.model.pagination import page
from serverfull_wsgi.registry.configuration import refuse_members


def publish(management: Management, call: Call) -> Members:
    """Publish a version of a function's present code and configuration."""
    refuse_members(call.parameters)
    registry = management.writable(call)
    return registry.publish_version(call.named.name, call.parameters, call.caller.name)


def list_all(management: Management, call: Call) -> Members:
    """Return a page of a function's versions, ``$LATEST`` first."""
    items = [recorded.list_item(shown(call, item)) for item in management.versions(call.named)]
    return page(call.operation, items, call.parameters, version_number)
