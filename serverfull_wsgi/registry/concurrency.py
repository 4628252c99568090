"""Changes of reserved concurrency."""

from __future__ import annotations

from serverfull_wsgi.domain import CONCURRENCY_LIMIT
from serverfull_wsgi.errors import UntypedInvalidParameterValue
from serverfull_wsgi.registry.documents import Change, Document, Moment

MINIMUM_UNRESERVED = 100  # of AWS's accounts, in its message; this server reserves nothing for other functions


def reserve(document: Document, moment: Moment, *, executions: int | None) -> Change:
    """Set the reserved concurrency; None removes it.

    Raises:
        UntypedInvalidParameterValue: if it is above this server's limit.
    """
    if executions is not None and executions > CONCURRENCY_LIMIT:
        raise UntypedInvalidParameterValue(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            f"below its minimum value of [{MINIMUM_UNRESERVED}]."
        )
    answer = {} if executions is None else {"ReservedConcurrentExecutions": executions}
    if document["reserved"] == executions:
        return Change(document, answer)
    return Change({**document, "reserved": executions}, answer)
