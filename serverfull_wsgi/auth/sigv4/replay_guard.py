"""A memory of used signatures, so that each is accepted once."""

from __future__ import annotations

import heapq
import threading
from functools import cached_property

from serverfull_wsgi.auth.sigv4.errors import InvalidSignatureException
from serverfull_wsgi.errors import TooManyRequestsException


class ReplayGuard:
    """The signatures that were used in this process and have not expired, at most ``size``.

    A full guard refuses every new signature: if it forgot one instead, that one could be sent again.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._used: set[str] = set()
        self._expiries: list[tuple[int, str]] = []  # a heap, the next to expire first

    @cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()  # made at the first request: until then gevent may replace the class

    def admit(self, signature: str, until: int, now: int) -> None:
        """Remember a signature that is valid until ``until``. Both times are in seconds since 1970.

        Raises:
            InvalidSignatureException: if the signature was used before.
            TooManyRequestsException: if the guard is full.
        """
        with self._lock:
            while self._expiries and self._expiries[0][0] < now:
                self._used.discard(heapq.heappop(self._expiries)[1])
            if signature in self._used:
                raise InvalidSignatureException("The signature was used already; sign the request again.")
            if len(self._used) >= self._size:
                raise TooManyRequestsException()
            self._used.add(signature)
            heapq.heappush(self._expiries, (until, signature))
