"""Reserved concurrency, and the limits of the account."""

from __future__ import annotations

from serverfull_wsgi.api.management.calls import Call, Members
from serverfull_wsgi.api.management.service import Management
from serverfull_wsgi.errors import InvalidParameterValueException, UntypedInvalidParameterValue

QUALIFIED = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please "
    "specify either a function name or an unqualified function ARN."
)
CONCURRENT_EXECUTIONS = 1000  # AWS's limit of an account: of all functions together
UNRESERVED_MINIMUM = 100  # AWS's limit: executions that all functions without a reservation share
TOTAL_CODE_SIZE = 80_530_636_800  # bytes: AWS's limit of an account
UNZIPPED_SIZE, ZIPPED_SIZE = 262_144_000, 52_428_800  # bytes: AWS's limits of a package


def put(management: Management, call: Call) -> Members:
    """Reserve executions for a function."""
    _check(call)
    registry, name = management.writable(call), call.named.name
    number = call.parameters["ReservedConcurrentExecutions"]
    old = registry.concurrency(name).get("ReservedConcurrentExecutions", 0) if management.deployed(name) else 0
    if CONCURRENT_EXECUTIONS - management.usage()["Reserved"] + old - number < UNRESERVED_MINIMUM:
        raise UntypedInvalidParameterValue(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            f"below its minimum value of [{UNRESERVED_MINIMUM}]."
        )
    return registry.put_concurrency(name, number, call.caller.name)


def get(management: Management, call: Call) -> Members:
    """Return a function's reserved concurrency; an empty result if it has none."""
    _check(call)
    return management.concurrency(call.named)


def delete(management: Management, call: Call) -> Members:
    """Remove a function's reserved concurrency, if it has one."""
    _check(call)
    management.writable(call).delete_concurrency(call.named.name, call.caller.name)
    return {}


def account_settings(management: Management, call: Call) -> Members:
    """Return AWS's limits of an account, and the use of the registry."""
    usage = management.usage()
    reserved = usage.pop("Reserved")
    return {
        "AccountLimit": {
            "TotalCodeSize": TOTAL_CODE_SIZE,
            "CodeSizeUnzipped": UNZIPPED_SIZE,
            "CodeSizeZipped": ZIPPED_SIZE,
            "ConcurrentExecutions": CONCURRENT_EXECUTIONS,
            "UnreservedConcurrentExecutions": CONCURRENT_EXECUTIONS - reserved,
        },
        "AccountUsage": usage,
    }


def _check(call: Call) -> None:
    if call.named.qualifier:
        raise InvalidParameterValueException(QUALIFIED)
