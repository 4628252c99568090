"""Tags of functions."""

from __future__ import annotations

from serverfull_wsgi.api.management.calls import Call, Members
from serverfull_wsgi.api.management.service import Management
from serverfull_wsgi.errors import InvalidParameterValueException, ResourceNotFoundException

QUALIFIED = "Tags on function aliases and versions are not supported. Please specify a function ARN."


def add(management: Management, call: Call) -> Members:
    """Add tags to a function. A tag of the same key gets the new value."""
    _check(call)
    if not call.parameters["Tags"]:
        raise InvalidParameterValueException("An error occurred and the request cannot be processed.")
    registry = management.writable(call)
    registry.tag(call.named.name, call.parameters["Tags"], call.caller.name)
    return {}


def remove(management: Management, call: Call) -> Members:
    """Remove tags from a function. Unknown keys are ignored."""
    _check(call)
    management.writable(call).untag(call.named.name, call.parameters["TagKeys"], call.caller.name)
    return {}


def list_all(management: Management, call: Call) -> Members:
    """Return a function's tags. A configured function has none."""
    _check(call)
    if registry := management.deployed(call.named.name):
        return {"Tags": dict(registry.tags(call.named.name))}
    management.require(call.named)
    return {"Tags": {}}


def _check(call: Call) -> None:
    if call.function is None:
        arn: str = call.parameters["Resource"]
        kind = arn.split(":")[5].replace("-", " ").capitalize()
        raise ResourceNotFoundException(f"{kind} not found: {arn}")
    if call.function.qualifier:
        raise InvalidParameterValueException(QUALIFIED)
