"""The exception of a request that may not call its route."""

from __future__ import annotations

from collections.abc import Sequence

from serverfull_wsgi.gateway.formats import Refusal


class Refused(Exception):
    """A request that may not call its route.

    Args:
        refusal: the kind of answer.
        reason: a text for the log.
        headers: headers that the answer has in addition.
    """

    def __init__(self, refusal: Refusal, reason: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(reason)
        self.refusal, self.reason, self.headers = refusal, reason, list(headers)
