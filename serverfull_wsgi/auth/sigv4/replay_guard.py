"""A memory of used signatures, so that each is accepted once."""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from functools import cached_property

from serverfull_wsgi.auth.sigv4.errors import InvalidSignatureException
from serverfull_wsgi.errors import TooManyRequestsException

MAX_EXPIRES = 3600  # seconds that a presigned request may be valid while the guard is on: boto3's default


class ReplayGuard:
    """The signatures that were used in this process and have not expired.

    A full guard refuses new signatures: if it forgot one instead, that one could be sent again. A key is refused only
    if it has used its share, so that no key shuts out another. The share is ``size`` divided by the number of keys
    with signatures in the guard. While there is room, a key may exceed its share.

    Keys below their share are accepted by a full guard too. With k keys it has at most size · (1 + ln k) signatures.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._used: set[str] = set()
        self._expiries: list[tuple[int, str, str]] = []  # a heap of expiry, signature and key, the next to expire first
        self._counts: Counter[str] = Counter()  # signatures by key

    @cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()  # made at the first request: until then gevent may replace the class

    def admit(self, key: str, signature: str, until: int, now: int) -> None:
        """Remember a signature by ``key`` that is valid until ``until``. Both times are in seconds since 1970.

        Raises:
            InvalidSignatureException: if the signature was used before.
            TooManyRequestsException: if the guard is full and the key has used its share.
        """
        with self._lock:
            self._forget_expired(now)
            if signature in self._used:
                raise InvalidSignatureException("The signature was used already; sign the request again.")
            if len(self._used) >= self._size and self._counts[key] >= self._share(key):
                raise TooManyRequestsException()
            self._used.add(signature)
            self._counts[key] += 1
            heapq.heappush(self._expiries, (until, signature, key))

    def _share(self, key: str) -> int:
        keys = len(self._counts) + (key not in self._counts)
        return max(1, self._size // keys)

    def _forget_expired(self, now: int) -> None:
        while self._expiries and self._expiries[0][0] < now:
            _, signature, key = heapq.heappop(self._expiries)
            self._used.discard(signature)
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
