"""Changes of reserved concurrency."""

from __future__ import annotations

from serverfull_wsgi.registry.documents import Change, Document, Moment


def reserve(document: Document, moment: Moment, *, executions: int | None) -> Change:
    """Set the reserved concurrency; None removes it."""
    answer = {} if executions is None else {"ReservedConcurrentExecutions": executions}
    if document["reserved"] == executions:
        return Change(document, answer)
    return Change({**document, "reserved": executions}, answer)
