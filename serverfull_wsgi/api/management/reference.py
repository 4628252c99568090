"""The page of the documentation that lists all operations: ``python -m serverfull_wsgi.api.management.reference``."""

from __future__ import annotations

import sys

from serverfull_wsgi.api.management.endpoints import ABSENT, ENDPOINTS, SERVED_ELSEWHERE, cure
from serverfull_wsgi.api.model.service import Operation, load
from serverfull_wsgi.auth.authorize import action_of
from serverfull_wsgi.auth.principal import DEPLOY

INTRODUCTION = """\
<!-- Written by `python -m serverfull_wsgi.api.management.reference > docs/management_api.md`. Edit
serverfull_wsgi/api/management. -->

# Operations of the Lambda API

AWS Lambda's service model has {count} operations. Each of them is answered in AWS's form. An operation that is not
supported is refused with a 400 `InvalidParameterValueException`, whose message names the alternative. It is never a
404, which some clients take for a success.

The action is the one that a key's `serverfull_actions` must name; see [Security](security.md).

| operation | action | here |
|---|---|---|"""

NOTES = {
    "CreateFunction": "the package as `ZipFile` or in S3; container images are refused",
    "ListFunctions": "`MasterRegion` has no effect",
    "GetAccountSettings": "AWS's limits of an account, and the use of the registry",
    "GetPolicy": "always the 404 of a function without a policy",
    "ListFunctionUrlConfigs": "always empty",
    "GetFunctionCodeSigningConfig": "always empty",
    "ListEventSourceMappings": "always empty",
    "ListCapacityProviders": "always empty",
    "ListDurableExecutionsByFunction": "always empty",
}


def page() -> str:
    """Return the page in Markdown."""
    operations = load().operations
    rows = [_row(operations[name]) for name in sorted(operations, key=_place)]
    return "\n".join([INTRODUCTION.format(count=len(operations)), *rows, ""])


def _place(name: str) -> tuple[int, str]:
    """Return the sort key of an operation: the served ones first."""
    if name in SERVED_ELSEWHERE or name in ENDPOINTS:
        return (int(name in ABSENT), name)
    return (2, name)


def _row(operation: Operation) -> str:
    name = operation.name
    if name not in ENDPOINTS and name not in SERVED_ELSEWHERE:
        return f"| {name} | | refused: {cure(name)} |"
    status = "**implemented**" if name not in ABSENT else "answered"
    note = f": {NOTES[name]}" if NOTES.get(name) else ""
    registry = ", in the registry" if action_of(operation) == DEPLOY else ""
    return f"| {name} | `{'event' if name == 'InvokeAsync' else action_of(operation)}` | {status}{registry}{note} |"


if __name__ == "__main__":
    sys.stdout.write(page())
