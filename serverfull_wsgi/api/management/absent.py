"""Things that no function here has, where clients need the true answer: none."""

from __future__ import annotations

from serverfull_wsgi.api.management.calls import Call, Members
from serverfull_wsgi.api.management.service import Management
from serverfull_wsgi.errors import ResourceNotFoundException


def policy(management: Management, call: Call) -> Members:
    """Raise the error for a function without a policy. AWS raises it for an unknown function too."""
    raise ResourceNotFoundException("The resource you requested does not exist.")


def url_configs(management: Management, call: Call) -> Members:
    """Return an empty list for a function that exists."""
    try:
        management.require(call.named)
    except ResourceNotFoundException:
        raise ResourceNotFoundException("Function does not exist") from None
    return {"FunctionUrlConfigs": []}


def code_signing_config(management: Management, call: Call) -> Members:
    """Return no configuration for a function that exists."""
    management.require(call.named)
    return {}


def event_source_mappings(management: Management, call: Call) -> Members:
    """Return an empty list: nothing polls queues and streams."""
    return {"EventSourceMappings": []}


def capacity_providers(management: Management, call: Call) -> Members:
    """Return an empty list."""
    return {"CapacityProviders": []}


def durable_executions(management: Management, call: Call) -> Members:
    """Return an empty list for a function that exists."""
    management.require(call.named)
    return {"DurableExecutions": []}
