"""Signatures that were used already, for as long as they are good."""

from __future__ import annotations

import heapq
import threading
from functools import cached_property

from serverfull_wsgi.auth.sigv4.errors import InvalidSignatureException
from serverfull_wsgi.errors import TooManyRequestsException


class ReplayGuard:
    """Lets each signature in once. Remembers up to ``size`` that are still good, in this process only.

    With no room for another it refuses what it could not remember, rather than forget one that could be sent again.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen: set[str] = set()
        self._expiries: list[tuple[int, str]] = []  # a heap: the first to expire is the first to be forgotten

    @cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()  # at the first request: gevent may patch locks until then

    def admit(self, signature: str, until: int, now: int) -> None:
        """Remembers a signature that is good ``until`` then, both times in seconds since 1970.

        Raises `InvalidSignatureException` for one that was used, `TooManyRequestsException` when there is no room.
        """
        with self._lock:
            while self._expiries and self._expiries[0][0] < now:
                self._seen.discard(heapq.heappop(self._expiries)[1])
            if signature in self._seen:
                raise InvalidSignatureException("The signature was used already; sign the request again.")
            if len(self._seen) >= self._size:
                raise TooManyRequestsException()
            self._seen.add(signature)
            heapq.heappush(self._expiries, (until, signature))
