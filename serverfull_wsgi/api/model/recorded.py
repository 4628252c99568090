"""AWS's behaviour where recordings of AWS differ from its service model, or add to it.

Each entry names its source. "Recorded" means a response of AWS itself, which others published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serverfull_wsgi.api.model.service import Member, Shape, load
from serverfull_wsgi.errors import InvalidParameterValueException, RequestEntityTooLargeException
from serverfull_wsgi.names import is_incomplete_arn
from serverfull_wsgi.wsgi.requests import PAYLOAD_LIMIT

# Recorded: "Request must be smaller than 70167211 bytes for the CreateFunction operation". This holds a zip file of
# 50 MiB as Base64 (69,905,068 bytes) and 256 KiB. The other two operations take a zip file in the same way; nothing is
# recorded of them. All other operations have the limit that is recorded of Invoke.
PACKAGE_LIMIT = 70_167_211  # bytes
BODY_LIMITS = dict.fromkeys(("CreateFunction", "UpdateFunctionCode", "PublishLayerVersion"), PACKAGE_LIMIT)

# Recorded: the message of Invoke has the name of its permission, lambda:InvokeFunction.
NAMES_IN_MESSAGES = {"Invoke": "InvokeFunction"}

# Recorded: DeleteFunction answers 204. The model has 200.
STATUSES = {"DeleteFunction": 204}

# AWS's documentation of these operations: a page has at most 50 items (mappings: 100), also if MaxItems is greater.
PAGE_SIZES = {
    "ListFunctions": 50,
    "ListVersionsByFunction": 50,
    "ListFunctionUrlConfigs": 50,
    "ListEventSourceMappings": 100,
}

# Recorded: items of the lists of functions and of versions lack these members of a configuration.
NOT_IN_LISTS = (
    "State",
    "StateReason",
    "StateReasonCode",
    "LastUpdateStatus",
    "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode",
    "RuntimeVersionConfig",
)

# Recorded: the members of these lists are checked one by one, so that the message has no "Member must satisfy
# constraint: […]" around the rule. The lists of architectures have it.
FLAT_LISTS = ("CompatibleRuntimes",)

# Recorded: violations of these members come first. In the model they come after others.
FIRST_VIOLATIONS = {"PublishLayerVersionRequest": ("CompatibleRuntimes",)}

# Recorded: an unknown runtime of a function is an InvalidParameterValueException, after all violations.
RUNTIME_OPERATIONS = ("CreateFunction", "UpdateFunctionConfiguration")

# All patterns of a function's name start like this. Recorded: an ARN without region or account breaks them, although
# the patterns as such match it.
FUNCTION_NAME_START = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}"


def body_limit(operation: str) -> int:
    """Return the greatest length of a request's body, in bytes."""
    return BODY_LIMITS.get(operation, PAYLOAD_LIMIT)


def too_large(operation: str) -> RequestEntityTooLargeException:
    """Return the error for a body over the limit.

    >>> print(too_large("CreateFunction"))
    Request must be smaller than 70167211 bytes for the CreateFunction operation
    >>> print(too_large("Invoke"))
    Request must be smaller than 6291456 bytes for the InvokeFunction operation
    """
    name = NAMES_IN_MESSAGES.get(operation, operation)
    return RequestEntityTooLargeException(
        f"Request must be smaller than {body_limit(operation)} bytes for the {name} operation"
    )


def list_item(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a function configuration as an item of ListFunctions or ListVersionsByFunction."""
    return {name: value for name, value in configuration.items() if name not in NOT_IN_LISTS}


def in_order(shape: Shape) -> list[Member]:
    """Return the members of a structure in the order in which a message names their violations."""
    first = FIRST_VIOLATIONS.get(shape.name, ())
    return sorted(shape.members.values(), key=lambda member: member.name not in first)


def check_runtime(operation: str, parameters: Mapping[str, Any]) -> None:
    """Raise `InvalidParameterValueException` for a function's runtime that AWS does not have."""
    known, runtime = load().shapes["Runtime"].enum, parameters.get("Runtime")
    if operation in RUNTIME_OPERATIONS and runtime is not None and runtime not in known:
        raise InvalidParameterValueException(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(known)}] or be a valid ARN",
            quoted=[runtime],
        )


def breaks_name_pattern(pattern: str, text: str) -> bool:
    """Return whether AWS refuses ``text`` for a pattern of function names that matches it."""
    return pattern.startswith(FUNCTION_NAME_START) and is_incomplete_arn(text)
